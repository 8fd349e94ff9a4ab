//! Allocations that fail on demand, for the test suite. Only in builds with the
//! `testing` feature.

use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Chunks of the registry.
pub const CHUNK: usize = 0;
/// Allocations from pools.
pub const POOL: usize = 1;
/// Pool cleanups.
pub const CLEANUP: usize = 2;

/// How many allocations of each kind succeed before one fails; negative: all do.
static COUNTDOWN: [AtomicI64; 3] = [const { AtomicI64::new(-1) }; 3];

/// Whether all that come after it fail too.
static ALL: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Whether this allocation is one to fail.
pub(crate) fn fails(kind: usize) -> bool {
    let (Some(left), Some(all)) = (COUNTDOWN.get(kind), ALL.get(kind)) else {
        return false;
    };
    match left.load(Ordering::Relaxed) {
        0 => {
            if !all.load(Ordering::Relaxed) {
                left.store(-1, Ordering::Relaxed);
            }
            true
        }
        more => {
            if more > 0 {
                left.store(more.wrapping_sub(1), Ordering::Relaxed);
            }
            false
        }
    }
}

/// Lets the allocation of `kind` after the next `after` ones fail: that one, or
/// with `all` every one from there on. A negative `after`: none.
#[unsafe(no_mangle)]
pub extern "C" fn ngx_http_lua_var_testing_fail(kind: usize, after: i64, all: i32) {
    if let (Some(left), Some(every)) = (COUNTDOWN.get(kind), ALL.get(kind)) {
        left.store(after, Ordering::Relaxed);
        every.store(all != 0, Ordering::Relaxed);
    }
}
