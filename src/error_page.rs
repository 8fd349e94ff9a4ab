//! `error_page`: a hook that runs before its redirect, `$from_error_page`, which tells
//! whether a request came through one, and `$error_page_uri` and its like, which keep what
//! the request was before.
//!
//! nginx has no such hook, but `ngx_http_send_error_page` evaluates the `error_page`
//! value with `ngx_http_complex_value` right before it redirects, while `r->ctx` is still
//! set. So each value is recompiled with a variable of the module in front of it, whose
//! value is empty and whose get handler is the hook.

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

/// The beginning of every recompiled value. The status that the value is for completes the
/// name of the hook's variable, because `error_page 404 =200 …` replaces `r->err_status`
/// before the hook runs.
const HOOK_PREFIX: &[u8] = b"${lua_var_on_error_page_";
/// Flag in the hook's `data`: the value is a URI with neither arguments nor variables. The
/// lower bits are the status.
const BARE: usize = 1 << 16;

const FROM_ERROR_PAGE: &[u8] = b"from_error_page";

/// The request that an `error_page` without arguments is about to redirect. There is never
/// more than one, because the redirect runs the phases at once.
static REDIRECTING: PerWorker<Cell<Option<Handle>>> = PerWorker(Cell::new(None));

/// Defines `$from_error_page` and the variables in [`ORIGINAL`]. Returns false after logging
/// an error.
pub(crate) fn define_variables(cf: Conf<'_>) -> bool {
    let settable = NGX_HTTP_VAR_NOCACHEABLE | NGX_HTTP_VAR_CHANGEABLE;
    if !cf.add_variable(FROM_ERROR_PAGE, settable, from_error_page, 0)
        || !(ORIGINAL.iter().enumerate())
            .all(|(which, name)| cf.add_variable(name, NGX_HTTP_VAR_NOCACHEABLE, original, which))
    {
        return false;
    }
    // An index gives `set` and `ngx.var.from_error_page = …` a place to store a value.
    let index = cf.index_variable(FROM_ERROR_PAGE);
    // SAFETY: no other reference to the main configuration exists in preconfiguration.
    match (unsafe { conf::main_being_read(cf) }, index) {
        (Some(conf), Some(index)) => {
            conf.from_error_page = index;
            true
        }
        _ => false,
    }
}

/// Puts the hook in front of every `error_page` value that applies in the location being
/// merged. Returns false after logging an error.
///
/// The core module has already merged the values. Locations that inherit them share one
/// array, so a value that has the hook is skipped. If nginx's layout differs, nothing could
/// be stashed, and the values stay as they are.
pub(crate) fn install(cf: Conf<'_>) -> bool {
    if mode::is_foreign() {
        return true;
    }
    match cf.error_pages() {
        Ok(mut pages) => pages.all(|page| install_in(cf, page)),
        Err(_) => true,
    }
}

/// Whether this is the name of a variable that [`Original`] holds.
pub(crate) fn is_original(name: &[u8]) -> bool {
    ORIGINAL.contains(&name)
}

/// `${` and the name of the hook's variable for a status. The variable is defined when the
/// first value needs it; `None` if there is no memory.
fn hook_variable<'a>(cf: Conf<'a>, status: usize, is_bare: bool) -> Option<&'a [u8]> {
    // Without a hash entry Lua cannot read the variable by name, which would run the hook.
    const HIDDEN: u32 = NGX_HTTP_VAR_NOCACHEABLE | NGX_HTTP_VAR_NOHASH;
    let number = decimal(status as u64);
    let kind: &[u8] = if is_bare { b"_bare" } else { b"" };
    let name = cf.pool()?.concat(&[HOOK_PREFIX, number.as_bytes(), kind])?;
    // SAFETY: `concat` has just written it to a pool that lives as long as the configuration.
    let marked = unsafe { bytes(name) };
    let name = marked.strip_prefix(b"${")?;
    let is_known = defined(cf.core_main_conf()?)
        .ok()?
        .any(|variable| variable.name() == name);
    let data = if is_bare { status | BARE } else { status };
    (is_known || cf.add_variable(name, HIDDEN, on_error_page, data)).then_some(marked)
}

/// Recompiles one `error_page` value with the hook in front; false after logging an error.
fn install_in(cf: Conf<'_>, page: ErrorPage<'_>) -> bool {
    let value = page.value();
    if value.starts_with(HOOK_PREFIX) {
        return true;
    }
    // nginx splits the arguments off when it reads a value without variables, but when it
    // evaluates a value with variables, which this becomes (`ngx_http_send_error_page`).
    // If such a value has no "?", `ngx_http_split_args` leaves `args.data` uninitialised.
    // So a "?" is always added, and `after_redirect` removes the empty arguments again.
    let args = page.args();
    let is_uri = value.first() == Some(&b'/');
    let is_bare = is_uri && args.is_none() && !page.has_variables();
    let Some(name) = hook_variable(cf, page.status(), is_bare) else {
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
/// `r` must be null or a live request, and `v` null or a value to fill, as nginx passes them.
unsafe extern "C" fn on_error_page(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: `v` is null or a value to fill; the text is a constant.
    unsafe { fill(v, b"") };
    // SAFETY: `r` is null or the live request whose error page nginx evaluates.
    let Some(r) = (unsafe { Request::from_nginx(r) }) else {
        return ERROR;
    };
    let slot = ngx_ctx::slot_of(r);
    REDIRECTING.set(slot.filter(|_| data & BARE != 0).map(Slot::handle));
    let Some(slot) = slot.filter(|_| !mode::is_foreign()) else {
        return OK;
    };

    // Records an earlier redirect now, because `set_hooked` below overwrites its trace.
    redirected(r, slot);
    if slot.hook_changes().is_none() {
        store_original(r, slot, data & !BARE);
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

/// Unsets the arguments of a request that was redirected by an `error_page` without
/// arguments, as nginx would have done for the value as it was written. To be called in the
/// server-rewrite phase, before anything reads them.
///
/// If nginx gives up the redirect after too many, the handle stays in [`REDIRECTING`]. That
/// is harmless, because no other request has this handle.
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

/// Whether the request came through an `error_page`.
///
/// A value that `set $from_error_page` or Lua assigned decides, unless it is empty.
pub(crate) fn came_through_one(r: Request<'_>, slot: &Slot) -> bool {
    match set_by_hand(r) {
        Some(b"") | None => redirected(r, slot),
        Some(value) => value == b"true",
    }
}

/// Whether an `error_page` redirected the request.
///
/// The hook runs for every `error_page` value, including a URL to which nginx answers
/// with a `302`. Only an internal redirect decrements `r->uri_changes`
/// (`ngx_http_internal_redirect`, `ngx_http_named_location`), so a changed value tells them
/// apart.
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

/// The value that `set $from_error_page` or Lua assigned since the last error page.
///
/// It can be told from a value of the get handler, which is no-cacheable.
fn set_by_hand(r: Request<'_>) -> Option<&[u8]> {
    r.cached(r.conf::<conf::MainConf>()?.from_error_page)?
}

/// Drops an assigned `$from_error_page`, because a value from before an error page does not
/// count after it.
fn forget_by_hand(r: Request<'_>) {
    if let Some(conf) = r.conf::<conf::MainConf>() {
        r.store(conf.from_error_page, VarValue::EMPTY);
    }
}

/// The variables that keep what the request was before its first `error_page`.
const ORIGINAL: [&[u8]; 4] = [
    b"error_page_uri",
    b"error_page_args",
    b"error_page_method",
    b"error_page_status",
];

/// The values of the variables in [`ORIGINAL`], in the request's pool.
#[derive(Clone, Copy)]
struct Original([ngx_str_t; 4]);

/// Stores the values of the variables in [`ORIGINAL`], if the configuration uses any of them.
fn store_original(r: Request<'_>, slot: &Slot, status: usize) {
    if !r
        .conf::<conf::MainConf>()
        .is_some_and(|conf| conf.needs_original)
    {
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
/// `$error_page_status`; `which` is the index in [`ORIGINAL`]. The value is empty in a
/// request that did not come through an `error_page`. It may be read in any phase.
///
/// # Safety
/// `r` must be null or a live request, and `v` null or a value to fill, as nginx passes them.
unsafe extern "C" fn original(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    which: usize,
) -> ngx_int_t {
    // SAFETY: `r` is null or the live request that nginx evaluates the variable for.
    let r = unsafe { Request::from_nginx(r) };
    let slot = r.and_then(|r| {
        let slot = registry().find(r.address())?;
        redirected(r, slot).then_some(slot)
    });
    let kept = slot.map_or(0, Slot::original) as *const Original;
    // SAFETY: it is null or points into the request's pool, where `store_original` put it;
    // the slot is freed when that pool is destroyed.
    let kept = unsafe { kept.as_ref() }.and_then(|kept| kept.0.get(which));
    // SAFETY: the strings are the request's, or in its pool, and live as long as it does.
    let text = kept.map_or(&[][..], |text| unsafe { bytes(*text) });
    // SAFETY: `v` is null or a value to fill; the text lives as long as the request.
    unsafe { fill(v, text) };
    OK
}

/// Get handler of `$from_error_page`: `true` in a request that an `error_page` redirected,
/// else empty. It may be read in any phase.
///
/// # Safety
/// `r` must be null or a live request, and `v` null or a value to fill, as nginx passes them.
unsafe extern "C" fn from_error_page(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    _data: usize,
) -> ngx_int_t {
    // SAFETY: `r` is null or the live request that nginx evaluates the variable for.
    let came = match unsafe { Request::from_nginx(r) } {
        // The hook registers every request that it runs for.
        Some(r) => registry()
            .find(r.address())
            .is_some_and(|slot| !mode::is_foreign() && redirected(r, slot)),
        None => false,
    };
    // SAFETY: `v` is null or a value to fill; the text is a constant.
    unsafe { fill(v, if came { b"true" } else { b"" }) };
    OK
}
