//! What a static of the module may be: nginx has no other place for state that a variable
//! handler, a pool cleanup or a function called over FFI needs.

/// A constant that nginx is given a pointer to.
#[repr(transparent)]
pub(crate) struct Shared<T>(pub(crate) T);

// SAFETY: nginx reads configuration in one thread, and does not write to these.
unsafe impl<T> Sync for Shared<T> {}

/// State of a worker: cells that only the worker's one thread touches.
#[repr(transparent)]
pub(crate) struct PerWorker<T>(pub(crate) T);

// SAFETY: nginx runs a worker's requests in one thread; the threads of its thread
// pools never call the module.
unsafe impl<T> Sync for PerWorker<T> {}

impl<T> core::ops::Deref for PerWorker<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
