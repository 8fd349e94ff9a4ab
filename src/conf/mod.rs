//! The structures that the directives fill, how a location or a server inherits them, and
//! access to them for a request. The module's context index is here, too, because each of
//! these structures is found with it.

pub(crate) mod directives;
mod index;

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use crate::nginx::conf::{CONF_ERROR, CONF_OK, Conf, UNSET_FLAG, UNSET_UINT};
use crate::nginx::log::{ERR, WARN, log_error};
use crate::nginx::lua_module;
use crate::nginx::module_conf::{HttpModule, Level, ModuleConf};
use crate::nginx::{ngx_conf_t, ngx_flag_t, ngx_str_t, ngx_uint_t};
use crate::statics::PerWorker;

/// A copy of `ngx_http_lua_var_module.ctx_index`. The modules below `lib.rs` do not name the
/// module structure, so that their dependencies go in one direction.
static CTX_INDEX: PerWorker<Cell<usize>> = PerWorker(Cell::new(0));

/// Stores the module's index in nginx's tables of modules.
///
/// # Safety
/// `index` must be what nginx assigned to the module, and nothing else of the module may have
/// been called.
pub(crate) unsafe fn set_ctx_index(index: usize) {
    CTX_INDEX.set(index);
}

/// This module, among nginx's HTTP modules.
pub(crate) struct LuaVarModule;

// SAFETY: `set_ctx_index` stores the index before anything else of the module is called.
unsafe impl HttpModule for LuaVarModule {
    fn ctx_index() -> usize {
        CTX_INDEX.get()
    }
}

// SAFETY: `create_main_conf` returns one.
unsafe impl ModuleConf for MainConf {
    type Module = LuaVarModule;
    const LEVEL: Level = Level::Main;
}

// SAFETY: `create_srv_conf` returns one.
unsafe impl ModuleConf for SrvConf {
    type Module = LuaVarModule;
    const LEVEL: Level = Level::Server;
}

// SAFETY: `create_loc_conf` returns one.
unsafe impl ModuleConf for LocConf {
    type Module = LuaVarModule;
    const LEVEL: Level = Level::Location;
}

/// `lua_var_ctx_restore`: after which redirects a request gets its `ngx.ctx` back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restore {
    /// Never; Lua gets a new `ngx.ctx`, as without this module.
    Off,
    /// In a request that came through an `error_page`.
    ErrorPage,
    /// After any internal redirect.
    All,
}

/// The values of `lua_var_ctx_restore`; [`LocConf`] stores an index of this array.
const RESTORE: [(&CStr, Restore); 3] = [
    (c"off", Restore::Off),
    (DEFAULT_RESTORE_NAME, Restore::ErrorPage),
    (c"all", Restore::All),
];
/// The index in [`RESTORE`] of the default.
const DEFAULT_RESTORE: ngx_uint_t = 1;
const DEFAULT_RESTORE_NAME: &CStr = c"error_page";

/// `lua_var_log_refused`: how refusals are logged.
#[derive(Clone, Copy)]
pub struct LogRefused {
    /// [`UNSET_UINT`] if the directive is not used.
    level: ngx_uint_t,
    /// Lines about one culprit in a second; 0 with `off`.
    rate: ngx_uint_t,
}

impl LogRefused {
    /// The log level of a refusal.
    pub(crate) fn level(self) -> ngx_uint_t {
        match self.level {
            UNSET_UINT => ERR as ngx_uint_t,
            level => level,
        }
    }

    /// Milliseconds between two lines about one culprit; 0 with `off`.
    pub(crate) fn interval(self) -> u64 {
        match self.rate {
            0 => 0,
            rate => (1000_u64).checked_div(rate as u64).unwrap_or(1).max(1),
        }
    }
}

/// The module's configuration of `http {}`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct MainConf {
    /// `lua_var_index`
    names: index::Names,
    /// Index of `$from_error_page` in `r->variables`.
    pub from_error_page: u32,
    /// Whether a directive is used that has no effect without the Lua module.
    pub wants_lua: bool,
    /// Whether [`warn_of_code_cache`] has logged its warning.
    has_warned_of_code_cache: bool,
    /// Whether the configuration uses `$error_page_uri` or another variable of that group.
    pub needs_original: bool,
    /// `lua_var_log_refused`
    pub log_refused: LogRefused,
    /// `lua_var_trace_handles`: 1 if it is on.
    pub trace_handles: ngx_flag_t,
}

impl MainConf {
    const NEW: Self = MainConf {
        names: index::Names::NONE,
        from_error_page: 0,
        wants_lua: false,
        has_warned_of_code_cache: false,
        needs_original: false,
        log_refused: LogRefused {
            level: UNSET_UINT,
            rate: 1,
        },
        trace_handles: UNSET_FLAG,
    };

    /// The names that `lua_var_index` lists, in lower case, without the `$`.
    pub(crate) fn index_names(&self) -> impl Iterator<Item = &ngx_str_t> {
        self.names.iter()
    }
}

/// The module's configuration of a location, or the defaults of a server or of `http {}`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LocConf {
    /// `lua_var_ctx_restore`: an index of [`RESTORE`].
    restore: ngx_uint_t,
    /// Whether `restore` was set by a directive, in this location or around it.
    is_restore_written: bool,
    /// `lua_var_status`: an index of [`STATUS`], or its length to let the client's `Accept`
    /// decide.
    status: ngx_uint_t,
}

/// The formats of `lua_var_status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusFormat {
    /// Plain text, for people.
    Text,
    /// JSON, for programs.
    Json,
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// A page for a browser.
    Html,
}

/// The values of `lua_var_status`.
const STATUS: [(&[u8], StatusFormat); 4] = [
    (b"text", StatusFormat::Text),
    (b"json", StatusFormat::Json),
    (b"prometheus", StatusFormat::Prometheus),
    (b"html", StatusFormat::Html),
];

impl LocConf {
    const NEW: Self = LocConf {
        restore: UNSET_UINT,
        is_restore_written: false,
        status: UNSET_UINT,
    };

    /// Inherits from `outer` what is not set here. `lua_var_status` is not inherited.
    pub(crate) fn merge(&mut self, outer: &LocConf) {
        inherit(&mut self.restore, outer.restore, DEFAULT_RESTORE);
        self.is_restore_written |= outer.is_restore_written;
    }

    /// Whether the location has a `lua_var_status`.
    pub(crate) fn has_status(&self) -> bool {
        self.status != UNSET_UINT
    }

    /// The format of `lua_var_status`; `None` if the client's `Accept` decides.
    pub(crate) fn status(&self) -> Option<StatusFormat> {
        STATUS.get(self.status).map(|(_, format)| *format)
    }

    /// The `lua_var_ctx_restore` that applies in this location.
    pub(crate) fn restore(&self) -> Restore {
        RESTORE
            .get(self.restore)
            .map_or(Restore::ErrorPage, |(_, restore)| *restore)
    }

    /// The name of that setting, as it is written in a configuration.
    pub(crate) fn restore_name(&self) -> &'static CStr {
        RESTORE
            .get(self.restore)
            .map_or(DEFAULT_RESTORE_NAME, |(name, _)| name)
    }
}

/// Puts `new` into the configuration's pool; null if there is no memory.
///
/// # Safety
/// `cf` must be null or the configuration that nginx is reading.
unsafe fn create<T: Copy>(cf: *mut ngx_conf_t, new: T) -> *mut c_void {
    // SAFETY: `cf` is null or the configuration being read, by the contract above.
    let pool = unsafe { Conf::from_raw(cf) }.and_then(Conf::pool);
    let place = pool.and_then(|pool| pool.put(new));
    place.map_or(ptr::null_mut(), |place| place.as_ptr().cast())
}

/// Sets `place`, if it is unset, to `outer`, or to `default` if that is unset, too.
fn inherit(place: &mut ngx_uint_t, outer: ngx_uint_t, default: ngx_uint_t) {
    for value in [outer, default] {
        if *place == UNSET_UINT {
            *place = value;
        }
    }
}

/// The module's configuration of a server, or the defaults of `http {}`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct SrvConf {
    /// `lua_var_ssl_ctx`: an index of [`SSL_CTX`].
    ssl_ctx: ngx_uint_t,
}

/// The values of `lua_var_ssl_ctx`, the default first.
const SSL_CTX: [&[u8]; 2] = [b"inherit", b"off"];

impl SrvConf {
    const NEW: Self = SrvConf {
        ssl_ctx: UNSET_UINT,
    };

    /// Whether a request's `ngx.ctx` inherits from the `ngx.ctx` of the TLS handshake.
    pub(crate) fn inherits_ssl_ctx(&self) -> bool {
        self.ssl_ctx == 0
    }
}

/// Creates a server's configuration.
pub(crate) unsafe extern "C" fn create_srv_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is the configuration that nginx is reading, or null.
    unsafe { create(cf, SrvConf::NEW) }
}

/// Merges a server's configuration: it inherits what is not set.
pub(crate) unsafe extern "C" fn merge_srv_conf(
    _cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: `create_srv_conf` made `prev`, and nginx does not write to it meanwhile.
    let prev = unsafe { prev.cast::<SrvConf>().as_ref() };
    // SAFETY: `create_srv_conf` made `conf`; it is not `prev`, so no other reference to it
    // exists.
    let conf = unsafe { conf.cast::<SrvConf>().as_mut() };
    let (Some(prev), Some(conf)) = (prev, conf) else {
        return CONF_ERROR;
    };
    inherit(&mut conf.ssl_ctx, prev.ssl_ctx, 0);
    CONF_OK
}

/// The module's main configuration, while it is being read.
///
/// # Safety
/// No other reference to it may exist during `'a`.
pub(crate) unsafe fn main_being_read<'a>(cf: Conf<'a>) -> Option<&'a mut MainConf> {
    // SAFETY: `create_main_conf` made it, and the caller has no other reference to it.
    unsafe { cf.conf::<MainConf>().as_mut() }
}

/// Warns that `lua_var_ctx_restore` has no effect with `lua_code_cache off`, if that holds in
/// the location that is being merged. There is one warning for a configuration, and none
/// where only the default applies, because then nobody has asked for a restore.
pub(crate) fn warn_of_code_cache(cf: Conf<'_>, conf: &LocConf) {
    // SAFETY: no other reference to the main configuration exists while a location is merged.
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

/// Whether every name in `lua_var_index` is a variable, see [`index::Names::check`]. To be
/// called in postconfiguration. Returns false after logging an error.
pub(crate) fn check_index_names(cf: Conf<'_>) -> bool {
    // SAFETY: no other reference to the main configuration exists in postconfiguration.
    let conf = unsafe { main_being_read(cf) };
    conf.is_some_and(|conf| conf.names.check(cf))
}

/// Creates the main configuration.
///
/// # Safety
/// `cf` must be null or the configuration that nginx is reading.
pub(crate) unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is null or the configuration being read, by the contract above.
    unsafe { create(cf, MainConf::NEW) }
}

/// Creates a location's configuration.
pub(crate) unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is the configuration that nginx is reading, or null.
    unsafe { create(cf, LocConf::NEW) }
}
