//! Calls to lua-nginx-module: reading and assigning a variable as `ngx.var` does, which works
//! with any layout of requests, and two questions about the configuration.

use core::ffi::CStr;
use core::ptr;

use super::conf::Conf;
use super::request::AnyRequest;
use super::string::{EMPTY, bytes};
use super::{DECLINED, OK, ngx_str_t, shim};

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
pub(crate) fn variable<'a>(
    r: AnyRequest<'a>,
    name: &[u8],
) -> Result<Option<&'a [u8]>, &'static CStr> {
    get(r, Some(name), 0)
}

/// Reads a capture as `ngx.var[n]` does. The result is that of [`variable`].
pub(crate) fn capture(r: AnyRequest<'_>, n: isize) -> Result<Option<&[u8]>, &'static CStr> {
    get(r, None, i32::try_from(n).unwrap_or(0))
}

/// Reads a variable, or without a name the capture with the number `capture`.
fn get<'a>(
    r: AnyRequest<'a>,
    name: Option<&[u8]>,
    capture: i32,
) -> Result<Option<&'a [u8]>, &'static CStr> {
    let (name, len) = parts(name);
    let mut value = EMPTY;
    let mut error = ptr::null();
    // SAFETY: `r` is live, and `name` is null or has this length.
    let rc = unsafe {
        shim::lua_var_lua_get(
            r.as_ptr(),
            name,
            len,
            capture,
            &raw mut value,
            &raw mut error,
        )
    };
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
pub(crate) fn assign<'s>(
    r: AnyRequest<'_>,
    name: &[u8],
    value: Option<&[u8]>,
    sentence: &'s mut [u8; SENTENCE],
) -> Result<(), &'s [u8]> {
    let (data, len) = parts(value);
    let mut written = sentence.len();
    // SAFETY: `r` is live; name, value and `sentence` have the lengths that are passed.
    let rc = unsafe {
        shim::lua_var_lua_set(
            r.as_ptr(),
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

/// Address and length for a C function, to which null stands for nothing.
fn parts(text: Option<&[u8]>) -> (*const u8, usize) {
    text.map_or((ptr::null(), 0), |text| (text.as_ptr(), text.len()))
}
