//! How the worker reads requests.

use core::cell::Cell;

use crate::statics::PerWorker;

/// How the worker reads requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mode {
    /// No request has been seen yet on which to compare the layout.
    Unchecked,
    /// Straight from the request.
    Direct,
    /// Through nginx's handlers only: the module was built for another layout.
    Handlers,
}

static MODE: PerWorker<Cell<Mode>> = PerWorker(Cell::new(Mode::Unchecked));

/// How this process reads requests now. `layout.rs` decides.
#[inline(always)]
pub fn get() -> Mode {
    MODE.get()
}

/// Where that is noted, for `debugger.rs`.
pub(crate) const fn address() -> *const Cell<Mode> {
    &raw const MODE.0
}

/// Sets it.
pub(crate) fn set(mode: Mode) {
    MODE.set(mode);
}

/// Whether a request is only a pointer, which nginx's own functions are given.
#[inline]
pub fn is_foreign() -> bool {
    get() == Mode::Handlers
}

/// Whether members may be read.
#[inline(always)]
pub fn is_direct() -> bool {
    get() == Mode::Direct
}
