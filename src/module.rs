//! The functions that nginx calls while it reads a configuration and when a process starts or
//! ends. They decide what is set up and in which order; the modules that they call do the work.
//! `lib.rs` registers them.

use core::ffi::{c_char, c_void};

use crate::api::lua;
use crate::conf::{self, LocConf};
use crate::culprits;
use crate::error_page;
use crate::figures::{self, Figure};
use crate::layout;
use crate::mode;
use crate::nginx::conf::{CONF_ERROR, CONF_OK, Conf, complete};
use crate::nginx::log::{EMERG, ERR, Log, WARN, log_error};
use crate::nginx::value::indexed;
use crate::nginx::{ERROR, OK, ngx_conf_t, ngx_cycle_t, ngx_int_t};
use crate::phases;
use crate::registry::{Registry, registry};
use crate::status;
use crate::variable::{nginx_handlers, table};
use crate::which_build;

/// Merges a location's configuration and installs the hook in the error pages that apply
/// in it.
pub(crate) unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: `cf` is the configuration that nginx is reading, or null.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: `create_loc_conf` made `prev`, and nginx does not write to it meanwhile.
    let prev = unsafe { prev.cast::<LocConf>().as_ref() };
    // SAFETY: `create_loc_conf` made `conf`; it is not `prev`, so no other reference to it
    // exists.
    let conf = unsafe { conf.cast::<LocConf>().as_mut() };
    let (Some(cf), Some(prev), Some(conf)) = (cf, prev, conf) else {
        return CONF_ERROR;
    };
    conf.merge(prev);
    conf::warn_of_code_cache(cf, conf);
    if conf.has_status() {
        cf.serve_location(Some(status::page));
    }
    if error_page::install(cf) {
        CONF_OK
    } else {
        CONF_ERROR
    }
}

/// Records the handlers of nginx's own variables, compares offsets, defines the module's
/// variables and registers the Lua packages. Nothing a directive defines exists yet.
pub(crate) unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: `cf` is the configuration that nginx is reading, or null.
    let Some(cf) = (unsafe { Conf::from_raw(cf) }) else {
        return ERROR;
    };
    if !cf.when_done(configured) {
        return ERROR;
    }
    lua::set_configuring(true);
    if !figures::share() || !culprits::share() {
        log_error!(
            EMERG,
            cf.log(),
            "lua_var: no memory for the figures and refusals of the workers"
        );
        return ERROR;
    }
    if !registry().reserve() {
        log_error!(
            EMERG,
            cf.log(),
            "lua_var: cannot reserve %uz bytes of virtual memory for the registry of requests; \
             they use no resident memory, but a limit (ulimit -v, LimitAS=) must allow them",
            Registry::RESERVED
        );
        return ERROR;
    }
    let Some(cmcf) = cf.core_main_conf() else {
        return ERROR;
    };
    nginx_handlers::record(cmcf);
    layout::check_offsets();
    if error_page::define_variables(cf) && status::define_variables(cf) && lua::init(cf) {
        OK
    } else {
        ERROR
    }
}

/// Called when nginx has read a configuration, whether it accepted it or not. A Lua VM
/// created after this serves a single request (`lua_code_cache off`).
unsafe extern "C" fn configured(_data: *mut c_void) {
    lua::set_configuring(false);
}

/// Checks what could not be checked while directives were read, and adds the handlers of the
/// phases.
pub(crate) unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: `cf` is the configuration that nginx is reading, or null.
    let Some(cf) = (unsafe { Conf::from_raw(cf) }) else {
        return ERROR;
    };
    if !conf::check_index_names(cf) || !phases::install(cf) {
        return ERROR;
    }
    if !lua::is_configured() {
        // SAFETY: no other reference to the main configuration exists in postconfiguration.
        if unsafe { conf::main_being_read(cf) }.is_some_and(|conf| conf.wants_lua) {
            log_error!(
                WARN,
                cf.log(),
                "lua_var: ngx_http_lua_module is not loaded, so lua_var_ctx_restore, \
                 lua_var_index and lua_var_replace do nothing"
            );
        }
    }
    OK
}

/// Logs which build of the module is in use and builds the variable table, for which all
/// variables are known now.
pub(crate) unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    lua::commit();
    layout::report_offsets();
    table::forget();
    // SAFETY: `cycle` is the one nginx is starting, and `table::forget` has just dropped
    // everything that referred to the previous one.
    let Some(complete) = (unsafe { complete(cycle) }) else {
        return OK;
    };
    // SAFETY: `create_main_conf` made it, and no other reference to it exists here.
    let Some(conf) = (unsafe { complete.conf::<conf::MainConf>().as_mut() }) else {
        return ERROR;
    };
    conf.needs_original = indexed(complete.core)
        .is_ok_and(|mut used| used.any(|variable| error_page::is_original(variable.name())));
    which_build::write(&complete);
    culprits::configure(conf);
    if !table::renew(&complete, conf) {
        // Returning an error would end nginx, which has already accepted the configuration.
        log_error!(
            ERR,
            Log::of_cycle(),
            "lua_var: no memory for the variable table, variables are read through nginx's handlers"
        );
    }
    OK
}

/// Called when a process begins, such as a worker.
pub(crate) unsafe extern "C" fn init_process(_cycle: *mut ngx_cycle_t) -> ngx_int_t {
    figures::begin();
    culprits::begin();
    figures::set(Figure::LayoutDiffers, u64::from(mode::is_foreign()));
    OK
}

/// Called when a worker exits in the regular way.
pub(crate) unsafe extern "C" fn exit_process(_cycle: *mut ngx_cycle_t) {
    culprits::end();
    figures::end();
}
