//! Memory that is no pool's: it stays until the process ends.

use core::ffi::c_void;
use core::ptr;

use ngx::ffi;

/// Address space for `size` bytes that read as zero, kept for ever and inherited by
/// forked processes; 0 when there is none. It costs no memory, and as long as it is
/// not writable no share of what the system may promise (`vm.overcommit_memory`).
pub(crate) fn reserve(size: usize) -> usize {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a mapping of its own, where nothing is.
    let at = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_READ, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        0
    } else {
        at as usize
    }
}

/// A block of zeroed memory for `T` that is never freed; `None` without memory.
///
/// # Safety
/// All-zero bytes must be a valid `T`.
pub(crate) unsafe fn zeroed_forever<T>() -> Option<&'static T> {
    #[cfg(feature = "testing")]
    if crate::faults::fails(crate::faults::CHUNK) {
        return None;
    }
    // SAFETY: calloc takes any size.
    let block = ptr::NonNull::new(unsafe { libc::calloc(1, size_of::<T>()) })?.cast::<T>();
    // SAFETY: malloc's alignment serves every type of the module, zeroes are a `T`
    // by the caller's word, and nobody else has the block's address.
    Some(unsafe { block.as_ref() })
}

/// Makes the memory of a `T` at an address within what [`reserve`] gave writable;
/// `None` without memory.
///
/// # Safety
/// All-zero bytes must be a valid `T`; `at` is aligned for it, and nothing is there yet.
pub(crate) unsafe fn zeroed_at<T>(at: usize) -> Option<&'static T> {
    #[cfg(feature = "testing")]
    if crate::faults::fails(crate::faults::CHUNK) {
        return None;
    }
    // SAFETY: nginx asks the system for it before it loads a module.
    let page = unsafe { ffi::ngx_pagesize };
    // What shares a page with it is a neighbour that is writable already, or nothing.
    let start = at & !page.wrapping_sub(1);
    let size = at.wrapping_add(size_of::<T>()).wrapping_sub(start);
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the caller's word: the pages are the module's own.
    if unsafe { libc::mprotect(start as *mut c_void, size, rights) } != 0 {
        return None;
    }
    // SAFETY: as above, and zeroes are a `T`.
    unsafe { (at as *const T).as_ref() }
}
