//! `lua_var_ctx_restore`: whether a request gets back the `ngx.ctx` that it lost in an
//! internal redirect. `lua/resty/core/ctx.lua` asks when `ngx.ctx` is missing, and puts
//! the table back.

use crate::conf::{self, Restore};
use crate::error_page;
use crate::figures::{self, Figure};
use crate::mode;
use crate::nginx::log::log_debug;
use crate::registry::slots::{Handle, Slot};
use crate::validation::Readable;

/// The reference of the `ngx.ctx` to restore; `None` if none was lost or it must not be
/// restored.
///
/// `vm` is the Lua VM that asks. References are numbers in a VM's registry, so one of
/// another VM cannot be used.
pub(crate) fn restorable(live: Readable<'_>, vm: u32) -> Option<i32> {
    let (r, slot) = (live.request(), live.slot());
    let (reference, owner) = slot.ctx()?;
    if mode::is_foreign() {
        return None;
    }
    let restore = r.conf::<conf::LocConf>()?.restore();
    let why_not = match restore {
        _ if owner != vm => {
            Some(c"the reference belongs to another Lua VM, as with lua_code_cache off")
        }
        Restore::Off => Some(c"lua_var_ctx_restore is off here"),
        Restore::ErrorPage if !error_page::came_through_one(r, slot) => {
            Some(c"it did not come through error_page, and lua_var_ctx_restore is not \"all\" here")
        }
        Restore::ErrorPage | Restore::All => None,
    };
    let Handle { id, generation } = slot.handle();
    let location = r.location_name();
    match why_not {
        Some(why_not) => {
            log_debug!(
                r,
                "lua_var: request %uD/%uD does not get its ngx.ctx back, ref %d: %s, in \
                 location \"%*s\"",
                id,
                generation,
                reference,
                why_not.as_ptr(),
                location.len(),
                location.as_ptr()
            );
            None
        }
        None => {
            log_debug!(
                r,
                "lua_var: request %uD/%uD gets its ngx.ctx back, ref %d, in location \"%*s\"",
                id,
                generation,
                reference,
                location.len(),
                location.as_ptr()
            );
            Some(reference)
        }
    }
}

/// Counts a restored `ngx.ctx` and records it in the slot, for `$lua_var_restored`.
pub(crate) fn note(live: Readable<'_>) {
    let (figure, flag) = if error_page::came_through_one(live.request(), live.slot()) {
        (Figure::RestoredErrorPage, Slot::RESTORED_ERROR_PAGE)
    } else {
        (Figure::RestoredOther, Slot::RESTORED_OTHER)
    };
    figures::count(figure);
    live.slot().raise(flag);
}
