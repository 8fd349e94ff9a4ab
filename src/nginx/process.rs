//! nginx's processes.

use ngx::ffi;

/// Whether this process serves requests: a worker, or the only one there is.
pub(crate) fn serves() -> bool {
    let kind = &raw const ffi::ngx_process;
    // SAFETY: a number that nginx sets when the process begins.
    let kind = unsafe { *kind };
    kind == ffi::NGX_PROCESS_WORKER as usize || kind == ffi::NGX_PROCESS_SINGLE as usize
}

/// The number of this process.
pub(crate) fn own_id() -> u64 {
    // SAFETY: it takes nothing and touches no memory.
    u64::from(unsafe { libc::getpid() }.unsigned_abs())
}

/// Whether there is a process of this number.
pub(crate) fn is_alive(id: u64) -> bool {
    let Ok(id) = libc::pid_t::try_from(id) else {
        return false;
    };
    // SAFETY: signal 0 asks only whether one could be sent.
    let answer = unsafe { libc::kill(id, 0) };
    // SAFETY: gives the address of this thread's error number, which is always there.
    let error = unsafe { libc::__errno_location() };
    // SAFETY: that address, which is valid as long as the thread runs.
    answer == 0 || unsafe { *error } == libc::EPERM
}
