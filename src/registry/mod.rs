//! The registry: the requests of this worker that are known to be live.
//!
//! It is a static, because a variable handler, a pool cleanup and a function called over
//! FFI can reach it in no other way. It consists of [`Cell`]s, so that a handler that nginx
//! calls while another one is running finds nothing borrowed.
//!
//! A request is found by its address, which is only compared. nginx's modules look in
//! `r->ctx` or, after a redirect, among the cleanups of `r->pool` (`ngx_http_realip_module`).
//! But that reads the request, and an address that Lua passes may point to freed memory.

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
    /// One slot for each request.
    pub slots: Slots,
    /// Finds a slot by the address of its request.
    index: Index,
    /// The slot of every request that could not be registered for lack of memory.
    pub(crate) outside: Slot,
}

/// The heads of the index's chains.
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

/// The pool cleanup of a registered request; `data` is the number of its slot. nginx calls
/// it once, when it destroys the pool.
///
/// # Safety
/// Any `data` is safe; the function is `unsafe` only because the type of a cleanup is.
unsafe extern "C" fn forget(data: *mut c_void) {
    registry().forget(data as usize as u32);
}

impl Registry {
    /// Bytes of virtual memory that `reserve` reserves.
    pub const RESERVED: usize = size_of::<Slot>() * MAX_LIVE;

    /// Reserves virtual memory for all slots that there can ever be. The process that reads
    /// the first configuration does so, because Lua code that `init_by_lua*` loads has the
    /// address before workers are forked. Returns false if a limit forbids so much.
    pub(crate) fn reserve(&self) -> bool {
        if self.slots.all().is_empty() {
            // SAFETY: zero bytes are a valid, free slot, see `Slot::new`.
            if let Some(all) = unsafe { mem::reserve(MAX_LIVE) } {
                self.slots.place(all);
            }
        }
        !self.slots.all().is_empty()
    }

    /// Number of entries in the index.
    #[cfg(feature = "testing")]
    pub fn indexed(&self) -> u32 {
        self.index.len()
    }

    /// The slot of the live request at this address. The address is not dereferenced, so it
    /// may be anything.
    #[inline]
    pub fn find(&self, address: usize) -> Option<&'static Slot> {
        self.index.find(&self.slots, address)
    }

    /// The slot of a request, which is registered until its pool is destroyed if it is not
    /// yet. `None` as for [`Registry::register_new`].
    pub(crate) fn register(&self, r: AnyRequest<'_>) -> Option<&'static Slot> {
        match self.find(r.address()) {
            Some(slot) => Some(slot),
            None => self.register_new(r),
        }
    }

    /// Registers a request that is not registered yet.
    ///
    /// The request enters the index last, after everything that can fail, so that every
    /// request in the index has the cleanup that removes it. `None` if there is no memory, or
    /// if nginx's layout differs and `r->pool` cannot be trusted.
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
        figures::set(Figure::Live, u64::from(self.slots.live()));
        figures::count(Figure::Registered);
        if mode::is_direct() && r.served().is_some() {
            slot.allow_direct();
        }
        Some(slot)
    }

    /// Whether `pool`, which was read from the request at `request`, is the request's pool.
    /// If nginx's layout differs, what was read may be anything.
    ///
    /// A main request is the first allocation in its pool (`ngx_http_alloc_request`), so it
    /// begins where the pool's header ends. A subrequest is in the pool of its main request,
    /// which is registered.
    fn is_pool_of(&self, pool: usize, request: usize) -> bool {
        let first = pool.wrapping_add(size_of::<ngx_pool_t>());
        first == request || self.find(first).is_some()
    }

    /// Removes the occupant of a slot from the registry and frees the slot.
    pub fn forget(&self, id: u32) {
        if let Some(slot) = self.slots.by_id(id) {
            let handle: Handle = slot.handle();
            self.index.remove(&self.slots, slot);
            slot.set_ended(nginx::msec());
            self.slots.release(handle);
            figures::set(Figure::Live, u64::from(self.slots.live()));
            figures::set(Figure::RetiredSlots, u64::from(self.slots.retired()));
        }
    }
}
