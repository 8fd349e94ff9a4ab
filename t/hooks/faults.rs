//! Makes allocations fail on demand, for the test suite. This file is compiled only with
//! the `testing` feature.

use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Kind of allocation: memory for a chunk of slots.
pub(crate) const CHUNK: usize = 0;
/// Kind of allocation: memory from a pool.
pub(crate) const POOL: usize = 1;
/// Kind of allocation: a slot, which fails when all are occupied.
pub(crate) const SLOT: usize = 2;
/// No allocation: a read of memory that may be gone, by the kernel.
pub(crate) const PEEK: usize = 3;

/// How many more allocations of each kind succeed before one fails; if negative, all do.
static COUNTDOWN: [AtomicI64; 4] = [const { AtomicI64::new(-1) }; 4];

/// For each kind, whether all allocations after the first failing one fail, too.
static ALL: [AtomicBool; 4] = [const { AtomicBool::new(false) }; 4];

/// Whether this allocation, of the given kind, has to fail. Counts it.
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

/// Makes an allocation of `kind` fail after the next `after` have succeeded; if `all` is
/// not 0, every later one fails, too. With a negative `after` none fails.
#[unsafe(no_mangle)]
extern "C" fn ngx_http_lua_var_testing_fail(kind: usize, after: i64, all: i32) {
    if let (Some(left), Some(every)) = (COUNTDOWN.get(kind), ALL.get(kind)) {
        left.store(after, Ordering::Relaxed);
        every.store(all != 0, Ordering::Relaxed);
    }
}
