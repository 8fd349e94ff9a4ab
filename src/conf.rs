//! The module's directives, the structures that they fill, and how a location or a server inherits
//! them. The module's context index is here, too, because each of these structures is found with
//! it.

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::mem::offset_of;
use core::ptr;

use crate::nginx::conf::{
    self, CONF_ERROR, CONF_OK, Conf, NGX_CONF_FLAG, NGX_CONF_NOARGS, NGX_CONF_TAKE1,
    NGX_CONF_TAKE12, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF,
    NGX_HTTP_SRV_CONF, NGX_HTTP_SRV_CONF_OFFSET, UNSET_FLAG, UNSET_UINT, conf_error,
};
use crate::nginx::log::{ERR, INFO, NOTICE, WARN};
use crate::nginx::module_conf::{Level, module_confs};
use crate::nginx::string::name;
use crate::nginx::{ngx_command_t, ngx_conf_t, ngx_flag_t, ngx_uint_t};
use crate::statics::{PerWorker, Shared};

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

// `create` returns them, and `set_ctx_index` stores the index before anything else of the module
// is called.
module_confs! { CTX_INDEX.get(); Main MainConf, Server SrvConf, Location LocConf }

/// `lua_var_ctx_restore`: after which redirects a request gets its `ngx.ctx` back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Restore {
    /// Never; Lua gets a new `ngx.ctx`, as without this module.
    Off,
    /// In a request that came through an `error_page`.
    ErrorPage,
    /// After any internal redirect.
    All,
}

/// The formats of `lua_var_status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StatusFormat {
    /// Plain text, for people.
    Text,
    /// JSON, for programs.
    Json,
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// A page for a browser.
    Html,
}

/// The module's configuration of `http {}`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MainConf {
    /// Whether `lua_var_ctx_restore` is used, which has no effect without the Lua module.
    pub(crate) wants_lua: bool,
    /// Whether the header filter has to stash: there is an `error_page`, or a location in which
    /// `ngx.ctx` is restored after every redirect.
    pub(crate) needs_filter: bool,
    /// Whether a server has `lua_var_ssl_ctx off`.
    pub(crate) has_ssl_ctx_off: bool,
    /// The level of `lua_var_log_refused`; [`UNSET_UINT`] if the directive is not used.
    log_level: ngx_uint_t,
    /// Lines about one culprit in a second; 0 with `off`.
    log_rate: ngx_uint_t,
    /// `lua_var_trace_handles`: 1 if it is on.
    pub(crate) trace_handles: ngx_flag_t,
}

/// The module's configuration of a server, or the defaults of `http {}`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct SrvConf {
    /// `lua_var_ssl_ctx`: an index of [`SSL_CTX`].
    ssl_ctx: ngx_uint_t,
}

/// The module's configuration of a location, or the defaults of a server or of `http {}`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct LocConf {
    /// `lua_var_ctx_restore`: an index of [`RESTORE`].
    restore: ngx_uint_t,
    /// `lua_var_status`: an index of [`STATUS`], or its length to let the client's `Accept`
    /// decide.
    status: ngx_uint_t,
}

impl Default for MainConf {
    fn default() -> Self {
        MainConf {
            wants_lua: false,
            needs_filter: false,
            has_ssl_ctx_off: false,
            log_level: UNSET_UINT,
            log_rate: 1,
            trace_handles: UNSET_FLAG,
        }
    }
}

impl MainConf {
    pub(crate) fn log_level(&self) -> ngx_uint_t {
        match self.log_level {
            UNSET_UINT => ERR as ngx_uint_t,
            level => level,
        }
    }

    /// Milliseconds between two lines about one culprit; 0 with `off`.
    pub(crate) fn log_interval(&self) -> u64 {
        match self.log_rate {
            0 => 0,
            rate => 1000_u64.div_ceil(rate as u64),
        }
    }
}

impl Default for SrvConf {
    fn default() -> Self {
        SrvConf { ssl_ctx: UNSET_UINT }
    }
}

impl SrvConf {
    pub(crate) fn inherits_ssl_ctx(&self) -> bool {
        self.ssl_ctx == 0
    }
}

impl Default for LocConf {
    fn default() -> Self {
        LocConf { restore: UNSET_UINT, status: UNSET_UINT }
    }
}

impl LocConf {
    /// Inherits from `outer` what is not set here. Of `lua_var_status` that is the format, because nginx
    /// runs the content handler of a location also where an `if` in it applies.
    pub(crate) fn merge(&mut self, outer: &LocConf) {
        inherit(&mut self.restore, outer.restore, Restore::ErrorPage as ngx_uint_t);
        inherit(&mut self.status, outer.status, UNSET_UINT);
    }

    /// Whether `lua_var_status` is set here.
    pub(crate) fn has_status(&self) -> bool {
        self.status != UNSET_UINT
    }

    /// The format of `lua_var_status`; `None` if the client's `Accept` decides.
    pub(crate) fn status(&self) -> Option<StatusFormat> {
        match self.status {
            0 => Some(StatusFormat::Text),
            1 => Some(StatusFormat::Json),
            2 => Some(StatusFormat::Prometheus),
            3 => Some(StatusFormat::Html),
            _ => None,
        }
    }

    pub(crate) fn restore(&self) -> Restore {
        match self.restore {
            0 => Restore::Off,
            2 => Restore::All,
            _ => Restore::ErrorPage,
        }
    }

    /// The name of that setting, as it is written in a configuration.
    pub(crate) fn restore_name(&self) -> &'static str {
        let name = RESTORE.names.get(self.restore() as usize);
        name.copied().unwrap_or("error_page")
    }
}

/// Sets `place`, if it is unset, to `outer`, or to `default` if that is unset, too.
fn inherit(place: &mut ngx_uint_t, outer: ngx_uint_t, default: ngx_uint_t) {
    for value in [outer, default] {
        if *place == UNSET_UINT {
            *place = value;
        }
    }
}

/// Creates a configuration in the pool of the one that nginx is reading; null if there is no memory.
///
/// # Safety
/// `cf` must be the configuration that nginx is reading.
pub(crate) unsafe extern "C" fn create<T: Default + Copy>(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: it is the configuration that nginx is reading, by the contract above.
    let pool = unsafe { Conf::from_raw(cf) }.pool();
    let place = pool.and_then(|pool| pool.put(T::default()));
    place.map_or(ptr::null_mut(), |place| place.as_ptr().cast())
}

/// The outer configuration, and the one that inherits from it, as nginx passes them.
///
/// # Safety
/// Both must be configurations that `create` made, not the same, and nothing else may refer to `conf`
/// during `'a`.
pub(crate) unsafe fn merging<'a, T>(prev: *mut c_void, conf: *mut c_void) -> (&'a T, &'a mut T) {
    // SAFETY: `create` made it, and nginx does not write to it meanwhile.
    let prev = unsafe { &*prev.cast::<T>() };
    // SAFETY: `create` made it, and nothing else refers to it, by the contract above.
    (prev, unsafe { &mut *conf.cast::<T>() })
}

/// Merges a server's configuration: it inherits what is not set.
pub(crate) unsafe extern "C" fn merge_srv_conf(
    _cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes what `create` made for two servers' levels.
    let (prev, conf) = unsafe { merging::<SrvConf>(prev, conf) };
    inherit(&mut conf.ssl_ctx, prev.ssl_ctx, 0);
    CONF_OK
}

/// The module's main configuration, while it is being read.
///
/// # Safety
/// No other reference to it may exist during `'a`.
pub(crate) unsafe fn main_being_read<'a>(cf: Conf<'a>) -> &'a mut MainConf {
    // SAFETY: `create` made it, and the caller has no other reference to it.
    unsafe { &mut *cf.conf::<MainConf>() }
}

/// The values of a directive with one argument, and how an error lists them. The directive stores
/// the number of the value, or how many there are without an argument.
///
/// `ngx_conf_set_enum_slot` would do, but its error names neither the directive nor the values.
struct Choice {
    names: &'static [&'static str],
    expected: &'static str,
}

static RESTORE: Choice =
    Choice { names: &["off", "error_page", "all"], expected: "\"off\", \"error_page\" or \"all\"" };

static SSL_CTX: Choice = Choice { names: &["inherit", "off"], expected: "\"inherit\" or \"off\"" };

static STATUS: Choice = Choice {
    names: &["text", "json", "prometheus", "html"],
    expected: "\"text\", \"json\", \"prometheus\" or \"html\"",
};

/// The levels of `lua_var_log_refused`, the same as of `limit_req_log_level`.
const LEVELS: [(&[u8], u32); 4] =
    [(b"info", INFO), (b"notice", NOTICE), (b"warn", WARN), (b"error", ERR)];

const ANY_LEVEL: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

/// A directive that stores one of the values of a [`Choice`].
const fn one_of(
    text: &'static CStr,
    context: u32,
    conf: usize,
    offset: usize,
    choice: &'static Choice,
) -> ngx_command_t {
    ngx_command_t {
        name: name(text),
        type_: context as ngx_uint_t,
        set: Some(set_one_of),
        conf,
        offset,
        post: ptr::from_ref(choice).cast_mut().cast(),
    }
}

pub(crate) static COMMANDS: Shared<[ngx_command_t; 6]> = Shared([
    one_of(
        c"lua_var_ctx_restore",
        ANY_LEVEL | NGX_CONF_TAKE1,
        NGX_HTTP_LOC_CONF_OFFSET,
        offset_of!(LocConf, restore),
        &RESTORE,
    ),
    one_of(
        c"lua_var_ssl_ctx",
        NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
        NGX_HTTP_SRV_CONF_OFFSET,
        offset_of!(SrvConf, ssl_ctx),
        &SSL_CTX,
    ),
    one_of(
        c"lua_var_status",
        NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE1,
        NGX_HTTP_LOC_CONF_OFFSET,
        offset_of!(LocConf, status),
        &STATUS,
    ),
    ngx_command_t {
        name: name(c"lua_var_log_refused"),
        type_: (NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE12) as ngx_uint_t,
        set: Some(lua_var_log_refused),
        ..conf::NO_COMMAND
    },
    ngx_command_t {
        name: name(c"lua_var_trace_handles"),
        type_: (NGX_HTTP_MAIN_CONF | NGX_CONF_FLAG) as ngx_uint_t,
        set: Some(conf::set_flag),
        offset: offset_of!(MainConf, trace_handles),
        ..conf::NO_COMMAND
    },
    conf::NO_COMMAND,
]);

/// What a directive returns that is used twice; nginx puts the directive's name in front of it.
const DUPLICATE: *mut c_char = c"is duplicate".as_ptr().cast_mut();

/// Parses a directive that is made by [`one_of`]. The case does not matter, as in
/// `ngx_conf_set_enum_slot`.
unsafe extern "C" fn set_one_of(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: `cf` is the configuration that nginx is reading.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: `cmd` is one of `COMMANDS`.
    let cmd = unsafe { &*cmd };
    // SAFETY: `one_of` has set `post` to a `Choice`.
    let choice = unsafe { &*cmd.post.cast::<Choice>() };
    // SAFETY: `conf` is the structure of the directive's level, and `cmd.offset` is within it.
    let place = unsafe { conf.byte_add(cmd.offset) }.cast::<ngx_uint_t>();
    // SAFETY: the structure has an `ngx_uint_t` at this offset, and no other reference to it exists
    // while nginx reads a directive.
    let place = unsafe { &mut *place };
    if *place != UNSET_UINT {
        return DUPLICATE;
    }
    let mut arguments = cf.arguments();
    let directive = arguments.next().unwrap_or_default();
    let Some(argument) = arguments.next() else {
        *place = choice.names.len();
        return CONF_OK;
    };
    let is_it = |name: &&str| argument.eq_ignore_ascii_case(name.as_bytes());
    match choice.names.iter().position(is_it) {
        Some(number) => {
            *place = number;
            // SAFETY: no other reference to it exists while nginx reads a directive of another level.
            let main = unsafe { main_being_read(cf) };
            main.wants_lua |= ptr::eq(choice, &RESTORE);
            main.has_ssl_ctx_off |= ptr::eq(choice, &SSL_CTX) && number == 1;
            CONF_OK
        }
        None => {
            conf_error!(
                cf;
                "invalid value \"", argument, "\" in \"", directive, "\" directive, it must be ",
                choice.expected,
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
    // SAFETY: `cf` is the configuration that nginx is reading.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: `conf` is the module's `MainConf`, and no other reference to it exists while nginx
    // reads a directive.
    let conf = unsafe { &mut *conf.cast::<MainConf>() };
    if conf.log_level != UNSET_UINT {
        return DUPLICATE;
    }
    let mut arguments = cf.arguments().skip(1);
    let (Some(level), rate) = (arguments.next(), arguments.next()) else {
        return CONF_ERROR;
    };
    if level == b"off" {
        if rate.is_some() {
            conf_error!(cf; "\"off\" takes no rate in \"lua_var_log_refused\" directive");
            return CONF_ERROR;
        }
        (conf.log_level, conf.log_rate) = (ERR as ngx_uint_t, 0);
        return CONF_OK;
    }
    let Some((_, number)) = LEVELS.iter().find(|(name, _)| level == *name) else {
        conf_error!(
            cf;
            "invalid value \"", level, "\" in \"lua_var_log_refused\" directive, it must be \"off\", \
             or \"info\", \"notice\", \"warn\" or \"error\" with an optional rate",
        );
        return CONF_ERROR;
    };
    conf.log_level = *number as ngx_uint_t;
    let Some(rate) = rate else { return CONF_OK };
    match parsed_rate(rate) {
        Some(number) => {
            conf.log_rate = number;
            CONF_OK
        }
        None => {
            conf_error!(
                cf;
                "invalid rate \"", rate, "\" in \"lua_var_log_refused\" directive, it must look like \
                 \"rate=10r/s\", at most 1000",
            );
            CONF_ERROR
        }
    }
}

/// The number in `rate=10r/s` or `rate=10/s`; `None` for anything else, for 0, and for
/// more than 1000, because times are in milliseconds.
fn parsed_rate(text: &[u8]) -> Option<ngx_uint_t> {
    let text = text.strip_prefix(b"rate=")?.strip_suffix(b"/s")?;
    let digits = text.strip_suffix(b"r").unwrap_or(text);
    let number = core::str::from_utf8(digits).ok()?.parse().ok()?;
    (matches!(number, 1..=1000) && digits.iter().all(u8::is_ascii_digit)).then_some(number)
}
