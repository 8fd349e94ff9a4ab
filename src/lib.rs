//! `ngx_http_lua_var_module`: NGINX variables for OpenResty's Lua.
//!
//! One request's way through the module:
//!
//! 1. `load_module`: [`ngx_http_lua_var_module`] below. [`conf`] reads the directives;
//!    [`phases`] has nginx's own variables noted ([`variable::builtin`]), offsets compared
//!    ([`layout`]), the embedded Lua library handed to lua-nginx-module ([`api::lua`]),
//!    the hook put in front of every `error_page` value ([`error_page`]) and all
//!    variables listed ([`variable::table`]).
//! 2. The request begins: [`phases`] has it registered ([`registry`]): a slot, an entry
//!    under its address, a pool cleanup. The worker's first request is where [`layout`]
//!    compares what the module reads with what nginx's handlers give.
//! 3. `ngxvar.request()` gives Lua the slot's number and generation;
//!    `ngxvar.fetch("uri", req)` comes in through [`api`], and [`request`] makes a
//!    `Readable` of it: slot, generation, signature and connection have to agree. Only a
//!    `Readable` has variables ([`variable`]).
//! 4. The upstream fails, `error_page` applies: [`error_page`]'s hook has [`ngx_ctx`]
//!    stash the reference of `ngx.ctx` in the slot. nginx zeroes `r->ctx` and
//!    redirects. The first touch of `ngx.ctx` after that finds it gone, and
//!    [`restore`] decides whether it is given back.
//! 5. The pool is destroyed: the slot is freed and its generation moves on. A
//!    handle that Lua kept now names nothing.

#![no_std]

#[cfg(feature = "export-modules")]
use core::ffi::c_char;
use core::ffi::c_void;

use crate::debugger::DebugInfo;
use crate::nginx::{ngx_conf_t, ngx_http_module_t, ngx_module_t, ngx_uint_t};
use crate::statics::Shared;

pub mod api;
pub mod conf;
pub mod debugger;
pub mod error_page;
#[cfg(feature = "testing")]
pub mod faults;
pub mod figures;
pub mod layout;
pub mod mode;
mod nginx;
pub mod ngx_ctx;
mod notice;
pub mod phases;
pub mod refused;
pub mod registry;
pub mod request;
pub mod restore;
mod rt;
mod statics;
pub mod status;
#[cfg(feature = "testing")]
pub mod testing;
pub mod variable;

static MODULE_CTX: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(phases::preconfiguration),
    postconfiguration: Some(phases::postconfiguration),
    create_main_conf: Some(create_main_conf),
    init_main_conf: None,
    create_srv_conf: Some(conf::create_srv_conf),
    merge_srv_conf: Some(conf::merge_srv_conf),
    create_loc_conf: Some(conf::create_loc_conf),
    merge_loc_conf: Some(phases::merge_loc_conf),
};

/// The module, as nginx finds it in the file that `load_module` names.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_lua_var_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const MODULE_CTX).cast_mut().cast(),
    commands: (&raw const conf::directives::COMMANDS.0).cast_mut().cast(),
    type_: nginx::NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(phases::init_module),
    init_process: Some(phases::init_process),
    exit_process: Some(phases::exit_process),
    ..ngx_module_t::default()
};

/// What `gdb/*.py` looks for in a core dump.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ngx_http_lua_var_debug: Shared<DebugInfo> = Shared(DebugInfo {
    own: &raw const ngx_http_lua_var_debug,
    module: &raw const ngx_http_lua_var_module,
    facts: debugger::facts(),
});

/// The first of the module's functions that nginx calls for a configuration.
unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    let module = &raw const ngx_http_lua_var_module;
    // SAFETY: nginx has assigned it by now, and leaves it.
    conf::set_ctx_index(unsafe { (*module).ctx_index });
    // SAFETY: nginx passes the configuration that it is reading.
    unsafe { conf::create_main_conf(cf) }
}

#[cfg(feature = "export-modules")]
unsafe extern "C" {
    /// `shim/stream.c`
    static ngx_stream_lua_var_module: ngx_module_t;
}

/// What nginx reads of a file with modules: which, by which names, in which order.
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
