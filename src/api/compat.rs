//! The functions of lua-var-nginx-module, under their names and with their signatures,
//! so that its own Lua file runs on this module.
//!
//! They take a bare request pointer, which is looked up among the live requests before it
//! is dereferenced. What they cannot see is whether that request is the one that Lua is
//! running for: a pointer kept past its request, to an address that another request has
//! since been given, names that other request. Handles do not have this weakness.

use core::ffi::{CStr, c_int};

use super::declared_in_shim;
use crate::mode;
use crate::nginx::request::Request;
use crate::nginx::string::str_of;
use crate::nginx::{ERROR, OK, ngx_http_request_t, ngx_int_t, ngx_str_t};
use crate::refused;
use crate::request::{Call, Readable, Refusal};
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

/// The request at an address, if it is live, has variables, and its members may be read. `asked`
/// is the function that asks, for the log.
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
        refused::by_address(why, address, asked);
    }
    live
}

/// Fills `out` with a string of the request at `r`.
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
    // SAFETY: the caller passes null or room for it that nobody else uses meanwhile.
    let Some(out) = (unsafe { out.as_mut() }) else {
        return ERROR;
    };
    match readable(&Call::enter(), r as usize, asked) {
        Ok(live) => {
            *out = str_of(read(live.request()));
            OK
        }
        Err(_) => {
            // Not null, so that whoever does not look at the result may read it.
            *out = str_of(b"");
            ERROR
        }
    }
}

/// Copies a text to `buf`; `NGX_ERROR` without one.
///
/// # Safety
/// `buf` is null or valid for writes of [`number::TEXT`] bytes.
unsafe fn copy(text: Option<Text>, buf: *mut u8) -> ngx_int_t {
    let Some(text) = text.filter(|_| !buf.is_null()) else {
        return ERROR;
    };
    let bytes = text.as_bytes();
    // SAFETY: the caller's word; a text is never longer.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), buf, bytes.len()) };
    bytes.len() as ngx_int_t
}

/// `$uri` of the request at `r`. `NGX_OK`, or `NGX_ERROR` and an empty string.
///
/// # Safety
/// `uri` is null or valid for writes; `r` may be anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_uri(
    r: *mut ngx_http_request_t,
    uri: *mut ngx_str_t,
) -> ngx_int_t {
    // SAFETY: the caller passes null or room for a string, as `string` asks.
    unsafe {
        string(c"ngx_http_lua_var_ffi_uri", r, uri, |r| {
            r.uri().unwrap_or_default()
        })
    }
}

/// `$host` of the request at `r`. `NGX_OK`, or `NGX_ERROR` and an empty string.
///
/// # Safety
/// `host` is null or valid for writes; `r` may be anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_host(
    r: *mut ngx_http_request_t,
    host: *mut ngx_str_t,
) -> ngx_int_t {
    // SAFETY: the caller passes null or room for a string, as `string` asks.
    unsafe { string(c"ngx_http_lua_var_ffi_host", r, host, field::host) }
}

/// `$remote_addr` of the request at `r`. `NGX_OK`, or `NGX_ERROR` and an empty string.
///
/// # Safety
/// `remote_addr` is null or valid for writes; `r` may be anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_remote_addr(
    r: *mut ngx_http_request_t,
    remote_addr: *mut ngx_str_t,
) -> ngx_int_t {
    // SAFETY: the caller passes null or room for a string, as `string` asks.
    unsafe {
        string(c"ngx_http_lua_var_ffi_remote_addr", r, remote_addr, |r| {
            r.remote_addr()
        })
    }
}

/// `$scheme` of the request at `r`. `NGX_OK`, or `NGX_ERROR` and an empty string.
///
/// # Safety
/// `scheme` is null or valid for writes; `r` may be anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_scheme(
    r: *mut ngx_http_request_t,
    scheme: *mut ngx_str_t,
) -> ngx_int_t {
    // SAFETY: the caller passes null or room for a string, as `string` asks.
    unsafe {
        string(c"ngx_http_lua_var_ffi_scheme", r, scheme, |r| {
            field::scheme(r)
        })
    }
}

/// `$request_time` of the request at `r`, as seconds with three decimals in `buf`.
///
/// The text's length; `NGX_ERROR` and nothing in `buf` when the request is refused.
///
/// # Safety
/// `buf` is null or takes 32 bytes; `r` may be anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_request_time(
    r: *mut ngx_http_request_t,
    buf: *mut u8,
) -> ngx_int_t {
    let asked = c"ngx_http_lua_var_ffi_request_time";
    let live =
        readable(&Call::enter(), r as usize, asked).map(|live| field::request_time(live.request()));
    // SAFETY: the caller passes null or room for 32 bytes, as `copy` asks.
    unsafe { copy(live.ok().map(number::seconds), buf) }
}

/// An upstream time of the request at `r`, summed over all attempts, as seconds
/// with three decimals in `buf`: `kind` 1 is `$upstream_header_time`, 2
/// `$upstream_connect_time`, anything else `$upstream_response_time`.
///
/// The text's length; `NGX_ERROR` and nothing in `buf` when the request is refused
/// or never went to an upstream.
///
/// # Safety
/// `buf` is null or takes 32 bytes; `r` may be anything.
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
    // SAFETY: the caller passes null or room for 32 bytes, as `copy` asks.
    unsafe { copy(ms.map(number::seconds), buf) }
}
