//! The registry: the requests of this worker that are known to be live.
//!
//! A static, because nginx gives a variable handler, a pool cleanup or a function
//! called over FFI no other way to it. All of it is [`Cell`]s, so a handler that
//! nginx calls while another is running finds nothing borrowed.

pub mod by_address;
pub mod slots;

use core::cell::Cell;
use core::ffi::c_void;

use crate::figures::{self, Figure};
use crate::mode;
use crate::nginx::request::AnyRequest;
use crate::nginx::{self, mem, ngx_pool_t};
use crate::statics::PerWorker;
use by_address::{HEADS, Heads, Index};
use slots::{Handle, MAX_LIVE, Slot, Slots};

/// The live requests of a worker process.
pub struct Registry {
    /// What is known of each.
    pub slots: Slots,
    index: Index,
    /// Stands for the slot of a request that no memory could be had to register.
    pub(crate) outside: Slot,
}

static CHAINS: PerWorker<Heads> = PerWorker([const { Cell::new(0) }; HEADS]);

static REGISTRY: PerWorker<Registry> = PerWorker(Registry {
    slots: Slots::new(),
    index: Index::new(&CHAINS.0),
    outside: Slot::new(),
});

/// The registry of this process.
#[inline]
pub const fn registry() -> &'static Registry {
    &REGISTRY.0
}

/// The pool cleanup of every registered request; `data` is its slot's number.
///
/// # Safety
/// Only nginx calls it, once for each successful [`Registry::register`].
unsafe extern "C" fn forget(data: *mut c_void) {
    registry().forget(data as usize as u32);
}

impl Registry {
    /// Bytes of address space for all slots.
    pub const RESERVED: usize = size_of::<Slot>() * MAX_LIVE;

    /// Reserves the addresses of all slots that there can be, in the process that
    /// reads the first configuration: Lua that is loaded then knows them too. False
    /// when the process may not have so many.
    pub(crate) fn reserve(&self) -> bool {
        if self.slots.all().is_empty() {
            // SAFETY: a slot is valid when zeroed, see `Slot::new`.
            if let Some(all) = unsafe { mem::reserve(MAX_LIVE) } {
                self.slots.place(all);
            }
        }
        !self.slots.all().is_empty()
    }

    /// Addresses in the index.
    #[cfg(feature = "testing")]
    pub fn indexed(&self) -> u32 {
        self.index.len()
    }

    /// The slot of the live request at this address, which is not dereferenced.
    #[inline]
    pub fn find(&self, address: usize) -> Option<&'static Slot> {
        self.index.find(&self.slots, address)
    }

    /// Registers a request, until its pool is destroyed; one that is registered already
    /// keeps its slot.
    pub(crate) fn register(&self, r: AnyRequest<'_>) -> Option<&'static Slot> {
        match self.find(r.address()) {
            Some(slot) => Some(slot),
            None => self.register_new(r),
        }
    }

    /// Registers a request that nobody can have registered before.
    ///
    /// Allocate, then everything that can fail, then publish: a request is in the
    /// index only if its cleanup is sure to take it out again. `None` without memory,
    /// and when it is not sure which is the request's pool.
    pub(crate) fn register_new(&self, r: AnyRequest<'_>) -> Option<&'static Slot> {
        let pool = r.pool()?;
        if mode::is_foreign() && !self.is_pool_of(pool.address(), r.address()) {
            return None;
        }
        let slot = self
            .slots
            .acquire(r.address(), r.connection_address(), mem::make_writable)?;
        if !pool.on_cleanup(forget, slot.id() as usize) {
            self.slots.release(slot.handle());
            return None;
        }
        self.index.insert(slot);
        figures::row().set(Figure::Live, u64::from(self.slots.live()));
        figures::row().count(Figure::Registered);
        if mode::is_direct() && r.served().is_some() {
            slot.allow_direct();
        }
        Some(slot)
    }

    /// Where nginx has another layout, what is read as the pool may be anything. A main
    /// request is the first thing in its pool (`ngx_http_alloc_request`), so that is the
    /// pool if it ends where the request begins; and a subrequest's if it is that of a
    /// main request which is registered.
    fn is_pool_of(&self, pool: usize, request: usize) -> bool {
        let first = pool.wrapping_add(size_of::<ngx_pool_t>());
        first == request || self.find(first).is_some()
    }

    /// Takes the occupant of a slot out of the registry.
    pub fn forget(&self, id: u32) {
        if let Some(slot) = self.slots.by_id(id) {
            let handle: Handle = slot.handle();
            self.index.remove(&self.slots, slot);
            slot.set_ended(nginx::msec());
            self.slots.release(handle);
            figures::row().set(Figure::Live, u64::from(self.slots.live()));
            figures::row().set(Figure::RetiredSlots, u64::from(self.slots.retired()));
        }
    }
}
