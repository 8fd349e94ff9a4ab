//! What lua-nginx-module does for `ngx.var`, whatever the layout of requests.

use core::ffi::CStr;
use core::ptr;

use super::conf::Conf;
use super::request::AnyRequest;
use super::string::{EMPTY, bytes};
use super::{DECLINED, OK, ngx_str_t, shim};

/// Bytes of the sentence that [`assign`] may write.
pub(crate) const SENTENCE: usize = shim::LUA_VAR_SENTENCE as usize;

/// There is no memory for what is to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoMemory;

/// Has Lua's `require` find the module's own package of this name before any other; false
/// when it has none. Does nothing where there is no Lua.
pub(crate) fn replace(cf: Conf<'_>, package: &ngx_str_t) -> Result<bool, NoMemory> {
    let package = core::ptr::from_ref(package).cast_mut();
    // SAFETY: what nginx is reading, and a string of it, which is only read.
    match unsafe { shim::lua_var_lua_replace(cf.as_ptr(), package) } {
        OK => Ok(true),
        DECLINED => Ok(false),
        _ => Err(NoMemory),
    }
}

/// Whether each request has a Lua VM of its own in the server or location that nginx is
/// merging (`lua_code_cache off`).
pub(crate) fn is_code_cache_off(cf: Conf<'_>) -> bool {
    // SAFETY: what nginx is reading; the shim is called while it merges a location.
    unsafe { shim::lua_var_lua_is_code_cache_off(cf.as_ptr()) != 0 }
}

/// A variable, as `ngx.var.name` reads it. `name` has to be in lower case. `Ok(None)`:
/// not found. `Err`: lua-nginx-module's sentence.
pub(crate) fn variable<'a>(
    r: AnyRequest<'a>,
    name: &[u8],
) -> Result<Option<&'a [u8]>, &'static CStr> {
    get(r, Some(name), 0)
}

/// A capture, as `ngx.var[n]` reads it, likewise.
pub(crate) fn capture(r: AnyRequest<'_>, n: isize) -> Result<Option<&[u8]>, &'static CStr> {
    get(r, None, i32::try_from(n).unwrap_or(0))
}

fn get<'a>(
    r: AnyRequest<'a>,
    name: Option<&[u8]>,
    capture: i32,
) -> Result<Option<&'a [u8]>, &'static CStr> {
    let (name, len) = parts(name);
    let mut value = EMPTY;
    let mut error = ptr::null();
    // SAFETY: a live request; the name has that length, or is null.
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
        // SAFETY: lua-nginx-module gave a text that lives as long as the request.
        OK => Ok(Some(unsafe { bytes(value) })),
        DECLINED => Ok(None),
        // SAFETY: a constant of the Lua module's.
        _ => Err(unsafe { CStr::from_ptr(error) }),
    }
}

/// Assigns as `ngx.var.name = value` does. `Err`: the sentence, written to `sentence`.
pub(crate) fn assign<'s>(
    r: AnyRequest<'_>,
    name: &[u8],
    value: Option<&[u8]>,
    sentence: &'s mut [u8; SENTENCE],
) -> Result<(), &'s [u8]> {
    let (data, len) = parts(value);
    let mut written = sentence.len();
    // SAFETY: a live request; name, value and room have their lengths.
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
