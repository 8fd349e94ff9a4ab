//! The hook that runs before an `error_page` redirect.
//!
//! nginx has none, but `ngx_http_send_error_page` evaluates the `error_page`
//! value with `ngx_http_complex_value` right before it redirects, while `r->ctx`
//! is whole. So each value is compiled again with a variable of the module's in
//! front, whose value is empty and whose get handler is the hook.

use core::ptr::NonNull;

use crate::ctx;
use crate::slots::Slot;
use crate::sys::{
    self, Request, ngx_conf_t, ngx_http_core_loc_conf_t, ngx_http_err_page_t, ngx_http_request_t,
    ngx_http_variable_value_t, ngx_int_t, ngx_str_t,
};

/// Name of the variable that is the hook.
pub const VARIABLE: &[u8] = b"lua_var_on_error_page";
/// Name of the one for a URI that has neither arguments nor variables.
pub const VARIABLE_BARE: &[u8] = b"lua_var_on_error_page_bare";
/// What all recompiled values begin with.
const MARK: &[u8] = b"${lua_var_on_error_page";
/// The hook's `data` in [`VARIABLE_BARE`].
pub const BARE: usize = 1;

/// Puts the hook in front of the values of every `error_page` in force in the
/// location being merged. False with the error logged.
///
/// The core module has merged them already; locations that inherit share the
/// array, so values that have the hook are left alone.
pub(crate) fn install(cf: NonNull<ngx_conf_t>) -> bool {
    let core = sys::loc_conf(cf, sys::core_index()).cast::<ngx_http_core_loc_conf_t>();
    // SAFETY: the core module's configuration of the location that nginx is merging.
    let pages = unsafe { (*core).error_pages };
    // SAFETY: null or an array of error pages, which nobody else holds.
    let pages = unsafe { sys::elements::<ngx_http_err_page_t>(pages) };
    pages.iter_mut().all(|page| hook(cf, page))
}

fn hook(cf: NonNull<ngx_conf_t>, page: &mut ngx_http_err_page_t) -> bool {
    // SAFETY: the value's text lives as long as the configuration.
    let value = unsafe { sys::bytes(page.value.value) };
    // SAFETY: so does that of its arguments.
    let args = unsafe { sys::bytes(page.args) };
    if value.starts_with(MARK) {
        return true;
    }
    // nginx takes the arguments of a value without variables off it; of one with
    // variables, as it is now, they are split off when it is evaluated. Where there
    // is no "?" their address stays what it was on nginx's stack, so there is always
    // one, and `after_redirect` takes it back.
    let bare = page.value.lengths.is_null() && page.args.data.is_null();
    let parts: [&[u8]; 4] = match value.first() {
        Some(b'/') if bare => [MARK, b"_bare}", value, b"?"],
        _ if page.args.data.is_null() => [MARK, b"}", value, b""],
        _ => [MARK, b"}", value, b"?"],
    };
    let [mark, close, value, question] = parts;
    let Some(text) = concat(cf, &[mark, close, value, question, args]) else {
        return false;
    };
    page.args = sys::EMPTY;
    sys::compile_value(cf, text, &raw mut page.value)
}

/// The parts one after another, in the configuration's pool.
fn concat(cf: NonNull<ngx_conf_t>, parts: &[&[u8]]) -> Option<ngx_str_t> {
    let len = parts
        .iter()
        .fold(0usize, |len, part| len.saturating_add(part.len()));
    // SAFETY: `cf` is nginx's.
    let pool = unsafe { cf.as_ref() }.pool;
    // One byte more, for nginx likes to find a zero after a configuration's strings.
    let data = sys::palloc(pool, len.saturating_add(1)).cast::<u8>();
    let mut end = NonNull::new(data)?;
    for part in parts {
        // SAFETY: the parts fit, their lengths were added up above.
        unsafe { end.copy_from_nonoverlapping(NonNull::from(*part).cast(), part.len()) };
        // SAFETY: as above.
        end = unsafe { end.add(part.len()) };
    }
    // SAFETY: the byte that was allocated beyond them.
    unsafe { end.write(0) };
    Some(ngx_str_t { len, data })
}

/// Get handler of the hook's variable: stashes what the redirect will clear.
///
/// # Safety
/// Only nginx calls it, with a live request and a value to fill.
pub(crate) unsafe extern "C" fn on_error_page(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    sys::fill(v, b"");
    // SAFETY: nginx passes the request whose error page it is evaluating.
    let Some(r) = (unsafe { Request::from_raw(r) }) else {
        return sys::ERROR;
    };
    let Some(slot) = ctx::slot_of(r) else {
        return sys::OK;
    };

    // Was it redirected before? The note of that hook is about to be replaced.
    ctx::redirected(r, slot);
    slot.set_hooked(r.uri_changes() as u32, data == BARE);
    ctx::stash(r, slot);
    ctx::forget_by_hand(r);
    sys::log_debug!(
        r,
        "lua_var: error_page of request %p, status %ui",
        r.as_ptr(),
        { r.get().err_status }
    );
    sys::OK
}

/// Unsets the arguments of a request that an `error_page` without any sent on, as
/// nginx does for the value as it was written: to be called in the server-rewrite
/// phase, before anybody reads them.
pub(crate) fn after_redirect(r: Request, slot: &Slot) {
    let first = r.uri_changes().wrapping_add(1);
    if slot.has(Slot::BARE)
        && slot
            .hook_changes()
            .is_some_and(|before| before as usize == first)
    {
        r.unset_args();
    }
}
