//! Memory that is no pool's: it stays until the process ends.

use core::ffi::c_void;
use core::ptr;

use ngx::ffi;

/// Addresses for `count` values that read as zero bytes, kept for ever and inherited by
/// forked processes; `None` when the process may not have so many. They cost no memory,
/// and as long as they are not writable no share of what the system may promise
/// (`vm.overcommit_memory`).
///
/// # Safety
/// All-zero bytes must be a valid `T`.
pub(crate) unsafe fn reserve<T>(count: usize) -> Option<&'static [T]> {
    let size = size_of::<T>().checked_mul(count)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a mapping of its own, where nothing is.
    let at = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_READ, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: just mapped with that size, page-aligned, and never unmapped; zero bytes are
    // a `T` by the caller's word.
    Some(unsafe { core::slice::from_raw_parts(at.cast(), count) })
}

/// Memory that reads as zero bytes, shared with the processes that are forked after, for
/// ever; `None` when there is none.
///
/// # Safety
/// All-zero bytes must be a valid `T`, which others may change at any time.
pub(crate) unsafe fn shared<T: Sync>() -> Option<&'static T> {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a mapping of its own, where nothing is.
    let at = unsafe { libc::mmap(ptr::null_mut(), size_of::<T>(), rights, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: just mapped with that size, page-aligned, and never unmapped; zero bytes are
    // a `T` by the caller's word.
    Some(unsafe { &*at.cast::<T>() })
}

/// Makes a part of what [`reserve`] gave writable; false without memory.
pub(crate) fn make_writable<T>(part: &'static [T]) -> bool {
    #[cfg(feature = "testing")]
    if crate::faults::fails(crate::faults::CHUNK) {
        return false;
    }
    // SAFETY: nginx asks the system for it before it loads a module.
    let page = unsafe { ffi::ngx_pagesize };
    // What shares a page with it is a neighbour that is writable already, or nothing.
    let at = part.as_ptr() as usize;
    let start = at & !page.wrapping_sub(1);
    let size = at.wrapping_add(size_of_val(part)).wrapping_sub(start);
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: pages that are mapped, and become no less accessible.
    unsafe { libc::mprotect(start as *mut c_void, size, rights) == 0 }
}
