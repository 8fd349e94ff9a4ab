//! Allocation from nginx's pools. Whatever is allocated lives until its pool is destroyed.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::NonNull;

use ngx::ffi::{self, ngx_pool_cleanup_t};

use super::ngx_pool_t;
use crate::text::{Writer, written};

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

    /// Zero bytes; `None` if there is no memory.
    fn zeroed(self, size: usize) -> Option<NonNull<u8>> {
        #[cfg(feature = "testing")]
        if crate::faults::fails(crate::faults::POOL) {
            return None;
        }
        // SAFETY: the pool exists, by the contract of `from_raw`.
        NonNull::new(unsafe { ffi::ngx_pcalloc(self.0.as_ptr(), size) }).map(NonNull::cast)
    }

    /// Puts `value` into the pool; `None` if there is no memory.
    pub(crate) fn put<T: Copy>(self, value: T) -> Option<NonNull<T>> {
        let place = self.zeroed(size_of::<T>())?.cast();
        // SAFETY: it has the size of a `T`, and the pool aligns to `NGX_ALIGNMENT`, which is enough
        // for every type of the module.
        unsafe { place.write(value) };
        Some(place)
    }

    /// Puts the text that `write` writes into the pool, with a zero byte behind it. `write` is called
    /// twice; `spare` is by how many bytes the text may have grown then. `None` if there is no
    /// memory.
    pub(crate) fn text<'a>(
        self,
        spare: usize,
        write: impl Fn(&mut Writer<'_>),
    ) -> Option<&'a [u8]> {
        let mut measured = Writer::new(&mut []);
        write(&mut measured);
        let size = measured.whole().saturating_add(spare);
        let mut room = NonNull::slice_from_raw_parts(self.zeroed(size.saturating_add(1))?, size);
        // SAFETY: the memory is new, and the pool outlives every use of it, by the contract of
        // `from_raw`.
        Some(written(unsafe { room.as_mut() }, write))
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
