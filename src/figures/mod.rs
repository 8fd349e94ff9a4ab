//! The figures of all processes, such as live requests and refusals, in shared memory, so that
//! any worker can report them.
//!
//! The process that reads the first configuration maps the memory. It is never unmapped, so
//! it outlives reloads.

pub(crate) mod rows;

use core::cell::Cell;

use crate::nginx::{mem, process};
use crate::statics::PerWorker;
pub(crate) use rows::Figure;
use rows::{Row, Rows};

type AllRows = Rows<{ process::MAX }>;

/// Set by the first process, and inherited by those that it forks.
static SHARED: PerWorker<Cell<Option<&'static AllRows>>> = PerWorker(Cell::new(None));

/// The row of this process.
static OWN: PerWorker<Cell<Option<&'static Row>>> = PerWorker(Cell::new(None));

/// The process that [`OWN`] is of; another one may have inherited it.
static OWNER: PerWorker<Cell<u64>> = PerWorker(Cell::new(0));

/// Maps the shared memory, once. Returns false if the system has no memory.
pub(crate) fn share() -> bool {
    if SHARED.get().is_none() {
        // SAFETY: it consists of atomic integers, for which zero bytes are valid.
        SHARED.set(unsafe { mem::shared() });
    }
    SHARED.get().is_some()
}

/// Called when a process begins: lists it, if it serves requests.
pub(crate) fn begin() {
    take_row();
    if let Some(row) = OWN.get() {
        row.hand_to(if process::serves() { process::own_pid() } else { 0 });
    }
}

/// Takes the row of this process, if it has not got it. Lua runs before [`begin`] and after [`end`],
/// too: `init_by_lua*`, `init_worker_by_lua*`, finalizers.
pub(crate) fn take_row() {
    let pid = process::own_pid();
    if OWNER.replace(pid) != pid {
        OWN.set(SHARED.get().and_then(|all| all.of(process::number())));
    }
}

/// Called when a process exits: it is not listed any more.
pub(crate) fn end() {
    if let Some(row) = OWN.get() {
        row.hand_to(0);
    }
}

#[inline(always)]
pub(crate) fn count(figure: Figure) {
    if let Some(row) = OWN.get() {
        row.count(figure);
    }
}

#[inline(always)]
pub(crate) fn set(figure: Figure, value: u64) {
    if let Some(row) = OWN.get() {
        row.set(figure, value);
    }
}

#[cfg(feature = "testing")]
pub(crate) fn own(figure: Figure) -> u64 {
    OWN.get().map_or(0, |row| row.get(figure))
}

pub(crate) fn workers() -> impl Iterator<Item = &'static Row> {
    let all = SHARED.get().into_iter();
    all.flat_map(|all| all.running(process::is_alive))
}

/// The sum of a figure over all processes; a counter includes those that have ended.
pub(crate) fn sum(figure: Figure) -> u64 {
    SHARED.get().map_or(0, |all| all.sum(figure, process::is_alive))
}
