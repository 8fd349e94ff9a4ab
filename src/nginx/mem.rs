//! Memory that is mapped, not allocated from a pool, and stays until the process ends.

use core::ffi::c_void;
use core::ptr;

use ngx::ffi;

/// Reserves virtual memory for `count` values, which read as zero bytes and cannot be written
/// yet. Forked processes inherit the mapping. `None` if a limit forbids so much.
///
/// The mapping uses no resident memory, and while it is read-only it does not count against
/// the system's commit limit (`vm.overcommit_memory`).
///
/// # Safety
/// Zero bytes must be a valid `T`.
pub(crate) unsafe fn reserve<T>(count: usize) -> Option<&'static [T]> {
    let size = size_of::<T>().checked_mul(count)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: this makes a new mapping at an address that the system chooses.
    let at = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_READ, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping has this size, is page-aligned and is never unmapped; zero bytes are
    // a valid `T`, by the contract above.
    Some(unsafe { core::slice::from_raw_parts(at.cast(), count) })
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

/// Makes a part of what [`reserve`] returned writable. Returns false if there is no memory.
pub(crate) fn make_writable<T>(part: &'static [T]) -> bool {
    #[cfg(feature = "testing")]
    if crate::faults::fails(crate::faults::CHUNK) {
        return false;
    }
    // SAFETY: nginx sets `ngx_pagesize` before it loads a module, and never again.
    let page = unsafe { ffi::ngx_pagesize };
    // Parts are made writable in order, so a part that shares the first page is writable
    // already.
    let at = part.as_ptr() as usize;
    let start = at & !page.wrapping_sub(1);
    let size = at.wrapping_add(size_of_val(part)).wrapping_sub(start);
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the pages are mapped by `reserve`, and this only adds the right to write.
    unsafe { libc::mprotect(start as *mut c_void, size, rights) == 0 }
}
