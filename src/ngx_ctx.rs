//! What a redirect would lose, stashed before it. `restore.rs` gives it back.
//!
//! `ngx_http_internal_redirect`, `ngx_http_named_location` and
//! `ngx_http_filter_finalize_request` zero `r->ctx`. Two things of a request go
//! with it and are kept in its slot:
//!
//! - the module's own context, which is the number of that slot;
//! - the reference of its `ngx.ctx`. The Lua table itself outlives the redirect:
//!   lua-nginx-module releases the reference from the request's pool.
//!
//! The reference reaches the slot as early as it can: when Lua makes the table
//! (`lua/resty/core/ctx.lua`), in the module's header filter, which runs before
//! any filter that could finalize the request, and in the `error_page` hook.

use crate::conf;
use crate::mode;
use crate::nginx::log::log_debug;
use crate::nginx::request::Request;
use crate::registry::registry;
use crate::registry::slots::{Handle, Slot};
use crate::request::Readable;

/// Finds the request's slot by the module's context, or by its address when a
/// redirect took the context, which is then put back. Registers a new request.
pub(crate) fn slot_of(r: Request<'_>) -> Option<&'static Slot> {
    let ctx_index = conf::ctx_index();
    if mode::is_foreign() {
        return Readable::from_nginx(r).ok().map(Readable::slot);
    }
    // The context is the slot's number + 1, so that 0 is a request without one.
    let by_ctx = r.ctx(ctx_index).checked_sub(1);
    let by_ctx = by_ctx.and_then(|id| registry().slots.by_id(id as u32));
    if let Some(slot) = by_ctx.filter(|slot| slot.request() == r.address()) {
        return Some(slot);
    }
    if let Some(slot) = registry().find(r.address()) {
        set_own(r, slot);
        return Some(slot);
    }
    let slot = Readable::from_nginx(r).ok()?.slot();
    set_own(r, slot);
    Some(slot)
}

/// Registers a request that begins.
pub(crate) fn begin(r: Request<'_>) {
    if let Ok(live) = Readable::beginning(r) {
        set_own(r, live.slot());
    }
}

/// Registers a request that met no phase in which it would have been.
pub(crate) fn end(r: Request<'_>) {
    if mode::is_foreign() || r.ctx(conf::ctx_index()) == 0 {
        slot_of(r);
    }
}

/// Makes the slot's number the module's context.
fn set_own(r: Request<'_>, slot: &Slot) {
    if !mode::is_foreign() {
        r.set_ctx(conf::ctx_index(), (slot.id() as usize).wrapping_add(1));
    }
}

/// Keeps the reference of the request's `ngx.ctx`, if it has one now, registering the request.
pub(crate) fn stash_if_made(r: Request<'_>) {
    if r.lua_ctx_ref() > 0 {
        if let Some(slot) = slot_of(r) {
            stash(r, slot);
        }
    }
}

/// The same, of a request that is registered.
///
/// A reference that Lua reported itself stays with the VM it was reported from;
/// one seen first here belongs to the VM that serves the whole worker (0).
pub(crate) fn stash(r: Request<'_>, slot: &Slot) {
    let reference = r.lua_ctx_ref();
    if reference > 0 && slot.ctx().is_none_or(|(known, _)| known != reference) {
        slot.set_ctx(reference, 0);
        let Handle { id, generation } = slot.handle();
        log_debug!(
            r,
            "lua_var: request %uD/%uD has its ngx.ctx stashed, ref %d",
            id,
            generation,
            reference
        );
    }
}

/// Notes the reference of a `ngx.ctx` that Lua has just made, or given back.
pub(crate) fn made(live: Readable<'_>, reference: i32, vm: u32, was_restored: bool) {
    let slot = live.slot();
    // One that is given back has a new reference.
    if !was_restored && slot.ctx().is_some_and(|(lost, _)| lost != reference) {
        let Handle { id, generation } = slot.handle();
        log_debug!(
            live.request(),
            "lua_var: request %uD/%uD has another ngx.ctx now, ref %d",
            id,
            generation,
            reference
        );
    }
    slot.set_ctx(reference, vm);
}
