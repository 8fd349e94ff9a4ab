//! The kinds, the numbers and the ids of nginx's processes, and the error of this one's last system
//! call.

use ngx::ffi;

/// How many numbers there are of processes that can exist at the same time.
pub(crate) const MAX: usize = ffi::NGX_MAX_PROCESSES as usize + 1;

/// The number of this process: 0 of the one that reads the configuration, and 1 above the slot of those
/// that it makes (`ngx_process_slot`). nginx gives a slot to another process only when it has reaped
/// the one before.
pub(crate) fn number() -> usize {
    if !matches!(kind(), ffi::NGX_PROCESS_WORKER | ffi::NGX_PROCESS_HELPER) {
        return 0;
    }
    let slot = &raw const ffi::ngx_process_slot;
    // SAFETY: `ngx_process_slot` is a static integer, which nginx sets before it forks.
    unsafe { *slot as usize }.wrapping_add(1)
}

/// Whether this process serves requests: it is a worker, or `master_process` is off.
pub(crate) fn serves() -> bool {
    matches!(kind(), ffi::NGX_PROCESS_WORKER | ffi::NGX_PROCESS_SINGLE)
}

fn kind() -> u32 {
    let kind = &raw const ffi::ngx_process;
    // SAFETY: `ngx_process` is a static integer, which nginx sets when the process begins.
    unsafe { *kind as u32 }
}

pub(crate) fn own_pid() -> u64 {
    // SAFETY: `getpid` takes nothing and accesses no memory of the process.
    u64::from(unsafe { libc::getpid() }.unsigned_abs())
}

pub(crate) fn is_alive(pid: u64) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: signal 0 is not sent; `kill` only checks whether it could be.
    let rc = unsafe { libc::kill(pid, 0) };
    rc == 0 || errno() == libc::EPERM
}

pub(super) fn errno() -> i32 {
    // SAFETY: the function takes nothing and returns the address of this thread's `errno`.
    let error = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid as long as this thread runs.
    unsafe { *error }
}
