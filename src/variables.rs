//! The variables that the module defines.

use core::ptr::NonNull;

use crate::conf::MainConf;
use crate::sys::{
    self, Request, ngx_conf_t, ngx_http_request_t, ngx_http_variable_t, ngx_http_variable_value_t,
    ngx_int_t,
};
use crate::{ctx, error_page};

/// `$from_error_page`
const FROM_ERROR_PAGE: &[u8] = b"from_error_page";

/// Defines the variables. False with the error logged.
pub(crate) fn define(cf: NonNull<ngx_conf_t>, conf: &mut MainConf) -> bool {
    let flags = sys::NGX_HTTP_VAR_NOCACHEABLE;
    // Known to the configuration only: read by name, they would run the hook.
    let hidden = flags | sys::NGX_HTTP_VAR_NOHASH;
    let hook = sys::add_variable(cf, error_page::VARIABLE, hidden);
    let bare = sys::add_variable(cf, error_page::VARIABLE_BARE, hidden);
    let from = sys::add_variable(cf, FROM_ERROR_PAGE, flags | sys::NGX_HTTP_VAR_CHANGEABLE);
    if !handle(hook, error_page::on_error_page, 0)
        || !handle(bare, error_page::on_error_page, error_page::BARE)
        || !handle(from, from_error_page, 0)
    {
        return false;
    }
    // By index, so that `set` and `ngx.var.from_error_page = …` store a value there.
    conf.from_error_page = sys::variable_index(cf, FROM_ERROR_PAGE);
    conf.from_error_page >= 0
}

fn handle(variable: *mut ngx_http_variable_t, handler: sys::GetHandler, data: usize) -> bool {
    // SAFETY: null, or a variable that nginx has just made.
    match unsafe { variable.as_mut() } {
        Some(variable) => {
            variable.get_handler = Some(handler);
            variable.data = data;
            true
        }
        None => false,
    }
}

/// Get handler of `$from_error_page`: `true` in a request that came through
/// `error_page`, else empty. Any phase.
///
/// # Safety
/// Only nginx calls it, with a live request and a value to fill.
unsafe extern "C" fn from_error_page(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    _data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes the request it evaluates the variable for.
    let came = match unsafe { Request::from_raw(r) } {
        // A request that is in no slot never met the hook.
        Some(r) => crate::worker::worker()
            .find(r.address())
            .is_some_and(|slot| ctx::redirected(r, slot)),
        None => false,
    };
    sys::fill(v, if came { b"true" } else { b"" });
    sys::OK
}
