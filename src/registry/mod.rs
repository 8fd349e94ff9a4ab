//! The registry: the requests of this worker that are known to be live.
//!
//! A request is registered when it begins (`phases.rs`) until nginx destroys its pool. It is found
//! by its handle or by its address, which is only compared. nginx's modules look in `r->ctx` or,
//! after a redirect, among the cleanups of `r->pool` (`ngx_http_realip_module`). But that reads
//! the request, and an address that Lua passes may point to freed memory.

pub(crate) mod by_address;
pub(crate) mod slots;

use core::cell::Cell;
use core::ffi::c_void;

use crate::figures::{self, Figure};
use crate::nginx::request::Request;
use crate::nginx::{self, mem};
use crate::statics::PerWorker;
use by_address::{HEADS, Heads, Index};
use slots::{Chunk, Slot, Slots};

/// The live requests of a worker process. It consists of [`Cell`]s, so that a handler that nginx
/// calls while another one is running finds nothing borrowed.
#[repr(C)]
pub(crate) struct Registry {
    pub(crate) slots: Slots,
    index: Index,
}

static CHAINS: PerWorker<Heads> = PerWorker([const { Cell::new(None) }; HEADS]);

static REGISTRY: PerWorker<Registry> =
    PerWorker(Registry { slots: Slots::new(), index: Index::new(&CHAINS.0) });

#[inline]
pub(crate) const fn registry() -> &'static Registry {
    &REGISTRY.0
}

/// The pool cleanup of a registered request. nginx calls it once, when it destroys the pool.
///
/// # Safety
/// `slot` must be the address of an occupied slot.
unsafe extern "C" fn forget(slot: *mut c_void) {
    // SAFETY: it is a slot, by the contract above, and slots are never freed.
    let slot: &'static Slot = unsafe { &*slot.cast() };
    let Registry { slots, index } = registry();
    index.remove(slot);
    if slots.release(slot, nginx::msec() as u32) {
        figures::set(Figure::RetiredSlots, u64::from(slots.retired()));
    }
    figures::set(Figure::Live, u64::from(slots.live()));
}

impl Registry {
    #[cfg(feature = "testing")]
    pub(crate) fn indexed(&self) -> usize {
        self.index.count()
    }

    /// The slot of the live request at this address. The address is not dereferenced, so it
    /// may be anything.
    #[inline(always)]
    pub(crate) fn find(&self, address: usize) -> Option<&'static Slot> {
        self.index.find(address)
    }

    /// The slot of a request, which is registered if it is not yet. `None` as for
    /// [`Registry::register_new`].
    #[inline]
    pub(crate) fn register(&self, r: Request<'_>) -> Option<&'static Slot> {
        match self.find(r.address()) {
            Some(slot) => Some(slot),
            None => self.register_new(r),
        }
    }

    /// Registers a request that is not registered yet. `None` if there is no memory, or if the
    /// request's pool is being destroyed, because its cleanup would never be called.
    #[inline(always)]
    pub(crate) fn register_new(&self, r: Request<'_>) -> Option<&'static Slot> {
        #[cfg(feature = "testing")]
        if crate::faults::fails(crate::faults::SLOT) {
            return None;
        }
        let pool = r.pool()?;
        let slot = self.slots.acquire(
            r.address(),
            r.connection_address(),
            // SAFETY: zero bytes are free slots, see the fields of `Slot`.
            || unsafe { mem::zeroed::<Chunk>() },
        )?;
        // SAFETY: `acquire` gave a slot that was free, and slots are freed by `forget` alone. So
        // its cleanup is in no other pool.
        unsafe { pool.link_cleanup(&slot.cleanup, forget, core::ptr::from_ref(slot) as usize) };
        self.index.insert(r.address(), slot);
        figures::set(Figure::Live, u64::from(self.slots.live()));
        figures::count(Figure::Registered);
        Some(slot)
    }
}
