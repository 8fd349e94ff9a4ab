//! What becomes of a refusal: it is counted, kept for a core dump, and logged, as often
//! as `lua_var_log_refused` says.
//!
//! `shim/refusal.c` writes the line, since half of what it says is asked of Lua.

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use crate::conf::MainConf;
use crate::figures::{self, Figure};
use crate::mode;
use crate::nginx;
use crate::nginx::log::Log;
use crate::nginx::request::Request;
use crate::nginx::shim::{
    self, LUA_VAR_ENDED_AGO, LUA_VAR_ENDED_BEFORE, LUA_VAR_REQ_HANDLE, LUA_VAR_REQ_POINTER,
    lua_var_refusal_t,
};
use crate::registry::registry;
use crate::registry::slots::{Ended, Handle};
use crate::request::{Call, LiveRequest, Readable, Refusal};
use crate::statics::PerWorker;

/// Refusals that a core dump has.
const KEPT: usize = 64;
/// Bytes kept of a name, of the file that asked for it.
pub(crate) const NAME: usize = 32;
pub(crate) const SOURCE: usize = shim::LUA_VAR_SOURCE as usize;
/// Handles that are remembered with where they were made.
const ORIGINS: usize = 4096;
const REQUEST_LINE: usize = shim::LUA_VAR_REQUEST_LINE as usize;

/// A refusal, as a debugger finds it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    /// When: seconds and milliseconds; 0 in an entry that was never used.
    sec: i64,
    msec: i64,
    /// What the caller gave: a handle's 64 bits, or a pointer.
    given: u64,
    /// Address of the request that was running.
    current: u64,
    /// `LUA_VAR_REQ_HANDLE` or another of them.
    kind: u32,
    /// [`Refusal`]
    why: u32,
    line: i32,
    /// The function, as a C string.
    asked: [u8; NAME],
    name: [u8; NAME],
    source: [u8; SOURCE],
}

impl Entry {
    const NONE: Self = Entry {
        sec: 0,
        msec: 0,
        given: 0,
        current: 0,
        kind: 0,
        why: 0,
        line: 0,
        asked: [0; NAME],
        name: [0; NAME],
        source: [0; SOURCE],
    };
}

/// The last refusals, for a debugger: a ring, and how many were put there. Of one second it
/// takes no more than it holds.
#[repr(C)]
struct Ring {
    count: Cell<u64>,
    size: u64,
    entry_size: u64,
    entries: [Cell<Entry>; KEPT],
}

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ngx_http_lua_var_refusals: PerWorker<Ring> = PerWorker(Ring {
    count: Cell::new(0),
    size: KEPT as u64,
    entry_size: size_of::<Entry>() as u64,
    entries: [const { Cell::new(Entry::NONE) }; KEPT],
});

/// Where the ring is, for `debugger.rs`.
pub(crate) const fn ring() -> *const c_void {
    (&raw const ngx_http_lua_var_refusals).cast()
}

/// Where a handle was made, with `lua_var_trace_handles`.
#[derive(Clone, Copy)]
struct Origin {
    id: u32,
    generation: u32,
    sec: i64,
    line: i32,
    source: [u8; SOURCE],
    request: [u8; REQUEST_LINE],
}

static MADE: PerWorker<[Cell<Origin>; ORIGINS]> = PerWorker(
    [const {
        Cell::new(Origin {
            id: 0,
            generation: 0,
            sec: 0,
            line: 0,
            source: [0; SOURCE],
            request: [0; REQUEST_LINE],
        })
    }; ORIGINS],
);

/// What the configuration says of refusals, how many there were in this second, and how
/// many had no line since the last one.
struct Limit {
    level: Cell<usize>,
    rate: Cell<usize>,
    traces: Cell<bool>,
    second: Cell<i64>,
    seen: Cell<usize>,
    left_out: Cell<u64>,
}

static LIMIT: PerWorker<Limit> = PerWorker(Limit {
    level: Cell::new(0),
    rate: Cell::new(0),
    traces: Cell::new(false),
    second: Cell::new(0),
    seen: Cell::new(0),
    left_out: Cell::new(0),
});

/// Takes over what the configuration says.
pub(crate) fn configure(conf: &MainConf) {
    LIMIT.level.set(conf.log_refused.level());
    LIMIT.rate.set(conf.log_refused.rate());
    LIMIT.traces.set(conf.trace_handles == 1);
}

/// Whether `lua_var_trace_handles` is on.
pub(crate) fn is_tracing() -> bool {
    LIMIT.traces.get()
}

/// The beginning of a text, with a zero behind it.
fn copied<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut copy = [0; N];
    let room = N.saturating_sub(1);
    for (to, from) in copy.iter_mut().zip(text.iter().take(room)) {
        *to = *from;
    }
    copy
}

/// # Safety
/// `text` is null or a C string.
unsafe fn text<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: a C string, by the contract above.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// Counts a refusal, of what was asked while the request at `current` was running. True
/// when [`describe`] has more to do: a storm of refusals costs no more than this.
pub(crate) fn count(why: Refusal, current: usize) -> bool {
    let figure = match why {
        Refusal::Stale => Figure::RefusedStale,
        Refusal::Fake => Figure::RefusedNoVariables,
        Refusal::Layout => Figure::RefusedLayout,
        // Nothing was given that ever was a request, or it has a line of its own.
        Refusal::NoRequest | Refusal::NoMemory => return false,
    };
    figures::row().count(figure);
    if let Some(slot) = registry().find(current) {
        slot.count_refused();
    }
    let (second, _) = nginx::time();
    if LIMIT.second.replace(second) != second {
        LIMIT.seen.set(0);
    }
    let seen = LIMIT.seen.get();
    if seen >= KEPT.max(LIMIT.rate.get()) {
        LIMIT.left_out.set(LIMIT.left_out.get().wrapping_add(1));
        return false;
    }
    LIMIT.seen.set(seen.wrapping_add(1));
    true
}

/// Keeps a refusal that was counted; true when it is to be logged, with what its line says
/// in `refusal`.
///
/// # Safety
/// Texts in `refusal` are null or valid for reads.
pub(crate) unsafe fn describe(why: Refusal, refusal: &mut lua_var_refusal_t) -> bool {
    let now = nginx::time();
    // SAFETY: for the texts, the contract above.
    unsafe { keep(why, refusal, now) };
    // It was counted, with those of this second that are logged first.
    if LIMIT.seen.get() > LIMIT.rate.get() {
        LIMIT.left_out.set(LIMIT.left_out.get().wrapping_add(1));
        return false;
    }
    refusal.level = LIMIT.level.get();
    refusal.left_out = LIMIT.left_out.replace(0);
    // The request that is running may be the damaged one.
    let call = Call::enter();
    let current = LiveRequest::by_address(&call, refusal.current as usize).ok();
    refusal.log = current
        .map_or_else(Log::of_cycle, LiveRequest::log)
        .as_ptr();
    if current.is_none() {
        refusal.current = ptr::null_mut();
    }
    let running = current
        .filter(|_| !mode::is_foreign())
        .and_then(|live| live.readable().ok());
    if let Some(running) = running {
        (refusal.running_id, refusal.running_generation) = parts(running.slot().handle());
    }
    if refusal.kind == LUA_VAR_REQ_HANDLE {
        let handle = Handle::from_bits(refusal.given);
        (refusal.id, refusal.generation) = parts(handle);
        (refusal.ended, refusal.ended_ms) = match registry().slots.ended(handle, nginx::msec()) {
            Ended::Ago(ms) => (LUA_VAR_ENDED_AGO, ms),
            Ended::Before(ms) => (LUA_VAR_ENDED_BEFORE, ms),
            Ended::Never => (0, 0),
        };
        if let Some(made) = origin(handle).map(Cell::get) {
            if (made.id, made.generation) == parts(handle) {
                refusal.made_ago = now.0.saturating_sub(made.sec);
                refusal.made_line = made.line;
                refusal.made_source = made.source;
                refusal.made_request = made.request;
            }
        }
    }
    true
}

/// The same for a bare pointer, with its line, which says which function was called.
#[cold]
pub(crate) fn by_address(why: Refusal, address: usize, asked: &'static CStr) {
    let mut refusal = lua_var_refusal_t {
        asked: asked.as_ptr(),
        kind: LUA_VAR_REQ_POINTER,
        given: address as u64,
        ..lua_var_refusal_t::default()
    };
    // SAFETY: the one text is a constant.
    if count(why, 0) && unsafe { describe(why, &mut refusal) } {
        let why = why.reason();
        // SAFETY: `describe` filled the structure; the sentence has that length.
        unsafe { shim::lua_var_log_refusal(&raw const refusal, why.as_ptr(), why.len()) };
    }
}

fn parts(handle: Handle) -> (u32, u32) {
    (handle.id, handle.generation)
}

/// # Safety
/// As [`describe`].
unsafe fn keep(why: Refusal, refusal: &lua_var_refusal_t, (sec, msec): (i64, i64)) {
    let ring = &ngx_http_lua_var_refusals;
    let count = ring.count.replace(ring.count.get().wrapping_add(1));
    let Some(place) = ring.entries.get(count as usize & (KEPT - 1)) else {
        return;
    };
    let name = if refusal.name.is_null() {
        &[]
    } else {
        // SAFETY: a name of that length, by the contract above.
        unsafe { core::slice::from_raw_parts(refusal.name, refusal.name_len) }
    };
    place.set(Entry {
        sec,
        msec,
        given: refusal.given,
        current: refusal.current as u64,
        kind: refusal.kind,
        why: why as u32,
        line: refusal.line,
        // SAFETY: a C string or null, by the contract above.
        asked: copied(unsafe { text(refusal.asked) }),
        name: copied(name),
        // SAFETY: a C string or null, by the contract above.
        source: copied(unsafe { text(refusal.source) }),
    });
}

/// The place of a handle in the table of origins.
fn origin(handle: Handle) -> Option<&'static Cell<Origin>> {
    let mixed = handle.id ^ handle.generation.wrapping_mul(0x9e37_79b1);
    MADE.0.get(mixed as usize % ORIGINS)
}

/// Remembers where the handle of a request was made, which is where it was made first.
///
/// # Safety
/// `source` is null or a C string.
pub(crate) unsafe fn remember_origin(live: LiveRequest<'_>, source: *const c_char, line: i32) {
    let handle = live.slot().handle();
    let Some(place) = origin(handle) else { return };
    let known = place.get();
    if (known.id, known.generation) == parts(handle) {
        return;
    }
    let request = live.readable().ok().map(Readable::request);
    let line_of_request = request.and_then(Request::request_line).unwrap_or_default();
    place.set(Origin {
        id: handle.id,
        generation: handle.generation,
        sec: nginx::time().0,
        line,
        // SAFETY: a C string or null, by the contract above.
        source: copied(unsafe { text(source) }),
        request: copied(line_of_request),
    });
}
