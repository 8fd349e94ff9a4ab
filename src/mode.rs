//! How the worker reads requests: from their members, or through nginx's handlers only.
//!
//! `layout.rs` decides it. It is stored here because everything else asks for it.

use core::cell::Cell;

use crate::statics::PerWorker;

/// How the worker reads requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mode {
    /// Through nginx's handlers, until a first request shows whether the layout agrees.
    Unchecked,
    /// From the members of the request.
    Direct,
    /// Through nginx's handlers only: the module was built for another layout.
    Handlers,
}

static MODE: PerWorker<Cell<Mode>> = PerWorker(Cell::new(Mode::Unchecked));

/// How this process reads requests now.
#[inline(always)]
pub fn get() -> Mode {
    MODE.get()
}

/// Where the mode is stored, for `debugger.rs`.
pub(crate) const fn address() -> *const Cell<Mode> {
    &raw const MODE.0
}

/// Sets how this process reads requests from now on.
pub(crate) fn set(mode: Mode) {
    MODE.set(mode);
}

/// Whether no member of a request may be read, only nginx's functions called with it.
#[inline]
pub fn is_foreign() -> bool {
    get() == Mode::Handlers
}

/// Whether the members of requests may be read.
#[inline(always)]
pub fn is_direct() -> bool {
    get() == Mode::Direct
}
