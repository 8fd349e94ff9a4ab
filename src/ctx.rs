//! What a redirect would lose: stashing it before, giving it back after.
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

use crate::conf::{LocConf, MainConf, Restore};
use crate::request::LiveRequest;
use crate::slots::Slot;
use crate::sys::{self, Request, VarValue};
use crate::worker::{Mode, worker};

/// Finds the request's slot by the module's context, or by its address when a
/// redirect took the context, which is then put back. Registers a new request.
pub(crate) fn slot_of(r: Request) -> Option<&'static Slot> {
    if worker().mode.get() == Mode::Handlers {
        return None;
    }
    let ctx_index = crate::ctx_index();
    // The context is the slot's number + 1, so that 0 is a request without one.
    if let Some(id) = r.ctx(ctx_index).checked_sub(1) {
        let slot = worker().slots.by_id(id as u32);
        if slot.is_some_and(|slot| slot.request() == r.address()) {
            return slot;
        }
    }
    let known = worker().find(r.address()).is_some();
    let slot = LiveRequest::register(r).ok()?.slot();
    r.set_ctx(ctx_index, (slot.id() as usize).wrapping_add(1));
    if known {
        sys::log_debug!(r, "lua_var: module ctx of request %p put back", r.as_ptr());
    }
    Some(slot)
}

/// Keeps the reference of the request's `ngx.ctx`, if it has one now.
///
/// A reference that Lua reported itself stays with the VM it was reported from;
/// one seen first here belongs to the VM that serves the whole worker (0).
pub(crate) fn stash(r: Request, slot: &Slot) {
    let reference = r.lua_ctx_ref();
    if reference > 0 && slot.ctx().is_none_or(|(known, _)| known != reference) {
        slot.set_ctx(reference, 0);
        sys::log_debug!(
            r,
            "lua_var: stashed ngx.ctx ref %d of request %p",
            reference,
            r.as_ptr()
        );
    }
}

/// Whether the request came to where it is through an `error_page`.
///
/// A value that `set $from_error_page` gave it counts, unless it is empty.
pub(crate) fn from_error_page(r: Request, slot: &Slot) -> bool {
    match set_by_hand(r) {
        Some(b"") | None => redirected(r, slot),
        Some(value) => value == b"true",
    }
}

/// Whether an `error_page` redirected the request.
///
/// The hook sees every `error_page` value, those that answer with a `302` to
/// another host too. A redirect inside always counts `r->uri_changes` down
/// (`ngx_http_internal_redirect`, `ngx_http_named_location`), a `302` never does.
pub(crate) fn redirected(r: Request, slot: &Slot) -> bool {
    if slot.has(Slot::FROM_ERROR_PAGE) {
        return true;
    }
    let came = slot
        .hook_changes()
        .is_some_and(|before| r.uri_changes() != before as usize);
    if came {
        slot.raise(Slot::FROM_ERROR_PAGE);
    }
    came
}

/// The reference of the `ngx.ctx` that the request lost and gets back, if any.
///
/// `vm` is the Lua VM that asks: a reference means nothing in another one.
pub fn restorable(live: &LiveRequest, vm: u32) -> Option<i32> {
    let (r, slot) = (live.request(), live.slot());
    let (reference, owner) = slot.ctx()?;
    if owner != vm || worker().mode.get() == Mode::Handlers {
        return None;
    }
    // SAFETY: nginx made it with `directives::create_loc_conf`.
    let conf = unsafe { r.loc_conf(crate::ctx_index()).cast::<LocConf>().as_ref() }?;
    let wanted = match conf.restore() {
        Restore::Off => false,
        Restore::ErrorPage => from_error_page(r, slot),
        Restore::All => true,
    };
    sys::log_debug!(
        r,
        "lua_var: ngx.ctx ref %d of request %p is %sgiven back",
        reference,
        r.as_ptr(),
        if wanted {
            c"".as_ptr()
        } else {
            c"not ".as_ptr()
        }
    );
    wanted.then_some(reference)
}

/// Notes the reference of a `ngx.ctx` that Lua has just made, or given back.
pub fn created(live: &LiveRequest, reference: i32, vm: u32) {
    live.slot().set_ctx(reference, vm);
}

/// Index of `$from_error_page`, where a value that was set by hand is kept.
fn by_hand(r: Request) -> Option<usize> {
    // SAFETY: nginx made it with `directives::create_main_conf`.
    let conf = unsafe { r.main_conf(crate::ctx_index()).cast::<MainConf>().as_ref() }?;
    usize::try_from(conf.from_error_page).ok()
}

/// What `set $from_error_page` gave the request since the last error page.
///
/// The get handler's own values say that they must not be cached; those that
/// `set` or Lua store do not.
pub(crate) fn set_by_hand<'a>(r: Request) -> Option<&'a [u8]> {
    let value = r.variable(by_hand(r)?);
    if !value.is_kept() {
        return None;
    }
    // SAFETY: a variable's text lives as long as the request.
    value.text().map(|text| unsafe { sys::bytes(text) })
}

/// Drops such a value: what was said before an error page does not count after it.
pub(crate) fn forget_by_hand(r: Request) {
    if let Some(index) = by_hand(r) {
        r.set_variable(index, VarValue::EMPTY);
    }
}
