//! Refusals: what Lua asked for and did not get, and which Lua that was.
//!
//! Each refusal is counted in the [`table`] of culprits, which the log, `lua_var_status`,
//! `ngxvar.stats()` and gdb read. `lua_var_log_refused` says how often a culprit may have a
//! line; what is left out is told in the next one, or by a timer if there is none.

mod line;
pub(crate) mod origins;
pub(crate) mod table;

use core::cell::Cell;
use core::ffi::{CStr, c_void};

use crate::conf::MainConf;
use crate::figures::{self, Figure};
use crate::nginx::log::{Log, log_error};
use crate::nginx::request::{AnyRequest, Unproved};
use crate::nginx::shim::{LUA_VAR_REQ_POINTER, lua_var_flush_later, lua_var_refusal_t};
use crate::nginx::{self, mem};
use crate::refusal::Refusal;
use crate::registry::registry;
use crate::statics::PerWorker;
use crate::text::{PLACE, escaped, place, put, until_zero, written};
use crate::validation::{self, Call, LiveRequest};
use table::{Culprit, Culprits, ENTRIES, Key};

type Table = Culprits<ENTRIES>;

/// Set by the first process, and inherited by those that it forks. `gdb/lua_var.py` reads it.
static TABLE: PerWorker<Cell<Option<&'static Table>>> = PerWorker(Cell::new(None));

/// Milliseconds after which refusals that were left out are logged.
const FLUSH_AFTER: usize = 1000;
/// The place of Lua code that is not known.
pub(crate) const UNKNOWN: &[u8] = b"-";
struct Settings {
    level: Cell<usize>,
    /// Milliseconds between two lines about a culprit; 0 if there are none.
    interval: Cell<u64>,
    /// Whether the process has an event loop.
    has_begun: Cell<bool>,
}

static SETTINGS: PerWorker<Settings> = PerWorker(Settings {
    level: Cell::new(0),
    interval: Cell::new(0),
    has_begun: Cell::new(false),
});

/// Maps the shared memory, once. Returns false if the system has no memory.
pub(crate) fn share() -> bool {
    if TABLE.get().is_none() {
        // SAFETY: it consists of atomic integers, for which zero bytes are valid.
        TABLE.set(unsafe { mem::shared() });
    }
    TABLE.get().is_some()
}

/// Where the address of the table is stored, for `debugger.rs`.
pub(crate) const fn address() -> *const c_void {
    (&raw const TABLE).cast()
}

pub(crate) fn configure(conf: &MainConf) {
    SETTINGS.level.set(conf.log_level());
    SETTINGS.interval.set(conf.log_interval());
    origins::IS_TRACING.set(conf.trace_handles == 1);
}

/// Called when a process begins. It takes care of what its predecessor left out.
pub(crate) fn begin() {
    SETTINGS.has_begun.set(true);
    flush_pending_later();
}

/// Called when a process ends: whatever was left out is logged now.
pub(crate) fn end() {
    log_pending(0);
}

/// The culprits, those for which there was no room last.
pub(crate) fn all() -> impl Iterator<Item = &'static Culprit> {
    TABLE.get().into_iter().flat_map(Table::all)
}

/// The figure that counts a refusal; `None` for one that is no access of Lua, or, for want of
/// memory, has a log line of its own.
fn figure(why: Refusal) -> Option<Figure> {
    match why {
        Refusal::Stale => Some(Figure::RefusedStale),
        Refusal::Fake => Some(Figure::RefusedNoVariables),
        Refusal::Layout => Some(Figure::RefusedLayout),
        Refusal::BadArgument => Some(Figure::RefusedBadArgument),
        Refusal::NoRequest | Refusal::NoMemory => None,
    }
}

pub(crate) fn now() -> u64 {
    let (sec, msec) = nginx::time();
    sec.wrapping_mul(1000).wrapping_add(msec).unsigned_abs()
}

/// Counts a refusal. Returns true if [`log`] has to be called.
pub(crate) fn refused(why: Refusal, refusal: &mut lua_var_refusal_t) -> bool {
    let (Some(table), Some(figure)) = (TABLE.get(), figure(why)) else {
        return false;
    };
    figures::take_row();
    figures::count(figure);
    let current = refusal.current as usize;
    if let Some(slot) = registry().find(current) {
        slot.count_refused();
    }
    let (mut at, mut variable) = ([0; PLACE], [0; 64]);
    let key = Key {
        at: match refusal.frames.first() {
            Some(frame) if refusal.nframes > 0 => {
                place(&mut at, until_zero(&frame.source), frame.line)
            }
            _ => UNKNOWN,
        },
        asked: until_zero(&refusal.asked),
        variable: escaped(&mut variable, until_zero(&refusal.name)),
        phase: line::phase(refusal.context),
        reason: why as u64,
    };
    let culprit = table.add(&key, now());
    if !culprit.has_example() {
        let call = Call::enter();
        let request_line = origins::request_line(LiveRequest::by_address(&call, current));
        culprit.exemplify(
            written(&mut [0; 40], |w| line::request(w, refusal)),
            escaped(&mut [0; 128], request_line),
        );
    }
    match take_line(culprit, SETTINGS.interval.get()) {
        Some(since) => {
            refusal.since = since;
            true
        }
        None => {
            flush_later();
            false
        }
    }
}

/// Whether a culprit may have a line now, and how often it was refused since the last one.
fn take_line(culprit: &Culprit, interval: u64) -> Option<u64> {
    if SETTINGS.interval.get() == 0 {
        return None;
    }
    culprit.take_line(nginx::msec(), interval)
}

pub(crate) fn log(refusal: &lua_var_refusal_t) {
    let call = Call::enter();
    // The request that is running is validated, too, because it may be the damaged one.
    let running = LiveRequest::by_address(&call, refusal.current as usize).ok();
    let mut room = [0; 1800];
    let text = written(&mut room, |w| line::write(w, refusal, running));
    let log = running.map(|live| live.log());
    write_to(log.or_else(|| log_of_fake(&call, refusal)).unwrap_or_else(Log::of_cycle), text);
}

/// The log of a fake request, which is not registered.
fn log_of_fake(call: &Call, refusal: &lua_var_refusal_t) -> Option<Log> {
    let current = Unproved::from_lua(refusal.current as usize)?;
    if registry().find(current.address()).is_some() {
        return None;
    }
    validation::proved(call, Some(current)).map(AnyRequest::log)
}

fn write_to(log: Log, text: &[u8]) {
    log_error!(SETTINGS.level.get(), log; text);
}

/// Logs the refusals that were left out, of the culprits that may have a line now.
pub(crate) fn flush() {
    log_pending(SETTINGS.interval.get());
    flush_pending_later();
}

fn flush_pending_later() {
    if all().any(Culprit::is_pending) {
        flush_later();
    }
}

fn log_pending(interval: u64) {
    for culprit in all().filter(|culprit| culprit.is_pending()) {
        let Some(since) = take_line(culprit, interval).filter(|since| *since > 0) else {
            continue;
        };
        let mut room = [0; 500];
        let text = written(&mut room, |w| line::left_out(w, culprit, since));
        write_to(Log::of_cycle(), text);
    }
}

fn flush_later() {
    if SETTINGS.has_begun.get() && SETTINGS.interval.get() != 0 {
        // SAFETY: the process has an event loop.
        unsafe { lua_var_flush_later(FLUSH_AFTER) };
    }
}

/// Counts and logs a refused pointer. `asked` is the function that was called over FFI.
#[cold]
pub(crate) fn by_address(why: Refusal, address: usize, asked: &'static CStr) {
    let mut refusal = lua_var_refusal_t {
        given: address as u64,
        kind: LUA_VAR_REQ_POINTER,
        ..lua_var_refusal_t::default()
    };
    written(&mut refusal.asked, |w| put!(w; asked));
    written(&mut refusal.why, |w| put!(w; why.reason()));
    if refused(why, &mut refusal) {
        log(&refusal);
    }
}
