//! Handing the embedded library to lua-nginx-module, and the Lua VMs that run it: what
//! `shim/lua.c` does for the module.

use core::cell::Cell;
use core::ptr;

use super::library::{CDEF, CHUNKS, REPLACEMENTS};
use super::{functions, reader, refusal};
use crate::nginx::conf::{Conf, conf_error};
use crate::nginx::log::{INFO, Log, log_error};
use crate::nginx::shim::lua_var_rust_t;
use crate::nginx::{self, DECLINED, OK};
use crate::statics::{PerWorker, Shared};

static FUNCTIONS: Shared<lua_var_rust_t> = Shared(lua_var_rust_t {
    fetch: Some(functions::fetch),
    read: Some(functions::read),
    find: Some(functions::find),
    capture: Some(functions::capture),
    set: Some(functions::set),
    live: Some(functions::live),
    acquire: Some(functions::acquire),
    figure: Some(functions::figure),
    read_many: Some(reader::read_many),
    refused: Some(refusal::count),
    describe: Some(refusal::describe),
    is_tracing: Some(refusal::is_tracing),
    made: Some(refusal::handle_made),
    vm: Some(number_of_vm),
    chunks: CHUNKS.0.as_ptr(),
    nchunks: CHUNKS.0.len(),
    nreplacements: REPLACEMENTS,
    cdef: CDEF.as_ptr(),
    cdef_len: CDEF.len(),
});

/// What is known of the process's Lua VMs.
struct Vms {
    /// Whether the configuration is being read. VMs that are made then serve the worker.
    is_configuring: Cell<bool>,
    /// Number of the newest VM that serves one request only (`lua_code_cache off`).
    newest: Cell<u32>,
}

static VMS: PerWorker<Vms> = PerWorker(Vms {
    is_configuring: Cell::new(false),
    newest: Cell::new(0),
});

/// Says whether the configuration is being read.
pub(crate) fn set_configuring(is_configuring: bool) {
    VMS.is_configuring.set(is_configuring);
}

/// A number for a Lua VM that is being made: 0 for one that serves the worker.
unsafe extern "C" fn number_of_vm() -> u32 {
    if VMS.is_configuring.get() {
        return 0;
    }
    VMS.newest.set(VMS.newest.get().wrapping_add(1).max(1));
    VMS.newest.get()
}

/// Whether the configuration that runs has the Lua module.
#[inline]
pub(crate) fn is_running() -> bool {
    // SAFETY: a C function that reads a flag of this thread.
    unsafe { nginx::shim::lua_var_lua_is_running() != 0 }
}

/// Whether the configuration being read has the Lua module.
pub(crate) fn is_configured() -> bool {
    // SAFETY: a C function that reads a flag of this thread.
    unsafe { nginx::shim::lua_var_lua_is_configured() != 0 }
}

/// Says that the configuration for which [`init`] looked for the Lua module is the one that
/// runs from now on.
pub(crate) fn commit() {
    // SAFETY: a C function that sets a flag of this thread.
    unsafe { nginx::shim::lua_var_lua_commit() }
}

/// Registers the embedded packages with the Lua module, if there is one. False, with the
/// error logged, when that module is too old.
pub(crate) fn init(cf: Conf<'_>) -> bool {
    let mut missing = ptr::null();
    let functions = &raw const FUNCTIONS.0;
    // SAFETY: nginx's `cf`, in preconfiguration, when the Lua module has its main conf.
    let rc = unsafe { nginx::shim::lua_var_lua_init(cf.as_ptr(), functions, &raw mut missing) };
    match rc {
        OK => true,
        DECLINED => {
            log_error!(
                INFO,
                Log::of_cycle(),
                "lua_var: ngx_http_lua_module is not loaded, only the module's variables are served"
            );
            true
        }
        _ => {
            conf_error!(
                cf,
                "ngx_http_lua_module is too old for ngx_http_lua_var_module: it lacks %s",
                missing
            );
            false
        }
    }
}
