//! What nginx calls for a request: the handlers of its phases, and the header filter.

use core::cell::Cell;

use crate::api::lua;
use crate::error_page;
use crate::figures::{self, Figure};
use crate::layout;
use crate::mode::{self, Mode};
use crate::nginx::conf::Conf;
use crate::nginx::request::Request;
use crate::nginx::{
    self, DECLINED, ERROR, LOG_PHASE, OK, POST_READ_PHASE, SERVER_REWRITE_PHASE,
    ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_int_t,
};
use crate::ngx_ctx;
use crate::statics::PerWorker;
use crate::validation::Readable;

/// Adds the handler of the server-rewrite phase and, if the Lua module is loaded, the other
/// handlers and the header filter. Returns false if there is no memory.
pub(crate) fn install(cf: Conf<'_>) -> bool {
    if !cf.add_phase_handler(SERVER_REWRITE_PHASE, Some(on_rewrite)) {
        return false;
    }
    // Requests are registered only so that Lua can name them.
    if !lua::is_configured() {
        return true;
    }
    if !cf.add_phase_handler(POST_READ_PHASE, Some(on_request))
        || !cf.add_phase_handler(LOG_PHASE, Some(on_log))
    {
        return false;
    }
    // nginx runs log handlers in the order of this array, unlike those of other phases, and
    // this one must run before Lua's.
    cf.last_handler_first(LOG_PHASE);
    NEXT_HEADER_FILTER.set(nginx::swap_header_filter(Some(header_filter)));
    true
}

/// Post-read phase: registers each main request.
unsafe extern "C" fn on_request(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: `r` is the request whose phases nginx runs.
    let Some(r) = (unsafe { Request::from_nginx(r) }) else {
        return DECLINED;
    };
    ngx_ctx::register(r);
    if mode::get() == Mode::Unchecked {
        if let Ok(live) = Readable::from_nginx(r) {
            layout::check_request(live);
            figures::set(Figure::LayoutDiffers, u64::from(mode::is_foreign()));
        }
    }
    DECLINED
}

/// Server-rewrite phase: registers subrequests, which skip the post-read phase, and corrects
/// the arguments of a request that an error page redirected.
///
/// `ngx.location.capture` may give a subrequest its `ngx.ctx` in C, which bypasses
/// `lua/resty/core/ctx.lua`. It is stashed here, before anything can redirect the subrequest.
unsafe extern "C" fn on_rewrite(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: `r` is the request whose phases nginx runs.
    let Some(r) = (unsafe { Request::from_nginx(r) }) else {
        return DECLINED;
    };
    error_page::after_redirect(r);
    // Without Lua, only the `error_page` hook registers requests.
    if !lua::is_running() {
        return DECLINED;
    }
    if mode::is_foreign() {
        ngx_ctx::slot_of(r);
    } else if !r.is_main() {
        if let Some(slot) = ngx_ctx::slot_of(r) {
            ngx_ctx::stash(r, slot);
        }
    }
    DECLINED
}

/// Log phase: registers requests that skipped the phases before it, such as those that nginx
/// answers with a 400.
unsafe extern "C" fn on_log(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: `r` is the request that nginx logs.
    if let Some(r) = unsafe { Request::from_nginx(r) } {
        ngx_ctx::register_late(r);
    }
    OK
}

/// The header filter that was the first before the module's.
static NEXT_HEADER_FILTER: PerWorker<Cell<ngx_http_output_header_filter_pt>> =
    PerWorker(Cell::new(None));

/// Header filter, the first in the chain: stashes `ngx.ctx` before another filter can call
/// `ngx_http_filter_finalize_request`, which zeroes `r->ctx`.
unsafe extern "C" fn header_filter(raw: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: `raw` is the request whose response begins.
    let r = unsafe { Request::from_nginx(raw) };
    if let Some(r) = r.filter(|_| !mode::is_foreign()) {
        ngx_ctx::stash_if_made(r);
    }
    match NEXT_HEADER_FILTER.get() {
        // SAFETY: `next` was the first filter in nginx's chain, and `raw` is passed on as it is.
        Some(next) => unsafe { next(raw) },
        None => ERROR,
    }
}
