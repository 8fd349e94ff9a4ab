//! `lua_var_ctx_restore`: whether a request gets back the `ngx.ctx` that it lost in an internal
//! redirect. `lua/resty/core/ctx.lua` asks when `ngx.ctx` is missing, and puts the table back.

use crate::conf::{LocConf, Restore};
use crate::error_page;
use crate::figures::{self, Figure};
use crate::nginx::log::log_debug;
use crate::registry::slots::{Handle, Slot};
use crate::validation::LiveRequest;

/// The reference of the `ngx.ctx` that the request lost and gets back; `None` if none was lost or
/// it must not be restored.
///
/// `vm` is the Lua VM that asks. References are numbers in a VM's registry, so one of
/// another VM cannot be used.
pub(crate) fn restorable(live: LiveRequest<'_>, slot: &Slot, vm: u32) -> Option<i32> {
    let r = *live;
    let (reference, owner) = slot.ctx()?;
    let restore = r.conf::<LocConf>()?.restore();
    let why_not = match restore {
        _ if owner != vm => {
            Some(c"the reference belongs to another Lua VM, as with lua_code_cache off")
        }
        Restore::Off => Some(c"lua_var_ctx_restore is off here"),
        Restore::ErrorPage if !error_page::came_through_one(slot) => {
            Some(c"not reached through error_page, and lua_var_ctx_restore is not \"all\" here")
        }
        Restore::ErrorPage | Restore::All => None,
    };
    let Handle { id, generation } = slot.handle();
    let location = r.location_name();
    let (not, why) = match why_not {
        Some(why) => (c"not ", why),
        None => (c"", c"as lua_var_ctx_restore says"),
    };
    log_debug!(
        r,
        "lua_var: ngx.ctx of request %uD/%uD %srestored, ref %d: %s, in location \"%*s\"",
        id,
        generation,
        not.as_ptr(),
        reference,
        why.as_ptr(),
        location.len(),
        location.as_ptr()
    );
    why_not.is_none().then_some(reference)
}

/// Counts a restored `ngx.ctx`, and records it in the slot for `$lua_var_restored`.
pub(crate) fn note(slot: &Slot) {
    let (figure, flag) = if error_page::came_through_one(slot) {
        (Figure::RestoredErrorPage, Slot::RESTORED_ERROR_PAGE)
    } else {
        (Figure::RestoredOther, Slot::RESTORED_OTHER)
    };
    figures::row().count(figure);
    slot.raise(flag);
}
