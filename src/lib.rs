//! `ngx_http_lua_var_module`: NGINX variables for OpenResty's Lua.
//!
//! One request's way through the module:
//!
//! 1. `load_module`: [`ngx_http_lua_var_module`] below. [`directives`] reads the
//!    configuration, [`variables`] defines `$from_error_page`, [`lua`] hands the
//!    embedded Lua library to lua-nginx-module, [`error_page`] puts its hook in
//!    front of every `error_page` value, [`table`] lists all variables.
//! 2. The request begins: [`directives`] has [`worker`] register it: a slot
//!    ([`slots`]), an entry under its address ([`index`]), a pool cleanup. The
//!    worker's first request is where [`layout`] compares nginx's idea of a
//!    request with the module's.
//! 3. `ngxvar.request()` gives Lua the slot's number and generation;
//!    `ngxvar.fetch("uri", req)` comes in through [`lua`], or [`ffi`], and
//!    [`request`] makes a `LiveRequest` of it: slot, generation, signature and
//!    connection have to agree. Only a `LiveRequest` can be read.
//! 4. The upstream fails, `error_page` applies: [`error_page`]'s hook has [`ctx`]
//!    stash the reference of `ngx.ctx` in the slot. nginx zeroes `r->ctx` and
//!    redirects. The first touch of `ngx.ctx` after that finds it gone, and
//!    [`ctx`] gives it back.
//! 5. The pool is destroyed: the slot is freed and its generation moves on. A
//!    handle that Lua kept now names nothing.
//!
//! Each file uses only what stands above it here: `rt`; `sys`; [`slots`],
//! [`index`], [`value`], [`names`], [`scan`]; [`conf`], [`table`], [`worker`];
//! `prefix`; [`request`]; [`assign`], [`layout`], [`ctx`]; [`error_page`]; [`variables`],
//! [`lua`], [`ffi`]; [`directives`].

#![no_std]

#[cfg(feature = "export-modules")]
use core::ffi::c_char;

use crate::directives::COMMANDS;
#[cfg(feature = "export-modules")]
use crate::directives::Shared;
use crate::sys::{ngx_http_module_t, ngx_module_t, ngx_uint_t};

pub mod assign;
pub mod conf;
pub mod ctx;
pub mod directives;
pub mod error_page;
#[cfg(feature = "testing")]
pub mod faults;
pub mod ffi;
pub mod index;
pub mod layout;
pub mod lua;
pub mod names;
mod prefix;
pub mod request;
mod rt;
pub mod scan;
pub mod slots;
mod sys;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;
pub mod value;
pub mod variables;
pub mod worker;

static MODULE_CTX: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(directives::preconfiguration),
    postconfiguration: Some(directives::postconfiguration),
    create_main_conf: Some(directives::create_main_conf),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(directives::create_loc_conf),
    merge_loc_conf: Some(directives::merge_loc_conf),
};

/// The module, as nginx finds it in the file that `load_module` names.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_lua_var_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const MODULE_CTX).cast_mut().cast(),
    commands: (&raw const COMMANDS.0).cast_mut().cast(),
    type_: sys::NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(directives::init_module),
    init_process: Some(directives::init_process),
    ..ngx_module_t::default()
};

/// `ngx_http_lua_var_module.ctx_index`: the module's place in `r->ctx` and the like.
#[inline]
fn ctx_index() -> usize {
    let module = &raw const ngx_http_lua_var_module;
    // SAFETY: nginx assigns it before it calls the module, and leaves it.
    unsafe { (*module).ctx_index }
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
