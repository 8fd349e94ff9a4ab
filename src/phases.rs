//! What nginx calls for a request: the handlers of its phases, and the header filter.

use core::cell::Cell;

use crate::api::lua;
use crate::error_page;
use crate::layout;
use crate::nginx::conf::Conf;
use crate::nginx::request::Request;
use crate::nginx::{
    self, DECLINED, ERROR, LOG_PHASE, OK, POST_READ_PHASE, SERVER_REWRITE_PHASE,
    ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_int_t,
};
use crate::ngx_ctx;
use crate::registry::registry;
use crate::statics::PerWorker;
use crate::validation;

/// Adds the handlers of the phases that every configuration needs and, if the Lua module is
/// loaded, the other handlers and the header filter. Returns false if there is no memory.
pub(crate) fn install(cf: Conf<'_>) -> bool {
    if !cf.add_phase_handler(POST_READ_PHASE, Some(on_request))
        || !cf.add_phase_handler(SERVER_REWRITE_PHASE, Some(on_rewrite))
    {
        return false;
    }
    // Requests are registered at their beginning only so that Lua can name them.
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

/// Registers a request; logs an error if there is no memory.
#[inline(always)]
fn register(r: Request<'_>) {
    if layout::agrees(r) && registry().register_new(r).is_none() {
        validation::not_registered(r);
    }
}

/// Post-read phase: registers each main request.
unsafe extern "C" fn on_request(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: `r` is the request whose phases nginx runs.
    if let Some(r) = unsafe { Request::from_nginx(r) } {
        if lua::is_running() {
            register(r);
        } else {
            // Without Lua only an error page registers requests, maybe a subrequest first, which
            // cannot be compared.
            layout::agrees(r);
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
    if !layout::differs() && !r.is_main() && lua::is_running() {
        on_subrequest(r);
    }
    DECLINED
}

#[inline(never)]
fn on_subrequest(r: Request<'_>) {
    if let Some(slot) = validation::register(r) {
        ngx_ctx::stash(r, slot);
    }
}

/// Log phase: registers requests that skipped the phases before it, such as those that nginx
/// answers with a 400.
unsafe extern "C" fn on_log(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: `r` is the request that nginx logs.
    if let Some(r) = unsafe { Request::from_nginx(r) } {
        if registry().find(r.address()).is_none() {
            register(r);
        }
    }
    OK
}

/// The header filter that was the first before the module's.
static NEXT_HEADER_FILTER: PerWorker<Cell<ngx_http_output_header_filter_pt>> =
    PerWorker(Cell::new(None));

/// Header filter, the first in the chain: stashes `ngx.ctx` before another filter can call
/// `ngx_http_filter_finalize_request`, which zeroes `r->ctx`.
unsafe extern "C" fn header_filter(raw: *mut ngx_http_request_t) -> ngx_int_t {
    if let Some(slot) = registry().find(raw as usize) {
        // SAFETY: `raw` is the request whose response begins.
        if let Some(r) = unsafe { Request::from_nginx(raw) } {
            ngx_ctx::stash(r, slot);
        }
    }
    match NEXT_HEADER_FILTER.get() {
        // SAFETY: `next` was the first filter in nginx's chain, and `raw` is passed on as it is.
        Some(next) => unsafe { next(raw) },
        None => ERROR,
    }
}
