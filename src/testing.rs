//! Hooks for the test suite: allocations that fail on demand, and the side table
//! driven without requests. Only in builds with the `testing` feature.

use core::sync::atomic::{AtomicI64, Ordering};

use crate::worker::worker;

/// Chunks of the side table.
pub const CHUNK: usize = 0;
/// Allocations from pools.
pub const POOL: usize = 1;
/// Pool cleanups.
pub const CLEANUP: usize = 2;

/// How many allocations of each kind succeed before one fails; negative: all do.
static COUNTDOWN: [AtomicI64; 3] = [const { AtomicI64::new(-1) }; 3];

/// Whether this allocation is the one to fail.
pub(crate) fn fails(kind: usize) -> bool {
    COUNTDOWN.get(kind).is_some_and(|left| {
        left.load(Ordering::Relaxed) >= 0 && left.fetch_sub(1, Ordering::Relaxed) == 0
    })
}

/// Lets the allocation of `kind` after the next `after` ones fail, once.
#[unsafe(no_mangle)]
pub extern "C" fn ngx_http_lua_var_testing_fail(kind: usize, after: i64) {
    if let Some(left) = COUNTDOWN.get(kind) {
        left.store(after, Ordering::Relaxed);
    }
}

/// Figures of the side table: 0 live, 1 retired, 2 slots with memory, 3 handles
/// refused, 4 contexts restored.
#[unsafe(no_mangle)]
pub extern "C" fn ngx_http_lua_var_testing_figure(which: u32) -> f64 {
    let worker = worker();
    match which {
        0 => f64::from(worker.slots.live()),
        1 => f64::from(worker.slots.retired()),
        2 => worker.slots.capacity() as f64,
        3 => worker.refused.get() as f64,
        _ => worker.restored.get() as f64,
    }
}

/// Makes the generation of a slot's occupant its last; 0 when there is no such slot.
#[unsafe(no_mangle)]
pub extern "C" fn ngx_http_lua_var_testing_age(id: u32) -> i32 {
    worker().slots.by_id(id).map_or(0, |slot| {
        slot.age();
        1
    })
}
