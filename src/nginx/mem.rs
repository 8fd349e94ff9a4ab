//! Memory that belongs to no pool: it stays until the process ends, or may be gone already.

use core::ptr::{self, NonNull};

use super::process;

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

/// The word at an address at which there may be no memory any more. The kernel reads it, which
/// fails where a load would end the process. `Err` with an error number: `EFAULT` if there is no
/// memory, another one if the kernel must not read for the process, as a seccomp filter may say.
pub(crate) fn peek(address: usize) -> Result<usize, i32> {
    #[cfg(feature = "testing")]
    if crate::faults::fails(crate::faults::PEEK) {
        return Err(libc::EPERM);
    }
    let mut word = 0_usize;
    let of = |base: *mut usize| libc::iovec { iov_base: base.cast(), iov_len: size_of::<usize>() };
    let (to, from) = (of(&raw mut word), of(address as *mut usize));
    let pid = process::own_pid() as libc::pid_t;
    // SAFETY: `to` is the variable, and the kernel checks whether it can read what is in `from`.
    let count = unsafe { libc::process_vm_readv(pid, &raw const to, 1, &raw const from, 1, 0) };
    match count {
        -1 => Err(process::errno()),
        _ => Ok(word),
    }
}
