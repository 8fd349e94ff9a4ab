//! Directives, the structures they fill, and the module's place among nginx's modules.

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::mem::offset_of;
use core::ptr;

use crate::nginx::array::{Elements, push};
use crate::nginx::conf::{
    self, CONF_ERROR, CONF_OK, Conf, NGX_CONF_1MORE, NGX_CONF_FLAG, NGX_CONF_NOARGS,
    NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF, NGX_HTTP_SRV_CONF_OFFSET, UNSET_FLAG, UNSET_UINT,
    conf_error,
};
use crate::nginx::log::{ERR, INFO, NOTICE, WARN};
use crate::nginx::request::Request;
use crate::nginx::string::{bytes, name, str_of};
use crate::nginx::value::{defined, prefixes};
use crate::nginx::{ngx_array_t, ngx_command_t, ngx_conf_t, ngx_flag_t, ngx_str_t, ngx_uint_t};
use crate::statics::{PerWorker, Shared};

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

/// The levels of `lua_var_log_refused`, those that `limit_req_log_level` has.
const LEVELS: [(&[u8], u32); 4] = [
    (b"info", INFO),
    (b"notice", NOTICE),
    (b"warn", WARN),
    (b"error", ERR),
];

/// `http {}`: one for the configuration. Valid when zeroed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct MainConf {
    /// Arguments of `lua_var_index`, without the `$`; null without the directive.
    names: *mut ngx_array_t,
    /// Place of `$from_error_page` in `r->variables`.
    pub from_error_page: u32,
    /// Whether anything uses `$error_page_uri` or its like.
    pub keeps_original: bool,
    /// `lua_var_log_refused`
    pub log_refused: LogRefused,
    /// `lua_var_trace_handles`: 1 when it is on.
    pub trace_handles: ngx_flag_t,
}

impl MainConf {
    const NEW: Self = MainConf {
        names: ptr::null_mut(),
        from_error_page: 0,
        keeps_original: false,
        log_refused: LogRefused {
            level: UNSET_UINT,
            rate: 1,
        },
        trace_handles: UNSET_FLAG,
    };

    /// The names that `lua_var_index` lists.
    pub(crate) fn index_names(&self) -> impl Iterator<Item = &ngx_str_t> {
        // SAFETY: null or the array that `lua_var_index` made, which is complete when
        // it is asked for.
        let names = unsafe { Elements::of(self.names) };
        names.into_iter().flat_map(Elements::read)
    }
}

/// One for each location.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LocConf {
    restore: ngx_uint_t,
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
        status: UNSET_UINT,
    };

    /// Inherits what is not set.
    pub(crate) fn merge(&mut self, outer: &LocConf) {
        if self.restore == UNSET_UINT {
            self.restore = match outer.restore {
                UNSET_UINT => DEFAULT_RESTORE,
                set => set,
            };
        }
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
    let cf = unsafe { Conf::from_raw(cf) };
    let place = cf
        .and_then(Conf::pool)
        .and_then(|pool| pool.put(SrvConf::NEW));
    place.map_or(ptr::null_mut(), |place| place.as_ptr().cast())
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
    if conf.ssl_ctx == UNSET_UINT {
        conf.ssl_ctx = match prev.ssl_ctx {
            UNSET_UINT => 0,
            set => set,
        };
    }
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

/// Makes the main configuration.
pub(crate) unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let cf = unsafe { Conf::from_raw(cf) };
    let place = cf
        .and_then(Conf::pool)
        .and_then(|pool| pool.put(MainConf::NEW));
    place.map_or(ptr::null_mut(), |place| place.as_ptr().cast())
}

/// Makes a location's configuration.
pub(crate) unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let cf = unsafe { Conf::from_raw(cf) };
    let place = cf
        .and_then(Conf::pool)
        .and_then(|pool| pool.put(LocConf::NEW));
    place.map_or(ptr::null_mut(), |place| place.as_ptr().cast())
}

const ANY_LEVEL: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

/// The directives.
pub(crate) static COMMANDS: Shared<[ngx_command_t; 7]> = Shared([
    ngx_command_t {
        name: name(c"lua_var_ctx_restore"),
        type_: (ANY_LEVEL | NGX_CONF_TAKE1) as ngx_uint_t,
        set: Some(lua_var_ctx_restore),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    },
    ngx_command_t {
        name: name(c"lua_var_index"),
        type_: (NGX_HTTP_MAIN_CONF | NGX_CONF_1MORE) as ngx_uint_t,
        set: Some(lua_var_index),
        conf: 0,
        offset: 0,
        post: ptr::null_mut(),
    },
    ngx_command_t {
        name: name(c"lua_var_log_refused"),
        type_: (NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE12) as ngx_uint_t,
        set: Some(lua_var_log_refused),
        conf: 0,
        offset: 0,
        post: ptr::null_mut(),
    },
    ngx_command_t {
        name: name(c"lua_var_trace_handles"),
        type_: (NGX_HTTP_MAIN_CONF | NGX_CONF_FLAG) as ngx_uint_t,
        set: Some(conf::set_flag),
        conf: 0,
        offset: offset_of!(MainConf, trace_handles),
        post: ptr::null_mut(),
    },
    ngx_command_t {
        name: name(c"lua_var_status"),
        type_: (NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE1) as ngx_uint_t,
        set: Some(lua_var_status),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    },
    ngx_command_t {
        name: name(c"lua_var_ssl_ctx"),
        type_: (NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1) as ngx_uint_t,
        set: Some(lua_var_ssl_ctx),
        conf: NGX_HTTP_SRV_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    },
    conf::NO_COMMAND,
]);

/// `lua_var_ctx_restore off | error_page | all`
unsafe extern "C" fn lua_var_ctx_restore(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: nginx passes the location's conf, from `create_loc_conf`.
    let conf = unsafe { conf.cast::<LocConf>().as_mut() };
    let (Some(cf), Some(conf)) = (cf, conf) else {
        return CONF_ERROR;
    };
    if conf.restore != UNSET_UINT {
        // nginx makes it: "lua_var_ctx_restore" directive is duplicate
        return c"is duplicate".as_ptr().cast_mut();
    }
    let Some(argument) = cf.arguments().nth(1) else {
        return CONF_ERROR;
    };
    // SAFETY: the arguments live as long as the configuration.
    let text = unsafe { bytes(*argument) };
    // As nginx's own enumerations, in either case.
    match RESTORE
        .iter()
        .position(|(name, _)| text.eq_ignore_ascii_case(name.to_bytes()))
    {
        Some(restore) => {
            conf.restore = restore;
            CONF_OK
        }
        None => {
            conf_error!(
                cf,
                "invalid value \"%V\" in \"lua_var_ctx_restore\" directive, it must be \
                 \"off\", \"error_page\" or \"all\"",
                ptr::from_ref(argument)
            );
            CONF_ERROR
        }
    }
}

/// `lua_var_ssl_ctx inherit | off`
unsafe extern "C" fn lua_var_ssl_ctx(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: nginx passes the server's conf, from `create_srv_conf`.
    let conf = unsafe { conf.cast::<SrvConf>().as_mut() };
    let (Some(cf), Some(conf)) = (cf, conf) else {
        return CONF_ERROR;
    };
    if conf.ssl_ctx != UNSET_UINT {
        return c"is duplicate".as_ptr().cast_mut();
    }
    let Some(argument) = cf.arguments().nth(1) else {
        return CONF_ERROR;
    };
    // SAFETY: the arguments live as long as the configuration.
    let text = unsafe { bytes(*argument) };
    match SSL_CTX.iter().position(|name| text == *name) {
        Some(ssl_ctx) => {
            conf.ssl_ctx = ssl_ctx;
            CONF_OK
        }
        None => {
            conf_error!(
                cf,
                "invalid value \"%V\" in \"lua_var_ssl_ctx\" directive, it must be \
                 \"inherit\" or \"off\"",
                ptr::from_ref(argument)
            );
            CONF_ERROR
        }
    }
}

/// `lua_var_status [text | json | prometheus]`
unsafe extern "C" fn lua_var_status(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: nginx passes the location's conf, from `create_loc_conf`.
    let conf = unsafe { conf.cast::<LocConf>().as_mut() };
    let (Some(cf), Some(conf)) = (cf, conf) else {
        return CONF_ERROR;
    };
    if conf.status != UNSET_UINT {
        return c"is duplicate".as_ptr().cast_mut();
    }
    let Some(argument) = cf.arguments().nth(1) else {
        conf.status = STATUS.len();
        return CONF_OK;
    };
    // SAFETY: the arguments live as long as the configuration.
    let text = unsafe { bytes(*argument) };
    match STATUS.iter().position(|(name, _)| text == *name) {
        Some(status) => {
            conf.status = status;
            CONF_OK
        }
        None => {
            conf_error!(
                cf,
                "invalid value \"%V\" in \"lua_var_status\" directive, it must be \
                 \"text\", \"json\" or \"prometheus\"",
                ptr::from_ref(argument)
            );
            CONF_ERROR
        }
    }
}

/// `lua_var_log_refused off | level [rate=N/s]`
unsafe extern "C" fn lua_var_log_refused(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: nginx passes the module's main conf, from `create_main_conf`.
    let conf = unsafe { conf.cast::<MainConf>().as_mut() };
    let (Some(cf), Some(conf)) = (cf, conf) else {
        return CONF_ERROR;
    };
    if conf.log_refused.level != UNSET_UINT {
        return c"is duplicate".as_ptr().cast_mut();
    }
    let mut arguments = cf.arguments().skip(1);
    let (Some(level), rate) = (arguments.next(), arguments.next()) else {
        return CONF_ERROR;
    };
    // SAFETY: the arguments live as long as the configuration.
    let text = unsafe { bytes(*level) };
    conf.log_refused = if text == b"off" && rate.is_none() {
        let level = WARN as ngx_uint_t;
        LogRefused { level, rate: 0 }
    } else {
        let Some((_, level)) = LEVELS.iter().find(|(name, _)| text == *name) else {
            conf_error!(
                cf,
                "invalid value \"%V\" in \"lua_var_log_refused\" directive, it must be \"off\", \
                 or \"info\", \"notice\", \"warn\" or \"error\" and a rate",
                ptr::from_ref(level)
            );
            return CONF_ERROR;
        };
        let level = *level as ngx_uint_t;
        // SAFETY: as above.
        match rate.map_or(Some(1), |rate| parsed_rate(unsafe { bytes(*rate) })) {
            Some(rate) => LogRefused { level, rate },
            None => {
                conf_error!(
                    cf,
                    "invalid rate \"%V\" in \"lua_var_log_refused\" directive, \
                     it must be as \"rate=10r/s\"",
                    rate.map_or(ptr::null(), ptr::from_ref)
                );
                return CONF_ERROR;
            }
        }
    };
    CONF_OK
}

/// The number in `rate=10r/s`, or `rate=10/s`, which is not 0.
fn parsed_rate(text: &[u8]) -> Option<ngx_uint_t> {
    let text = text.strip_prefix(b"rate=")?.strip_suffix(b"/s")?;
    let digits = text.strip_suffix(b"r").unwrap_or(text);
    let number = core::str::from_utf8(digits).ok()?.parse().ok()?;
    (number > 0 && digits.iter().all(u8::is_ascii_digit)).then_some(number)
}

/// `lua_var_index $name …`
unsafe extern "C" fn lua_var_index(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: nginx passes the module's main conf, from `create_main_conf`.
    let conf = unsafe { conf.cast::<MainConf>().as_mut() };
    let (Some(cf), Some(conf)) = (cf, conf) else {
        return CONF_ERROR;
    };
    if conf.names.is_null() {
        conf.names = cf
            .pool()
            .map_or(ptr::null_mut(), |pool| pool.array::<ngx_str_t>(8));
    }
    for argument in cf.arguments().skip(1) {
        // As everywhere in a configuration, a name may be written in upper case.
        let Some(lower) = cf.lower_case(argument) else {
            return CONF_ERROR;
        };
        let Some(name) = lower.strip_prefix(b"$").filter(|name| is_name(name)) else {
            conf_error!(cf, "invalid variable name \"%V\"", ptr::from_ref(argument));
            return CONF_ERROR;
        };
        let is_it = |other: &ngx_str_t| {
            // SAFETY: they are strings of the configuration too.
            unsafe { bytes(*other) == name }
        };
        if conf.index_names().any(is_it) {
            conf_error!(cf, "duplicate variable \"%V\"", ptr::from_ref(argument));
            return CONF_ERROR;
        }
        // SAFETY: null, or the array that was made above.
        if !unsafe { push(conf.names, str_of(name)) } {
            return CONF_ERROR;
        }
    }
    CONF_OK
}

/// Whether nginx's own parser would read it as the name of one variable, in lower case.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Whether every name of `lua_var_index` is a variable or has a variable's prefix. To be
/// asked in postconfiguration, when directives have defined theirs and nginx still has
/// the list that it makes its hash of.
pub(crate) fn check_index_names(cf: Conf<'_>) -> bool {
    // SAFETY: only read, and only here.
    let conf = unsafe { main_being_read(cf) };
    let (Some(conf), Some(cmcf)) = (conf, cf.core_main_conf()) else {
        return false;
    };
    for name in conf.index_names() {
        // SAFETY: a string of the configuration.
        let text = unsafe { bytes(*name) };
        let is_defined = defined(cmcf).is_ok_and(|mut all| all.any(|v| v.name() == text));
        let has_prefix =
            || prefixes(cmcf).is_ok_and(|mut all| all.any(|p| text.starts_with(p.name())));
        if !is_defined && !has_prefix() {
            conf_error!(
                cf,
                "unknown \"%V\" variable in \"lua_var_index\"",
                ptr::from_ref(name)
            );
            return false;
        }
    }
    true
}
