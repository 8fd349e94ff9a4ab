//! Allocations that fail on demand, for the test suite. Only in builds with the
//! `testing` feature.

use core::sync::atomic::{AtomicI64, Ordering};

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
