//! Validation: how the request that Lua names becomes one that may be read.
//!
//! The slot, the generation, the signature, the connection and the pool have to agree before any
//! other member of a request is read. The result is a `LiveRequest`. Only this file makes
//! them.

use core::ops::Deref;

use crate::figures::{self, Figure};
use crate::layout;
use crate::nginx::log::{ERR, log_error};
use crate::nginx::request::{AnyRequest, Request, Unproved};
use crate::nginx::{SIGNATURE, ngx_http_request_t};
use crate::refusal::Refusal;
use crate::registry::registry;
use crate::registry::slots::{Handle, Slot};

/// How a call from Lua names the request that it is about.
#[derive(Clone, Copy)]
pub(crate) enum Named {
    /// It does not, or it gives the address of the current request: the one that
    /// lua-nginx-module runs Lua for, if there is one.
    Current(Option<Unproved>),
    /// By a handle.
    Handle(Handle),
    /// By the handle of a fake request, which names no request. The current one is given, too.
    Fake(Option<Unproved>),
    /// By something that names no live request. The address of any other request is such a
    /// thing, because an address has no generation.
    Nothing,
}

/// One call into the module, from Lua or nginx. A request that is validated during the call is
/// live until it returns, because nginx frees requests only in its event loop, to which
/// nothing returns during the call.
pub(crate) struct Call(());

impl Call {
    #[inline(always)]
    pub(crate) fn enter() -> Self {
        Call(())
    }
}

/// A request that was validated. It is live during the call `'a`, and has variables.
#[derive(Clone, Copy)]
pub(crate) struct LiveRequest<'a>(Request<'a>);

impl<'a> Deref for LiveRequest<'a> {
    type Target = Request<'a>;

    #[inline(always)]
    fn deref(&self) -> &Request<'a> {
        &self.0
    }
}

impl<'a> LiveRequest<'a> {
    /// The request in a slot, if the memory at its address still holds that request.
    #[inline(always)]
    pub(crate) fn of(_call: &'a Call, slot: &'static Slot) -> Result<Self, Refusal> {
        let raw = slot.request() as *mut ngx_http_request_t;
        if raw.is_null() {
            return Err(Refusal::Stale);
        }
        // SAFETY: it is an occupied slot's request. Its pool has the cleanup that frees the slot, see
        // `Registry::register_new`, so that the memory is still there.
        let r = unsafe { Request::from_nginx(raw) };
        if r.signature() == SIGNATURE
            && r.connection_address() == slot.connection()
            && r.pool().is_some()
        {
            Ok(LiveRequest(r))
        } else {
            Err(Refusal::Stale)
        }
    }

    #[inline(always)]
    fn in_slot(call: &'a Call, slot: Option<&'static Slot>) -> Result<Self, Refusal> {
        match slot {
            Some(slot) => Self::of(call, slot),
            None if layout::differs() => Err(Refusal::Layout),
            None => Err(Refusal::Stale),
        }
    }

    #[inline(always)]
    pub(crate) fn by_handle(call: &'a Call, handle: Handle) -> Result<Self, Refusal> {
        Self::in_slot(call, registry().slots.get(handle))
    }

    /// The live request at an address, which is dereferenced only if there is one. An address has no
    /// generation: if a request has ended and another one lives there now, this returns that one.
    #[inline]
    pub(crate) fn by_address(call: &'a Call, address: usize) -> Result<Self, Refusal> {
        Self::in_slot(call, registry().find(address))
    }

    /// The request that lua-nginx-module runs Lua for.
    #[inline(always)]
    pub(crate) fn current(call: &'a Call, current: Option<Unproved>) -> Result<Self, Refusal> {
        let current = current.ok_or(Refusal::NoRequest)?;
        match registry().find(current.address()) {
            Some(slot) => Self::of(call, slot),
            None => Self::unregistered(call, current),
        }
    }

    /// The current request if it is not registered: a fake request, one for which there was no
    /// memory, a subrequest that skips the phases, or one that has ended.
    #[cold]
    fn unregistered(call: &'a Call, current: Unproved) -> Result<Self, Refusal> {
        if layout::differs() {
            return Err(Refusal::Layout);
        }
        let any = proved(call, Some(current)).ok_or(Refusal::Stale)?;
        let r = any.served().ok_or(Refusal::Fake)?;
        match layout::agrees(r) {
            true => Ok(LiveRequest(r)),
            false => Err(Refusal::Layout),
        }
    }

    #[inline(always)]
    pub(crate) fn named(call: &'a Call, named: Named) -> Result<Self, Refusal> {
        match named {
            Named::Current(current) => Self::current(call, current),
            Named::Handle(handle) => Self::by_handle(call, handle),
            Named::Fake(current) => match Self::current(call, current) {
                Err(why @ (Refusal::Fake | Refusal::Layout)) => Err(why),
                _ => Err(Refusal::Stale),
            },
            Named::Nothing => Err(Refusal::Stale),
        }
    }
}

/// The current request, if it is known to be live: it is registered, or a connection runs it.
pub(crate) fn proved(_call: &Call, current: Option<Unproved>) -> Option<AnyRequest<'_>> {
    let current = current?;
    let is_live = registry().find(current.address()).is_some()
        || !layout::differs() && current.has_connection();
    // SAFETY: a registered request is live, see `Registry::register_new`, and so is one that a
    // connection runs. It stays so during the call.
    is_live.then(|| unsafe { current.assume_live() })
}

/// Registers a request that is live, if it is not registered yet. `None`, after logging an error,
/// if there is no memory.
pub(crate) fn register(r: Request<'_>) -> Option<&'static Slot> {
    let slot = registry().register(r);
    if slot.is_none() {
        not_registered(r);
    }
    slot
}

/// Counts and logs that there was no memory for a slot.
#[cold]
pub(crate) fn not_registered(r: Request<'_>) {
    figures::count(Figure::NotRegistered);
    log_error!(
        ERR, r.log();
        "request not registered: out of memory; it has no handle, may be refused as stale, \
         and loses its ngx.ctx in a redirect"
    );
}
