//! What the workers count. Each has a row of its own in memory that all of them share, so
//! that any of them can tell the figures of all.
//!
//! The memory is mapped by the process that reads the first configuration and never
//! unmapped, so it outlives reloads, and a row can be written until the process ends.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::nginx::{mem, process};
use crate::statics::PerWorker;

/// What is counted.
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
    RetiredSlots,
    /// 1 in a worker that reads requests through nginx's handlers only.
    Handlers,
}

impl Figure {
    /// All of them, in the order of their numbers.
    pub const ALL: [Figure; FIGURES] = [
        Figure::Live,
        Figure::Registered,
        Figure::NotRegistered,
        Figure::RefusedStale,
        Figure::RefusedNoVariables,
        Figure::RefusedLayout,
        Figure::RestoredErrorPage,
        Figure::RestoredOther,
        Figure::RetiredSlots,
        Figure::Handlers,
    ];

    /// Whether it only grows; a gauge is of the moment, and of no process that has ended.
    pub const fn is_counter(self) -> bool {
        !matches!(self, Figure::Live | Figure::RetiredSlots | Figure::Handlers)
    }
}

/// How many figures there are.
pub const FIGURES: usize = 10;
/// Processes that have a row at the same time: workers, and those of the last
/// configurations that still have requests.
const ROWS: usize = 512;

/// One worker's. Zero bytes are a row of nobody.
#[derive(Debug)]
pub struct Row {
    /// Whose it is; 0: nobody's.
    pid: AtomicU64,
    figures: [AtomicU64; FIGURES],
}

impl Row {
    const fn new() -> Self {
        Row {
            pid: AtomicU64::new(0),
            figures: [const { AtomicU64::new(0) }; FIGURES],
        }
    }

    /// The process whose row it is.
    pub fn pid(&self) -> u64 {
        self.pid.load(Relaxed)
    }

    /// A figure.
    #[inline(always)]
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

    /// Counts one more, likewise.
    #[inline(always)]
    pub fn count(&self, figure: Figure) {
        self.set(figure, self.get(figure).wrapping_add(1));
    }

    #[inline(always)]
    fn at(&self, figure: Figure) -> Option<&AtomicU64> {
        self.figures.get(figure as usize)
    }

    /// Takes what was counted out of the row, for the next process that has it.
    fn move_to(&self, past: &Row) {
        for figure in Figure::ALL {
            let counted = self.get(figure);
            self.set(figure, 0);
            if let Some(cell) = past.at(figure).filter(|_| figure.is_counter()) {
                cell.fetch_add(counted, Relaxed);
            }
        }
    }
}

/// The shared memory: the rows, and what processes that have ended counted.
struct Shared {
    rows: [Row; ROWS],
    past: Row,
}

static SHARED: PerWorker<Cell<Option<&'static Shared>>> = PerWorker(Cell::new(None));

/// The row of a process that is no worker, or of one for which there is no other.
static SPARE: Row = Row::new();

static OWN: PerWorker<Cell<&'static Row>> = PerWorker(Cell::new(&SPARE));

/// This process's row.
#[inline(always)]
pub fn row() -> &'static Row {
    OWN.get()
}

/// Maps the memory, before workers are forked; false when the system has none.
pub(crate) fn share() -> bool {
    if SHARED.get().is_none() {
        // SAFETY: all of it is numbers, of which zero bytes are some.
        SHARED.set(unsafe { mem::shared::<Shared>() });
    }
    SHARED.get().is_some()
}

/// Takes a row for this worker: one that is nobody's, or whose process is gone.
pub(crate) fn claim() {
    let Some(shared) = SHARED.get() else { return };
    for row in &shared.rows {
        let owner = row.pid();
        if owner != 0 && process::is_alive(owner) {
            continue;
        }
        let taken = row
            .pid
            .compare_exchange(owner, process::own_id(), Relaxed, Relaxed);
        if taken.is_ok() {
            row.move_to(&shared.past);
            OWN.set(row);
            return;
        }
    }
}

/// Gives the row back, when the worker ends in order.
pub(crate) fn release() {
    let row = OWN.replace(&SPARE);
    if let Some(shared) = SHARED.get().filter(|_| row.pid() != 0) {
        row.move_to(&shared.past);
        row.pid.store(0, Relaxed);
    }
}

/// Every row, with those of nobody, in which nothing is counted.
fn all() -> &'static [Row] {
    SHARED.get().map_or(&[], |shared| &shared.rows)
}

/// The rows of the workers that there are.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    all()
        .iter()
        .filter(|row| row.pid() != 0 && process::is_alive(row.pid()))
}

/// A figure of all workers, with those that have ended if it is a counter.
pub fn sum(figure: Figure) -> u64 {
    let add = |sum: u64, row: &Row| sum.wrapping_add(row.get(figure));
    if figure.is_counter() {
        let past = SHARED.get().map(|shared| &shared.past);
        all().iter().chain(past).fold(0, add)
    } else {
        rows().fold(0, add)
    }
}
