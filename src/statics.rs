//! The two kinds of statics that the module has, and why each may be shared. State is static
//! because a variable handler, a pool cleanup and a function called over FFI can reach it in
//! no other way.

/// A constant that contains pointers, for nginx or a debugger to read.
#[repr(transparent)]
pub(crate) struct Shared<T>(pub(crate) T);

// SAFETY: a `Shared` is never written to, neither by the module nor by nginx.
unsafe impl<T> Sync for Shared<T> {}

/// State of a process, in cells that only the process's main thread uses.
#[repr(transparent)]
pub(crate) struct PerWorker<T>(pub(crate) T);

// SAFETY: nginx reads configurations and runs requests in the main thread, and the threads
// of its thread pools never call the module.
unsafe impl<T> Sync for PerWorker<T> {}

impl<T> core::ops::Deref for PerWorker<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
