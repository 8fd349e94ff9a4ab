//! What `shim/refusal.c` asks when a request is refused, and where handles are made.

use core::ffi::c_char;

use crate::nginx::shim::{lua_var_refusal_t, ngx_http_lua_var_value_t};
use crate::nginx::{ngx_http_request_t, ngx_uint_t};
use crate::refused;
use crate::registry::slots::Handle;
use crate::request::{Call, LiveRequest, Refusal};

/// Counts a refusal; 1 when [`describe`] has more to do.
///
/// # Safety
/// `out` is a value on the stack of `shim/refusal.c`.
pub(super) unsafe extern "C" fn count(
    out: *const ngx_http_lua_var_value_t,
    current: *mut ngx_http_request_t,
) -> ngx_uint_t {
    // SAFETY: on the stack of the function that waits for this one.
    let out = unsafe { &*out };
    let why = Refusal::numbered(out.number as u32);
    ngx_uint_t::from(refused::count(why, current as usize))
}

/// Describes a refusal that was counted; 1 when it is to be logged.
///
/// # Safety
/// Both are structures on the stack of `shim/refusal.c`, and the texts that `refusal` points
/// to are there meanwhile.
pub(super) unsafe extern "C" fn describe(
    out: *const ngx_http_lua_var_value_t,
    refusal: *mut lua_var_refusal_t,
) -> ngx_uint_t {
    // SAFETY: structures on the stack of the function that waits for this one.
    let (out, refusal) = unsafe { super::arguments(out, refusal) };
    // SAFETY: the texts are those of the Lua functions on the stack that waits.
    let is_due = unsafe { refused::describe(Refusal::numbered(out.number as u32), refusal) };
    ngx_uint_t::from(is_due)
}

/// Whether it is remembered where handles are made (`lua_var_trace_handles`).
pub(super) unsafe extern "C" fn is_tracing() -> ngx_uint_t {
    ngx_uint_t::from(refused::is_tracing())
}

/// Remembers where a handle was made.
///
/// # Safety
/// `source` is a C string.
pub(super) unsafe extern "C" fn handle_made(handle: u64, source: *const c_char, line: i32) {
    let call = Call::enter();
    if let Ok(live) = LiveRequest::by_handle(&call, Handle::from_bits(handle)) {
        // SAFETY: the name of a Lua function's file, on the stack that waits.
        unsafe { refused::remember_origin(live, source, line) };
    }
}
