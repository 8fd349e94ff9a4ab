//! Memory that belongs to no pool, and stays until the process ends.

use core::ptr::{self, NonNull};

/// Allocates a value that consists of zero bytes and is never freed. `None` if there is no memory.
///
/// # Safety
/// Zero bytes must be a valid `T`.
pub(crate) unsafe fn zeroed<T>() -> Option<&'static T> {
    #[cfg(feature = "testing")]
    if crate::faults::fails(crate::faults::CHUNK) {
        return None;
    }
    // SAFETY: `calloc` may be called with any numbers.
    let place = NonNull::new(unsafe { libc::calloc(1, size_of::<T>()) })?;
    // SAFETY: it is aligned as malloc(3) does, which is enough for every type of the module; zero
    // bytes are valid by the contract above.
    Some(unsafe { place.cast().as_ref() })
}

/// Maps memory that is shared with all processes forked later. It consists of zero bytes.
/// `None` if the system has no memory.
///
/// # Safety
/// Zero bytes must be a valid `T`, and other processes may change the `T` at any time, so it
/// must consist of atomics.
pub(crate) unsafe fn shared<T: Sync>() -> Option<&'static T> {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: this makes a new mapping at an address that the system chooses.
    let at = unsafe { libc::mmap(ptr::null_mut(), size_of::<T>(), rights, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping has this size, is page-aligned and is never unmapped; zero bytes are
    // a valid `T`, by the contract above.
    Some(unsafe { &*at.cast::<T>() })
}
