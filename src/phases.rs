//! What nginx calls for a request: the handlers of its phases, and the header filter.

use core::cell::Cell;

use crate::api::lua;
use crate::error_page;
use crate::layout;
use crate::nginx::conf::Conf;
use crate::nginx::request::Request;
use crate::nginx::{
    self, DECLINED, ERROR, LOG_PHASE, OK, SERVER_REWRITE_PHASE, ngx_http_output_header_filter_pt,
    ngx_http_request_t, ngx_int_t,
};
use crate::ngx_ctx;
use crate::registry::registry;
use crate::registry::slots::Slot;
use crate::statics::PerWorker;
use crate::validation;

/// Adds the handler of the server-rewrite phase and, if the Lua module is loaded, that of the log
/// phase and the header filter. Returns false if there is no memory.
pub(crate) fn install(cf: Conf<'_>) -> bool {
    if !cf.add_phase_handler(SERVER_REWRITE_PHASE, Some(on_rewrite)) {
        return false;
    }
    // Requests are registered only so that Lua can name them.
    if !lua::is_configured() {
        return true;
    }
    if !cf.add_phase_handler(LOG_PHASE, Some(on_log)) {
        return false;
    }
    // nginx runs log handlers in the order of this array, unlike those of other phases, and
    // this one must run before Lua's.
    cf.last_handler_first(LOG_PHASE);
    NEXT_HEADER_FILTER.set(nginx::swap_header_filter(Some(header_filter)));
    true
}

/// Server-rewrite phase, the first that main requests and subrequests have in common, and that has
/// no Lua before it: registers the request, or corrects the arguments of one that an error page
/// redirected.
unsafe extern "C" fn on_rewrite(raw: *mut ngx_http_request_t) -> ngx_int_t {
    let slot = registry().find(raw as usize);
    // SAFETY: `raw` is the request whose phases nginx runs.
    let r = unsafe { Request::from_nginx(raw) };
    match slot {
        Some(slot) if error_page::is_redirecting(slot) => error_page::after_redirect(r),
        Some(_) => {}
        None => begin(r),
    }
    DECLINED
}

/// Registers a request that is not registered yet.
///
/// `ngx.location.capture` may give a subrequest its `ngx.ctx` in C, which bypasses
/// `lua/resty/core/ctx.lua`. It is stashed here, before anything can redirect the subrequest.
#[inline(always)]
fn begin(r: Request<'_>) {
    // Without Lua only an error page registers requests, but a subrequest cannot be compared.
    if !layout::agrees(r) || !lua::is_running() {
        return;
    }
    match registry().register_new(r) {
        Some(slot) if !r.is_main() => ngx_ctx::stash(r, slot),
        Some(_) => {}
        None => validation::not_registered(r),
    }
}

/// Registers a request that skipped the server-rewrite phase. If the configuration that has put the
/// filter here was refused, there is no such phase, and nothing is known of the layout.
#[inline(never)]
fn begin_late(r: Request<'_>) {
    if lua::is_running() {
        begin(r);
    }
}

/// Log phase: registers requests that skipped the phases and had no response, such as those of
/// which the client left while it sent the header.
unsafe extern "C" fn on_log(raw: *mut ngx_http_request_t) -> ngx_int_t {
    if registry().find(raw as usize).is_none() {
        // SAFETY: `raw` is the request that nginx logs.
        begin_late(unsafe { Request::from_nginx(raw) });
    }
    OK
}

/// The header filter that was the first before the module's.
static NEXT_HEADER_FILTER: PerWorker<Cell<ngx_http_output_header_filter_pt>> =
    PerWorker(Cell::new(None));

/// Header filter, the first in the chain.
unsafe extern "C" fn header_filter(raw: *mut ngx_http_request_t) -> ngx_int_t {
    let slot = registry().find(raw as usize);
    if slot.is_none() || ngx_ctx::needs_filter() {
        // SAFETY: `raw` is the request whose response begins.
        before_header(unsafe { Request::from_nginx(raw) }, slot);
    }
    match NEXT_HEADER_FILTER.get() {
        // SAFETY: `next` was the first filter in nginx's chain, and `raw` is passed on as it is.
        Some(next) => unsafe { next(raw) },
        None => ERROR,
    }
}

/// Registers a request that skipped the phases, or stashes `ngx.ctx` before another filter can call
/// `ngx_http_filter_finalize_request`, which zeroes `r->ctx`.
#[inline(never)]
fn before_header(r: Request<'_>, slot: Option<&Slot>) {
    match slot {
        Some(slot) => ngx_ctx::stash(r, slot),
        None => begin_late(r),
    }
}
