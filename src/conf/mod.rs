//! The structures that the directives fill, and the module's place among nginx's modules.

pub(crate) mod directives;
mod index;

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use crate::nginx::conf::{CONF_ERROR, CONF_OK, Conf, UNSET_FLAG, UNSET_UINT};
use crate::nginx::log::{WARN, log_error};
use crate::nginx::lua_module;
use crate::nginx::request::Request;
use crate::nginx::{ngx_conf_t, ngx_flag_t, ngx_str_t, ngx_uint_t};
use crate::statics::PerWorker;

/// `ngx_http_lua_var_module.ctx_index`, once nginx has assigned it.
static CTX_INDEX: PerWorker<Cell<usize>> = PerWorker(Cell::new(0));

/// The module's place in `r->ctx` and the like.
#[inline]
pub(crate) fn ctx_index() -> usize {
    CTX_INDEX.get()
}

/// Notes it, before nginx calls anything else of the module's.
pub(crate) fn set_ctx_index(index: usize) {
    CTX_INDEX.set(index);
}

/// `lua_var_ctx_restore`: after which redirects a request gets its context back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restore {
    /// Never; what lua-nginx-module does is left alone.
    Off,
    /// In a request that came through `error_page`.
    ErrorPage,
    /// After any internal redirect.
    All,
}

/// The values of `lua_var_ctx_restore`, by the number that a location keeps.
const RESTORE: [(&CStr, Restore); 3] = [
    (c"off", Restore::Off),
    (DEFAULT_RESTORE_NAME, Restore::ErrorPage),
    (c"all", Restore::All),
];
const DEFAULT_RESTORE: ngx_uint_t = 1;
const DEFAULT_RESTORE_NAME: &CStr = c"error_page";

/// `lua_var_log_refused`: how what is refused is logged.
#[derive(Clone, Copy)]
pub struct LogRefused {
    /// [`UNSET_UINT`] without the directive.
    level: ngx_uint_t,
    rate: ngx_uint_t,
}

impl LogRefused {
    /// Level of the lines.
    pub(crate) fn level(self) -> ngx_uint_t {
        match self.level {
            UNSET_UINT => WARN as ngx_uint_t,
            level => level,
        }
    }

    /// Lines that a worker may write in a second.
    pub(crate) fn rate(self) -> ngx_uint_t {
        self.rate
    }
}

/// `http {}`: one for the configuration. Valid when zeroed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct MainConf {
    /// `lua_var_index`
    names: index::Names,
    /// Place of `$from_error_page` in `r->variables`.
    pub from_error_page: u32,
    /// Whether there is a directive that does nothing without Lua.
    pub wants_lua: bool,
    /// Whether a line has said that `lua_code_cache off` defeats `lua_var_ctx_restore`.
    has_warned_of_code_cache: bool,
    /// Whether anything uses `$error_page_uri` or its like.
    pub keeps_original: bool,
    /// `lua_var_log_refused`
    pub log_refused: LogRefused,
    /// `lua_var_trace_handles`: 1 when it is on.
    pub trace_handles: ngx_flag_t,
}

impl MainConf {
    const NEW: Self = MainConf {
        names: index::Names::NONE,
        from_error_page: 0,
        wants_lua: false,
        has_warned_of_code_cache: false,
        keeps_original: false,
        log_refused: LogRefused {
            level: UNSET_UINT,
            rate: 1,
        },
        trace_handles: UNSET_FLAG,
    };

    /// The names that `lua_var_index` lists.
    pub(crate) fn index_names(&self) -> impl Iterator<Item = &ngx_str_t> {
        self.names.iter()
    }
}

/// One for each location.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LocConf {
    restore: ngx_uint_t,
    /// Whether a directive says so, here or outside.
    is_restore_written: bool,
    /// `lua_var_status`: a place in [`STATUS`]; one beyond it for what the client accepts.
    status: ngx_uint_t,
}

/// The formats of `lua_var_status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Prometheus' text format.
    Prometheus,
}

const STATUS: [(&[u8], StatusFormat); 3] = [
    (b"text", StatusFormat::Text),
    (b"json", StatusFormat::Json),
    (b"prometheus", StatusFormat::Prometheus),
];

impl LocConf {
    const NEW: Self = LocConf {
        restore: UNSET_UINT,
        is_restore_written: false,
        status: UNSET_UINT,
    };

    /// Inherits what is not set.
    pub(crate) fn merge(&mut self, outer: &LocConf) {
        inherit(&mut self.restore, outer.restore, DEFAULT_RESTORE);
        self.is_restore_written |= outer.is_restore_written;
    }

    /// Whether the location has a `lua_var_status`, which those in it do not inherit.
    pub(crate) fn has_status(&self) -> bool {
        self.status != UNSET_UINT
    }

    /// The format of `lua_var_status`; `None` for the one that the client accepts.
    pub(crate) fn status(&self) -> Option<StatusFormat> {
        STATUS.get(self.status).map(|(_, format)| *format)
    }

    /// The setting that counts here.
    pub(crate) fn restore(&self) -> Restore {
        RESTORE
            .get(self.restore)
            .map_or(Restore::ErrorPage, |(_, restore)| *restore)
    }

    /// The same, as the directive has it.
    pub(crate) fn restore_name(&self) -> &'static CStr {
        RESTORE
            .get(self.restore)
            .map_or(DEFAULT_RESTORE_NAME, |(name, _)| name)
    }
}

/// Puts `new` where it lives as long as the configuration; null without memory.
///
/// # Safety
/// `cf` is null or what nginx is reading.
unsafe fn make<T: Copy>(cf: *mut ngx_conf_t, new: T) -> *mut c_void {
    // SAFETY: null or what nginx is reading, by the contract above.
    let pool = unsafe { Conf::from_raw(cf) }.and_then(Conf::pool);
    let place = pool.and_then(|pool| pool.put(new));
    place.map_or(ptr::null_mut(), |place| place.as_ptr().cast())
}

/// Sets what is not set to what holds outside, or to the default.
fn inherit(place: &mut ngx_uint_t, outer: ngx_uint_t, default: ngx_uint_t) {
    for value in [outer, default] {
        if *place == UNSET_UINT {
            *place = value;
        }
    }
}

/// One for each server.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct SrvConf {
    /// `lua_var_ssl_ctx`: a place in [`SSL_CTX`].
    ssl_ctx: ngx_uint_t,
}

/// The values of `lua_var_ssl_ctx`, the default first.
const SSL_CTX: [&[u8]; 2] = [b"inherit", b"off"];

impl SrvConf {
    const NEW: Self = SrvConf {
        ssl_ctx: UNSET_UINT,
    };

    /// Whether a request's `ngx.ctx` shows what Lua left in that of the handshake.
    pub(crate) fn inherits_ssl_ctx(&self) -> bool {
        self.ssl_ctx == 0
    }
}

/// Makes a server's configuration.
pub(crate) unsafe extern "C" fn create_srv_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    unsafe { make(cf, SrvConf::NEW) }
}

/// Has a server inherit what it does not set.
pub(crate) unsafe extern "C" fn merge_srv_conf(
    _cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: both come from `create_srv_conf`, and are two.
    let prev = unsafe { prev.cast::<SrvConf>().as_ref() };
    // SAFETY: `create_srv_conf` made it; `prev` is another one.
    let conf = unsafe { conf.cast::<SrvConf>().as_mut() };
    let (Some(prev), Some(conf)) = (prev, conf) else {
        return CONF_ERROR;
    };
    inherit(&mut conf.ssl_ctx, prev.ssl_ctx, 0);
    CONF_OK
}

/// The module's configuration of the server that a request is in.
pub(crate) fn srv_of(r: Request<'_>) -> Option<&SrvConf> {
    // SAFETY: nginx made it with `create_srv_conf`.
    unsafe { r.srv_conf(ctx_index()) }
}

/// The module's main configuration that serves a request.
pub(crate) fn main_of(r: Request<'_>) -> Option<&MainConf> {
    // SAFETY: nginx made it with `create_main_conf`.
    unsafe { r.main_conf(ctx_index()) }
}

/// The module's configuration of the location that a request is in.
pub(crate) fn loc_of(r: Request<'_>) -> Option<&LocConf> {
    // SAFETY: nginx made it with `create_loc_conf`.
    unsafe { r.loc_conf(ctx_index()) }
}

/// The module's main configuration that is being read.
///
/// # Safety
/// Nobody else holds it.
pub(crate) unsafe fn main_being_read<'a>(cf: Conf<'a>) -> Option<&'a mut MainConf> {
    // SAFETY: nginx made it with `create_main_conf`; for the rest the caller's word.
    unsafe { cf.main_conf(ctx_index()).cast::<MainConf>().as_mut() }
}

/// Says once that `lua_code_cache off` leaves `lua_var_ctx_restore` nothing to do in the
/// location that is being merged. Not where only the default is in force: nobody has
/// asked for anything then.
pub(crate) fn warn_of_code_cache(cf: Conf<'_>, conf: &LocConf) {
    // SAFETY: nothing else holds it while a location is merged.
    let Some(main) = (unsafe { main_being_read(cf) }) else {
        return;
    };
    if main.has_warned_of_code_cache
        || !conf.is_restore_written
        || conf.restore() == Restore::Off
        || !lua_module::is_code_cache_off(cf)
    {
        return;
    }
    main.has_warned_of_code_cache = true;
    let location = cf.location_name();
    let (before, after) = if location.len == 0 {
        (c"a server", c"")
    } else {
        (c"location \"", c"\"")
    };
    log_error!(
        WARN,
        cf.log(),
        "lua_var: lua_var_ctx_restore does nothing in %s%V%s: with lua_code_cache off, each \
         internal redirect has a Lua VM of its own",
        before.as_ptr(),
        &raw const location,
        after.as_ptr()
    );
}

/// Whether every name of `lua_var_index` stands for a variable. To be asked in
/// postconfiguration; false with the error logged.
pub(crate) fn check_index_names(cf: Conf<'_>) -> bool {
    // SAFETY: only read, and only here.
    let conf = unsafe { main_being_read(cf) };
    conf.is_some_and(|conf| conf.names.check(cf))
}

/// Makes the main configuration.
pub(crate) unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    unsafe { make(cf, MainConf::NEW) }
}

/// Makes a location's configuration.
pub(crate) unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    unsafe { make(cf, LocConf::NEW) }
}
