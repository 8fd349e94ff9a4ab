//! Safe types over nginx, the C shim and libc. Only this folder uses their bindings.
//!
//! A pointer from nginx is converted once to a type of this folder, in an `unsafe`
//! constructor whose contract the caller keeps; the methods of the type are then safe.
//! Bitfields of `ngx_http_request_t` are read in C (`shim/request.c`), because only a C
//! compiler knows their layout.

pub(crate) mod array;
pub(crate) mod conf;
pub(crate) mod error_page;
pub(crate) mod file;
pub(crate) mod log;
pub(crate) mod mem;
pub(crate) mod module_conf;
pub(crate) mod pool;
pub(crate) mod process;
pub(crate) mod request;
pub(crate) mod string;
pub(crate) mod value;
mod variable;

use core::ffi::{CStr, c_void};
use core::ptr;

use ngx::ffi;
pub(crate) use ngx::ffi::{
    NGX_HTTP_MODULE, ngx_array_t, ngx_command_t, ngx_conf_t, ngx_connection_t, ngx_cycle_t,
    ngx_flag_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_core_srv_conf_t, ngx_http_handler_pt, ngx_http_module_t,
    ngx_http_output_header_filter_pt, ngx_http_phases_NGX_HTTP_LOG_PHASE as LOG_PHASE,
    ngx_http_phases_NGX_HTTP_SERVER_REWRITE_PHASE as SERVER_REWRITE_PHASE, ngx_http_request_t,
    ngx_http_upstream_state_t, ngx_http_variable_value_t, ngx_int_t, ngx_module_t, ngx_pool_t,
    ngx_str_t, ngx_uint_t,
};

/// The declarations in `shim/shim.h`, which bindgen converts in `build.rs`.
#[allow(non_camel_case_types, missing_docs, unreachable_pub, dead_code)]
#[allow(unused_imports, clippy::all, clippy::restriction)]
pub(crate) mod shim {
    include!(concat!(env!("OUT_DIR"), "/shim.rs"));
}

pub(crate) const OK: ngx_int_t = ffi::NGX_OK as ngx_int_t;
pub(crate) const ERROR: ngx_int_t = ffi::NGX_ERROR as ngx_int_t;
pub(crate) const DECLINED: ngx_int_t = ffi::NGX_DECLINED as ngx_int_t;
/// The value of `r->signature` in a live request (`NGX_HTTP_MODULE`, "HTTP").
pub(crate) const SIGNATURE: u32 = NGX_HTTP_MODULE;
/// The value of `r->uri_changes` in a request that was not redirected
/// (`NGX_HTTP_MAX_URI_CHANGES + 1`).
pub(crate) const FRESH_URI_CHANGES: usize = 11;

/// What was read cannot have the expected type, because nginx has another layout of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreign;

/// The name and version of the nginx that the module was built for (`NGINX_VER`).
pub(crate) const BUILT_FOR: &CStr = ffi::NGINX_VER;

/// An entry of an array of nginx's that has one for each module.
///
/// # Safety
/// `table` must have an entry with the index `at`.
unsafe fn entry<T>(table: *mut *mut T, at: usize) -> *mut T {
    // SAFETY: `table` has an entry at `at`, by the contract above.
    let place = unsafe { table.add(at) };
    // SAFETY: `place` points to that entry.
    unsafe { *place }
}

pub(crate) fn core_index() -> usize {
    let module = &raw const ffi::ngx_http_core_module;
    // SAFETY: nginx assigns `ctx_index` before it reads a configuration, and never again.
    unsafe { (*module).ctx_index }
}

/// nginx's cached time: seconds since the epoch, and milliseconds within the second.
pub(crate) fn time() -> (i64, i64) {
    let now = &raw const ffi::ngx_cached_time;
    // SAFETY: nginx sets `ngx_cached_time` in `ngx_time_init`. The read is volatile because a
    // signal handler may change the pointer.
    let now = unsafe { now.read_volatile() };
    // SAFETY: the pointer is to an element of a static array of times.
    let now = unsafe { &*now };
    (now.sec, now.msec as i64)
}

/// nginx's monotonic clock (`ngx_current_msec`): milliseconds.
pub(crate) fn msec() -> u64 {
    let now = &raw const ffi::ngx_current_msec;
    // SAFETY: `ngx_current_msec` is a static integer. The read is volatile because a signal
    // handler may change it.
    unsafe { now.read_volatile() as u64 }
}

/// The address of `ngx_http_module`, through whose `index` the configurations of all HTTP
/// modules are found.
pub(crate) const fn http_module() -> *const ngx_module_t {
    &raw const ffi::ngx_http_module
}

pub(crate) const fn cycle_address() -> *const *mut ngx_cycle_t {
    (&raw const ffi::ngx_cycle).cast()
}

pub(crate) const fn msec_address() -> *const c_void {
    (&raw const ffi::ngx_current_msec).cast()
}

/// Puts a header filter in front of all others and returns the filter that was first.
pub(crate) fn swap_header_filter(
    filter: ngx_http_output_header_filter_pt,
) -> ngx_http_output_header_filter_pt {
    let top = &raw mut ffi::ngx_http_top_header_filter;
    // SAFETY: nginx reads and writes `ngx_http_top_header_filter` in this thread only.
    unsafe { ptr::replace(top, filter) }
}
