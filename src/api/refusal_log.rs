//! Counting and describing refusals, for `shim/refusal_log.c`, and remembering where handles are
//! made.

use core::ffi::c_char;

use crate::nginx::shim::{lua_var_refusal_t, lua_var_value_t};
use crate::nginx::{ngx_http_request_t, ngx_uint_t};
use crate::refusal::Refusal;
use crate::refusal_log;
use crate::registry::slots::Handle;

/// Counts the refusal in `out`. Returns 1 if [`describe`] has to be called.
///
/// # Safety
/// `out` is on the stack of `shim/refusal_log.c`.
pub(super) unsafe extern "C" fn count(
    out: *const lua_var_value_t,
    current: *mut ngx_http_request_t,
) -> ngx_uint_t {
    // SAFETY: it is on the stack of the C function that calls this one.
    let out = unsafe { &*out };
    let why = Refusal::numbered(out.number as u32);
    ngx_uint_t::from(refusal_log::count(why, current as usize))
}

/// Records a refusal that was counted and fills in its facts. Returns 1 if it has to be logged.
///
/// # Safety
/// Both are on the stack of `shim/refusal_log.c`, and the texts that `refusal` points to are valid.
pub(super) unsafe extern "C" fn describe(
    out: *const lua_var_value_t,
    refusal: *mut lua_var_refusal_t,
) -> ngx_uint_t {
    // SAFETY: it is on the stack of the C function that calls this one.
    let out = unsafe { &*out };
    // SAFETY: so is this one, and nothing else refers to it.
    let refusal = unsafe { &mut *refusal };
    // SAFETY: the texts are valid, by the contract above.
    let is_due = unsafe { refusal_log::describe(Refusal::numbered(out.number as u32), refusal) };
    ngx_uint_t::from(is_due)
}

/// Whether [`handle_made`] has to be called for each new handle (`lua_var_trace_handles`).
pub(super) unsafe extern "C" fn is_tracing() -> ngx_uint_t {
    ngx_uint_t::from(refusal_log::is_tracing())
}

/// Remembers the file and the line of Lua in which a handle was made.
///
/// # Safety
/// `source` is a C string.
pub(super) unsafe extern "C" fn handle_made(handle: u64, source: *const c_char, line: i32) {
    // SAFETY: `source` is a C string, by the contract above.
    unsafe { refusal_log::remember_origin(Handle::from_bits(handle), source, line) };
}
