//! The file that the module was loaded from, and whether it was replaced since.

use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;
use core::ptr;

use super::OK;
use super::shim::lua_var_file;

/// What distinguishes a file from another one with the same name: device, inode, time of change.
pub(crate) type Identity = (libc::dev_t, libc::ino_t, libc::time_t, i64);

/// The name of the file that `load_module` loaded; `None` if the module is linked into nginx.
pub(crate) fn name() -> Option<&'static CStr> {
    let mut name: *const c_char = ptr::null();
    // SAFETY: `name` is valid for writes during the call.
    if unsafe { lua_var_file(&raw mut name) } != OK || name.is_null() {
        return None;
    }
    // SAFETY: the dynamic linker keeps this string as long as the file is loaded, and the file
    // is never unloaded (`-z nodelete`).
    Some(unsafe { CStr::from_ptr(name) })
}

/// The identity of the file that has this name now; `None` if there is none.
pub(crate) fn identity(name: &CStr) -> Option<Identity> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `name` is a C string, and `stat` is valid for writes.
    if unsafe { libc::stat(name.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: `stat` returned 0, so it has filled the structure.
    let stat = unsafe { stat.assume_init() };
    Some((stat.st_dev, stat.st_ino, stat.st_mtime, stat.st_mtime_nsec))
}
