//! Registering the embedded library with lua-nginx-module, by way of `shim/lua.c`, and
//! numbering the Lua VMs that run it.

use core::cell::Cell;
use core::ffi::CStr;
use core::ptr;

use super::culprits;
use super::functions::{self, asked_by_c};
use super::lua_files::CHUNKS;
use crate::nginx::conf::{Conf, conf_error};
use crate::nginx::shim::{lua_var_call_t, lua_var_rust_t};
use crate::nginx::{self, DECLINED, OK};
use crate::ngx_ctx;
use crate::statics::{PerWorker, Shared};
use crate::validation::Call;

static FUNCTIONS: Shared<lua_var_rust_t> = Shared(lua_var_rust_t {
    fetch: asked_by_c!(functions::fetch),
    read: asked_by_c!(functions::read),
    capture: asked_by_c!(functions::capture),
    set: asked_by_c!(functions::set),
    number: asked_by_c!(functions::number),
    live: asked_by_c!(functions::live),
    acquire: Some(functions::acquire),
    refused: Some(culprits::refused),
    log_refusal: Some(culprits::log),
    has_context: Some(culprits::has_context),
    flush_refusals: Some(culprits::flush),
    is_tracing: Some(culprits::is_tracing),
    made: Some(culprits::handle_made),
    figure: Some(functions::figure),
    ctx_lost: Some(functions::ctx_lost),
    ctx_made: Some(functions::ctx_made),
    connection: Some(functions::connection),
    inherits_ssl_ctx: Some(functions::inherits_ssl_ctx),
    vm: Some(number_of_vm),
    chunks: CHUNKS.0.as_ptr(),
    nchunks: CHUNKS.0.len(),
});

struct Vms {
    /// Whether nginx is reading a configuration. A VM that is created then serves the worker.
    is_configuring: Cell<bool>,
    /// The number of the newest VM that serves one request only (`lua_code_cache off`).
    newest: Cell<u32>,
}

static VMS: PerWorker<Vms> =
    PerWorker(Vms { is_configuring: Cell::new(false), newest: Cell::new(0) });

pub(crate) fn set_configuring(is_configuring: bool) {
    VMS.is_configuring.set(is_configuring);
}

/// A number for a Lua VM that is being created: 0 for one that serves the worker.
unsafe extern "C" fn number_of_vm() -> u32 {
    if VMS.is_configuring.get() {
        return 0;
    }
    ngx_ctx::has_other_vms();
    VMS.newest.set(VMS.newest.get().wrapping_add(1) % u32::MAX);
    VMS.newest.get().max(1)
}

/// Whether the running configuration has this module and lua-nginx-module.
#[inline(always)]
pub(crate) fn is_running() -> bool {
    // SAFETY: only nginx's main thread uses it.
    unsafe { nginx::shim::lua_var_is_running != 0 }
}

pub(crate) fn is_configured() -> bool {
    // SAFETY: the C function only reads a flag, in nginx's one thread.
    unsafe { nginx::shim::lua_var_lua_is_configured() != 0 }
}

/// Makes the configuration for which [`init`] was called the running one.
pub(crate) fn commit() {
    // SAFETY: only nginx's main thread uses it.
    unsafe { nginx::shim::lua_var_is_running = usize::from(is_configured()) }
}

/// Registers the embedded packages with lua-nginx-module, if it is loaded. Returns false after
/// it has logged an error: that module is too old.
pub(crate) fn init(cf: Conf<'_>) -> bool {
    let mut missing = ptr::null();
    let functions = &raw const FUNCTIONS.0;
    // SAFETY: nginx is reading the configuration, and in preconfiguration lua-nginx-module has
    // its main configuration already.
    let rc = unsafe { nginx::shim::lua_var_lua_init(cf.as_ptr(), functions, &raw mut missing) };
    match rc {
        OK | DECLINED => true,
        _ => {
            // SAFETY: the C function sets it to a constant when it fails.
            let missing = unsafe { CStr::from_ptr(missing) };
            conf_error!(
                cf;
                "ngx_http_lua_module is too old for ngx_http_lua_var_module: it lacks ", missing,
            );
            false
        }
    }
}
