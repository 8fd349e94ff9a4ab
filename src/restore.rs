//! `lua_var_ctx_restore`: whether a request gets back the `ngx.ctx` that it lost.

use crate::conf::{self, Restore};
use crate::error_page;
use crate::figures::{self, Figure};
use crate::mode;
use crate::nginx::log::log_debug;
use crate::registry::slots::Slot;
use crate::request::Readable;

/// The reference of the `ngx.ctx` that the request lost and gets back, if any.
///
/// `vm` is the Lua VM that asks: a reference means nothing in another one.
pub(crate) fn restorable(live: Readable<'_>, vm: u32) -> Option<i32> {
    let (r, slot) = (live.request(), live.slot());
    let (reference, owner) = slot.ctx()?;
    if owner != vm || mode::is_foreign() {
        return None;
    }
    let wanted = match conf::loc_of(r)?.restore() {
        Restore::Off => false,
        Restore::ErrorPage => error_page::came_through_one(r, slot),
        Restore::All => true,
    };
    log_debug!(
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

/// Notes that the request got its `ngx.ctx` back.
pub(crate) fn note(live: Readable<'_>) {
    let (figure, flag) = if error_page::came_through_one(live.request(), live.slot()) {
        (Figure::RestoredErrorPage, Slot::RESTORED_ERROR_PAGE)
    } else {
        (Figure::RestoredOther, Slot::RESTORED_OTHER)
    };
    figures::row().count(figure);
    live.slot().raise(flag);
}
