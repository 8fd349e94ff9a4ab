//! Refusals and new handles, as `shim/culprits.c` and `shim/functions.c` report them.

use core::ffi::{CStr, c_char};

use crate::culprits;
use crate::nginx::request::Unproved;
use crate::nginx::shim::{lua_var_refusal_t, lua_var_value_t};
use crate::nginx::{ngx_http_request_t, ngx_uint_t};
use crate::refusal::Refusal;
use crate::registry::slots::Handle;
use crate::validation::{self, Call};

/// Counts the refusal in `out`. Returns 1 if [`log`] has to be called.
///
/// # Safety
/// Both are on the stack of `shim/culprits.c`.
pub(super) unsafe extern "C" fn refused(
    out: *const lua_var_value_t,
    refusal: *mut lua_var_refusal_t,
) -> ngx_uint_t {
    // SAFETY: it is on the stack of the C function that calls this one.
    let out = unsafe { &*out };
    // SAFETY: so is this one, and nothing else refers to it.
    let refusal = unsafe { &mut *refusal };
    let why = Refusal::numbered(out.number as u32);
    ngx_uint_t::from(culprits::refused(why, refusal))
}

/// Logs a refusal that was counted.
///
/// # Safety
/// It is on the stack of `shim/culprits.c`.
pub(super) unsafe extern "C" fn log(refusal: *const lua_var_refusal_t) {
    // SAFETY: it is on the stack of the C function that calls this one.
    culprits::log(unsafe { &*refusal });
}

/// Returns 1 if lua-nginx-module may be asked for the context of `r`.
pub(super) unsafe extern "C" fn has_context(r: *mut ngx_http_request_t) -> ngx_uint_t {
    let call = Call::enter();
    ngx_uint_t::from(validation::proved(&call, Unproved::from_lua(r as usize)).is_some())
}

/// Logs the refusals that were left out, when their time has come.
pub(super) unsafe extern "C" fn flush() {
    culprits::flush();
}

/// Whether [`handle_made`] has to be called for each new handle (`lua_var_trace_handles`).
pub(super) unsafe extern "C" fn is_tracing() -> ngx_uint_t {
    ngx_uint_t::from(culprits::origins::is_tracing())
}

/// Remembers the file and the line of Lua in which a handle was made.
///
/// # Safety
/// `source` is a C string.
pub(super) unsafe extern "C" fn handle_made(handle: u64, source: *const c_char, line: i32) {
    // SAFETY: it is a C string, by the contract above.
    let source = unsafe { CStr::from_ptr(source) }.to_bytes();
    culprits::origins::remember(Handle::from_bits(handle), source, line);
}
