//! Stashes the `ngx.ctx` that an internal redirect clears. `restore.rs` decides who gets it back.
//!
//! `ngx_http_internal_redirect`, `ngx_http_named_location` and
//! `ngx_http_filter_finalize_request` zero `r->ctx`, and with it the reference of `ngx.ctx`. The
//! Lua table itself outlives the redirect, because lua-nginx-module releases the reference only in
//! a cleanup of the request's pool. So the reference is stashed in the request's slot: in the
//! `error_page` hook, in the module's header filter, which runs before any filter that could
//! finalize the request, and, where other redirects have to be covered, when Lua creates the table.

use core::cell::Cell;

use crate::nginx::log::log_debug;
use crate::nginx::request::Request;
use crate::registry::registry;
use crate::registry::slots::{Handle, Slot};
use crate::statics::PerWorker;
use crate::validation::LiveRequest;

/// Where the configuration needs `ngx.ctx` to be stashed, besides the hook.
struct Needed {
    /// In the header filter, because a filter may zero `r->ctx` before an error page.
    in_filter: Cell<bool>,
    /// When Lua creates it, because it may have to be restored after any redirect.
    early: Cell<bool>,
}

static NEEDED: PerWorker<Needed> = PerWorker(Needed {
    in_filter: Cell::new(false),
    early: Cell::new(false),
});

/// Forgets what the last configuration needed.
pub(crate) fn forget_conf() {
    NEEDED.in_filter.set(false);
    NEEDED.early.set(false);
}

/// Notes that the configuration being read has an `error_page`, or needs a stash before every
/// redirect.
pub(crate) fn must_stash(has_page: bool, always: bool) {
    NEEDED
        .in_filter
        .set(NEEDED.in_filter.get() || has_page || always);
    NEEDED.early.set(NEEDED.early.get() || always);
}

/// Whether `ngx.ctx` is stashed in the header filter.
pub(crate) fn stashes_in_filter() -> bool {
    NEEDED.in_filter.get()
}

/// Whether `ngx.ctx` is stashed when Lua creates it.
pub(crate) fn stashes_early() -> bool {
    NEEDED.early.get()
}

/// Stashes the reference of the request's `ngx.ctx`, if there is one, in its slot.
///
/// A reference that Lua has reported keeps the VM that reported it. One that is seen
/// first here belongs to VM 0, which serves the whole worker.
pub(crate) fn stash(r: Request<'_>, slot: &Slot) {
    let reference = r.lua_ctx_ref();
    if reference > 0 && slot.ctx().is_none_or(|(known, _)| known != reference) {
        slot.set_ctx(reference, 0);
        let Handle { id, generation } = slot.handle();
        log_debug!(
            r,
            "lua_var: ngx.ctx of request %uD/%uD stashed, ref %d",
            id,
            generation,
            reference
        );
    }
}

/// Stashes the reference that the `ngx.ctx` of a request has in the Lua VM `vm`.
pub(crate) fn made(live: LiveRequest<'_>, reference: i32, vm: u32) {
    if let Some(slot) = registry().register(*live) {
        slot.set_ctx(reference, vm);
    }
}
