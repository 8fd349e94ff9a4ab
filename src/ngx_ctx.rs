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

/// Whether the configuration being read needs the stash of the header filter: it has an
/// `error_page`, or restores after every redirect.
static NEEDS_FILTER: PerWorker<Cell<bool>> = PerWorker(Cell::new(false));

pub(crate) fn set_needs_filter(needs: bool) {
    NEEDS_FILTER.set(needs);
}

pub(crate) fn needs_filter() -> bool {
    NEEDS_FILTER.get()
}

/// Stashes the reference of the request's `ngx.ctx`, if there is one, in its slot.
///
/// A reference that Lua has reported keeps the VM that reported it. One that is seen
/// first here belongs to VM 0, which serves the whole worker.
#[inline(never)]
pub(crate) fn stash(r: Request<'_>, slot: &Slot) {
    let reference = r.lua_ctx_ref();
    if reference > 0 && slot.ctx().is_none_or(|(known, _)| known != reference) {
        slot.set_ctx(reference, 0);
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
