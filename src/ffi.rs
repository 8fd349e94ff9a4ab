//! The functions that Lua calls through LuaJIT's FFI, by name.
//!
//! `ngx_http_lua_var_ffi_{uri,host,remote_addr,scheme,request_time,
//! upstream_response_time}` have the names and signatures of
//! lua-var-nginx-module, so that its own Lua file runs on this module. They take a
//! bare request pointer, which is looked up among the live requests before it is
//! dereferenced. What they cannot see is whether that request is the one Lua is
//! running for: a pointer kept past its request, to an address that another
//! request has since been given, names that other request. Handles do not have
//! this weakness; the rest of the functions take handles.
//!
//! The declarations for LuaJIT are in `lua/resty/`.

use core::ffi::c_void;
use core::mem::offset_of;

use crate::assign;
use crate::ctx;
use crate::request::{Flavour, LiveRequest, Refusal, UpstreamTime, Value};
use crate::slots::{Handle, Slot};
use crate::sys::{
    self, ngx_array_t, ngx_connection_t, ngx_http_core_srv_conf_t, ngx_http_request_t,
    ngx_http_upstream_state_t, ngx_int_t, ngx_str_t, ngx_table_elt_t,
};
use crate::value::{self, Text};
use crate::worker::{Mode, worker};

/// The request at `r`, if it is live, has variables, and may be read directly.
#[inline]
fn readable(r: *mut ngx_http_request_t) -> Result<LiveRequest, Refusal> {
    if worker().mode.get() == Mode::Handlers {
        return Err(Refusal::Layout);
    }
    let live = LiveRequest::by_address(r as usize).and_then(LiveRequest::with_variables);
    if live.is_err() {
        worker().refused.set(worker().refused.get().wrapping_add(1));
    }
    live
}

/// Fills `out` with a string of the request at `r`.
///
/// # Safety
/// `out` is null or valid for writes.
#[inline]
unsafe fn string(
    r: *mut ngx_http_request_t,
    out: *mut ngx_str_t,
    read: impl FnOnce(&LiveRequest) -> ngx_str_t,
) -> ngx_int_t {
    // SAFETY: the caller's word.
    let Some(out) = (unsafe { out.as_mut() }) else {
        return sys::ERROR;
    };
    match readable(r) {
        Ok(live) => {
            *out = read(&live);
            sys::OK
        }
        Err(_) => {
            *out = sys::text(b"");
            sys::ERROR
        }
    }
}

/// Copies a text to `buf`, which takes at least [`value::TEXT`] bytes.
///
/// # Safety
/// `buf` is null or valid for writes of that many.
unsafe fn copy(text: &Text, buf: *mut u8) -> ngx_int_t {
    let bytes = text.as_bytes();
    if buf.is_null() {
        return sys::ERROR;
    }
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
    // SAFETY: the caller's word.
    unsafe { string(r, uri, LiveRequest::uri) }
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
    // SAFETY: the caller's word.
    unsafe { string(r, host, LiveRequest::host) }
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
    // SAFETY: the caller's word.
    unsafe { string(r, remote_addr, LiveRequest::remote_addr) }
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
    // SAFETY: the caller's word.
    unsafe { string(r, scheme, LiveRequest::scheme) }
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
    match readable(r) {
        // SAFETY: the caller's word.
        Ok(live) => unsafe { copy(&value::seconds(live.request_time()), buf) },
        Err(_) => sys::ERROR,
    }
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
    kind: i32,
) -> ngx_int_t {
    let time = upstream_time(kind);
    match readable(r).ok().and_then(|live| live.upstream_time(time)) {
        // SAFETY: the caller's word.
        Some(ms) => unsafe { copy(&value::seconds(ms), buf) },
        None => sys::ERROR,
    }
}

/// The time of that number in lua-var-nginx-module.
fn upstream_time(kind: i32) -> UpstreamTime {
    match kind {
        1 => UpstreamTime::Header,
        2 => UpstreamTime::Connect,
        _ => UpstreamTime::Response,
    }
}

/// The reference of the `ngx.ctx` that the request at `r` lost in a redirect and
/// gets back in Lua VM `vm`; 0 when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn ngx_http_lua_var_ffi_ctx_lost(r: *mut ngx_http_request_t, vm: u32) -> i32 {
    match LiveRequest::by_address(r as usize) {
        Ok(live) => ctx::restorable(&live, vm).unwrap_or(0),
        Err(_) => 0,
    }
}

/// Notes that the `ngx.ctx` of the request at `r` has this reference in Lua VM
/// `vm`; `again` is 1 when it was given back after a redirect.
#[unsafe(no_mangle)]
pub extern "C" fn ngx_http_lua_var_ffi_ctx_made(
    r: *mut ngx_http_request_t,
    reference: i32,
    vm: u32,
    again: i32,
) {
    if again != 0 {
        worker()
            .restored
            .set(worker().restored.get().wrapping_add(1));
    }
    if let Ok(live) = LiveRequest::by_address(r as usize) {
        ctx::created(&live, reference, vm);
    }
}

/// What the getters written in Lua need to know to read a request without a call:
/// addresses of what never moves, and where members are.
#[repr(C)]
pub struct Layout {
    slots: *const Slot,
    /// nginx's cached time.
    time: *const c_void,
    signature: u32,
    request_signature: u32,
    request_connection: u32,
    request_main: u32,
    request_uri: u32,
    request_unparsed_uri: u32,
    request_args: u32,
    request_http_protocol: u32,
    request_method_name: u32,
    request_server: u32,
    request_err_status: u32,
    request_out_status: u32,
    request_http_version: u32,
    request_start_sec: u32,
    request_start_msec: u32,
    request_request_length: u32,
    request_variables: u32,
    request_srv_conf: u32,
    request_upstream_states: u32,
    connection_ssl: u32,
    connection_sent: u32,
    connection_addr_text: u32,
    connection_number: u32,
    connection_requests: u32,
    connection_local_sockaddr: u32,
    core_srv_index: u32,
    core_srv_server_name: u32,
    array_elts: u32,
    array_nelts: u32,
    state_response_time: u32,
    state_header_time: u32,
    state_connect_time: u32,
    header_hash: u32,
    header_value: u32,
    /// 0 when nginx's headers have no such member.
    header_next: u32,
}

/// Fills `out`.
///
/// # Safety
/// `out` is null or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_layout(out: *mut Layout) {
    // SAFETY: the caller's word.
    if let Some(out) = unsafe { out.as_mut() } {
        *out = layout();
    }
}

fn layout() -> Layout {
    macro_rules! r {
        ($($member:tt)+) => { offset_of!(ngx_http_request_t, $($member)+) as u32 };
    }
    macro_rules! c {
        ($member:ident) => {
            offset_of!(ngx_connection_t, $member) as u32
        };
    }
    Layout {
        slots: worker().slots_at.get() as *const Slot,
        time: sys::time_address(),
        signature: sys::SIGNATURE,
        request_signature: r!(signature),
        request_connection: r!(connection),
        request_main: r!(main),
        request_uri: r!(uri),
        request_unparsed_uri: r!(unparsed_uri),
        request_args: r!(args),
        request_http_protocol: r!(http_protocol),
        request_method_name: r!(method_name),
        request_server: r!(headers_in.server),
        request_err_status: r!(err_status),
        request_out_status: r!(headers_out.status),
        request_http_version: r!(http_version),
        request_start_sec: r!(start_sec),
        request_start_msec: r!(start_msec),
        request_request_length: r!(request_length),
        request_variables: r!(variables),
        request_srv_conf: r!(srv_conf),
        request_upstream_states: r!(upstream_states),
        connection_ssl: c!(ssl),
        connection_sent: c!(sent),
        connection_addr_text: c!(addr_text),
        connection_number: c!(number),
        connection_requests: c!(requests),
        connection_local_sockaddr: c!(local_sockaddr),
        core_srv_index: sys::core_index() as u32,
        core_srv_server_name: offset_of!(ngx_http_core_srv_conf_t, server_name) as u32,
        array_elts: offset_of!(ngx_array_t, elts) as u32,
        array_nelts: offset_of!(ngx_array_t, nelts) as u32,
        state_response_time: offset_of!(ngx_http_upstream_state_t, response_time) as u32,
        state_header_time: offset_of!(ngx_http_upstream_state_t, header_time) as u32,
        state_connect_time: offset_of!(ngx_http_upstream_state_t, connect_time) as u32,
        header_hash: offset_of!(ngx_table_elt_t, hash) as u32,
        header_value: offset_of!(ngx_table_elt_t, value) as u32,
        header_next: sys::next_header(),
    }
}

/// A handle, as LuaJIT passes it: a pointer to the cdata.
#[repr(C)]
pub struct HandleArg {
    id: u32,
    generation: u32,
}

impl HandleArg {
    #[inline]
    fn live(&self) -> Result<LiveRequest, Refusal> {
        let handle = Handle {
            id: self.id,
            generation: self.generation,
        };
        LiveRequest::by_handle(handle).and_then(LiveRequest::with_variables)
    }
}

/// How a getter reads its variable; a member is negative where it cannot be so.
#[repr(C)]
pub struct Way {
    /// By number: [`ngx_http_lua_var_ffi_text`], [`ngx_http_lua_var_ffi_assign`].
    number: i64,
    /// By a prefix's number and the rest of the name: [`ngx_http_lua_var_ffi_own`].
    own: i64,
    /// Its place in `r->variables`, if nginx may have kept a value there that a
    /// direct reader has to prefer.
    index: i32,
    /// Offset in the request of the pointer to the header that it shows.
    header: i32,
}

impl Way {
    const NONE: Self = Way {
        number: -1,
        own: -1,
        index: -1,
        header: -1,
    };
}

/// Fills `way` for the variable of this name, in lower case, in the configuration
/// that serves the request.
///
/// # Safety
/// `handle` points to a handle, `name` is valid for reads of `len` bytes, `way` for
/// writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_resolve(
    handle: &HandleArg,
    name: *const u8,
    len: usize,
    way: &mut Way,
) {
    *way = Way::NONE;
    // SAFETY: the caller's word.
    let name = unsafe { core::slice::from_raw_parts(name, len) };
    let Some(found) = handle.live().ok().and_then(|live| live.resolve(name)) else {
        return;
    };
    let kept_at = found
        .var
        .and_then(|var| var.index.filter(|_| var.cacheable));
    *way = Way {
        number: found.number.map_or(-1, i64::from),
        own: found.own.map_or(-1, i64::from),
        index: kept_at.map_or(-1, |at| at as i32),
        header: found.header.map_or(-1, |offset| offset as i32),
    };
}

/// What a prefix has under this name (in lower case, without the prefix), by the
/// prefix's number. Results as [`ngx_http_lua_var_ffi_text`].
///
/// # Safety
/// `handle` points to a handle, `name` is valid for reads of `len` bytes, `out` for
/// writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_own(
    handle: &HandleArg,
    number: u32,
    name: *const u8,
    len: usize,
    out: &mut ngx_str_t,
) -> i32 {
    let Ok(live) = handle.live() else {
        return ERROR;
    };
    // SAFETY: the caller's word.
    let name = unsafe { core::slice::from_raw_parts(name, len) };
    match live.of_own(number, name) {
        Some(value) => answer(value, out),
        None => AGAIN,
    }
}

/// `NGX_OK` and the text in `out`; `NGX_DECLINED` when not set; `NGX_ERROR` when
/// the request is refused; `NGX_AGAIN` when `fetch` has to be asked instead.
///
/// # Safety
/// `handle` points to a handle, `out` is valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_text(
    handle: &HandleArg,
    number: u32,
    out: &mut ngx_str_t,
) -> i32 {
    let Ok(live) = handle.live() else {
        return ERROR;
    };
    let Some(var) = live.numbered(number) else {
        return AGAIN;
    };
    answer(live.read(var, Flavour::Text), out)
}

/// Assigns to the variable of this number: `NGX_OK`; `NGX_AGAIN` when `set` has to
/// be asked instead; `NGX_ERROR` when the request is refused.
///
/// # Safety
/// `handle` points to a handle, `value` is valid for reads of `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_assign(
    handle: &HandleArg,
    number: u32,
    value: *const u8,
    len: usize,
) -> i32 {
    let Ok(live) = handle.live() else {
        return ERROR;
    };
    let Some(var) = live.numbered(number) else {
        return AGAIN;
    };
    // SAFETY: the caller's word.
    let value = unsafe { core::slice::from_raw_parts(value, len) };
    if assign::store(&live, var, value) {
        OK
    } else {
        AGAIN
    }
}

/// As [`ngx_http_lua_var_ffi_text`], for a name of a prefix, in lower case.
///
/// # Safety
/// As there; `name` is valid for reads of `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_named(
    handle: &HandleArg,
    name: *const u8,
    len: usize,
    out: &mut ngx_str_t,
) -> i32 {
    let Ok(live) = handle.live() else {
        return ERROR;
    };
    // SAFETY: the caller's word.
    let name = unsafe { core::slice::from_raw_parts(name, len) };
    match live.fetch(name, Flavour::Text) {
        Ok(value) => answer(value, out),
        Err(_) => AGAIN,
    }
}

/// A value, as compiled `fetch` gets it.
#[repr(C)]
pub struct Out {
    data: *const u8,
    len: usize,
    number: f64,
}

impl Out {
    /// Stores a value; the result says which kind it is.
    #[inline(always)]
    fn put(&mut self, value: Value) -> i32 {
        match value {
            Value::Text(text) => {
                self.data = text.data;
                self.len = text.len;
                TEXT
            }
            Value::Number(number) => {
                self.number = number;
                NUMBER
            }
            Value::Nil => NIL,
        }
    }
}

/// The variable `name` of the request that `handle` names, typed as `fetch` types
/// it: 0 and a text, 1 and a number, 2 when it is not set; negative when `fetch`
/// has to be asked instead.
///
/// # Safety
/// `handle` points to a handle, `name` is valid for reads of `len` bytes, `out`
/// for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_value(
    handle: &HandleArg,
    name: *const u8,
    len: usize,
    out: &mut Out,
) -> i32 {
    // SAFETY: the caller's word.
    let name = unsafe { core::slice::from_raw_parts(name, len) };
    match handle.live() {
        Ok(live) => match live.fetch(name, Flavour::Typed) {
            Ok(value) => out.put(value),
            Err(_) => AGAIN,
        },
        Err(_) => ERROR,
    }
}

/// The variable `name` of the request at `r`, for the one that lua-nginx-module says
/// is running: as `fetch` types it, or with `typed` 0 as text, as `ngx.var` gives it.
/// Results as [`ngx_http_lua_var_ffi_value`].
///
/// # Safety
/// `name` is valid for reads of `len` bytes, `out` for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_current(
    r: *mut ngx_http_request_t,
    name: *const u8,
    len: usize,
    typed: u32,
    out: &mut Out,
) -> i32 {
    // SAFETY: the caller's word.
    let name = unsafe { core::slice::from_raw_parts(name, len) };
    let flavour = if typed != 0 {
        Flavour::Typed
    } else {
        Flavour::Text
    };
    match readable(r) {
        Ok(live) => match live.fetch(name, flavour) {
            Ok(value) => out.put(value),
            Err(_) => AGAIN,
        },
        Err(_) => ERROR,
    }
}

const TEXT: i32 = 0;
const NUMBER: i32 = 1;
const NIL: i32 = 2;

const OK: i32 = 0;
const ERROR: i32 = -1;
const AGAIN: i32 = -2;
const DECLINED: i32 = -5;

#[inline(always)]
fn answer(value: Value, out: &mut ngx_str_t) -> i32 {
    match value {
        Value::Text(text) => {
            *out = text;
            OK
        }
        _ => DECLINED,
    }
}

/// Seconds at upstreams over all attempts: `kind` as
/// [`ngx_http_lua_var_ffi_upstream_response_time`]. Negative: -1 without an
/// attempt, -2 when the request is refused.
#[unsafe(no_mangle)]
pub extern "C" fn ngx_http_lua_var_ffi_upstream_seconds(handle: &HandleArg, kind: i32) -> f64 {
    match handle.live() {
        Ok(live) => live
            .upstream_time(upstream_time(kind))
            .map_or(-1.0, |ms| ms as f64 / 1000.0),
        Err(_) => -2.0,
    }
}
