//! The module's directives: the table that nginx reads, and the function that parses each
//! one. `conf/mod.rs` has the structures that they fill.

use core::ffi::{CStr, c_char, c_void};
use core::mem::offset_of;
use core::ptr;

use super::{LocConf, LogRefused, MainConf, RESTORE, SSL_CTX, STATUS, SrvConf, main_being_read};
use crate::nginx::conf::{
    self, CONF_ERROR, CONF_OK, Conf, NGX_CONF_1MORE, NGX_CONF_FLAG, NGX_CONF_NOARGS,
    NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF, NGX_HTTP_SRV_CONF_OFFSET, UNSET_UINT, conf_error,
};
use crate::nginx::log::{ERR, INFO, NOTICE, WARN};
use crate::nginx::lua_module::{self, NoMemory};
use crate::nginx::string::{bytes, name};
use crate::nginx::{ngx_command_t, ngx_conf_t, ngx_uint_t};
use crate::statics::Shared;

const ANY_LEVEL: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

/// The module's directives, as nginx looks them up.
pub(crate) static COMMANDS: Shared<[ngx_command_t; 8]> = Shared([
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
    ngx_command_t {
        name: name(c"lua_var_replace"),
        type_: (NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1) as ngx_uint_t,
        set: Some(lua_var_replace),
        conf: 0,
        offset: 0,
        post: ptr::null_mut(),
    },
    conf::NO_COMMAND,
]);

/// Converts the arguments of a directive's function: the configuration being read, and the
/// module's configuration at the directive's level. `None` if either is null.
///
/// # Safety
/// Both must be what nginx passes to the function, and the module must have made `conf` as
/// a `T`.
unsafe fn reading<'a, T>(cf: *mut ngx_conf_t, conf: *mut c_void) -> Option<(Conf<'a>, &'a mut T)> {
    // SAFETY: `cf` is the configuration that nginx is reading, by the contract above.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: `conf` is a `T` by the contract above, and no other reference to it exists
    // while nginx reads a directive.
    let conf = unsafe { conf.cast::<T>().as_mut() };
    cf.zip(conf)
}

/// Sets `place` to the number that `number` returns for the directive's one argument. For an
/// argument without a number it logs an error that lists the `expected` ones.
fn set_one_of(
    cf: Conf<'_>,
    place: &mut ngx_uint_t,
    number: impl FnOnce(&[u8]) -> Option<usize>,
    expected: &'static CStr,
) -> *mut c_char {
    if *place != UNSET_UINT {
        // nginx puts the directive's name in front of this.
        return c"is duplicate".as_ptr().cast_mut();
    }
    let mut arguments = cf.arguments();
    let (Some(directive), Some(argument)) = (arguments.next(), arguments.next()) else {
        return CONF_ERROR;
    };
    // SAFETY: a directive's arguments live as long as the configuration.
    match number(unsafe { bytes(*argument) }) {
        Some(number) => {
            *place = number;
            CONF_OK
        }
        None => {
            conf_error!(
                cf,
                "invalid value \"%V\" in \"%V\" directive, it must be %s",
                ptr::from_ref(argument),
                ptr::from_ref(directive),
                expected.as_ptr()
            );
            CONF_ERROR
        }
    }
}

/// `lua_var_ctx_restore off | error_page | all`
unsafe extern "C" fn lua_var_ctx_restore(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration being read and the location's `LocConf`.
    let Some((cf, conf)) = (unsafe { reading::<LocConf>(cf, conf) }) else {
        return CONF_ERROR;
    };
    // SAFETY: no other reference to the main configuration exists while nginx reads a
    // directive of a location.
    if let Some(main) = unsafe { main_being_read(cf) } {
        main.wants_lua = true;
    }
    conf.is_restore_written = true;
    // The case does not matter, as in `ngx_conf_set_enum_slot`.
    let is = |text: &[u8], name: &CStr| text.eq_ignore_ascii_case(name.to_bytes());
    set_one_of(
        cf,
        &mut conf.restore,
        |text| RESTORE.iter().position(|(name, _)| is(text, name)),
        c"\"off\", \"error_page\" or \"all\"",
    )
}

/// `lua_var_ssl_ctx inherit | off`
unsafe extern "C" fn lua_var_ssl_ctx(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration being read and the server's `SrvConf`.
    let Some((cf, conf)) = (unsafe { reading::<SrvConf>(cf, conf) }) else {
        return CONF_ERROR;
    };
    set_one_of(
        cf,
        &mut conf.ssl_ctx,
        |text| SSL_CTX.iter().position(|name| text == *name),
        c"\"inherit\" or \"off\"",
    )
}

/// `lua_var_status [text | json | prometheus | html]`
unsafe extern "C" fn lua_var_status(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration being read and the location's `LocConf`.
    let Some((cf, conf)) = (unsafe { reading::<LocConf>(cf, conf) }) else {
        return CONF_ERROR;
    };
    if cf.arguments().count() == 1 && conf.status == UNSET_UINT {
        conf.status = STATUS.len();
        return CONF_OK;
    }
    set_one_of(
        cf,
        &mut conf.status,
        |text| STATUS.iter().position(|(name, _)| text == *name),
        c"\"text\", \"json\", \"prometheus\" or \"html\"",
    )
}

/// The levels of `lua_var_log_refused`, the same as of `limit_req_log_level`.
const LEVELS: [(&[u8], u32); 4] = [
    (b"info", INFO),
    (b"notice", NOTICE),
    (b"warn", WARN),
    (b"error", ERR),
];

/// `lua_var_log_refused off | level [rate=N/s]`
unsafe extern "C" fn lua_var_log_refused(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration being read and the module's `MainConf`.
    let Some((cf, conf)) = (unsafe { reading::<MainConf>(cf, conf) }) else {
        return CONF_ERROR;
    };
    if conf.log_refused.level != UNSET_UINT {
        return c"is duplicate".as_ptr().cast_mut();
    }
    let mut arguments = cf.arguments().skip(1);
    let (Some(level), rate) = (arguments.next(), arguments.next()) else {
        return CONF_ERROR;
    };
    // SAFETY: a directive's arguments live as long as the configuration.
    let text = unsafe { bytes(*level) };
    conf.log_refused = if text == b"off" && rate.is_none() {
        let level = ERR as ngx_uint_t;
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
        // SAFETY: a directive's arguments live as long as the configuration.
        match rate.map_or(Some(1), |rate| parsed_rate(unsafe { bytes(*rate) })) {
            Some(rate) => LogRefused { level, rate },
            None => {
                conf_error!(
                    cf,
                    "invalid rate \"%V\" in \"lua_var_log_refused\" directive, \
                     it must look like \"rate=10r/s\"",
                    rate.map_or(ptr::null(), ptr::from_ref)
                );
                return CONF_ERROR;
            }
        }
    };
    CONF_OK
}

/// The number in `rate=10r/s` or `rate=10/s`; `None` for anything else, and for 0.
fn parsed_rate(text: &[u8]) -> Option<ngx_uint_t> {
    let text = text.strip_prefix(b"rate=")?.strip_suffix(b"/s")?;
    let digits = text.strip_suffix(b"r").unwrap_or(text);
    let number = core::str::from_utf8(digits).ok()?.parse().ok()?;
    (number > 0 && digits.iter().all(u8::is_ascii_digit)).then_some(number)
}

/// `lua_var_replace package`
unsafe extern "C" fn lua_var_replace(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration being read and the module's `MainConf`.
    let Some((cf, conf)) = (unsafe { reading::<MainConf>(cf, conf) }) else {
        return CONF_ERROR;
    };
    conf.wants_lua = true;
    let Some(argument) = cf.arguments().nth(1) else {
        return CONF_ERROR;
    };
    match lua_module::replace(cf, argument) {
        Ok(true) => CONF_OK,
        Ok(false) => {
            conf_error!(
                cf,
                "invalid value \"%V\" in \"lua_var_replace\" directive, it must be \
                 \"resty.ctxdump\"",
                ptr::from_ref(argument)
            );
            CONF_ERROR
        }
        Err(NoMemory) => CONF_ERROR,
    }
}

/// `lua_var_index $name …`
unsafe extern "C" fn lua_var_index(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration being read and the module's `MainConf`.
    let Some((cf, conf)) = (unsafe { reading::<MainConf>(cf, conf) }) else {
        return CONF_ERROR;
    };
    conf.wants_lua = true;
    if conf.names.add_arguments(cf) {
        CONF_OK
    } else {
        CONF_ERROR
    }
}
