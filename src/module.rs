//! The functions that nginx calls while it reads a configuration and when a process starts or
//! ends. They decide what is set up and in which order; the modules that they call do the work.
//! `lib.rs` registers them.

use core::ffi::{c_char, c_void};

use crate::api::lua;
use crate::conf::{self, LocConf, MainConf, Restore, main_being_read};
use crate::culprits;
use crate::error_page;
use crate::figures;
use crate::layout;
use crate::nginx::conf::{CONF_ERROR, CONF_OK, Complete, Conf};
use crate::nginx::log::{EMERG, INFO, WARN, log_error};
use crate::nginx::{ERROR, OK, ngx_conf_t, ngx_cycle_t, ngx_int_t};
use crate::ngx_ctx;
use crate::phases;
use crate::status;
use crate::variable::nginx_handlers;
use crate::which_build;

/// Merges a location's configuration and installs the hook in the error pages that apply
/// in it.
pub(crate) unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: `cf` is the configuration that nginx is reading.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: nginx passes what `create` made for two locations' levels.
    let (prev, conf) = unsafe { conf::merging::<LocConf>(prev, conf) };
    if conf.has_status() {
        cf.serve_location(Some(status::page));
    }
    conf.merge(prev);
    match error_page::install(cf) {
        Some(has_page) => {
            // SAFETY: no other reference to the main configuration exists while locations are merged.
            let main = unsafe { main_being_read(cf) };
            main.needs_filter |= has_page || conf.restore() == Restore::All;
            CONF_OK
        }
        None => CONF_ERROR,
    }
}

/// Records the handlers of nginx's own variables, compares offsets, defines the module's
/// variables and registers the Lua packages. Nothing a directive defines exists yet.
pub(crate) unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: `cf` is the configuration that nginx is reading.
    let cf = unsafe { Conf::from_raw(cf) };
    if !cf.when_done(configured) {
        return ERROR;
    }
    lua::set_configuring(true);
    if !figures::share() || !culprits::share() {
        log_error!(
            EMERG, cf.log();
            "no memory for the figures and refusals of the workers"
        );
        return ERROR;
    }
    let Some(cmcf) = cf.core_main_conf() else {
        return ERROR;
    };
    nginx_handlers::record(cmcf);
    #[cfg(feature = "testing")]
    if !crate::testing::define_variables(cf) {
        return ERROR;
    }
    if layout::check_offsets(cf)
        && error_page::define_variables(cf)
        && status::define_variables(cf)
        && lua::init(cf)
    {
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

pub(crate) unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: `cf` is the configuration that nginx is reading.
    let cf = unsafe { Conf::from_raw(cf) };
    if !phases::install(cf) {
        return ERROR;
    }
    // SAFETY: no other reference to the main configuration exists in postconfiguration.
    if !lua::is_configured() && unsafe { main_being_read(cf) }.wants_lua {
        log_error!(
            WARN, cf.log();
            "ngx_http_lua_module is not loaded, so lua_var_ctx_restore does nothing"
        );
    }
    OK
}

/// Logs which build of the module is in use, and applies the configuration to what is not of one
/// request.
pub(crate) unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    lua::commit();
    // SAFETY: `cycle` is the one that nginx is starting.
    let Some(complete) = (unsafe { Complete::of(cycle) }) else {
        return OK;
    };
    which_build::write(&complete);
    if !lua::is_running() {
        log_error!(
            INFO, complete.log;
            "ngx_http_lua_module is not loaded, only the module's variables are served"
        );
    }
    if let Some(conf) = complete.conf::<MainConf>() {
        culprits::configure(conf);
        ngx_ctx::configure(conf);
    }
    OK
}

pub(crate) unsafe extern "C" fn init_process(_cycle: *mut ngx_cycle_t) -> ngx_int_t {
    figures::begin();
    culprits::begin();
    OK
}

pub(crate) unsafe extern "C" fn exit_process(_cycle: *mut ngx_cycle_t) {
    culprits::end();
    figures::end();
}
