//! Refusals: accesses that the module denied, because the request has ended or may not be
//! read. Each is counted, stored in a ring that a debugger can read, and logged as often as
//! `lua_var_log_refused` permits.
//!
//! `shim/refusal_log.c` writes the log line, because the file, line and phase in it come from
//! Lua. With `lua_var_trace_handles` the line also says where the handle was made.

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use crate::conf::MainConf;
use crate::figures::{self, Figure};
use crate::nginx;
use crate::nginx::log::Log;
use crate::nginx::shim::{
    self, LUA_VAR_ENDED_AGO, LUA_VAR_ENDED_BEFORE, LUA_VAR_REQ_HANDLE, LUA_VAR_REQ_POINTER,
    lua_var_refusal_t,
};
use crate::refusal::Refusal;
use crate::registry::registry;
use crate::registry::slots::{Ended, Handle};
use crate::statics::PerWorker;
use crate::validation::{Call, LiveRequest};

/// Entries of the ring; a power of two.
const RING_SIZE: usize = 64;
/// Bytes stored of a variable's name, with the zero at its end.
pub(crate) const NAME: usize = 32;
/// Bytes stored of a file's name, with the zero at its end.
pub(crate) const SOURCE: usize = shim::LUA_VAR_SOURCE as usize;
/// Entries of the table of origins. Handles with the same hash share one.
const ORIGINS: usize = 4096;
/// Bytes stored of a request line, with the zero at its end.
const REQUEST_LINE: usize = shim::LUA_VAR_REQUEST_LINE as usize;

/// A refusal in the ring; `gdb/lua_var.py` reads it with this layout.
#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    /// Time of the refusal, seconds since the epoch; 0 in an entry that was never used.
    sec: i64,
    /// Milliseconds of that time.
    msec: i64,
    /// The request that the caller passed: the 64 bits of a handle, or a pointer.
    given: u64,
    /// Address of the request that was running.
    current: u64,
    /// How the caller named the request, one of `LUA_VAR_REQ_…`.
    kind: u32,
    /// The number of a [`Refusal`].
    why: u32,
    /// Line of the Lua code that called; the file is in `source`.
    line: i32,
    /// The Lua function that was called, as a C string.
    asked: [u8; NAME],
    /// The variable's name, as a C string; empty if no variable was asked for.
    name: [u8; NAME],
    /// The file of the Lua code that called, as a C string.
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

/// The last refusals, for a debugger. At most `RING_SIZE` of one second are stored, or as
/// many as may be logged, if that is more.
#[repr(C)]
struct Ring {
    /// Refusals ever stored; the next one goes to `count % size`.
    count: Cell<u64>,
    size: u64,
    entry_size: u64,
    entries: [Cell<Entry>; RING_SIZE],
}

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ngx_http_lua_var_refusals: PerWorker<Ring> = PerWorker(Ring {
    count: Cell::new(0),
    size: RING_SIZE as u64,
    entry_size: size_of::<Entry>() as u64,
    entries: [const { Cell::new(Entry::NONE) }; RING_SIZE],
});

/// Address of the ring, for `debugger.rs`.
pub(crate) const fn ring() -> *const c_void {
    (&raw const ngx_http_lua_var_refusals).cast()
}

/// Where and when a handle was first made, recorded with `lua_var_trace_handles`.
#[derive(Clone, Copy)]
struct Origin {
    id: u32,
    generation: u32,
    /// Seconds since the epoch.
    sec: i64,
    line: i32,
    source: [u8; SOURCE],
    /// The request line.
    request: [u8; REQUEST_LINE],
}

/// A hash table without chains: a newer handle replaces another one with its hash.
static ORIGIN_TABLE: PerWorker<[Cell<Origin>; ORIGINS]> = PerWorker(
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

/// The settings for refusals, and the state of the rate limit of their log lines.
struct Limit {
    /// Log level of a line.
    level: Cell<usize>,
    /// Lines that may be logged in a second.
    rate: Cell<usize>,
    /// Whether `lua_var_trace_handles` is on.
    traces: Cell<bool>,
    /// The second, by nginx's clock, that `seen` counts in.
    second: Cell<i64>,
    /// Refusals in that second, up to the number that is stored.
    seen: Cell<usize>,
    /// Refusals that were not logged since the last line.
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

/// Applies `lua_var_log_refused` and `lua_var_trace_handles`.
pub(crate) fn configure(conf: &MainConf) {
    LIMIT.level.set(conf.log_level());
    LIMIT.rate.set(conf.log_rate());
    LIMIT.traces.set(conf.trace_handles == 1);
}

/// Whether `lua_var_trace_handles` is on.
pub(crate) fn is_tracing() -> bool {
    LIMIT.traces.get()
}

/// Copies as much of a text as fits before a terminating zero.
fn c_string<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut copy = [0; N];
    let room = N.saturating_sub(1);
    for (to, from) in copy.iter_mut().zip(text.iter().take(room)) {
        *to = *from;
    }
    copy
}

/// The bytes of a C string, empty for null.
///
/// # Safety
/// `text` must be null or a C string that lives during `'a`.
unsafe fn c_str_bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: `text` is a C string, by the contract above.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// Counts a refusal, also in the slot of the request at `current`, which was running.
/// Returns true if the caller has to call [`describe`]; in a storm of refusals most are only
/// counted.
pub(crate) fn count(why: Refusal, current: usize) -> bool {
    let figure = match why {
        Refusal::Stale => Figure::RefusedStale,
        Refusal::Fake => Figure::RefusedNoVariables,
        Refusal::Layout => Figure::RefusedLayout,
        // `NoRequest` means that the argument never was a request; `NoMemory` has a log line
        // of its own.
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
    if seen >= RING_SIZE.max(LIMIT.rate.get()) {
        LIMIT.left_out.set(LIMIT.left_out.get().wrapping_add(1));
        return false;
    }
    LIMIT.seen.set(seen.wrapping_add(1));
    true
}

/// Stores a counted refusal in the ring. Returns true if it is to be logged, and then
/// completes `refusal` with everything that the log line contains.
///
/// # Safety
/// `name`, `asked` and `source` in `refusal` must be null or valid for reads.
pub(crate) unsafe fn describe(why: Refusal, refusal: &mut lua_var_refusal_t) -> bool {
    let now = nginx::time();
    // SAFETY: `store` has the same contract as this function.
    unsafe { store(why, refusal, now) };
    // `count` has included this refusal in `seen`, so the first `rate` of a second are logged.
    if LIMIT.seen.get() > LIMIT.rate.get() {
        LIMIT.left_out.set(LIMIT.left_out.get().wrapping_add(1));
        return false;
    }
    refusal.level = LIMIT.level.get();
    refusal.left_out = LIMIT.left_out.replace(0);
    // The request that is running is validated, too, because it may be the damaged one.
    let call = Call::enter();
    let current = LiveRequest::by_address(&call, refusal.current as usize).ok();
    refusal.log = current
        .map_or_else(Log::of_cycle, |live| live.log())
        .as_ptr();
    if current.is_none() {
        refusal.current = ptr::null_mut();
    }
    if let Some(running) = current.and_then(|live| registry().find(live.address())) {
        (refusal.running_id, refusal.running_generation) = parts(running.handle());
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

/// Counts, stores and logs a refused pointer. `asked` is the function that was called.
#[cold]
pub(crate) fn by_address(why: Refusal, address: usize, asked: &'static CStr) {
    let mut refusal = lua_var_refusal_t {
        asked: asked.as_ptr(),
        kind: LUA_VAR_REQ_POINTER,
        given: address as u64,
        ..lua_var_refusal_t::default()
    };
    // SAFETY: `asked` is a constant; `name` and `source` are null.
    if count(why, 0) && unsafe { describe(why, &mut refusal) } {
        let why = why.reason();
        // SAFETY: `describe` has filled the structure, and `why` is a string of this length.
        unsafe { shim::lua_var_log_refusal(&raw const refusal, why.as_ptr(), why.len()) };
    }
}

/// Id and generation.
fn parts(handle: Handle) -> (u32, u32) {
    (handle.id, handle.generation)
}

/// Stores a refusal in the ring.
///
/// # Safety
/// `name`, `asked` and `source` in `refusal` must be null or valid for reads.
unsafe fn store(why: Refusal, refusal: &lua_var_refusal_t, (sec, msec): (i64, i64)) {
    let ring = &ngx_http_lua_var_refusals;
    let count = ring.count.replace(ring.count.get().wrapping_add(1));
    let Some(place) = ring.entries.get(count as usize & (RING_SIZE - 1)) else {
        return;
    };
    let name = if refusal.name.is_null() {
        &[]
    } else {
        // SAFETY: `name` has `name_len` bytes, by the contract above.
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
        // SAFETY: it is null or a C string, by the contract above.
        asked: c_string(unsafe { c_str_bytes(refusal.asked) }),
        name: c_string(name),
        // SAFETY: it is null or a C string, by the contract above.
        source: c_string(unsafe { c_str_bytes(refusal.source) }),
    });
}

/// The entry for a handle in the table of origins; it may belong to another handle.
fn origin(handle: Handle) -> Option<&'static Cell<Origin>> {
    let mixed = handle.id ^ handle.generation.wrapping_mul(0x9e37_79b1);
    ORIGIN_TABLE.0.get(mixed as usize % ORIGINS)
}

/// Records where a handle was made. A later call for the same handle changes nothing.
///
/// # Safety
/// `source` must be null or a C string.
pub(crate) unsafe fn remember_origin(handle: Handle, source: *const c_char, line: i32) {
    let Some(place) = origin(handle) else { return };
    let known = place.get();
    if (known.id, known.generation) == parts(handle) {
        return;
    }
    let call = Call::enter();
    let live = LiveRequest::by_handle(&call, handle).ok();
    let line_of_request = live
        .and_then(|live| live.request_line())
        .unwrap_or_default();
    place.set(Origin {
        id: handle.id,
        generation: handle.generation,
        sec: nginx::time().0,
        line,
        // SAFETY: it is null or a C string, by the contract above.
        source: c_string(unsafe { c_str_bytes(source) }),
        request: c_string(line_of_request),
    });
}
