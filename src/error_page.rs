//! `error_page`: what happens before its redirect, `$from_error_page`, which tells whether a
//! request came through one, and `$error_page_uri` and its like, which keep what the request was
//! before.

use core::cell::Cell;

use crate::layout;
use crate::nginx::conf::Conf;
use crate::nginx::error_page::{self as hook, Redirect};
use crate::nginx::log::log_debug;
use crate::nginx::ngx_str_t;
use crate::nginx::request::Request;
use crate::nginx::string::{EMPTY, bytes, str_of};
use crate::nginx::value::Defined;
use crate::ngx_ctx;
use crate::registry::registry;
use crate::registry::slots::{Handle, Slot};
use crate::statics::PerWorker;
use crate::text::put;

/// The variables that keep what the request was before its first `error_page`.
const ORIGINAL: [&[u8]; 4] =
    [b"error_page_uri", b"error_page_args", b"error_page_method", b"error_page_status"];

/// What a slot points to: a request's values of this file, in its pool.
#[derive(Clone, Copy)]
struct Kept {
    /// URI, arguments and method.
    original: [ngx_str_t; 3],
    /// The status that caused the first error page; 0 before.
    status: usize,
    /// What was assigned to `$from_error_page` since the last error page; null if nothing.
    assigned: ngx_str_t,
}

/// The request that an `error_page` without arguments is about to redirect. There is never
/// more than one, because the redirect runs the phases at once.
static REDIRECTING: PerWorker<Cell<Option<Handle>>> = PerWorker(Cell::new(None));

/// Defines `$from_error_page` and the variables in [`ORIGINAL`]. Returns false after logging
/// an error.
pub(crate) fn define_variables(cf: Conf<'_>) -> bool {
    cf.add_variable::<FromErrorPage>(b"from_error_page", 0)
        && (ORIGINAL.iter().enumerate())
            .all(|(which, name)| cf.add_variable::<Original>(name, which))
}

/// Runs right before each redirect of an `error_page`: stashes what the redirect will clear.
/// Returns false where the module does nothing.
fn before_redirect(r: Request<'_>, redirect: Redirect<'_>) -> bool {
    REDIRECTING.set(None);
    if !layout::agrees(r) {
        return false;
    }
    // To any other target nginx answers with a redirect, which loses nothing.
    if matches!(redirect.target.first(), Some(b'/' | b'@')) {
        if let Some(slot) = registry().register(r) {
            note(r, slot, &redirect);
        }
    }
    true
}

fn note(r: Request<'_>, slot: &Slot, redirect: &Redirect<'_>) {
    let is_first = !slot.has(Slot::FROM_ERROR_PAGE);
    slot.raise(Slot::FROM_ERROR_PAGE);
    if let Some(kept) = kept(r, slot) {
        // What was assigned before an error page does not count after it.
        let mut new = Kept { assigned: EMPTY, ..kept.get() };
        if is_first {
            let texts = [r.uri(), r.args(), r.method_name()];
            new.original = texts.map(|text| str_of(text.unwrap_or_default()));
            new.status = redirect.status;
        }
        kept.set(new);
    }
    ngx_ctx::stash(r, slot);
    if redirect.is_bare {
        REDIRECTING.set(Some(slot.handle()));
    }
    log_debug!(r; "error_page for ", slot.handle(), ", status ", redirect.status as u64);
}

/// Whether an `error_page` without arguments has just redirected the request.
///
/// If nginx hits its redirect limit, the handle stays in [`REDIRECTING`]. That is harmless,
/// because no other request has this handle.
#[inline(always)]
pub(crate) fn is_redirecting(slot: &Slot) -> bool {
    REDIRECTING.get() == Some(slot.handle())
}

/// Unsets the arguments of such a request, as nginx would have done for the value as it was
/// written. To be called in the server-rewrite phase, before anything reads them.
#[inline(never)]
pub(crate) fn after_redirect(r: Request<'_>) {
    REDIRECTING.set(None);
    if let Some(args) = r.definition(b"args") {
        r.unset_args(args);
    }
}

/// Puts the hook in front of every `error_page` value that applies in the location being
/// merged, and returns whether there is one. `None` if there is no memory.
pub(crate) fn install(cf: Conf<'_>) -> Option<bool> {
    hook::install(cf, before_redirect)
}

/// Whether the request came through an `error_page`.
///
/// A value that `set $from_error_page` or Lua assigned decides, unless it is empty.
pub(crate) fn came_through_one(slot: &Slot) -> bool {
    match assigned(slot) {
        Some(b"") | None => slot.has(Slot::FROM_ERROR_PAGE),
        Some(value) => value == b"true",
    }
}

fn existing(slot: &Slot) -> Option<&Cell<Kept>> {
    let kept = slot.original() as *const Cell<Kept>;
    // SAFETY: it is null, or `kept` put it into the pool of the request; the slot is freed when
    // that pool is destroyed.
    unsafe { kept.as_ref() }
}

/// The same; they are made if there are none yet. `None` if there is no memory.
fn kept<'s>(r: Request<'_>, slot: &'s Slot) -> Option<&'s Cell<Kept>> {
    if slot.original() == 0 {
        let place = r.pool()?.put(Kept { original: [EMPTY; 3], status: 0, assigned: EMPTY })?;
        slot.set_original(place.as_ptr() as usize);
    }
    existing(slot)
}

/// The value that was assigned to `$from_error_page` since the last error page.
fn assigned(slot: &Slot) -> Option<&[u8]> {
    let assigned = existing(slot)?.get().assigned;
    // SAFETY: it is null, or a text that lives as long as the request.
    (!assigned.data.is_null()).then(|| unsafe { bytes(assigned) })
}

/// The variables in [`ORIGINAL`]: empty in a request that did not come through an `error_page`.
struct Original;

impl Defined for Original {
    fn value<'a>(r: Request<'a>, which: usize) -> Option<&'a [u8]> {
        let kept = registry().find(r.address()).and_then(existing);
        let Some(kept) = kept.map(Cell::get).filter(|kept| kept.status != 0) else {
            return Some(b"");
        };
        match kept.original.get(which) {
            // SAFETY: the strings are the request's, and live as long as it does.
            Some(text) => Some(unsafe { bytes(*text) }),
            None => r.pool()?.text(0, |w| put!(w; kept.status as u64)),
        }
    }
}

/// `$from_error_page`: what was assigned, else `true` in a request that an `error_page`
/// redirected, else empty.
struct FromErrorPage;

impl Defined for FromErrorPage {
    const IS_CHANGEABLE: bool = true;

    fn value<'a>(r: Request<'a>, _which: usize) -> Option<&'a [u8]> {
        // The hook registers every request that it runs for.
        let slot = registry().find(r.address());
        let text = slot.and_then(|slot| match assigned(slot) {
            None if slot.has(Slot::FROM_ERROR_PAGE) => Some(&b"true"[..]),
            text => text,
        });
        Some(text.unwrap_or_default())
    }

    fn assign<'a>(r: Request<'a>, text: Option<&'a [u8]>) {
        if !layout::agrees(r) {
            return;
        }
        if let Some(kept) = registry().register(r).and_then(|slot| kept(r, slot)) {
            kept.set(Kept { assigned: text.map_or(EMPTY, str_of), ..kept.get() });
        }
    }
}
