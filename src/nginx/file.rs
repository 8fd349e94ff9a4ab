//! The file that the module was loaded from.

use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;
use core::ptr;

use super::OK;
use super::shim::lua_var_file;

/// What tells a file from another one that took its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: libc::dev_t,
    inode: libc::ino_t,
    modified: (libc::time_t, i64),
}

/// Name of the file that `load_module` named; `None` when the module is linked into nginx.
pub(crate) fn name() -> Option<&'static CStr> {
    let mut name: *const c_char = ptr::null();
    // SAFETY: the place that it writes to is there for the call.
    if unsafe { lua_var_file(&raw mut name) } != OK || name.is_null() {
        return None;
    }
    // SAFETY: the dynamic linker's name of a file that is never unloaded (`-z nodelete`).
    Some(unsafe { CStr::from_ptr(name) })
}

/// Which file has this name now; `None` when none has.
pub(crate) fn identity(name: &CStr) -> Option<Identity> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a string, and room for what the system writes.
    if unsafe { libc::stat(name.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the system has filled it.
    let stat = unsafe { stat.assume_init() };
    Some(Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
        modified: (stat.st_mtime, stat.st_mtime_nsec),
    })
}
