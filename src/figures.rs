//! The figures that the workers count, such as live requests and refusals. Each worker has a
//! row in shared memory, so that any worker can report the figures of all.
//!
//! The process that reads the first configuration maps the memory. It is never unmapped, so
//! it outlives reloads, and a worker can write to its row until it exits.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::nginx::{mem, process};
use crate::statics::PerWorker;

/// A figure, one number in each row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figure {
    /// Requests that are live now.
    Live,
    /// Requests that were registered.
    Registered,
    /// Requests that could not be registered, for lack of memory.
    NotRegistered,
    /// Accesses that were refused because the request has ended or is not the current one.
    RefusedStale,
    /// Accesses that were refused because the request has no variables.
    RefusedNoVariables,
    /// Accesses that were refused because nginx's layout differs.
    RefusedLayout,
    /// How often `ngx.ctx` was restored after an `error_page`.
    RestoredErrorPage,
    /// How often `ngx.ctx` was restored after another internal redirect.
    RestoredOther,
    /// Slots that are never occupied again.
    RetiredSlots,
    /// 1 in a worker whose nginx has another layout, so that the module does nothing.
    LayoutDiffers,
}

impl Figure {
    /// All figures, in the order of their numbers.
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
        Figure::LayoutDiffers,
    ];

    /// Whether the figure only grows. The others are gauges, to which a process that has
    /// ended contributes nothing.
    pub const fn is_counter(self) -> bool {
        !matches!(
            self,
            Figure::Live | Figure::RetiredSlots | Figure::LayoutDiffers
        )
    }
}

/// The number of figures.
pub const FIGURES: usize = 10;
/// The most processes that can have a row at the same time. After a reload these are the
/// workers and the older ones that still have requests.
const ROWS: usize = 512;

/// The figures of one worker. A row of zero bytes is free.
#[derive(Debug)]
pub struct Row {
    /// The worker's process id; 0 if the row is free.
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

    /// The id of the process that has the row; 0 if none has.
    pub fn pid(&self) -> u64 {
        self.pid.load(Relaxed)
    }

    /// The value of a figure.
    #[inline(always)]
    pub fn get(&self, figure: Figure) -> u64 {
        self.at(figure).map_or(0, |cell| cell.load(Relaxed))
    }

    /// Sets a figure. Only the worker that has the row may call this.
    #[inline(always)]
    pub fn set(&self, figure: Figure, value: u64) {
        if let Some(cell) = self.at(figure) {
            cell.store(value, Relaxed);
        }
    }

    /// Adds 1 to a figure. Only the worker that has the row may call this.
    #[inline(always)]
    pub fn count(&self, figure: Figure) {
        self.set(figure, self.get(figure).wrapping_add(1));
    }

    #[inline(always)]
    fn at(&self, figure: Figure) -> Option<&AtomicU64> {
        self.figures.get(figure as usize)
    }

    /// Clears the row for the next process and adds its counters to `past`.
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

/// The shared memory.
struct SharedMemory {
    rows: [Row; ROWS],
    /// The sums of the counters of processes that have ended.
    past: Row,
}

/// Set by the first process, and inherited by those that it forks.
static SHARED: PerWorker<Cell<Option<&'static SharedMemory>>> = PerWorker(Cell::new(None));

/// The row of a process that is not a worker, or that found no free row. It is not shared.
static SPARE: Row = Row::new();

/// The row of this process.
static OWN_ROW: PerWorker<Cell<&'static Row>> = PerWorker(Cell::new(&SPARE));

/// The row of this process.
#[inline(always)]
pub fn row() -> &'static Row {
    OWN_ROW.get()
}

/// Maps the shared memory, once. To be called before workers are forked. Returns false if the
/// system has no memory.
pub(crate) fn share() -> bool {
    if SHARED.get().is_none() {
        // SAFETY: `SharedMemory` consists of atomic integers, for which zero bytes are valid.
        SHARED.set(unsafe { mem::shared::<SharedMemory>() });
    }
    SHARED.get().is_some()
}

/// Takes a row for this worker, one that is free or whose process does not exist any more.
pub(crate) fn claim() {
    let Some(shared) = SHARED.get() else { return };
    for row in &shared.rows {
        let owner = row.pid();
        if owner != 0 && process::is_alive(owner) {
            continue;
        }
        let taken = row
            .pid
            .compare_exchange(owner, process::own_pid(), Relaxed, Relaxed);
        if taken.is_ok() {
            row.move_to(&shared.past);
            OWN_ROW.set(row);
            return;
        }
    }
}

/// Frees the row of this worker, which is about to exit.
pub(crate) fn release() {
    let row = OWN_ROW.replace(&SPARE);
    if let Some(shared) = SHARED.get().filter(|_| row.pid() != 0) {
        row.move_to(&shared.past);
        row.pid.store(0, Relaxed);
    }
}

/// All rows, including the free ones, whose figures are 0.
fn all() -> &'static [Row] {
    SHARED.get().map_or(&[], |shared| &shared.rows)
}

/// The rows of the workers that are running.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    all()
        .iter()
        .filter(|row| row.pid() != 0 && process::is_alive(row.pid()))
}

/// The sum of a figure over all workers; a counter includes the workers that have ended.
pub fn sum(figure: Figure) -> u64 {
    let add = |sum: u64, row: &Row| sum.wrapping_add(row.get(figure));
    if figure.is_counter() {
        let past = SHARED.get().map(|shared| &shared.past);
        all().iter().chain(past).fold(0, add)
    } else {
        rows().fold(0, add)
    }
}
