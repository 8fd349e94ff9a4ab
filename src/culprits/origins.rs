//! Where handles were made: what a handle itself tells, and `lua_var_trace_handles`.

use core::cell::Cell;

use super::table::Text;
use crate::atomic::AtomicU64;
use crate::atomic::Ordering::Relaxed;
use crate::nginx::{self, mem};
use crate::refusal::Refusal;
use crate::registry::registry;
use crate::registry::slots::{Handle, Slot};
use crate::statics::PerWorker;
use crate::text::{PLACE, escaped, place};
use crate::validation::{Call, LiveRequest};

/// `lua_var_trace_handles`
pub(super) static IS_TRACING: PerWorker<Cell<bool>> = PerWorker(Cell::new(false));

pub(crate) fn is_tracing() -> bool {
    IS_TRACING.get()
}

/// The number of the handle of a fake request that was made last, if origins are remembered.
static NUMBER: PerWorker<Cell<u32>> = PerWorker(Cell::new(0));

/// A number for the handle of a fake request. All have the same if origins are not remembered.
pub(crate) fn next_number() -> u32 {
    if is_tracing() {
        NUMBER.set(NUMBER.get().wrapping_add(1));
    }
    NUMBER.get()
}

/// Handles that are remembered: a newer one replaces an older one with the same hash.
const ORIGINS: usize = 4096;

/// Where the first `request()` for a handle was.
#[repr(C)]
pub(super) struct Origin {
    handle: AtomicU64,
    /// `ngx_current_msec` modulo 2^32.
    made: AtomicU64,
    /// 1 if other lines of Lua called `request()` for it, too.
    has_others: AtomicU64,
    pub(super) at: Text<10>,
    pub(super) request_line: Text<16>,
}

impl Origin {
    pub(super) fn ago(&self) -> u32 {
        nginx::msec().wrapping_sub(self.made.load(Relaxed)) as u32
    }

    /// Whether this is the only place where the handle was given to Lua.
    pub(super) fn is_only(&self) -> bool {
        self.has_others.load(Relaxed) == 0
    }
}

/// The table, once there is something in it. Each process has its own.
static TABLE: PerWorker<Cell<Option<&'static [Origin; ORIGINS]>>> = PerWorker(Cell::new(None));

fn entry(handle: Handle) -> Option<&'static Origin> {
    // A generation is odd, and that of a fake handle counts from the third bit on.
    let number = handle.generation >> if handle.is_fake() { 2 } else { 1 };
    let mixed = handle.id ^ number.wrapping_mul(0x9e37_79b1);
    TABLE.get()?.get(mixed as usize % ORIGINS)
}

pub(super) fn of(handle: Handle) -> Option<&'static Origin> {
    entry(handle).filter(|origin| origin.handle.load(Relaxed) == handle.to_bits())
}

pub(crate) fn remember(handle: Handle, source: &[u8], line: i32) {
    let mut room = [0; PLACE];
    let at = place(&mut room, source, line);
    if let Some(origin) = of(handle) {
        if origin.at.load().bytes() != at {
            origin.has_others.store(1, Relaxed);
        }
        return;
    }
    if TABLE.get().is_none() {
        // SAFETY: it consists of atomic integers, for which zero bytes are valid.
        TABLE.set(unsafe { mem::zeroed() });
    }
    let Some(origin) = entry(handle) else { return };
    // Another handle may have taken the place of where this one was first made.
    if let Some(slot) = registry().slots.get(handle) {
        if slot.has(Slot::TRACED) {
            return;
        }
        slot.raise(Slot::TRACED);
    }
    let call = Call::enter();
    let request_line = request_line(LiveRequest::by_handle(&call, handle));
    origin.handle.store(handle.to_bits(), Relaxed);
    origin.made.store(nginx::msec(), Relaxed);
    origin.has_others.store(0, Relaxed);
    origin.at.store(at);
    let mut room = [0; 128];
    origin.request_line.store(escaped(&mut room, request_line));
}

pub(super) fn request_line(live: Result<LiveRequest<'_>, Refusal>) -> &[u8] {
    let live = live.ok();
    live.and_then(|live| live.request_line()).unwrap_or_default()
}
