//! The functions of lua-var-nginx-module, with its names and signatures, so that its own Lua
//! file works with this module.
//!
//! They take a request's address, which is looked up among the live requests before it is
//! dereferenced. If a request has ended and another one lives at its address now, they read
//! the other one, because they do not know the current request. Handles do not have this
//! weakness.

use core::ffi::{CStr, c_int};

use super::declared_in_shim;
use crate::culprits;
use crate::mode;
use crate::nginx::request::Request;
use crate::nginx::string::str_of;
use crate::nginx::{ERROR, OK, ngx_http_request_t, ngx_int_t, ngx_str_t};
use crate::refusal::Refusal;
use crate::validation::{Call, Readable};
use crate::variable::field::{self, UpstreamTime};
use crate::variable::number::{self, Text};

declared_in_shim! {
    ngx_http_lua_var_ffi_uri
    ngx_http_lua_var_ffi_host
    ngx_http_lua_var_ffi_remote_addr
    ngx_http_lua_var_ffi_scheme
    ngx_http_lua_var_ffi_request_time
    ngx_http_lua_var_ffi_upstream_response_time
}

/// The live request at an address. It is refused if it has no variables or the layout differs;
/// the refusal is logged with the name of the function that was called, `asked`.
#[inline]
fn readable<'a>(
    call: &'a Call,
    address: usize,
    asked: &'static CStr,
) -> Result<Readable<'a>, Refusal> {
    let live = if mode::is_foreign() {
        Err(Refusal::Layout)
    } else {
        Readable::by_address(call, address)
    };
    if let Err(why) = live {
        culprits::by_address(why, address, asked);
    }
    live
}

/// Writes a string of the live request at `r` to `out`.
///
/// # Safety
/// `out` is null or valid for writes.
#[inline]
unsafe fn string(
    asked: &'static CStr,
    r: *mut ngx_http_request_t,
    out: *mut ngx_str_t,
    read: impl for<'a> FnOnce(Request<'a>) -> &'a [u8],
) -> ngx_int_t {
    // SAFETY: it is null or valid for writes, by the contract above, and nothing else refers
    // to it during the call.
    let Some(out) = (unsafe { out.as_mut() }) else {
        return ERROR;
    };
    match readable(&Call::enter(), r as usize, asked) {
        Ok(live) => {
            *out = str_of(read(live.request()));
            OK
        }
        Err(_) => {
            // Its address is not null, for callers that do not look at the result.
            *out = str_of(b"");
            ERROR
        }
    }
}

/// Copies a text to `buf` and returns its length; `NGX_ERROR` if there is no text.
///
/// # Safety
/// `buf` is null or valid for writes of [`number::TEXT`] bytes.
unsafe fn copy(text: Option<Text>, buf: *mut u8) -> ngx_int_t {
    let Some(text) = text.filter(|_| !buf.is_null()) else {
        return ERROR;
    };
    let bytes = text.as_bytes();
    // SAFETY: `buf` has room for the longest text, by the contract above.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), buf, bytes.len()) };
    bytes.len() as ngx_int_t
}

/// `$uri` of the live request at `r`. `NGX_ERROR`, with an empty string, if it is refused.
///
/// # Safety
/// `uri` is null or valid for writes; `r` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_uri(
    r: *mut ngx_http_request_t,
    uri: *mut ngx_str_t,
) -> ngx_int_t {
    // SAFETY: the pointer to the string is as `string` requires, by the contract above.
    unsafe {
        string(c"ngx_http_lua_var_ffi_uri", r, uri, |r| {
            r.uri().unwrap_or_default()
        })
    }
}

/// `$host` of the live request at `r`. `NGX_ERROR`, with an empty string, if it is refused.
///
/// # Safety
/// `host` is null or valid for writes; `r` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_host(
    r: *mut ngx_http_request_t,
    host: *mut ngx_str_t,
) -> ngx_int_t {
    // SAFETY: the pointer to the string is as `string` requires, by the contract above.
    unsafe { string(c"ngx_http_lua_var_ffi_host", r, host, field::host) }
}

/// `$remote_addr` of the live request at `r`. `NGX_ERROR`, with an empty string, if it is refused.
///
/// # Safety
/// `remote_addr` is null or valid for writes; `r` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_remote_addr(
    r: *mut ngx_http_request_t,
    remote_addr: *mut ngx_str_t,
) -> ngx_int_t {
    // SAFETY: the pointer to the string is as `string` requires, by the contract above.
    unsafe {
        string(c"ngx_http_lua_var_ffi_remote_addr", r, remote_addr, |r| {
            r.remote_addr()
        })
    }
}

/// `$scheme` of the live request at `r`. `NGX_ERROR`, with an empty string, if it is refused.
///
/// # Safety
/// `scheme` is null or valid for writes; `r` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_scheme(
    r: *mut ngx_http_request_t,
    scheme: *mut ngx_str_t,
) -> ngx_int_t {
    // SAFETY: the pointer to the string is as `string` requires, by the contract above.
    unsafe {
        string(c"ngx_http_lua_var_ffi_scheme", r, scheme, |r| {
            field::scheme(r)
        })
    }
}

/// Writes `$request_time` of the live request at `r` to `buf`, as seconds with three decimals,
/// and returns its length. `NGX_ERROR`, with nothing in `buf`, if the request is refused.
///
/// # Safety
/// `buf` is null or valid for writes of 32 bytes; `r` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_request_time(
    r: *mut ngx_http_request_t,
    buf: *mut u8,
) -> ngx_int_t {
    let asked = c"ngx_http_lua_var_ffi_request_time";
    let live =
        readable(&Call::enter(), r as usize, asked).map(|live| field::request_time(live.request()));
    // SAFETY: `buf` is as `copy` requires, by the contract above.
    unsafe { copy(live.ok().map(number::seconds), buf) }
}

/// Writes an upstream time of the live request at `r`, the sum over all attempts, to `buf`, as
/// seconds with three decimals, and returns its length. `kind` is 1 for
/// `$upstream_header_time`, 2 for `$upstream_connect_time`, else it is
/// `$upstream_response_time`. `NGX_ERROR`, with nothing in `buf`, if the request is refused or
/// went to no upstream.
///
/// # Safety
/// `buf` is null or valid for writes of 32 bytes; `r` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_upstream_response_time(
    r: *mut ngx_http_request_t,
    buf: *mut u8,
    kind: c_int,
) -> ngx_int_t {
    let time = match kind {
        1 => UpstreamTime::Header,
        2 => UpstreamTime::Connect,
        _ => UpstreamTime::Response,
    };
    let call = Call::enter();
    let asked = c"ngx_http_lua_var_ffi_upstream_response_time";
    let ms = readable(&call, r as usize, asked)
        .ok()
        .and_then(|live| field::upstream_time(live.request(), time))
        .flatten();
    // SAFETY: `buf` is as `copy` requires, by the contract above.
    unsafe { copy(ms.map(number::seconds), buf) }
}
