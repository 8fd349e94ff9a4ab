//! nginx's pools.

use core::ffi::c_void;
use core::ptr::NonNull;

use ngx::ffi;

use super::string::bytes;
use super::{ngx_array_t, ngx_pool_t, ngx_str_t};

/// A pool that is there: a live request's, a cycle's, or one of the configuration that
/// is being read.
#[derive(Clone, Copy)]
pub(crate) struct Pool(NonNull<ngx_pool_t>);

impl Pool {
    /// # Safety
    /// `pool` must be null or a pool that outlives every use of the result.
    pub(super) unsafe fn from_raw(pool: *mut ngx_pool_t) -> Option<Self> {
        NonNull::new(pool).map(Pool)
    }

    pub(crate) fn address(self) -> usize {
        self.0.as_ptr() as usize
    }

    /// Room for a `T`; `None` without memory.
    fn room<T>(self, count: usize) -> Option<NonNull<T>> {
        #[cfg(feature = "testing")]
        if crate::faults::fails(crate::faults::POOL) {
            return None;
        }
        let size = size_of::<T>().checked_mul(count)?;
        // SAFETY: `from_raw`'s contract; nginx's pools align for every type of the module.
        NonNull::new(unsafe { ffi::ngx_palloc(self.0.as_ptr(), size) }).map(NonNull::cast)
    }

    /// `value` in the pool, for as long as the pool lives; `None` without memory.
    pub(crate) fn put<T: Copy>(self, value: T) -> Option<NonNull<T>> {
        let place = self.room::<T>(1)?;
        // SAFETY: just allocated for a `T`.
        unsafe { place.write(value) };
        Some(place)
    }

    /// `count` copies of `value` in the pool; `None` without memory.
    pub(crate) fn put_many<T: Copy>(self, value: T, count: usize) -> Option<NonNull<[T]>> {
        let first = self.room::<T>(count)?;
        for at in 0..count {
            // SAFETY: `at` is within what was allocated.
            let place = unsafe { first.add(at) };
            // SAFETY: room for a `T`, just allocated from the pool.
            unsafe { place.write(value) };
        }
        Some(NonNull::slice_from_raw_parts(first, count))
    }

    /// The parts one after another, and a zero, which is not counted; `None` without memory.
    pub(crate) fn concat(self, parts: &[&[u8]]) -> Option<ngx_str_t> {
        #[cfg(feature = "testing")]
        if crate::faults::fails(crate::faults::POOL) {
            return None;
        }
        let len = parts
            .iter()
            .fold(0usize, |len, part| len.saturating_add(part.len()));
        // SAFETY: a pool that is there, by the contract of `from_raw`.
        let room = unsafe { ffi::ngx_pnalloc(self.0.as_ptr(), len.saturating_add(1)) };
        let data = NonNull::new(room.cast::<u8>())?;
        let mut end = data;
        for part in parts {
            // SAFETY: the parts fit, their lengths were added up above.
            unsafe {
                end.as_ptr()
                    .copy_from_nonoverlapping(part.as_ptr(), part.len())
            };
            // SAFETY: within what was allocated, or its end.
            end = unsafe { end.add(part.len()) };
        }
        // SAFETY: the byte that was allocated beyond them.
        unsafe { end.write(0) };
        let data = data.as_ptr();
        Some(ngx_str_t { len, data })
    }

    /// A copy of the parts, one after another, for as long as the pool lives; `None` without
    /// memory.
    pub(crate) fn copy<'a>(self, parts: &[&[u8]]) -> Option<&'a [u8]> {
        let copy = self.concat(parts)?;
        // SAFETY: written by `concat`; the pool outlives every use, by `from_raw`'s contract.
        Some(unsafe { bytes(copy) })
    }

    /// So many zero bytes; `None` without memory.
    pub(crate) fn bytes<'a>(self, count: usize) -> Option<&'a mut [u8]> {
        let mut all = self.put_many(0u8, count)?;
        // SAFETY: just written, and nobody else has it.
        Some(unsafe { all.as_mut() })
    }

    /// An array for `n` elements of `T`, or null.
    pub(crate) fn array<T>(self, n: usize) -> *mut ngx_array_t {
        // SAFETY: a pool that is there, by the contract of `from_raw`.
        unsafe { ffi::ngx_array_create(self.0.as_ptr(), n, size_of::<T>()) }
    }

    /// Has `handler` called with `data` when the pool is destroyed; false without memory.
    pub(crate) fn on_cleanup(
        self,
        handler: unsafe extern "C" fn(*mut c_void),
        data: usize,
    ) -> bool {
        #[cfg(feature = "testing")]
        if crate::faults::fails(crate::faults::CLEANUP) {
            return false;
        }
        // SAFETY: a pool that is there, by the contract of `from_raw`.
        let cleanup = unsafe { ffi::ngx_pool_cleanup_add(self.0.as_ptr(), 0) };
        let Some(mut cleanup) = NonNull::new(cleanup) else {
            return false;
        };
        // SAFETY: just allocated from a pool that is still there.
        let cleanup = unsafe { cleanup.as_mut() };
        cleanup.data = data as *mut c_void;
        cleanup.handler = Some(handler);
        true
    }
}
