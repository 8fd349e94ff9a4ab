//! The directives.

use core::ffi::{c_char, c_void};
use core::mem::offset_of;
use core::ptr;

use super::{
    LEVELS, LocConf, LogRefused, MainConf, RESTORE, SSL_CTX, STATUS, SrvConf, main_being_read,
};
use crate::nginx::conf::{
    self, CONF_ERROR, CONF_OK, Conf, NGX_CONF_1MORE, NGX_CONF_FLAG, NGX_CONF_NOARGS,
    NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF, NGX_HTTP_SRV_CONF_OFFSET, UNSET_UINT, conf_error,
};
use crate::nginx::log::WARN;
use crate::nginx::lua_module::{self, NoMemory};
use crate::nginx::string::{bytes, name};
use crate::nginx::{ngx_command_t, ngx_conf_t, ngx_uint_t};
use crate::statics::Shared;

const ANY_LEVEL: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

/// The directives.
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
            // SAFETY: nothing else holds it while a directive is read.
            if let Some(main) = unsafe { main_being_read(cf) } {
                main.wants_lua = true;
            }
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

/// `lua_var_replace package`
unsafe extern "C" fn lua_var_replace(
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
    // SAFETY: nginx passes the configuration that it is reading, or null.
    let cf = unsafe { Conf::from_raw(cf) };
    // SAFETY: nginx passes the module's main conf, from `create_main_conf`.
    let conf = unsafe { conf.cast::<MainConf>().as_mut() };
    let (Some(cf), Some(conf)) = (cf, conf) else {
        return CONF_ERROR;
    };
    conf.wants_lua = true;
    if conf.names.add_arguments(cf) {
        CONF_OK
    } else {
        CONF_ERROR
    }
}
