//! Stashes what an internal redirect clears. `restore.rs` decides what is given back.
//!
//! `ngx_http_internal_redirect`, `ngx_http_named_location` and
//! `ngx_http_filter_finalize_request` zero `r->ctx`. A request loses two things with it:
//!
//! - the module's context, which is the number of the request's slot. The slot is found
//!   again by the request's address;
//! - the reference of its `ngx.ctx`, which is stashed in the slot. The Lua table itself
//!   outlives the redirect, because lua-nginx-module releases the reference only in a
//!   cleanup of the request's pool.
//!
//! The reference is stashed as early as possible: when Lua creates the table
//! (`lua/resty/core/ctx.lua`), in the module's header filter, which runs before any
//! filter that could finalize the request, and in the `error_page` hook.

use crate::conf::LuaVarModule;
use crate::mode;
use crate::nginx::log::log_debug;
use crate::nginx::request::Request;
use crate::registry::registry;
use crate::registry::slots::{Handle, Slot};
use crate::validation::Readable;

/// The slot of a request, found by the module's context, or by the request's address if a
/// redirect cleared the context, which is then set again. A request without a slot is
/// registered; `None` if that fails.
pub(crate) fn slot_of(r: Request<'_>) -> Option<&'static Slot> {
    if mode::is_foreign() {
        return Readable::from_nginx(r).ok().map(Readable::slot);
    }
    // The context is the slot's number + 1, because nginx initialises contexts with 0.
    let by_ctx = r.ctx::<LuaVarModule>().checked_sub(1);
    let by_ctx = by_ctx.and_then(|id| registry().slots.by_id(id as u32));
    if let Some(slot) = by_ctx.filter(|slot| slot.request() == r.address()) {
        return Some(slot);
    }
    if let Some(slot) = registry().find(r.address()) {
        set_module_ctx(r, slot);
        return Some(slot);
    }
    let slot = Readable::from_nginx(r).ok()?.slot();
    set_module_ctx(r, slot);
    Some(slot)
}

/// Registers a main request at its beginning.
pub(crate) fn register(r: Request<'_>) {
    if let Ok(live) = Readable::beginning(r) {
        set_module_ctx(r, live.slot());
    }
}

/// Registers a request in the log phase, if it skipped the phases that do so.
pub(crate) fn register_late(r: Request<'_>) {
    if mode::is_foreign() || r.ctx::<LuaVarModule>() == 0 {
        slot_of(r);
    }
}

/// Sets the module's context of the request, see [`slot_of`].
fn set_module_ctx(r: Request<'_>, slot: &Slot) {
    if !mode::is_foreign() {
        r.set_ctx::<LuaVarModule>((slot.id() as usize).wrapping_add(1));
    }
}

/// Stashes the reference of the request's `ngx.ctx` if there is one, and then registers the
/// request if it is not yet.
pub(crate) fn stash_if_made(r: Request<'_>) {
    if r.lua_ctx_ref() > 0 {
        if let Some(slot) = slot_of(r) {
            stash(r, slot);
        }
    }
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
            "lua_var: request %uD/%uD has its ngx.ctx stashed, ref %d",
            id,
            generation,
            reference
        );
    }
}

/// Stashes the reference of a `ngx.ctx` that Lua has just created, replaced or restored.
pub(crate) fn made(live: Readable<'_>, reference: i32, vm: u32, was_restored: bool) {
    let slot = live.slot();
    // A restored table gets a new reference, so a different one is expected then.
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
