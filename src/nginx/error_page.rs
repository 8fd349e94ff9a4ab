//! A hook that runs right before the redirect of an `error_page`.
//!
//! nginx has no such hook, but `ngx_http_send_error_page` evaluates the `error_page` value with
//! `ngx_http_complex_value` immediately before it redirects, while `r->ctx` is still set. So each
//! value is replaced by a script (`ngx_http_script.h`) of one code of the module's, which
//! evaluates the original value, calls the hook with the result, and returns it to nginx.

use core::mem::offset_of;
use core::ptr::{self, NonNull};

use ngx::ffi;
use ngx::ffi::{ngx_http_complex_value_t, ngx_http_err_page_t, ngx_http_script_engine_t};

use super::array::Elements;
use super::conf::Conf;
use super::request::Request;
use super::string::{EMPTY, bytes, str_of};
use super::{OK, ngx_http_core_loc_conf_t, ngx_str_t};
use crate::text::put;

/// What nginx is about to do for a status.
pub(crate) struct Redirect<'a> {
    /// The status that the value is for. `error_page 404 =200 …` replaces `r->err_status` before
    /// the hook runs.
    pub(crate) status: usize,
    /// Whether the value is a URI without arguments and variables, see [`Page::literal`].
    pub(crate) is_bare: bool,
    /// The evaluated value. nginx redirects internally if it begins with `/` or `@`.
    pub(crate) target: &'a [u8],
}

/// The hook. It returns false to be removed from the value for good, as if it had not run.
pub(crate) type Hook = fn(r: Request<'_>, redirect: Redirect<'_>) -> bool;

/// The scripts that replace a value, one for its length and one for its bytes. Each has one code of
/// nginx's script engine, whose operands are the other members.
#[derive(Clone, Copy)]
#[repr(C)]
struct Page {
    length: unsafe extern "C" fn(e: *mut ngx_http_script_engine_t) -> usize,
    code: unsafe extern "C" fn(e: *mut ngx_http_script_engine_t),
    hook: Hook,
    /// The value that this replaces, and what it and its arguments were.
    page: *mut ngx_http_err_page_t,
    original: ngx_http_complex_value_t,
    args: ngx_str_t,
    /// The result, if the original value has no variables.
    ///
    /// nginx splits the arguments off such a value when it reads it, but off a script when it
    /// evaluates it. If there is no "?" then, `ngx_http_split_args` leaves `args.data`
    /// uninitialised. So the result always has one, and the arguments of a "bare" value are
    /// unset after the redirect, as they would have been.
    literal: ngx_str_t,
    is_bare: bool,
    status: usize,
    /// Null, the end of both scripts.
    end: usize,
}

/// A length for which there is no memory.
const TOO_LONG: usize = isize::MAX as usize;

/// Evaluates the original value. The length does not matter, because [`run`] gives nginx the value as
/// it is; but a script can only fail in the allocation of its length.
unsafe extern "C" fn length(e: *mut ngx_http_script_engine_t) -> usize {
    // SAFETY: nginx passes its engine, to which nothing else refers while a code runs.
    let e = unsafe { &mut *e };
    // SAFETY: `ip` is at this code of a page, which lives as long as the configuration.
    let page = unsafe { &*e.ip.cast::<Page>() };
    e.ip = e.ip.wrapping_byte_add(offset_of!(Page, end));
    // nginx keeps the engine from the first script to the second, and uses `line` in neither.
    e.line = page.literal;
    if page.literal.data.is_null() {
        let original = (&raw const page.original).cast_mut();
        // SAFETY: nginx compiled the value and only reads it; the request is live.
        if unsafe { ffi::ngx_http_complex_value(e.request, original, &raw mut e.line) } != OK {
            return TOO_LONG;
        }
    }
    0
}

/// Calls the hook, and gives nginx what [`length`] has evaluated.
unsafe extern "C" fn run(e: *mut ngx_http_script_engine_t) {
    // SAFETY: nginx passes its engine, to which nothing else refers while a code runs.
    let e = unsafe { &mut *e };
    let page = e.ip.wrapping_byte_sub(offset_of!(Page, code)).cast::<Page>();
    e.ip = page.wrapping_byte_add(offset_of!(Page, end)).cast();
    // SAFETY: `ip` was at this code of a page, which lives as long as the configuration.
    let page = unsafe { &*page };
    // SAFETY: the engine has the live request whose error page nginx evaluates.
    let r = unsafe { Request::from_nginx(e.request) };
    e.buf = e.line;
    // Some versions of nginx compute the length from where the script has stopped writing.
    e.pos = e.buf.data.wrapping_add(e.buf.len);
    let redirect = Redirect {
        status: page.status,
        is_bare: page.is_bare,
        // SAFETY: nginx or the configuration has the text, which lives as long as `r`.
        target: unsafe { bytes(e.buf) },
    };
    if !(page.hook)(r, redirect) {
        // SAFETY: nginx evaluates this value, which lives as long as the configuration, and has
        // no reference to it.
        let replaced = unsafe { &mut *page.page };
        replaced.value = page.original;
        replaced.args = page.args;
        if page.original.lengths.is_null() {
            e.buf = page.original.value;
            e.pos = e.buf.data.wrapping_add(e.buf.len);
        }
    }
}

/// Puts `hook` before every `error_page` redirect that applies in the location being merged, and
/// returns whether there is one; `None` if there is no memory.
///
/// The core module has already merged the values. Locations that inherit them share one array, so
/// a value that has the hook is skipped.
pub(crate) fn install(cf: Conf<'_>, hook: Hook) -> Option<bool> {
    // SAFETY: the core module made its entry for the location that nginx is merging.
    let pages = unsafe { (*cf.conf::<ngx_http_core_loc_conf_t>()).error_pages };
    // SAFETY: `error_pages` is null or an array of error pages, which nginx does not extend while
    // it merges locations.
    let Ok(pages) = (unsafe { Elements::<ngx_http_err_page_t>::of(pages) }) else {
        return Some(false);
    };
    let mut is_any = false;
    for mut page in pages {
        // SAFETY: it is an element of that array, and no other reference to it exists.
        let page = unsafe { page.as_mut() };
        is_any |= install_in(cf, hook, page)?;
    }
    Some(is_any)
}

/// Replaces one value, if nginx redirects to it. `None` if there is no memory.
fn install_in(cf: Conf<'_>, hook: Hook, page: &mut ngx_http_err_page_t) -> Option<bool> {
    // SAFETY: it is null, or a script, which begins with a code.
    let first = unsafe { page.value.lengths.cast::<usize>().as_ref() };
    if first == Some(&(length as *const () as usize)) {
        return Some(true);
    }
    let is_literal = page.value.lengths.is_null();
    // SAFETY: the value is a string in the configuration's pool.
    let value = unsafe { bytes(page.value.value) };
    let has_args = !page.args.data.is_null();
    let pool = cf.pool()?;
    let (literal, is_bare) = match value.first() {
        _ if !is_literal => (EMPTY, false),
        Some(b'/') => {
            // SAFETY: the arguments are a string in the configuration's pool.
            let args = unsafe { bytes(page.args) };
            (str_of(pool.text(0, |w| put!(w; value, "?", args))?), !has_args)
        }
        Some(b'@') => (str_of(value), false),
        // nginx answers with a redirect to this URL, which loses nothing.
        _ => return Some(false),
    };
    let script = pool.put(Page {
        length,
        code: run,
        hook,
        page: ptr::from_mut(page),
        original: page.value,
        args: page.args,
        literal,
        is_bare,
        status: page.status as usize,
        end: 0,
    })?;
    page.args = EMPTY;
    page.value.flushes = ptr::null_mut();
    let script = NonNull::as_ptr(script);
    page.value.lengths = script.cast();
    page.value.values = script.wrapping_byte_add(offset_of!(Page, code)).cast();
    Some(true)
}
