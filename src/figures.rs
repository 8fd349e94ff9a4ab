//! What a worker counts.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is counted. The order is that of [`FIGURES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figure {
    /// Requests that are live now.
    Live,
    /// Requests that were registered.
    Registered,
    /// Requests that no memory could be had to register.
    NotRegistered,
    /// Refused: the request has ended, or is not the current one.
    RefusedStale,
    /// Refused: a request that has no variables.
    RefusedNoVariables,
    /// Refused: the module was built for another layout.
    RefusedLayout,
    /// `ngx.ctx` given back to a request that came through an `error_page`.
    RestoredErrorPage,
    /// `ngx.ctx` given back after another internal redirect.
    RestoredOther,
    /// Slots that are never used again.
    Retired,
    /// 1 when requests are read through nginx's handlers only.
    Handlers,
}

/// How many figures there are.
pub const FIGURES: usize = 10;

/// One worker's. Other processes read it while it is written, each figure for itself.
#[derive(Debug)]
#[repr(C)]
pub struct Row {
    figures: [AtomicU64; FIGURES],
}

impl Row {
    /// Nothing counted.
    pub const fn new() -> Self {
        Row {
            figures: [const { AtomicU64::new(0) }; FIGURES],
        }
    }

    /// A figure.
    pub fn get(&self, figure: Figure) -> u64 {
        self.at(figure).map_or(0, |cell| cell.load(Relaxed))
    }

    /// Sets a figure. Only the row's own worker does.
    #[inline(always)]
    pub fn set(&self, figure: Figure, value: u64) {
        if let Some(cell) = self.at(figure) {
            cell.store(value, Relaxed);
        }
    }

    /// Counts one more.
    #[inline(always)]
    pub fn count(&self, figure: Figure) {
        self.set(figure, self.get(figure).wrapping_add(1));
    }

    #[inline(always)]
    fn at(&self, figure: Figure) -> Option<&AtomicU64> {
        self.figures.get(figure as usize)
    }
}

impl Default for Row {
    fn default() -> Self {
        Self::new()
    }
}

static OWN: Row = Row::new();

/// This worker's row.
#[inline(always)]
pub fn row() -> &'static Row {
    &OWN
}
