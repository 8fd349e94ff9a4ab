//! The variables that the module defines.

use core::ptr::NonNull;

use crate::conf::MainConf;
use crate::sys::{
    self, Request, VarValue, ngx_conf_t, ngx_http_request_t, ngx_http_variable_t,
    ngx_http_variable_value_t, ngx_int_t,
};
use crate::{ctx, error_page};

/// `$from_error_page`
const FROM_ERROR_PAGE: &[u8] = b"from_error_page";

/// Defines the variables. False with the error logged.
pub(crate) fn define(cf: NonNull<ngx_conf_t>, conf: &mut MainConf) -> bool {
    let flags = sys::NGX_HTTP_VAR_NOCACHEABLE;
    let hook = sys::add_variable(cf, error_page::VARIABLE, flags);
    let from = sys::add_variable(cf, FROM_ERROR_PAGE, flags | sys::NGX_HTTP_VAR_CHANGEABLE);
    if !handle(hook, error_page::on_error_page) || !handle(from, from_error_page) {
        return false;
    }
    // By index, so that `set` and `ngx.var.from_error_page = …` store a value there.
    conf.from_error_page = sys::variable_index(cf, FROM_ERROR_PAGE);
    conf.from_error_page >= 0
}

fn handle(variable: *mut ngx_http_variable_t, handler: sys::GetHandler) -> bool {
    // SAFETY: null, or a variable that nginx has just made.
    match unsafe { variable.as_mut() } {
        Some(variable) => {
            variable.get_handler = Some(handler);
            true
        }
        None => false,
    }
}

/// A variable's value that is `text` for now.
pub(crate) fn fill(v: *mut ngx_http_variable_value_t, text: &'static [u8]) {
    // SAFETY: null, or a value that nginx passes for the handler to fill.
    if let Some(v) = unsafe { v.cast::<VarValue>().as_mut() } {
        *v = VarValue::found(sys::text(text)).volatile();
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
    fill(v, if came { b"true" } else { b"" });
    sys::OK
}

/// Index of the variable, where a value that was set by hand is kept.
fn by_hand(r: Request) -> Option<usize> {
    // SAFETY: nginx made it with `directives::create_main_conf`.
    let conf = unsafe { r.main_conf(crate::ctx_index()).cast::<MainConf>().as_ref() }?;
    usize::try_from(conf.from_error_page).ok()
}

/// What `set $from_error_page` gave the request since the last error page.
///
/// The get handler's own values say that they must not be cached; those that
/// `set` or Lua store do not.
pub(crate) fn set_by_hand<'a>(r: Request) -> Option<&'a [u8]> {
    let value = r.variable(by_hand(r)?);
    if !value.is_kept() {
        return None;
    }
    // SAFETY: a variable's text lives as long as the request.
    value.text().map(|text| unsafe { sys::bytes(text) })
}

/// Drops such a value: what was said before an error page does not count after it.
pub(crate) fn forget_by_hand(r: Request) {
    if let Some(index) = by_hand(r) {
        r.set_variable(index, VarValue::EMPTY);
    }
}
