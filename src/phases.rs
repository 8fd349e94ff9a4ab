//! What nginx calls while it reads a configuration, starts, and serves requests.

use core::cell::Cell;
use core::ffi::{c_char, c_void};

use crate::api::lua;
use crate::conf::{self, LocConf};
use crate::error_page;
use crate::figures::{self, Figure};
use crate::layout;
use crate::mode::{self, Mode};
use crate::nginx::conf::{CONF_ERROR, CONF_OK, Conf, complete};
use crate::nginx::log::{EMERG, ERR, Log, WARN, log_error};
use crate::nginx::request::Request;
use crate::nginx::value::indexed;
use crate::nginx::{
    self, DECLINED, ERROR, LOG_PHASE, OK, POST_READ_PHASE, SERVER_REWRITE_PHASE, ngx_conf_t,
    ngx_cycle_t, ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_int_t, process,
};
use crate::ngx_ctx;
use crate::notice;
use crate::refused;
use crate::registry::{Registry, registry};
use crate::request::Readable;
use crate::statics::PerWorker;
use crate::status;
use crate::variable::{builtin, table};

/// Merges a location's configuration, and hooks the error pages in force there.
pub(crate) unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: both come from `create_loc_conf`, and are two.
    let prev = unsafe { prev.cast::<LocConf>().as_ref() };
    // SAFETY: `create_loc_conf` made it; `prev` is another one.
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

/// Notes nginx's own variables, compares what can be compared without a request, defines
/// the module's variables and registers the Lua packages.
pub(crate) unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let Some(cf) = (unsafe { Conf::from_raw(cf) }) else {
        return ERROR;
    };
    if !cf.when_done(configured) {
        return ERROR;
    }
    lua::set_configuring(true);
    if !figures::share() {
        log_error!(
            EMERG,
            cf.log(),
            "lua_var: no memory for the figures of the workers"
        );
        return ERROR;
    }
    if !registry().reserve() {
        log_error!(
            EMERG,
            cf.log(),
            "lua_var: cannot reserve %uz bytes of address space for the registry of requests; \
             they cost no memory, but a limit (ulimit -v, LimitAS=) must allow them",
            Registry::RESERVED
        );
        return ERROR;
    }
    let Some(cmcf) = cf.core_main_conf() else {
        return ERROR;
    };
    builtin::note(cmcf);
    layout::check_offsets();
    if error_page::define_variables(cf) && status::define_variables(cf) && lua::init(cf) {
        OK
    } else {
        ERROR
    }
}

/// nginx has read a configuration, and maybe refused it. Lua VMs that are made from now
/// on serve one request each.
unsafe extern "C" fn configured(_data: *mut c_void) {
    lua::set_configuring(false);
}

/// Adds the phase handlers and, if there is Lua to serve, the header filter.
pub(crate) unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let Some(cf) = (unsafe { Conf::from_raw(cf) }) else {
        return ERROR;
    };
    if !conf::check_index_names(cf) || !cf.add_phase_handler(SERVER_REWRITE_PHASE, Some(on_rewrite))
    {
        return ERROR;
    }
    if !lua::is_configured() {
        // SAFETY: only read, and only here.
        if unsafe { conf::main_being_read(cf) }.is_some_and(|conf| conf.wants_lua) {
            log_error!(
                WARN,
                cf.log(),
                "lua_var: ngx_http_lua_module is not loaded, so lua_var_ctx_restore, \
                 lua_var_index and lua_var_replace do nothing"
            );
        }
        return OK;
    }
    // These register requests for Lua.
    if !cf.add_phase_handler(POST_READ_PHASE, Some(on_request))
        || !cf.add_phase_handler(LOG_PHASE, Some(on_log))
    {
        return ERROR;
    }
    // In the log phase handlers run in the order in which they were added: there, too,
    // this one has to be before Lua's.
    cf.last_handler_first(LOG_PHASE);
    NEXT_HEADER_FILTER.set(nginx::swap_header_filter(Some(header_filter)));
    OK
}

/// Says which module serves, and builds the variable table: all variables are known now.
pub(crate) unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    lua::commit();
    layout::report_offsets();
    table::forget();
    // SAFETY: nginx passes the cycle it is starting; what is kept of the last one was
    // dropped just now.
    let Some(complete) = (unsafe { complete(cycle, conf::ctx_index()) }) else {
        return OK;
    };
    // SAFETY: made by `create_main_conf`.
    let Some(conf) = (unsafe { complete.ours.cast::<conf::MainConf>().as_mut() }) else {
        return ERROR;
    };
    conf.keeps_original = indexed(complete.core)
        .is_ok_and(|mut used| used.any(|variable| error_page::is_original(variable.name())));
    notice::write(&complete);
    refused::configure(conf);
    if !table::renew(&complete, conf) {
        // An error here would end nginx, which has accepted the configuration.
        log_error!(
            ERR,
            Log::of_cycle(),
            "lua_var: no memory for the table of variables, they are read through nginx's handlers"
        );
    }
    OK
}

/// A worker begins.
pub(crate) unsafe extern "C" fn init_process(_cycle: *mut ngx_cycle_t) -> ngx_int_t {
    if process::serves() {
        figures::claim();
        figures::row().set(Figure::Handlers, u64::from(mode::is_foreign()));
    }
    OK
}

/// A worker ends in order.
pub(crate) unsafe extern "C" fn exit_process(_cycle: *mut ngx_cycle_t) {
    figures::release();
}

/// Post-read phase: registers each main request.
unsafe extern "C" fn on_request(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request whose phases it runs.
    let Some(r) = (unsafe { Request::from_nginx(r) }) else {
        return DECLINED;
    };
    ngx_ctx::begin(r);
    if mode::get() == Mode::Unchecked {
        if let Ok(live) = Readable::from_nginx(r) {
            layout::check_request(live);
            figures::row().set(Figure::Handlers, u64::from(mode::is_foreign()));
        }
    }
    DECLINED
}

/// Server-rewrite phase: registers subrequests, which skip the post-read phase, and
/// puts right the arguments of a request that an error page sent here.
///
/// `ngx.location.capture` may have given a subrequest its `ngx.ctx` already, in C,
/// where nobody sees it but here, before anything can redirect.
unsafe extern "C" fn on_rewrite(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request whose phases it runs.
    let Some(r) = (unsafe { Request::from_nginx(r) }) else {
        return DECLINED;
    };
    error_page::after_redirect(r);
    // Without Lua, only requests that met the hook are registered.
    if !lua::is_running() {
        return DECLINED;
    }
    if mode::is_foreign() {
        ngx_ctx::slot_of(r);
    } else if !r.is_main() {
        if let Some(slot) = ngx_ctx::slot_of(r) {
            ngx_ctx::stash(r, slot);
        }
    }
    DECLINED
}

/// Log phase: registers requests that met no other phase, as those with a 400.
unsafe extern "C" fn on_log(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request it logs.
    if let Some(r) = unsafe { Request::from_nginx(r) } {
        ngx_ctx::end(r);
    }
    OK
}

static NEXT_HEADER_FILTER: PerWorker<Cell<ngx_http_output_header_filter_pt>> =
    PerWorker(Cell::new(None));

/// Header filter, before all others: stashes what `filter_finalize` would clear.
unsafe extern "C" fn header_filter(raw: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request whose response begins.
    let r = unsafe { Request::from_nginx(raw) };
    if let Some(r) = r.filter(|_| !mode::is_foreign()) {
        ngx_ctx::stash_if_made(r);
    }
    match NEXT_HEADER_FILTER.get() {
        // SAFETY: the filter that nginx would have called.
        Some(next) => unsafe { next(raw) },
        None => ERROR,
    }
}
