//! Allocation from nginx's pools. Whatever is allocated lives until its pool is destroyed.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::NonNull;

use ngx::ffi::{self, ngx_pool_cleanup_t};

use super::string::bytes;
use super::{ngx_pool_t, ngx_str_t};

/// A pool that exists: of a live request, of a cycle, or of the configuration that nginx is
/// reading.
#[derive(Clone, Copy)]
pub(crate) struct Pool(NonNull<ngx_pool_t>);

impl Pool {
    /// `None` if `pool` is null.
    ///
    /// # Safety
    /// `pool` must be null or a pool that outlives every use of the result and of what is
    /// allocated from it.
    pub(super) unsafe fn from_raw(pool: *mut ngx_pool_t) -> Option<Self> {
        NonNull::new(pool).map(Pool)
    }

    /// Uninitialised memory for `count` values of `T`; `None` if there is no memory.
    fn room<T>(self, count: usize) -> Option<NonNull<T>> {
        #[cfg(feature = "testing")]
        if crate::faults::fails(crate::faults::POOL) {
            return None;
        }
        let size = size_of::<T>().checked_mul(count)?;
        // SAFETY: the pool exists, by the contract of `from_raw`. It aligns to
        // `NGX_ALIGNMENT`, which is enough for every type of the module.
        NonNull::new(unsafe { ffi::ngx_palloc(self.0.as_ptr(), size) }).map(NonNull::cast)
    }

    /// Puts `value` into the pool; `None` if there is no memory.
    pub(crate) fn put<T: Copy>(self, value: T) -> Option<NonNull<T>> {
        let place = self.room::<T>(1)?;
        // SAFETY: `room` has just allocated this for a `T`.
        unsafe { place.write(value) };
        Some(place)
    }

    /// Puts `count` copies of `value` into the pool; `None` if there is no memory.
    pub(crate) fn put_many<T: Copy>(self, value: T, count: usize) -> Option<NonNull<[T]>> {
        let first = self.room::<T>(count)?;
        for at in 0..count {
            // SAFETY: `at` is less than `count`, for which `room` has allocated memory.
            let place = unsafe { first.add(at) };
            // SAFETY: `place` is within that memory, and aligned for a `T`.
            unsafe { place.write(value) };
        }
        Some(NonNull::slice_from_raw_parts(first, count))
    }

    /// Concatenates the parts and appends a zero byte, which the length does not include.
    /// `None` if there is no memory.
    pub(crate) fn concat(self, parts: &[&[u8]]) -> Option<ngx_str_t> {
        #[cfg(feature = "testing")]
        if crate::faults::fails(crate::faults::POOL) {
            return None;
        }
        let len = parts.iter().fold(0usize, |len, part| len.saturating_add(part.len()));
        // SAFETY: the pool exists, by the contract of `from_raw`.
        let room = unsafe { ffi::ngx_pnalloc(self.0.as_ptr(), len.saturating_add(1)) };
        let data = NonNull::new(room.cast::<u8>())?;
        let mut end = data;
        for part in parts {
            // SAFETY: the allocation has room for the lengths of all parts, and is new memory.
            unsafe { end.as_ptr().copy_from_nonoverlapping(part.as_ptr(), part.len()) };
            // SAFETY: the result is within the allocation, which is larger than all parts.
            end = unsafe { end.add(part.len()) };
        }
        // SAFETY: one more byte was allocated than the parts need.
        unsafe { end.write(0) };
        let data = data.as_ptr();
        Some(ngx_str_t { len, data })
    }

    /// Copies parts of a text into the pool, one after another; `None` if there is no memory.
    pub(crate) fn copy<'a>(self, parts: &[&[u8]]) -> Option<&'a [u8]> {
        let copy = self.concat(parts)?;
        // SAFETY: `concat` has written the bytes, and the pool outlives every use of them, by
        // the contract of `from_raw`.
        Some(unsafe { bytes(copy) })
    }

    /// Allocates `count` zero bytes; `None` if there is no memory.
    pub(crate) fn bytes<'a>(self, count: usize) -> Option<&'a mut [u8]> {
        let mut all = self.put_many(0u8, count)?;
        // SAFETY: `put_many` has written the bytes, and nothing else refers to them.
        Some(unsafe { all.as_mut() })
    }

    /// Registers `handler` to be called with `data` when the pool is destroyed. Returns false if
    /// there is no memory.
    pub(crate) fn on_cleanup(
        self,
        handler: unsafe extern "C" fn(*mut c_void),
        data: usize,
    ) -> bool {
        // SAFETY: the pool exists, by the contract of `from_raw`.
        let cleanup = unsafe { ffi::ngx_pool_cleanup_add(self.0.as_ptr(), 0) };
        let Some(mut cleanup) = NonNull::new(cleanup) else {
            return false;
        };
        // SAFETY: nginx has just allocated the cleanup from the pool, which still exists.
        let cleanup = unsafe { cleanup.as_mut() };
        cleanup.data = data as *mut c_void;
        cleanup.handler = Some(handler);
        true
    }

    /// Registers `handler` as [`Pool::on_cleanup`] does, in memory of the caller's instead of the
    /// pool's, so that it cannot fail.
    ///
    /// # Safety
    /// Nothing else may use `room` until `handler` was called.
    pub(crate) unsafe fn link_cleanup(
        self,
        room: &'static CleanupRoom,
        handler: unsafe extern "C" fn(*mut c_void),
        data: usize,
    ) {
        let pool = self.0.as_ptr();
        let cleanup = room.as_ptr().cast::<ngx_pool_cleanup_t>().cast_mut();
        // SAFETY: the pool exists, by the contract of `from_raw`.
        let next = unsafe { (*pool).cleanup };
        // SAFETY: `room` has the size and alignment of a cleanup, and is not used otherwise.
        unsafe {
            cleanup.write(ngx_pool_cleanup_t {
                handler: Some(handler),
                data: data as *mut c_void,
                next,
            })
        };
        // SAFETY: the pool exists, and this is how `ngx_pool_cleanup_add` links a cleanup.
        unsafe { (*pool).cleanup = cleanup };
    }
}

/// Room for a `ngx_pool_cleanup_t`.
pub(crate) type CleanupRoom = [Cell<usize>; 3];

const _: () = assert!(size_of::<CleanupRoom>() == size_of::<ngx_pool_cleanup_t>());
const _: () = assert!(align_of::<CleanupRoom>() == align_of::<ngx_pool_cleanup_t>());
