//! Validation: how the request that Lua names becomes one that may be read.
//!
//! The slot, the generation, the signature and the connection have to agree before any other
//! member of a request is read. The result is a [`LiveRequest`], or a [`Readable`], which has
//! variables, or a [`Direct`], whose members may be read. Only this file makes them.

use core::ffi::c_void;

use crate::figures::{self, Figure};
use crate::mode::{self, Mode};
use crate::nginx::log::{ERR, Log, log_error};
use crate::nginx::request::{AnyRequest, Request};
use crate::nginx::{SIGNATURE, ngx_http_request_t};
use crate::refusal::Refusal;
use crate::registry::registry;
use crate::registry::slots::{Handle, Slot};

/// How a call from Lua names the request that it is about.
#[derive(Clone, Copy)]
pub(crate) enum Named<'a> {
    /// It does not, or it gives the address of the current request: the one that
    /// lua-nginx-module runs Lua for, if there is one.
    Current(Option<AnyRequest<'a>>),
    /// By a handle.
    Handle(Handle),
    /// By something that names no live request. The address of any other request is such a
    /// thing, because an address has no generation.
    Nothing,
}

impl<'a> Named<'a> {
    /// The request where the layout differs: only nginx's functions may read its members.
    pub(crate) fn opaque(self) -> Result<AnyRequest<'a>, Refusal> {
        match self {
            Named::Current(current) => current.ok_or(Refusal::NoRequest),
            Named::Handle(handle) => {
                let slot = registry().slots.get(handle);
                let raw = slot.map_or(0, Slot::request) as *mut ngx_http_request_t;
                // SAFETY: `raw` is null, or an occupied slot's request: see `LiveRequest::of`.
                unsafe { AnyRequest::from_raw(raw) }.ok_or(Refusal::Stale)
            }
            Named::Nothing => Err(Refusal::Stale),
        }
    }
}

/// One call into the module, from Lua or nginx. A request that is validated during the call is
/// live until it returns, because nginx frees requests only in its event loop, to which
/// nothing returns during the call.
pub struct Call(());

impl Call {
    /// Begins a call, in the function that Lua or nginx calls.
    #[inline(always)]
    pub fn enter() -> Self {
        Call(())
    }
}

/// Whether the memory at a slot's address still holds a request, with the same connection.
#[inline(always)]
fn is_in(r: AnyRequest<'_>, slot: &Slot) -> bool {
    r.signature() == SIGNATURE && r.connection_address() == slot.connection()
}

/// A request that was validated. It is live during the call `'a`.
#[derive(Clone, Copy)]
pub struct LiveRequest<'a> {
    r: AnyRequest<'a>,
    slot: &'static Slot,
}

impl<'a> LiveRequest<'a> {
    /// The request in a slot.
    #[inline]
    fn of(_call: &'a Call, slot: &'static Slot) -> Result<Self, Refusal> {
        let raw = slot.request() as *mut ngx_http_request_t;
        // SAFETY: `raw` is null, or an occupied slot's request. That is live until its pool
        // cleanup, without which `Registry::register_new` adds none, frees the slot.
        let Some(r) = (unsafe { AnyRequest::from_raw(raw) }) else {
            return Err(Refusal::Stale);
        };
        if is_in(r, slot) {
            Ok(LiveRequest { r, slot })
        } else {
            Err(Refusal::Stale)
        }
    }

    /// The request that a handle names.
    #[inline]
    pub fn by_handle(call: &'a Call, handle: Handle) -> Result<Self, Refusal> {
        match registry().slots.get(handle) {
            Some(slot) => Self::of(call, slot),
            None => Err(Refusal::Stale),
        }
    }

    /// The live request at an address, which is dereferenced only if there is one.
    ///
    /// An address has no generation: if a request has ended and another one lives at its
    /// address now, this returns the other one.
    #[inline]
    pub fn by_address(call: &'a Call, address: usize) -> Result<Self, Refusal> {
        match registry().find(address) {
            Some(slot) => Self::of(call, slot),
            None => Err(Refusal::Stale),
        }
    }

    /// The request that a call names.
    #[inline]
    pub(crate) fn named(call: &'a Call, named: Named<'a>) -> Result<Self, Refusal> {
        match named {
            Named::Current(current) => Self::current(call, current),
            Named::Handle(handle) => Self::by_handle(call, handle),
            Named::Nothing => Err(Refusal::Stale),
        }
    }

    /// The request that lua-nginx-module runs Lua for, which is registered if it was not.
    #[inline]
    pub(crate) fn current(
        call: &'a Call,
        current: Option<AnyRequest<'a>>,
    ) -> Result<Self, Refusal> {
        let r = current.ok_or(Refusal::NoRequest)?;
        match registry().find(r.address()) {
            Some(slot) => Self::of(call, slot),
            None => Self::register(r),
        }
    }

    /// Registers a request that nginx or lua-nginx-module is running.
    pub(crate) fn register(r: AnyRequest<'a>) -> Result<Self, Refusal> {
        if r.signature() != SIGNATURE {
            return Err(Refusal::Stale);
        }
        Self::registered(r, registry().register(r))
    }

    fn registered(r: AnyRequest<'a>, slot: Option<&'static Slot>) -> Result<Self, Refusal> {
        match slot {
            Some(slot) => Ok(LiveRequest { r, slot }),
            None if mode::get() == Mode::Handlers => Err(Refusal::Layout),
            None => {
                figures::count(Figure::NotRegistered);
                log_error!(
                    ERR,
                    r.log(),
                    "lua_var: no memory to register the request, its handle and its \
                     ngx.ctx after a redirect are not available"
                );
                Err(Refusal::NoMemory)
            }
        }
    }

    /// The slot that holds the request.
    pub fn slot(self) -> &'static Slot {
        self.slot
    }

    /// The TLS connection, which is not dereferenced. A request that was made up for a
    /// handshake has that of the client (`ngx_http_lua_ssl_cert_handler`).
    pub(crate) fn tls(self) -> Option<*const c_void> {
        self.r.tls()
    }

    /// The log for what concerns the request.
    pub(crate) fn log(self) -> Log {
        self.r.log()
    }

    /// The request, if it has variables.
    #[inline]
    pub fn readable(self) -> Result<Readable<'a>, Refusal> {
        match self.r.served() {
            Some(r) => Ok(Readable { r, slot: self.slot }),
            None => Err(Refusal::Fake),
        }
    }
}

/// A live request that has variables and a configuration.
#[derive(Clone, Copy)]
pub struct Readable<'a> {
    r: Request<'a>,
    slot: &'static Slot,
}

impl<'a> Readable<'a> {
    /// The request that a handle names.
    #[inline]
    pub fn by_handle(call: &'a Call, handle: Handle) -> Result<Self, Refusal> {
        LiveRequest::by_handle(call, handle)?.readable()
    }

    /// The live request at an address, as [`LiveRequest::by_address`].
    #[inline]
    pub fn by_address(call: &'a Call, address: usize) -> Result<Self, Refusal> {
        LiveRequest::by_address(call, address)?.readable()
    }

    /// The request that a call names. The current one is read even if there is no memory to
    /// register it, because that call needs no handle.
    #[inline]
    pub(crate) fn named(call: &'a Call, named: Named<'a>) -> Result<Self, Refusal> {
        let live = LiveRequest::named(call, named).and_then(LiveRequest::readable);
        if let (Err(Refusal::NoMemory), Named::Current(Some(current))) = (&live, named) {
            if let Some(r) = current.served() {
                let slot = &registry().outside;
                return Ok(Readable { r, slot });
            }
        }
        live
    }

    /// A request for which nginx calls the module; it is registered if it was not.
    pub(crate) fn from_nginx(r: Request<'a>) -> Result<Self, Refusal> {
        let slot = LiveRequest::register(*r)?.slot();
        Ok(Readable { r, slot })
    }

    /// Registers a request that begins, and so cannot be registered already.
    pub(crate) fn beginning(r: Request<'a>) -> Result<Self, Refusal> {
        let slot = LiveRequest::registered(*r, registry().register_new(*r))?.slot();
        Ok(Readable { r, slot })
    }

    /// The slot that holds the request.
    pub fn slot(self) -> &'static Slot {
        self.slot
    }

    /// The request itself.
    pub(crate) fn request(self) -> Request<'a> {
        self.r
    }

    /// The request, if its members may be read.
    #[inline]
    pub fn direct(self) -> Option<Direct<'a>> {
        mode::is_direct().then_some(Direct(self.r))
    }
}

/// A readable request whose members may be read, because the layout agrees.
#[derive(Clone, Copy)]
pub struct Direct<'a>(Request<'a>);

impl<'a> Direct<'a> {
    /// The request that a handle names; `None` if it is refused or its members may not be
    /// read.
    #[inline(always)]
    pub fn by_handle(call: &'a Call, handle: Handle) -> Option<Self> {
        Self::of(call, registry().slots.readable(handle)?)
    }

    /// The live request at an address; `None` likewise.
    #[inline(always)]
    pub fn by_address(call: &'a Call, address: usize) -> Option<Self> {
        Self::of(call, registry().find(address)?)
    }

    #[inline(always)]
    fn of(_call: &'a Call, slot: &'static Slot) -> Option<Self> {
        let raw = slot.readable() as *mut ngx_http_request_t;
        // SAFETY: `raw` is null, or an occupied slot's request: see `LiveRequest::of`.
        // `Registry::register_new` makes only those readable that have variables.
        let r = unsafe { Request::from_nginx(raw) }?;
        is_in(*r, slot).then_some(Direct(r))
    }

    /// The request itself.
    #[inline(always)]
    pub(crate) fn request(self) -> Request<'a> {
        self.0
    }
}
