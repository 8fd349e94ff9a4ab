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

use crate::nginx::log::log_debug;
use crate::nginx::request::Request;
use crate::registry::slots::Slot;
use crate::statics::PerWorker;

struct State {
    /// Whether the header filter has to stash, in the running configuration: that has an
    /// `error_page`, or restores after every redirect.
    needs_filter: Cell<bool>,
    /// The same for the configuration that is being read, which may be refused.
    will_need_filter: Cell<bool>,
    /// Whether the worker has had a VM that serves a single request (`lua_code_cache off`).
    has_other_vms: Cell<bool>,
}

static STATE: PerWorker<State> = PerWorker(State {
    needs_filter: Cell::new(false),
    will_need_filter: Cell::new(false),
    has_other_vms: Cell::new(false),
});

/// To be called before a configuration is read.
pub(crate) fn begin() {
    STATE.will_need_filter.set(false);
}

/// The configuration that is being read needs the header filter to stash.
pub(crate) fn will_need_filter() {
    STATE.will_need_filter.set(true);
}

/// Makes the configuration that was read the running one.
pub(crate) fn commit() {
    STATE.needs_filter.set(STATE.will_need_filter.get());
}

pub(crate) fn needs_filter() -> bool {
    STATE.needs_filter.get()
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
