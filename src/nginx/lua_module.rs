//! Calls to lua-nginx-module: reading and assigning a variable as `ngx.var` does, which works
//! with any layout of requests, and two questions about the configuration.

use core::ffi::CStr;
use core::ptr;

use super::conf::Conf;
use super::string::{EMPTY, bytes};
use super::{DECLINED, OK, ngx_http_request_t, ngx_str_t, shim};

/// Size of the buffer for the error message of [`assign`], in bytes.
pub(crate) const SENTENCE: usize = shim::LUA_VAR_SENTENCE as usize;

/// An allocation failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoMemory;

/// Registers the module's replacement for a Lua package of this name, so that `require` finds
/// it before any other. `Ok(false)` if the module has none; `Ok(true)` also without Lua.
pub(crate) fn replace(cf: Conf<'_>, package: &ngx_str_t) -> Result<bool, NoMemory> {
    let package = core::ptr::from_ref(package).cast_mut();
    // SAFETY: `cf` is the configuration being read, and the function only reads `package`.
    match unsafe { shim::lua_var_lua_replace(cf.as_ptr(), package) } {
        OK => Ok(true),
        DECLINED => Ok(false),
        _ => Err(NoMemory),
    }
}

/// Whether `lua_code_cache` is off in the server or location that nginx is merging.
pub(crate) fn is_code_cache_off(cf: Conf<'_>) -> bool {
    // SAFETY: `cf` is the configuration being read, and nginx is merging one of its locations.
    unsafe { shim::lua_var_lua_is_code_cache_off(cf.as_ptr()) != 0 }
}

/// Reads a variable as `ngx.var.name` does. `name` has to be in lower case. `Ok(None)` if the
/// variable is not found; the error is lua-nginx-module's message.
///
/// # Safety
/// `r` must be a request that is live during `'a`.
pub(crate) unsafe fn variable<'a>(
    r: *mut ngx_http_request_t,
    name: &[u8],
) -> Result<Option<&'a [u8]>, &'static CStr> {
    // SAFETY: `r` is live, by the contract above, and the name has this length.
    unsafe { get(r, name.as_ptr(), name.len(), 0) }
}

/// Reads a capture as `ngx.var[n]` does. The result is that of [`variable`].
///
/// # Safety
/// `r` must be a request that is live during `'a`.
pub(crate) unsafe fn capture<'a>(
    r: *mut ngx_http_request_t,
    n: isize,
) -> Result<Option<&'a [u8]>, &'static CStr> {
    // SAFETY: `r` is live, by the contract above; a null name stands for a capture.
    unsafe { get(r, ptr::null(), 0, i32::try_from(n).unwrap_or(0)) }
}

/// Reads a variable, or the capture with the number `capture` if `name` is null.
///
/// # Safety
/// `r` must be a request that is live during `'a`, and `name` null or valid for `len` bytes.
unsafe fn get<'a>(
    r: *mut ngx_http_request_t,
    name: *const u8,
    len: usize,
    capture: i32,
) -> Result<Option<&'a [u8]>, &'static CStr> {
    let mut value = EMPTY;
    let mut error = ptr::null();
    // SAFETY: `r` is live, and `name` is null or has this length, by the contract above.
    let rc =
        unsafe { shim::lua_var_lua_get(r, name, len, capture, &raw mut value, &raw mut error) };
    match rc {
        // SAFETY: lua-nginx-module returned a text that lives as long as the request.
        OK => Ok(Some(unsafe { bytes(value) })),
        DECLINED => Ok(None),
        // SAFETY: the error is a constant string, of the shim's or of lua-nginx-module's.
        _ => Err(unsafe { CStr::from_ptr(error) }),
    }
}

/// Assigns to a variable as `ngx.var.name = value` does. The error is a message, which is
/// written to `sentence`.
///
/// # Safety
/// `r` must be a live request.
pub(crate) unsafe fn assign<'s>(
    r: *mut ngx_http_request_t,
    name: &[u8],
    value: Option<&[u8]>,
    sentence: &'s mut [u8; SENTENCE],
) -> Result<(), &'s [u8]> {
    let (data, len) = value.map_or((ptr::null(), 0), |value| (value.as_ptr(), value.len()));
    let mut written = sentence.len();
    // SAFETY: `r` is live, by the contract above; name, value and `sentence` have the lengths
    // that are passed.
    let rc = unsafe {
        shim::lua_var_lua_set(
            r,
            name.as_ptr(),
            name.len(),
            data,
            len,
            sentence.as_mut_ptr(),
            &raw mut written,
        )
    };
    if rc == OK {
        return Ok(());
    }
    Err(sentence.get(..written).unwrap_or_default())
}
