//! The figures, for people and for programs: the `lua_var_status` page, `ngxvar.stats()`, and
//! what the access log may say of one request.

use crate::conf::{self, StatusFormat};
use crate::figures::{self, FIGURES, Figure};
use crate::nginx::conf::{Conf, NGX_HTTP_VAR_NOCACHEABLE};
use crate::nginx::header::Headers;
use crate::nginx::request::Request;
use crate::nginx::value::fill;
use crate::nginx::{ERROR, OK, ngx_http_request_t, ngx_http_variable_value_t, ngx_int_t};
use crate::registry::registry;
use crate::registry::slots::Slot;
use crate::variable::number;

/// A figure as the outside knows it.
struct Name {
    /// In `ngxvar.stats()`, in text and in JSON.
    plain: &'static [u8],
    /// In Prometheus' text format, with its labels; figures with the same name are one
    /// metric there.
    metric: &'static [u8],
    labels: &'static [u8],
    help: &'static [u8],
}

/// One for each figure, in the order of their numbers.
const NAMES: [Name; FIGURES] = [
    Name {
        plain: b"live",
        metric: b"nginx_lua_var_live_requests",
        labels: b"",
        help: b"Requests that handles may name now.",
    },
    Name {
        plain: b"registered",
        metric: b"nginx_lua_var_registered_total",
        labels: b"",
        help: b"Requests that handles could name.",
    },
    Name {
        plain: b"not_registered",
        metric: b"nginx_lua_var_not_registered_total",
        labels: b"",
        help: b"Requests without a handle, for want of memory.",
    },
    Name {
        plain: b"refused_stale",
        metric: b"nginx_lua_var_refused_total",
        labels: b"{reason=\"stale\"}",
        help: b"Accesses that were refused.",
    },
    Name {
        plain: b"refused_no_variables",
        metric: b"nginx_lua_var_refused_total",
        labels: b"{reason=\"no_variables\"}",
        help: b"",
    },
    Name {
        plain: b"refused_layout",
        metric: b"nginx_lua_var_refused_total",
        labels: b"{reason=\"layout\"}",
        help: b"",
    },
    Name {
        plain: b"restored_error_page",
        metric: b"nginx_lua_var_restored_total",
        labels: b"{redirect=\"error_page\"}",
        help: b"ngx.ctx given back after an internal redirect.",
    },
    Name {
        plain: b"restored_other",
        metric: b"nginx_lua_var_restored_total",
        labels: b"{redirect=\"other\"}",
        help: b"",
    },
    Name {
        plain: b"retired_slots",
        metric: b"nginx_lua_var_retired_slots",
        labels: b"",
        help: b"Slots of the registry that are never used again.",
    },
    Name {
        plain: b"handlers_mode",
        metric: b"nginx_lua_var_handlers_mode_workers",
        labels: b"",
        help: b"Workers that read requests through nginx's handlers only.",
    },
];

/// A figure's name in `ngxvar.stats()`, and its sum over all workers; `None` beyond the last.
pub(crate) fn numbered(n: usize) -> Option<(&'static [u8], u64)> {
    match Figure::ALL.get(n) {
        Some(figure) => Some((NAMES.get(n)?.plain, figures::sum(*figure))),
        None if n == FIGURES => Some((b"workers", figures::rows().count() as u64)),
        None => None,
    }
}

// ---- Variables ---------------------------------------------------------------------------

const REFUSED: &[u8] = b"lua_var_refused";
const RESTORED: &[u8] = b"lua_var_restored";

/// Defines the variables. False with the error logged.
pub(crate) fn define_variables(cf: Conf<'_>) -> bool {
    cf.add_variable(REFUSED, NGX_HTTP_VAR_NOCACHEABLE, refused, 0)
        && cf.add_variable(RESTORED, NGX_HTTP_VAR_NOCACHEABLE, restored, 0)
}

/// Get handler of `$lua_var_refused`: how often something was refused while the request was
/// running. Any phase.
///
/// # Safety
/// Only nginx calls it, with a live request and a value to fill.
unsafe extern "C" fn refused(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    _data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes the request it evaluates the variable for.
    let Some(r) = (unsafe { Request::from_nginx(r) }) else {
        return ERROR;
    };
    let count = registry().find(r.address()).map_or(0, Slot::refused);
    let text = number::decimal(u64::from(count));
    let Some(text) = r.pool().and_then(|pool| pool.copy(&[text.as_bytes()])) else {
        return ERROR;
    };
    // SAFETY: nginx passes a value to fill; the text is in the request's pool.
    unsafe { fill(v, text) };
    OK
}

/// Get handler of `$lua_var_restored`: `error_page` or `other`, after which redirect the
/// request got its `ngx.ctx` back; empty when it did not. Any phase.
///
/// # Safety
/// As [`refused`].
unsafe extern "C" fn restored(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    _data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes the request it evaluates the variable for.
    let r = unsafe { Request::from_nginx(r) };
    let slot = r.and_then(|r| registry().find(r.address()));
    let text: &[u8] = match slot {
        Some(slot) if slot.has(Slot::RESTORED_ERROR_PAGE) => b"error_page",
        Some(slot) if slot.has(Slot::RESTORED_OTHER) => b"other",
        _ => b"",
    };
    // SAFETY: nginx passes a value to fill; the text is a constant.
    unsafe { fill(v, text) };
    OK
}

// ---- The page ----------------------------------------------------------------------------

/// Room for the part of the page that is there once, and for a worker's.
const PAGE: usize = 4096;
const PAGE_PER_WORKER: usize = 512;

/// A page that is being written; what does not fit is left out.
struct Page<'a> {
    room: &'a mut [u8],
    len: usize,
    /// Workers that there is room for: as many as there were when it was made.
    workers: usize,
}

impl Page<'_> {
    fn text(&mut self, text: &[u8]) -> &mut Self {
        let end = self.len.saturating_add(text.len());
        if let Some(place) = self.room.get_mut(self.len..end) {
            for (to, from) in place.iter_mut().zip(text) {
                *to = *from;
            }
            self.len = end;
        }
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.text(number::decimal(number).as_bytes())
    }

    /// `read` gives a figure.
    fn json_object(&mut self, read: impl Fn(Figure) -> u64) -> &mut Self {
        for (name, figure) in NAMES.iter().zip(Figure::ALL) {
            self.text(b",\"").text(name.plain).text(b"\":");
            self.number(read(figure));
        }
        self
    }

    fn json(&mut self) {
        let workers = self.workers;
        self.text(b"{\"workers\":")
            .number(workers as u64)
            .json_object(figures::sum)
            .text(b",\"by_worker\":[");
        for (n, row) in figures::rows().take(workers).enumerate() {
            self.text(if n == 0 { b"" } else { b"," });
            self.text(b"{\"pid\":").number(row.pid());
            self.json_object(|figure| row.get(figure)).text(b"}");
        }
        self.text(b"]}\n");
    }

    fn prometheus(&mut self) {
        let workers = self.workers;
        let mut last: &[u8] = b"";
        for (name, figure) in NAMES.iter().zip(Figure::ALL) {
            if name.metric != last {
                last = name.metric;
                self.text(b"# HELP ").text(name.metric).text(b" ");
                self.text(name.help).text(b"\n# TYPE ").text(name.metric);
                self.text(if figure.is_counter() {
                    b" counter\n"
                } else {
                    b" gauge\n"
                });
            }
            self.text(name.metric).text(name.labels).text(b" ");
            self.number(figures::sum(figure)).text(b"\n");
        }
        self.text(b"# HELP nginx_lua_var_workers Workers.\n")
            .text(b"# TYPE nginx_lua_var_workers gauge\nnginx_lua_var_workers ")
            .number(workers as u64)
            .text(b"\n");
    }

    fn plain(&mut self) {
        let workers = self.workers;
        self.text(b"workers ").number(workers as u64).text(b"\n");
        for (name, figure) in NAMES.iter().zip(Figure::ALL) {
            self.text(name.plain).text(b" ");
            self.number(figures::sum(figure)).text(b"\n");
        }
        for row in figures::rows().take(workers) {
            self.text(b"\nworker ").number(row.pid()).text(b"\n");
            for (name, figure) in NAMES.iter().zip(Figure::ALL) {
                self.text(b"    ").text(name.plain).text(b" ");
                self.number(row.get(figure)).text(b"\n");
            }
        }
    }
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    (0..text.len()).any(|at| text.get(at..).is_some_and(|rest| rest.starts_with(what)))
}

/// The format that the client's `Accept` asks for, of those that there are.
fn accepted(r: Request<'_>) -> StatusFormat {
    let accepts = |what: &[u8]| {
        r.headers(Headers::Request).is_ok_and(|mut headers| {
            headers.any(|header| {
                header.name().eq_ignore_ascii_case(b"accept") && contains(header.value(), what)
            })
        })
    };
    if accepts(b"application/json") {
        StatusFormat::Json
    } else if accepts(b"application/openmetrics-text") || accepts(b"version=0.0.4") {
        StatusFormat::Prometheus
    } else {
        StatusFormat::Text
    }
}

/// Content handler of `lua_var_status`.
///
/// # Safety
/// Only nginx calls it, with the request that it serves.
pub(crate) unsafe extern "C" fn page(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request it serves.
    let Some(r) = (unsafe { Request::from_nginx(r) }) else {
        return ERROR;
    };
    let workers = figures::rows().count();
    let size = workers.saturating_mul(PAGE_PER_WORKER).saturating_add(PAGE);
    let Some(room) = r.pool().and_then(|pool| pool.bytes(size)) else {
        return ERROR;
    };
    let mut page = Page {
        room,
        len: 0,
        workers,
    };
    let format = conf::loc_of(r).and_then(conf::LocConf::status);
    let content_type: &[u8] = match format.unwrap_or_else(|| accepted(r)) {
        StatusFormat::Text => {
            page.plain();
            b"text/plain"
        }
        StatusFormat::Json => {
            page.json();
            b"application/json"
        }
        StatusFormat::Prometheus => {
            page.prometheus();
            b"text/plain; version=0.0.4"
        }
    };
    let Page { room, len, .. } = page;
    r.respond(content_type, room.get(..len).unwrap_or_default())
}
