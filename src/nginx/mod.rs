//! nginx as the module sees it: the only folder that names its bindings, the C shim
//! and libc.
//!
//! A pointer of nginx's becomes a type here, once, in an `unsafe` constructor that says
//! what its caller has to know; what the type can do afterwards is safe. Nothing here
//! reads a bitfield of `ngx_http_request_t`: see `shim/request.h`.

pub(crate) mod array;
pub(crate) mod conf;
pub(crate) mod file;
pub(crate) mod header;
pub(crate) mod log;
pub(crate) mod lua_module;
pub(crate) mod mem;
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
    ngx_http_core_srv_conf_t, ngx_http_err_page_t, ngx_http_handler_pt, ngx_http_module_t,
    ngx_http_output_header_filter_pt, ngx_http_phases_NGX_HTTP_LOG_PHASE as LOG_PHASE,
    ngx_http_phases_NGX_HTTP_POST_READ_PHASE as POST_READ_PHASE,
    ngx_http_phases_NGX_HTTP_SERVER_REWRITE_PHASE as SERVER_REWRITE_PHASE, ngx_http_request_t,
    ngx_http_upstream_state_t, ngx_http_variable_value_t, ngx_int_t, ngx_module_t, ngx_pool_t,
    ngx_str_t, ngx_table_elt_t, ngx_time_t, ngx_uint_t,
};

/// The declarations of `shim/shim.h`.
#[allow(non_camel_case_types, missing_docs, unreachable_pub, dead_code)]
#[allow(unused_imports, clippy::all, clippy::restriction)]
pub(crate) mod shim {
    include!(concat!(env!("OUT_DIR"), "/shim.rs"));
}

/// `NGX_OK`, as the `ngx_int_t` that handlers return.
pub(crate) const OK: ngx_int_t = ffi::NGX_OK as ngx_int_t;
/// `NGX_ERROR`, likewise.
pub(crate) const ERROR: ngx_int_t = ffi::NGX_ERROR as ngx_int_t;
/// `NGX_AGAIN`, likewise.
pub(crate) const AGAIN: ngx_int_t = ffi::NGX_AGAIN as ngx_int_t;
/// `NGX_DECLINED`, likewise.
pub(crate) const DECLINED: ngx_int_t = ffi::NGX_DECLINED as ngx_int_t;
/// What `r->signature` holds in a live request (`NGX_HTTP_MODULE`, "HTTP").
pub(crate) const SIGNATURE: u32 = NGX_HTTP_MODULE;
/// `r->uri_changes` of a request that was not redirected (`NGX_HTTP_MAX_URI_CHANGES + 1`).
pub(crate) const FRESH_URI_CHANGES: usize = 11;

/// A variable's get handler, `ngx_http_get_variable_pt` without its `Option`.
pub(crate) type GetHandler = unsafe extern "C" fn(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t;

/// What was read is not what its type says: nginx lays the structure out otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreign;

/// The nginx that the module was built for, as it names itself.
pub(crate) const BUILT_FOR: &CStr = ffi::NGINX_VER;

/// Whether nginx reads its configuration to say whether it is good (`nginx -t`).
pub(crate) fn is_testing_configuration() -> bool {
    let flag = &raw const ffi::ngx_test_config;
    // SAFETY: nginx sets it from its arguments and leaves it.
    unsafe { flag.read() != 0 }
}

/// One entry of nginx's tables that have one for each module.
///
/// # Safety
/// `table` must have an entry at `at`.
unsafe fn entry<T>(table: *mut *mut T, at: usize) -> *mut T {
    // SAFETY: the table has an entry there, by the contract above.
    let place = unsafe { table.add(at) };
    // SAFETY: the entry that the table has there.
    unsafe { *place }
}

/// `ctx_index` of `ngx_http_core_module`.
pub(crate) fn core_index() -> usize {
    let module = &raw const ffi::ngx_http_core_module;
    // SAFETY: nginx assigns it before any configuration is read and leaves it.
    unsafe { (*module).ctx_index }
}

/// nginx's cached time: seconds and the milliseconds above them.
pub(crate) fn time() -> (i64, i64) {
    let now = &raw const ffi::ngx_cached_time;
    // SAFETY: `ngx_cached_time` points to a valid time from `ngx_time_init` on;
    // a signal may move it, hence volatile.
    let now = unsafe { now.read_volatile() };
    // SAFETY: a slot of nginx's ring of times, which are never freed.
    let now = unsafe { &*now };
    (now.sec, now.msec as i64)
}

/// nginx's clock that no one sets: milliseconds, which wrap (`ngx_current_msec`).
pub(crate) fn msec() -> u32 {
    let now = &raw const ffi::ngx_current_msec;
    // SAFETY: a number that this thread updates, in a signal handler too, hence volatile.
    unsafe { now.read_volatile() as u32 }
}

/// Where nginx keeps the pointer to its cached time.
pub(crate) fn time_address() -> *const c_void {
    (&raw const ffi::ngx_cached_time).cast()
}

/// `ngx_http_module`, which has the configurations of all HTTP modules.
pub(crate) const fn http_module() -> *const ngx_module_t {
    &raw const ffi::ngx_http_module
}

/// Where nginx keeps the pointer to its cycle.
pub(crate) const fn cycle_address() -> *const *mut ngx_cycle_t {
    (&raw const ffi::ngx_cycle).cast()
}

/// Where nginx keeps the clock that [`msec`] reads.
pub(crate) const fn msec_address() -> *const c_void {
    (&raw const ffi::ngx_current_msec).cast()
}

/// A request of which only `uri_changes` is set, all of its bits: where a bitfield is,
/// only a C compiler can say.
pub(crate) const fn uri_changes_probe() -> *const ngx_http_request_t {
    &raw const shim::lua_var_uri_changes_probe
}

/// Puts the module's header filter before all others; the result is the next one.
pub(crate) fn swap_header_filter(
    filter: ngx_http_output_header_filter_pt,
) -> ngx_http_output_header_filter_pt {
    let top = &raw mut ffi::ngx_http_top_header_filter;
    // SAFETY: nginx reads and writes it in this same thread only.
    unsafe { ptr::replace(top, filter) }
}
