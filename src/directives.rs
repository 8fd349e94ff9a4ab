//! What nginx calls: directives, configuration, phases, filter.

use core::ffi::{c_char, c_void};
use core::ptr::{self, NonNull};

use crate::conf::{LocConf, MainConf, Restore};
use crate::request::LiveRequest;
use crate::sys::{
    self, Request, ngx_command_t, ngx_conf_t, ngx_cycle_t, ngx_http_core_main_conf_t,
    ngx_http_handler_pt, ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_int_t,
    ngx_str_t, ngx_uint_t,
};
use crate::worker::{Mode, Worker, worker};
use crate::{ctx, error_page, layout, lua, table, variables};

/// A constant that nginx is given a pointer to.
#[repr(transparent)]
pub(crate) struct Shared<T>(pub(crate) T);

// SAFETY: nginx reads configuration in one thread, and does not write these.
unsafe impl<T> Sync for Shared<T> {}

const RESTORE_VALUES: [(&[u8], ngx_uint_t); 3] = [
    (b"off", Restore::OFF),
    (b"error_page", Restore::ERROR_PAGE),
    (b"all", Restore::ALL),
];

const ANY_LEVEL: u32 = sys::NGX_HTTP_MAIN_CONF | sys::NGX_HTTP_SRV_CONF | sys::NGX_HTTP_LOC_CONF;

/// The directives.
pub(crate) static COMMANDS: Shared<[ngx_command_t; 3]> = Shared([
    ngx_command_t {
        name: sys::name(c"lua_var_ctx_restore"),
        type_: (ANY_LEVEL | sys::NGX_CONF_TAKE1) as ngx_uint_t,
        set: Some(lua_var_ctx_restore),
        conf: sys::NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    },
    ngx_command_t {
        name: sys::name(c"lua_var_index"),
        type_: (sys::NGX_HTTP_MAIN_CONF | sys::NGX_CONF_1MORE) as ngx_uint_t,
        set: Some(lua_var_index),
        conf: 0,
        offset: 0,
        post: ptr::null_mut(),
    },
    sys::NO_COMMAND,
]);

/// `lua_var_ctx_restore off | error_page | all`
unsafe extern "C" fn lua_var_ctx_restore(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    const FAILED: *mut c_char = ptr::without_provenance_mut(usize::MAX);
    let Some(cf) = NonNull::new(cf) else {
        return FAILED;
    };
    // SAFETY: nginx passes the location's conf, from `create_loc_conf`.
    let Some(conf) = (unsafe { conf.cast::<LocConf>().as_mut() }) else {
        return FAILED;
    };
    if conf.is_set() {
        // nginx makes it: "lua_var_ctx_restore" directive is duplicate
        return c"is duplicate".as_ptr().cast_mut();
    }
    // SAFETY: `cf` is nginx's.
    let arguments = unsafe { cf.as_ref() }.args;
    // SAFETY: an array of strings.
    let arguments = unsafe { sys::elements::<ngx_str_t>(arguments) };
    let Some(argument) = arguments.get(1) else {
        return FAILED;
    };
    // SAFETY: the arguments live as long as the configuration.
    let text = unsafe { sys::bytes(*argument) };
    // As nginx's own enumerations, in either case.
    let Some((_, value)) = RESTORE_VALUES
        .iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name))
    else {
        sys::conf_error!(
            cf,
            "invalid value \"%V\" in \"lua_var_ctx_restore\" directive, it must be \
             \"off\", \"error_page\" or \"all\"",
            ptr::from_ref(argument)
        );
        return FAILED;
    };
    conf.set(*value);
    sys::CONF_OK
}

/// `lua_var_index $name …`
unsafe extern "C" fn lua_var_index(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    const FAILED: *mut c_char = ptr::without_provenance_mut(usize::MAX);
    let Some(cf) = NonNull::new(cf) else {
        return FAILED;
    };
    // SAFETY: nginx passes the module's main conf, from `create_main_conf`.
    let Some(conf) = (unsafe { conf.cast::<MainConf>().as_mut() }) else {
        return FAILED;
    };
    // SAFETY: `cf` is nginx's.
    let arguments = unsafe { cf.as_ref() }.args;
    // SAFETY: an array of strings.
    let arguments = unsafe { sys::elements::<ngx_str_t>(arguments) };

    if conf.names.is_null() {
        conf.names = sys::new_array::<ngx_str_t>(cf, 8);
    }
    for argument in arguments.iter().skip(1) {
        // As everywhere in a configuration, a name may be written in upper case.
        let Some(lower) = sys::lower_case(cf, argument) else {
            return FAILED;
        };
        let Some(name) = lower.strip_prefix(b"$").filter(|name| is_name(name)) else {
            sys::conf_error!(cf, "invalid variable name \"%V\"", ptr::from_ref(argument));
            return FAILED;
        };
        // SAFETY: null or an array of strings, made above.
        let known = unsafe { sys::elements::<ngx_str_t>(conf.names) };
        let is_it = |other: &ngx_str_t| {
            // SAFETY: they are configuration strings too.
            unsafe { sys::bytes(*other) == name }
        };
        if known.iter().any(is_it) {
            sys::conf_error!(cf, "duplicate variable \"%V\"", ptr::from_ref(argument));
            return FAILED;
        }
        if conf.names.is_null() {
            return FAILED;
        }
        // SAFETY: not null, made above.
        let place = unsafe { sys::push::<ngx_str_t>(conf.names) };
        if place.is_null() {
            return FAILED;
        }
        let name = ngx_str_t {
            len: name.len(),
            data: name.as_ptr().cast_mut(),
        };
        // SAFETY: an element that was just pushed.
        unsafe { place.write(name) };
    }
    sys::CONF_OK
}

/// Whether nginx's own parser would read it as the name of one variable, in lower case.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Makes the main configuration.
pub(crate) unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is nginx's.
    sys::pcalloc::<MainConf>(unsafe { (*cf).pool }).cast()
}

/// Makes a location's configuration.
pub(crate) unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is nginx's.
    let conf = sys::pcalloc::<LocConf>(unsafe { (*cf).pool });
    // SAFETY: null, or zeroed memory, which is a `LocConf`.
    if let Some(conf) = unsafe { conf.as_mut() } {
        conf.unset();
    }
    conf.cast()
}

/// Merges a location's configuration, and hooks the error pages in force there.
pub(crate) unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    const FAILED: *mut c_char = ptr::without_provenance_mut(usize::MAX);
    // SAFETY: both come from `create_loc_conf`.
    let prev = unsafe { prev.cast::<LocConf>().as_ref() };
    // SAFETY: as above.
    let conf = unsafe { conf.cast::<LocConf>().as_mut() };
    let (Some(cf), Some(prev), Some(conf)) = (NonNull::new(cf), prev, conf) else {
        return FAILED;
    };
    conf.merge(prev);
    if error_page::install(cf) {
        sys::CONF_OK
    } else {
        FAILED
    }
}

/// Defines variables and registers the Lua packages.
pub(crate) unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    let Some(cf) = NonNull::new(cf) else {
        return sys::ERROR;
    };
    if !sys::on_configured(cf, configured) {
        return sys::ERROR;
    }
    worker().configuring.set(true);
    if !worker().reserve() {
        sys::log_error!(
            sys::EMERG,
            // SAFETY: `cf` is nginx's.
            unsafe { cf.as_ref() }.log,
            "lua_var: cannot reserve %uz bytes of address space for the table of requests; \
             they cost no memory, but a limit (ulimit -v, LimitAS=) must allow them",
            Worker::RESERVED
        );
        return sys::ERROR;
    }

    let conf = sys::main_conf(cf, crate::ctx_index()).cast::<MainConf>();
    // SAFETY: made by `create_main_conf`, which nginx has called before.
    let Some(conf) = (unsafe { conf.as_mut() }) else {
        return sys::ERROR;
    };
    if variables::define(cf, conf) && lua::init(cf) {
        sys::OK
    } else {
        sys::ERROR
    }
}

/// Lua VMs that are made from now on serve one request each.
unsafe extern "C" fn configured(_data: *mut c_void) {
    worker().configuring.set(false);
}

/// Adds the phase handlers and, if there is Lua to serve, the header filter.
pub(crate) unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    let Some(cf) = NonNull::new(cf) else {
        return sys::ERROR;
    };
    let cmcf = sys::main_conf(cf, sys::core_index()).cast::<ngx_http_core_main_conf_t>();
    // SAFETY: the core module's main conf is never null.
    let Some(cmcf) = (unsafe { cmcf.as_mut() }) else {
        return sys::ERROR;
    };
    if !check_names(cf, cmcf) {
        return sys::ERROR;
    }
    let all: [(u32, ngx_http_handler_pt); 3] = [
        (sys::SERVER_REWRITE_PHASE, Some(on_rewrite)),
        (sys::POST_READ_PHASE, Some(on_request)),
        (sys::LOG_PHASE, Some(on_log)),
    ];
    // All but the first of them register requests for Lua.
    let handlers = all
        .iter()
        .take(if lua::is_present() { all.len() } else { 1 });
    for (phase, handler) in handlers {
        let Some(phase) = cmcf.phases.get_mut(*phase as usize) else {
            return sys::ERROR;
        };
        // SAFETY: nginx's array of handlers.
        let place = unsafe { sys::push::<ngx_http_handler_pt>(&raw mut phase.handlers) };
        if place.is_null() {
            return sys::ERROR;
        }
        // SAFETY: an element that was just pushed.
        unsafe { place.write(*handler) };
    }
    if !lua::is_present() {
        return sys::OK;
    }
    // Handlers run from the last to the first, but those of the log phase the
    // other way round: there, too, this one has to be before Lua's.
    if let Some(phase) = cmcf.phases.get_mut(sys::LOG_PHASE as usize) {
        // SAFETY: nginx's array of handlers.
        let handlers = unsafe { sys::elements::<ngx_http_handler_pt>(&raw const phase.handlers) };
        if !handlers.is_empty() {
            handlers.rotate_right(1);
        }
    }
    NEXT_HEADER_FILTER.set(sys::swap_header_filter(Some(header_filter)));
    sys::OK
}

/// Whether every name of `lua_var_index` is a variable or has a variable's prefix.
fn check_names(cf: NonNull<ngx_conf_t>, cmcf: &ngx_http_core_main_conf_t) -> bool {
    let conf = sys::main_conf(cf, crate::ctx_index()).cast::<MainConf>();
    // SAFETY: made by `create_main_conf`.
    let Some(conf) = (unsafe { conf.as_ref() }) else {
        return false;
    };
    // SAFETY: null or the array that `lua_var_index` made.
    for name in unsafe { sys::elements::<ngx_str_t>(conf.names) } {
        if !sys::is_variable(cmcf, name) {
            sys::conf_error!(
                cf,
                "unknown \"%V\" variable in \"lua_var_index\"",
                ptr::from_ref(name)
            );
            return false;
        }
    }
    true
}

/// Builds the table of variables: all are known now.
pub(crate) unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    lua::commit();
    let Some((pool, cmcf, conf)) = sys::http_of(cycle, crate::ctx_index()) else {
        return sys::OK;
    };
    // SAFETY: made by `create_main_conf`.
    let Some(conf) = (unsafe { conf.cast::<MainConf>().as_ref() }) else {
        return sys::ERROR;
    };
    // SAFETY: null or the array that `lua_var_index` made.
    let names = unsafe { sys::elements::<ngx_str_t>(conf.names) };
    let epoch = worker().epoch.get().wrapping_add(1);
    worker().epoch.set(epoch);
    // The old table goes with its cycle, which nginx destroys after this.
    worker().table.set(table::build(pool, cmcf, names, epoch));
    if worker().table.get().is_none() {
        // An error here would end nginx, which has accepted the configuration.
        sys::log_error!(
            sys::ERR,
            sys::cycle_log(),
            "lua_var: no memory for the table of variables, they are read through nginx's handlers"
        );
    }
    sys::OK
}

/// Compares the layout of requests as far as it can be done without one.
pub(crate) unsafe extern "C" fn init_process(_cycle: *mut ngx_cycle_t) -> ngx_int_t {
    if let Some(table) = worker().table.get() {
        layout::check_offsets(table);
    }
    sys::OK
}

/// Post-read phase: registers each main request.
unsafe extern "C" fn on_request(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request whose phases it runs.
    if let Some(r) = unsafe { Request::from_raw(r) } {
        ctx::slot_of(r);
        if worker().mode.get() == Mode::Unchecked {
            if let Ok(live) = LiveRequest::by_address(r.address()) {
                layout::check_request(&live);
            }
        }
    }
    sys::DECLINED
}

/// Server-rewrite phase: registers subrequests, which skip the post-read phase, and
/// puts right the arguments of a request that an error page sent here.
///
/// `ngx.location.capture` may have given a subrequest its `ngx.ctx` already, in C,
/// where nobody sees it but here, before anything can redirect.
unsafe extern "C" fn on_rewrite(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request whose phases it runs.
    let Some(r) = (unsafe { Request::from_raw(r) }) else {
        return sys::DECLINED;
    };
    // Without Lua, only requests that met the hook are in the table.
    let slot = if lua::is_running() {
        ctx::slot_of(r)
    } else {
        worker().find(r.address())
    };
    if let Some(slot) = slot.filter(|_| worker().mode.get() != Mode::Handlers) {
        error_page::after_redirect(r, slot);
        if !r.is_main() {
            ctx::stash(r, slot);
        }
    }
    sys::DECLINED
}

/// Log phase: registers requests that met no other phase, as those with a 400.
unsafe extern "C" fn on_log(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request it logs.
    if let Some(r) = unsafe { Request::from_raw(r) } {
        ctx::slot_of(r);
    }
    sys::OK
}

struct Next(core::cell::Cell<ngx_http_output_header_filter_pt>);

// SAFETY: set while the configuration is read, before there are requests.
unsafe impl Sync for Next {}

impl Next {
    fn set(&self, filter: ngx_http_output_header_filter_pt) {
        self.0.set(filter);
    }
}

static NEXT_HEADER_FILTER: Next = Next(core::cell::Cell::new(None));

/// Header filter, before all others: stashes what `filter_finalize` would clear.
unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request whose response begins.
    if let Some(r) = unsafe { Request::from_raw(r) } {
        if let Some(slot) = ctx::slot_of(r) {
            ctx::stash(r, slot);
        }
    }
    match NEXT_HEADER_FILTER.0.get() {
        // SAFETY: the filter that nginx would have called.
        Some(next) => unsafe { next(r) },
        None => sys::ERROR,
    }
}
