//! Stashes the `ngx.ctx` that an internal redirect clears. `restore.rs` decides who gets it back.
//!
//! `ngx_http_internal_redirect`, `ngx_http_named_location` and
//! `ngx_http_filter_finalize_request` zero `r->ctx`, and with it the reference of `ngx.ctx`. The
//! Lua table itself outlives the redirect, because lua-nginx-module releases the reference only in
//! a cleanup of the request's pool. So the reference is stashed in the request's slot: when Lua
//! creates the table (`lua/resty/core/ctx.lua`), in the `error_page` hook, and in the module's header
//! filter, which runs before any filter that could finalize the request. The last two are for a
//! table that Lua did not create, such as that of a subrequest (`ngx.location.capture`).

use core::cell::Cell;

use crate::conf::{MainConf, SrvConf};
use crate::nginx::log::log_debug;
use crate::nginx::request::Request;
use crate::registry::slots::Slot;
use crate::statics::PerWorker;

struct State {
    /// See [`MainConf`], of the running configuration.
    needs_filter: Cell<bool>,
    has_ssl_ctx_off: Cell<bool>,
    /// Whether the worker has had a VM that serves a single request (`lua_code_cache off`).
    has_other_vms: Cell<bool>,
}

static STATE: PerWorker<State> = PerWorker(State {
    needs_filter: Cell::new(false),
    has_ssl_ctx_off: Cell::new(false),
    has_other_vms: Cell::new(false),
});

/// Makes a configuration the running one.
pub(crate) fn configure(conf: &MainConf) {
    STATE.needs_filter.set(conf.needs_filter);
    STATE.has_ssl_ctx_off.set(conf.has_ssl_ctx_off);
}

pub(crate) fn needs_filter() -> bool {
    STATE.needs_filter.get()
}

/// Whether the `ngx.ctx` of the handshake shows through that of a request. Where it is not known
/// which server the request is of, `lua_var_ssl_ctx off` of any server counts.
pub(crate) fn inherits_ssl_ctx(r: Option<Request<'_>>) -> bool {
    let conf = r.and_then(|r| r.conf::<SrvConf>());
    conf.map_or(!STATE.has_ssl_ctx_off.get(), SrvConf::inherits_ssl_ctx)
}

pub(crate) fn has_other_vms() {
    STATE.has_other_vms.set(true);
}

/// The VM of a reference that Lua has not reported, where there are several: none of them.
const UNKNOWN_VM: u32 = u32::MAX;

/// Stashes the reference of the request's `ngx.ctx`, if there is one, in its slot.
///
/// A reference that Lua has reported keeps the VM that reported it. One that is seen first here, such
/// as that of a subrequest, belongs to VM 0, which serves the whole worker, if there is no other.
#[inline(never)]
pub(crate) fn stash(r: Request<'_>, slot: &Slot) {
    let reference = r.lua_ctx_ref();
    if reference > 0 && slot.ctx().is_none_or(|(known, _)| known != reference) {
        slot.set_ctx(reference, if STATE.has_other_vms.get() { UNKNOWN_VM } else { 0 });
        log_debug!(r; "ngx.ctx of ", slot.handle(), " stashed, ref ", reference.unsigned_abs());
    }
}

/// Stashes the reference of the `ngx.ctx` that a request has got in the Lua VM `vm`.
pub(crate) fn made(r: Request<'_>, slot: &Slot, vm: u32) {
    let reference = r.lua_ctx_ref();
    if reference > 0 {
        slot.set_ctx(reference, vm);
    }
}
