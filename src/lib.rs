//! `ngx_http_lua_var_module`: NGINX variables for OpenResty's Lua.
//!
//! How a configuration and then one request pass through the module:
//!
//! 1. `load_module` finds [`ngx_http_lua_var_module`] below, and [`conf`] reads the
//!    directives. [`module`] runs the rest of the setup: [`variable::nginx_handlers`] records the
//!    handlers of nginx's own variables, [`layout`] compares offsets, [`api::lua`]
//!    registers the embedded Lua library with lua-nginx-module, and [`error_page`] puts its
//!    hook in front of every `error_page` value.
//! 2. The request begins. [`phases`] registers it in the [`registry`]: it gets a slot, which has
//!    its pool cleanup and is found by the request's address. At the first request of a worker,
//!    [`layout`] compares what the module reads with what nginx's handlers return.
//! 3. `ngxvar.request()` returns a handle: the slot's number and generation.
//!    `ngxvar.fetch("uri", req)` enters through [`api`], and [`validation`] turns the handle
//!    into a `LiveRequest` if slot, generation, signature, connection and pool agree. Only a
//!    `LiveRequest` has variables ([`variable`]).
//! 4. The upstream fails and `error_page` applies. The hook of [`error_page`] makes
//!    [`ngx_ctx`] stash the reference of `ngx.ctx` in the slot; nginx zeroes `r->ctx` and
//!    redirects. When Lua next uses `ngx.ctx` it is missing, and [`restore`] decides
//!    whether the stashed one is restored.
//! 5. The pool is destroyed. Its cleanup frees the slot, whose generation moves on, so a
//!    handle that Lua still holds is stale.

#![no_std]

#[cfg(feature = "export-modules")]
use core::ffi::c_char;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic;

use crate::conf::{LocConf, MainConf, SrvConf};
use crate::debugger::DebugInfo;
use crate::nginx::conf::Conf;
use crate::nginx::{ngx_conf_t, ngx_http_module_t, ngx_module_t, ngx_uint_t};
use crate::statics::Shared;

mod api;
mod conf;
mod culprits;
mod debugger;
mod error_page;
#[cfg(feature = "testing")]
#[path = "../t/hooks/faults.rs"]
mod faults;
mod figures;
mod layout;
mod module;
mod nginx;
mod ngx_ctx;
mod phases;
mod refusal;
mod registry;
mod restore;
mod rt;
mod statics;
mod status;
#[cfg(feature = "testing")]
#[path = "../t/hooks/testing.rs"]
mod testing;
mod text;
mod validation;
mod variable;
mod which_build;

static MODULE_CTX: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(module::preconfiguration),
    postconfiguration: Some(module::postconfiguration),
    create_main_conf: Some(create_main_conf),
    init_main_conf: None,
    create_srv_conf: Some(conf::create::<SrvConf>),
    merge_srv_conf: Some(conf::merge_srv_conf),
    create_loc_conf: Some(conf::create::<LocConf>),
    merge_loc_conf: Some(module::merge_loc_conf),
};

/// The module. nginx finds it through `ngx_modules`, or through `objs/ngx_modules.c` when
/// it is linked in.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_lua_var_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const MODULE_CTX).cast_mut().cast(),
    commands: (&raw const conf::COMMANDS.0).cast_mut().cast(),
    type_: nginx::NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(module::init_module),
    init_process: Some(module::init_process),
    exit_process: Some(module::exit_process),
    ..ngx_module_t::default()
};

/// The addresses and offsets that the gdb commands (`gdb/*.py`) read from a core dump.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ngx_http_lua_var_debug: Shared<DebugInfo> = Shared(DebugInfo {
    own: &raw const ngx_http_lua_var_debug,
    module: &raw const ngx_http_lua_var_module,
    facts: debugger::facts(),
});

/// Creates the main configuration. nginx calls this function of the module first, so the
/// module's context index is stored here.
unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    let module = &raw const ngx_http_lua_var_module;
    // SAFETY: nginx assigns it before it calls this, and does not change it later.
    let ctx_index = unsafe { (*module).ctx_index };
    // SAFETY: nginx assigned it, and calls this function of the module first.
    unsafe { conf::set_ctx_index(ctx_index) };
    // SAFETY: `cf` is the configuration that nginx is reading.
    if !unsafe { Conf::from_raw(cf) }.enter() {
        return ptr::null_mut();
    }
    // SAFETY: `cf` is the configuration that nginx is reading.
    unsafe { conf::create::<MainConf>(cf) }
}

#[cfg(feature = "export-modules")]
unsafe extern "C" {
    /// Defined in `shim/stream.c`.
    static ngx_stream_lua_var_module: ngx_module_t;
}

/// The modules in this file, up to a null. `ngx_load_module` looks up this symbol and the
/// two below, their names and their order.
#[cfg(feature = "export-modules")]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ngx_modules: Shared<[*const ngx_module_t; 3]> = Shared([
    &raw const ngx_http_lua_var_module,
    &raw const ngx_stream_lua_var_module,
    core::ptr::null(),
]);

#[cfg(feature = "export-modules")]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ngx_module_names: Shared<[*const c_char; 3]> = Shared([
    c"ngx_http_lua_var_module".as_ptr(),
    c"ngx_stream_lua_var_module".as_ptr(),
    core::ptr::null(),
]);

#[cfg(feature = "export-modules")]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ngx_module_order: Shared<[*const c_char; 1]> = Shared([core::ptr::null()]);
