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

/// What became of a `ngx.ctx` that was lost in a redirect.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Outcome {
    RestoredErrorPage = 1,
    RestoredOther,
    Off,
    NotErrorPage,
    OtherVm,
    Gone,
    /// Lua has been told its reference, and will restore it unless its table is gone.
    Pending,
}

/// The outcomes by their numbers less 1, as `$lua_var_restored` names them.
const OUTCOMES: [(&str, Figure); 6] = [
    ("error_page", Figure::RestoredErrorPage),
    ("other", Figure::RestoredOther),
    ("off", Figure::NotRestoredOff),
    ("not_error_page", Figure::NotRestoredNotErrorPage),
    ("other_vm", Figure::NotRestoredOtherVm),
    ("gone", Figure::NotRestoredGone),
];

fn outcome_of(slot: &Slot) -> Option<&'static (&'static str, Figure)> {
    OUTCOMES.get(slot.outcome().checked_sub(1)? as usize)
}

/// The name of what became of the request's `ngx.ctx`; empty if it lost none.
pub(crate) fn outcome(slot: &Slot) -> &'static str {
    outcome_of(slot).map_or("", |(name, _)| name)
}

fn conclude(slot: &Slot, outcome: Outcome) {
    slot.set_outcome(outcome as u32);
    if let Some((_, figure)) = outcome_of(slot) {
        figures::count(*figure);
    }
}

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
            let sentence = c"the reference belongs to another Lua VM, as with lua_code_cache off";
            Some((Outcome::OtherVm, sentence))
        }
        Restore::Off => Some((Outcome::Off, c"lua_var_ctx_restore is off here")),
        Restore::ErrorPage if !error_page::came_through_one(r, slot) => Some((
            Outcome::NotErrorPage,
            c"it did not come through error_page, and lua_var_ctx_restore is not \"all\" here",
        )),
        Restore::ErrorPage | Restore::All => None,
    };
    let Handle { id, generation } = slot.handle();
    let location = r.location_name();
    match why_not {
        Some((outcome, why_not)) => {
            conclude(slot, outcome);
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
            conclude(slot, Outcome::Pending);
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

/// Counts what became of a lost `ngx.ctx`, when the request has one again.
pub(crate) fn note(live: Readable<'_>, was_restored: bool) {
    let slot = live.slot();
    if !was_restored {
        if slot.outcome() == Outcome::Pending as u32 {
            conclude(slot, Outcome::Gone);
        }
    } else if error_page::came_through_one(live.request(), slot) {
        conclude(slot, Outcome::RestoredErrorPage);
    } else {
        conclude(slot, Outcome::RestoredOther);
    }
}
