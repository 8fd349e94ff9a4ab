//! `error_page`: the hook that runs before its redirect, whether a request came through
//! one, `$from_error_page`, which says so, and what the request was before it.
//!
//! nginx has no such hook, but `ngx_http_send_error_page` evaluates the `error_page`
//! value with `ngx_http_complex_value` right before it redirects, while `r->ctx`
//! is whole. So each value is compiled again with a variable of the module's in
//! front, whose value is empty and whose get handler is the hook.

use core::cell::Cell;

use crate::conf;
use crate::mode;
use crate::nginx::conf::{
    Conf, ErrorPage, NGX_HTTP_VAR_CHANGEABLE, NGX_HTTP_VAR_NOCACHEABLE, NGX_HTTP_VAR_NOHASH,
};
use crate::nginx::log::log_debug;
use crate::nginx::request::Request;
use crate::nginx::string::{bytes, str_of};
use crate::nginx::value::{VarValue, defined, fill};
use crate::nginx::{
    ERROR, OK, ngx_http_request_t, ngx_http_variable_value_t, ngx_int_t, ngx_str_t,
};
use crate::ngx_ctx;
use crate::registry::registry;
use crate::registry::slots::{Handle, Slot};
use crate::statics::PerWorker;
use crate::variable::name::nginx_hash;
use crate::variable::number::decimal;

/// What all recompiled values begin with. The name of the hook's variable goes on with the
/// status that the value is for, which the directive's own may have replaced when the hook
/// runs.
const MARK: &[u8] = b"${lua_var_on_error_page_";
/// In the hook's `data`: the URI has neither arguments nor variables. The rest is the status.
const BARE: usize = 1 << 16;

const FROM_ERROR_PAGE: &[u8] = b"from_error_page";

/// The request that an `error_page` without arguments is about to redirect. The redirect
/// runs the phases at once, so there is never more than one.
static REDIRECTING: PerWorker<Cell<Option<Handle>>> = PerWorker(Cell::new(None));

/// Defines the variables. False with the error logged.
pub(crate) fn define_variables(cf: Conf<'_>) -> bool {
    let settable = NGX_HTTP_VAR_NOCACHEABLE | NGX_HTTP_VAR_CHANGEABLE;
    if !cf.add_variable(FROM_ERROR_PAGE, settable, from_error_page, 0)
        || !(ORIGINAL.iter().enumerate())
            .all(|(which, name)| cf.add_variable(name, NGX_HTTP_VAR_NOCACHEABLE, original, which))
    {
        return false;
    }
    // By index, so that `set` and `ngx.var.from_error_page = …` store a value there.
    let index = cf.index_variable(FROM_ERROR_PAGE);
    // SAFETY: nothing else holds it while variables are defined.
    match (unsafe { conf::main_being_read(cf) }, index) {
        (Some(conf), Some(index)) => {
            conf.from_error_page = index;
            true
        }
        _ => false,
    }
}

/// Puts the hook in front of the values of every `error_page` in force in the
/// location being merged. False with the error logged.
///
/// The core module has merged them already; locations that inherit share the
/// array, so values that have the hook are left alone. Where the layout of requests is
/// not known, nothing could be stashed: the values stay as they are.
pub(crate) fn install(cf: Conf<'_>) -> bool {
    if mode::is_foreign() {
        return true;
    }
    match cf.error_pages() {
        Ok(mut pages) => pages.all(|page| hook(cf, page)),
        Err(_) => true,
    }
}

/// Whether a variable that the configuration uses needs what [`Original`] has.
pub(crate) fn is_original(name: &[u8]) -> bool {
    ORIGINAL.contains(&name)
}

/// The name of the hook for a status, in the value and as a variable: with a `${` and without.
/// It is defined with the first value that needs it; `None` without memory.
fn hook_for<'a>(cf: Conf<'a>, status: usize, is_bare: bool) -> Option<&'a [u8]> {
    // Known to the configuration only: read by name, it would run the hook.
    const HIDDEN: u32 = NGX_HTTP_VAR_NOCACHEABLE | NGX_HTTP_VAR_NOHASH;
    let number = decimal(status as u64);
    let kind: &[u8] = if is_bare { b"_bare" } else { b"" };
    let name = cf.pool()?.concat(&[MARK, number.as_bytes(), kind])?;
    // SAFETY: written just now, to a pool that lives as long as the configuration.
    let marked = unsafe { bytes(name) };
    let name = marked.strip_prefix(b"${")?;
    let is_known = defined(cf.core_main_conf()?)
        .ok()?
        .any(|variable| variable.name() == name);
    let data = if is_bare { status | BARE } else { status };
    (is_known || cf.add_variable(name, HIDDEN, on_error_page, data)).then_some(marked)
}

fn hook(cf: Conf<'_>, page: ErrorPage<'_>) -> bool {
    let value = page.value();
    if value.starts_with(MARK) {
        return true;
    }
    // nginx takes the arguments of a value without variables off it; of one with
    // variables, as it is now, they are split off when it is evaluated. Where there
    // is no "?" their address stays what it was on nginx's stack, so there is always
    // one, and `after_redirect` takes it back.
    let args = page.args();
    let is_uri = value.first() == Some(&b'/');
    let is_bare = is_uri && args.is_none() && !page.has_variables();
    let Some(name) = hook_for(cf, page.status(), is_bare) else {
        return false;
    };
    let question: &[u8] = if is_bare || args.is_some() { b"?" } else { b"" };
    let parts = [name, b"}", value, question, args.unwrap_or_default()];
    match cf.pool().and_then(|pool| pool.concat(&parts)) {
        Some(source) => page.recompile(cf, source),
        None => false,
    }
}

/// Get handler of the hook's variables: stashes what the redirect will clear.
///
/// # Safety
/// Only nginx calls it, with a live request and a value to fill.
unsafe extern "C" fn on_error_page(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a value to fill.
    unsafe { fill(v, b"") };
    // SAFETY: nginx passes the request whose error page it is evaluating.
    let Some(r) = (unsafe { Request::from_nginx(r) }) else {
        return ERROR;
    };
    let slot = ngx_ctx::slot_of(r);
    REDIRECTING.set(slot.filter(|_| data & BARE != 0).map(Slot::handle));
    let Some(slot) = slot.filter(|_| !mode::is_foreign()) else {
        return OK;
    };

    // Was it redirected before? The note of that hook is about to be replaced.
    redirected(r, slot);
    if slot.hook_changes().is_none() {
        keep_original(r, slot, data & !BARE);
    }
    slot.set_hooked(r.uri_changes() as u32);
    ngx_ctx::stash(r, slot);
    forget_by_hand(r);
    let Handle { id, generation } = slot.handle();
    log_debug!(
        r,
        "lua_var: request %uD/%uD meets an error_page, status %ui",
        id,
        generation,
        data & !BARE
    );
    OK
}

/// Unsets the arguments of a request that an `error_page` without any sent on, as
/// nginx does for the value as it was written: to be called in the server-rewrite
/// phase, before anybody reads them.
///
/// A redirect that nginx did not make, since there were too many, leaves a note that no
/// other request has the handle of.
pub(crate) fn after_redirect(r: Request<'_>) {
    let Some(noted) = REDIRECTING.get() else {
        return;
    };
    let slot = registry().find(r.address());
    if slot.map(Slot::handle) == Some(noted) {
        REDIRECTING.set(None);
        if let Some(args) = r.definition(b"args", nginx_hash(b"args")) {
            r.unset_args(args);
        }
    }
}

/// Whether the request came to where it is through an `error_page`.
///
/// A value that `set $from_error_page` gave it counts, unless it is empty.
pub(crate) fn came_through_one(r: Request<'_>, slot: &Slot) -> bool {
    match set_by_hand(r) {
        Some(b"") | None => redirected(r, slot),
        Some(value) => value == b"true",
    }
}

/// Whether an `error_page` redirected the request.
///
/// The hook sees every `error_page` value, those that answer with a `302` to
/// another host too. An internal redirect always counts `r->uri_changes` down
/// (`ngx_http_internal_redirect`, `ngx_http_named_location`), a `302` never does.
fn redirected(r: Request<'_>, slot: &Slot) -> bool {
    if slot.has(Slot::FROM_ERROR_PAGE) {
        return true;
    }
    let came = slot
        .hook_changes()
        .is_some_and(|before| r.uri_changes() != before as usize);
    if came {
        slot.raise(Slot::FROM_ERROR_PAGE);
    }
    came
}

/// What `set $from_error_page` gave the request since the last error page.
///
/// The get handler's own values are no-cacheable; those that `set` or Lua store are not.
fn set_by_hand(r: Request<'_>) -> Option<&[u8]> {
    r.cached(conf::main_of(r)?.from_error_page)?
}

/// Drops such a value: what was said before an error page does not count after it.
fn forget_by_hand(r: Request<'_>) {
    if let Some(conf) = conf::main_of(r) {
        r.store(conf.from_error_page, VarValue::EMPTY);
    }
}

/// The variables that say what the request was before the first `error_page`.
const ORIGINAL: [&[u8]; 4] = [
    b"error_page_uri",
    b"error_page_args",
    b"error_page_method",
    b"error_page_status",
];

/// Their values, in the request's pool.
#[derive(Clone, Copy)]
struct Original([ngx_str_t; 4]);

/// Keeps them, if the configuration uses any.
fn keep_original(r: Request<'_>, slot: &Slot, status: usize) {
    if !conf::main_of(r).is_some_and(|conf| conf.keeps_original) {
        return;
    }
    let status = decimal(status as u64);
    let texts = [
        r.uri(),
        r.args(),
        r.method_name(),
        r.pool().and_then(|pool| pool.copy(&[status.as_bytes()])),
    ];
    let kept = Original(texts.map(|text| str_of(text.unwrap_or_default())));
    if let Some(place) = r.pool().and_then(|pool| pool.put(kept)) {
        slot.set_original(place.as_ptr() as usize);
    }
}

/// Get handler of `$error_page_uri`, `$error_page_args`, `$error_page_method` and
/// `$error_page_status`; `which` is the place in [`ORIGINAL`]. Empty in a request that met no
/// `error_page`. Any phase.
///
/// # Safety
/// Only nginx calls it, with a live request and a value to fill.
unsafe extern "C" fn original(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    which: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes the request it evaluates the variable for.
    let r = unsafe { Request::from_nginx(r) };
    let slot = r.and_then(|r| {
        let slot = registry().find(r.address())?;
        redirected(r, slot).then_some(slot)
    });
    let kept = slot.map_or(0, Slot::original) as *const Original;
    // SAFETY: null, or what `keep_original` put in the request's pool, which is there as long
    // as the slot is the request's.
    let kept = unsafe { kept.as_ref() }.and_then(|kept| kept.0.get(which));
    // SAFETY: texts of the request, in its pool.
    let text = kept.map_or(&[][..], |text| unsafe { bytes(*text) });
    // SAFETY: nginx passes a value to fill; the text is the request's.
    unsafe { fill(v, text) };
    OK
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
    let came = match unsafe { Request::from_nginx(r) } {
        // A request that is not registered never met the hook.
        Some(r) => registry()
            .find(r.address())
            .is_some_and(|slot| !mode::is_foreign() && redirected(r, slot)),
        None => false,
    };
    // SAFETY: nginx passes a value to fill.
    unsafe { fill(v, if came { b"true" } else { b"" }) };
    OK
}
