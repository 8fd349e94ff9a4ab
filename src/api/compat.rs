//! The functions of lua-var-nginx-module, with its names and signatures, so that its own Lua
//! file works with this module.
//!
//! They take a request's address, which is looked up among the live requests before it is
//! dereferenced. If a request has ended and another one lives at its address now, they read
//! the other one, because they do not know the current request. Handles do not have this
//! weakness.

use core::ffi::{CStr, c_int};

use crate::culprits;
use crate::nginx::request::UpstreamState;
use crate::nginx::string::str_of;
use crate::nginx::{ERROR, OK, ngx_http_request_t, ngx_int_t, ngx_str_t};
use crate::refusal::Refusal;
use crate::text::{Seconds, put, written};
use crate::validation::{Call, LiveRequest};
use crate::variable::field;

/// The live request at an address. A refusal is logged with the name of the function that was
/// called, `asked`.
fn readable<'a>(
    call: &'a Call,
    address: usize,
    asked: &'static CStr,
) -> Result<LiveRequest<'a>, Refusal> {
    let live = LiveRequest::by_address(call, address);
    if let Err(why) = live {
        culprits::by_address(why, address, asked);
    }
    live
}

/// The length of the buffers that lua-var-nginx-module's Lua file passes for a time.
const TIME: usize = 32;

/// Writes milliseconds to `buf`, as seconds with three decimals, and returns the length;
/// `NGX_ERROR` if there are none.
///
/// # Safety
/// `buf` is null or valid for writes of [`TIME`] bytes.
unsafe fn write(ms: Option<i64>, buf: *mut u8) -> ngx_int_t {
    // SAFETY: it is null or has that length, by the contract above, and nothing else refers to it.
    match (ms, unsafe { buf.cast::<[u8; TIME]>().as_mut() }) {
        (Some(ms), Some(room)) => written(room, |w| put!(w; Seconds(ms))).len() as ngx_int_t,
        _ => ERROR,
    }
}

/// Makes a function that writes a string of the live request at `r` to `out`. It returns
/// `NGX_ERROR`, with an empty string, if the request is refused.
macro_rules! strings {
    ($($function:ident $name:literal |$r:ident| $value:expr;)+) => {$(
        #[doc = concat!("`$", $name, "` of the live request at `r`. `NGX_ERROR`, with an empty string, ")]
        /// if it is refused.
        ///
        /// # Safety
        /// `out` is null or valid for writes; `r` may be any pointer.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $function(
            r: *mut ngx_http_request_t,
            out: *mut ngx_str_t,
        ) -> ngx_int_t {
            let asked = concat!(stringify!($function), "\0");
            let asked = CStr::from_bytes_with_nul(asked.as_bytes()).unwrap_or_default();
            let call = Call::enter();
            let live = readable(&call, r as usize, asked);
            let text = live.as_ref().map(|live| { let $r = **live; $value });
            // SAFETY: it is null or valid for writes, by the contract above, and nothing else
            // refers to it during the call.
            let Some(out) = (unsafe { out.as_mut() }) else {
                return ERROR;
            };
            // Its address is never null, for callers that do not look at the result.
            *out = str_of(text.unwrap_or_default());
            if live.is_ok() { OK } else { ERROR }
        }
    )+};
}

strings! {
    ngx_http_lua_var_ffi_uri "uri" |r| r.uri().unwrap_or_default();
    ngx_http_lua_var_ffi_host "host" |r| field::host(r);
    ngx_http_lua_var_ffi_remote_addr "remote_addr" |r| r.remote_addr();
    ngx_http_lua_var_ffi_scheme "scheme" |r| field::scheme(r);
}

/// Writes `$request_time` of the live request at `r` to `buf`, as seconds with three decimals,
/// and returns its length. `NGX_ERROR`, with nothing in `buf`, if the request is refused.
///
/// # Safety
/// `buf` is null or valid for writes of 32 bytes; `r` may be any pointer.
#[unsafe(no_mangle)]
unsafe extern "C" fn ngx_http_lua_var_ffi_request_time(
    r: *mut ngx_http_request_t,
    buf: *mut u8,
) -> ngx_int_t {
    let asked = c"ngx_http_lua_var_ffi_request_time";
    let call = Call::enter();
    let live = readable(&call, r as usize, asked);
    let ms = live.map(|live| field::request_time(*live)).ok();
    // SAFETY: `buf` is as `write` requires, by the contract above.
    unsafe { write(ms, buf) }
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
unsafe extern "C" fn ngx_http_lua_var_ffi_upstream_response_time(
    r: *mut ngx_http_request_t,
    buf: *mut u8,
    kind: c_int,
) -> ngx_int_t {
    let time = match kind {
        1 => UpstreamState::header_time,
        2 => UpstreamState::connect_time,
        _ => UpstreamState::response_time,
    };
    let call = Call::enter();
    let asked = c"ngx_http_lua_var_ffi_upstream_response_time";
    let ms = readable(&call, r as usize, asked)
        .ok()
        .and_then(|live| field::upstream_time(*live, time))
        .flatten();
    // SAFETY: `buf` is as `write` requires, by the contract above.
    unsafe { write(ms, buf) }
}
