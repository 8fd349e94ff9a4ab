//! `lua_var_ctx_restore`: whether a request gets back the `ngx.ctx` that it lost in an internal
//! redirect. `lua/resty/core/ctx.lua` asks when `ngx.ctx` is missing, and puts the table back.

use crate::conf::{LocConf, Restore};
use crate::error_page;
use crate::figures::{self, Figure};
use crate::nginx::log::log_debug;
use crate::registry::slots::Slot;
use crate::validation::LiveRequest;

/// What became of a `ngx.ctx` that was lost in a redirect.
#[derive(Clone, Copy)]
#[repr(u8)]
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
    OUTCOMES.get(usize::from(slot.outcome.get()).checked_sub(1)?)
}

/// The name of what became of the request's `ngx.ctx`; empty if it lost none.
pub(crate) fn outcome(slot: &Slot) -> &'static str {
    outcome_of(slot).map_or("", |(name, _)| name)
}

fn conclude(slot: &Slot, outcome: Outcome) {
    slot.outcome.set(outcome as u8);
    if let Some((_, figure)) = outcome_of(slot) {
        figures::count(*figure);
    }
}

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
            let why = "the reference belongs to another Lua VM, as with lua_code_cache off";
            Some((Outcome::OtherVm, why))
        }
        Restore::Off => Some((Outcome::Off, "lua_var_ctx_restore is off here")),
        Restore::ErrorPage if !error_page::came_through_one(slot) => Some((
            Outcome::NotErrorPage,
            "not reached through error_page, and lua_var_ctx_restore is not \"all\" here",
        )),
        Restore::ErrorPage | Restore::All => None,
    };
    let (outcome, not, why) = match why_not {
        Some((outcome, why)) => (outcome, "not ", why),
        None => (Outcome::Pending, "", "as lua_var_ctx_restore says"),
    };
    conclude(slot, outcome);
    log_debug!(
        r;
        "ngx.ctx of ", slot.handle(), " ", not, "restored, ref ", reference.unsigned_abs(), ": ",
        why, ", in location \"", r.location_name(), "\"",
    );
    why_not.is_none().then_some(reference)
}

/// Notes what became of a lost `ngx.ctx`, when the request has one again.
pub(crate) fn note(slot: &Slot, was_restored: bool) {
    match (was_restored, error_page::came_through_one(slot)) {
        (true, true) => conclude(slot, Outcome::RestoredErrorPage),
        (true, false) => conclude(slot, Outcome::RestoredOther),
        // Lua was told a reference, and did not find the table.
        (false, _) if slot.outcome.get() == Outcome::Pending as u8 => conclude(slot, Outcome::Gone),
        (false, _) => {}
    }
}
