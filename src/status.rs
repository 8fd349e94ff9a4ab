//! The output of the figures: the `lua_var_status` page, `ngxvar.stats()`, and two variables
//! about one request for the access log, `$lua_var_refused` and `$lua_var_restored`.

use crate::conf::{self, StatusFormat};
use crate::figures::{self, FIGURES, Figure};
use crate::nginx::conf::Conf;
use crate::nginx::request::Request;
use crate::nginx::value::{Variable, fill};
use crate::nginx::{ERROR, OK, ngx_http_request_t, ngx_http_variable_value_t, ngx_int_t};
use crate::registry::registry;
use crate::registry::slots::Slot;
use crate::variable::number;

/// The names of a figure.
struct Name {
    /// The name in `ngxvar.stats()`, in plain text and in JSON.
    plain: &'static [u8],
    /// The name in Prometheus' text format. Figures with the same name are one metric, with
    /// different labels.
    metric: &'static [u8],
    /// The labels in Prometheus' text format.
    labels: &'static [u8],
    /// The description of the metric; empty in all but the first figure of a metric.
    help: &'static [u8],
}

/// The names of each [`Figure`], in the order of [`Figure::ALL`].
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
        plain: b"layout_differs",
        metric: b"nginx_lua_var_layout_differs_workers",
        labels: b"",
        help: b"Workers in which the module does nothing, because it was built for another nginx.",
    },
];

/// The name of figure `n` in `ngxvar.stats()`, and its sum over all workers. The number of
/// workers follows the last figure; `None` after that.
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

/// Defines `$lua_var_refused` and `$lua_var_restored`. Returns false after logging an error.
pub(crate) fn define_variables(cf: Conf<'_>) -> bool {
    cf.add_variable(REFUSED, refused, 0, None) && cf.add_variable(RESTORED, restored, 0, None)
}

/// Get handler of `$lua_var_refused`: how many accesses were refused while the request was
/// running. It may be read in any phase.
///
/// # Safety
/// `r` must be null or a live request, and `v` null or a value to fill, as nginx passes them.
unsafe extern "C" fn refused(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    _data: usize,
) -> ngx_int_t {
    // SAFETY: `r` is null or the live request that nginx evaluates the variable for.
    let Some(r) = (unsafe { Request::from_nginx(r) }) else {
        return ERROR;
    };
    let count = registry().find(r.address()).map_or(0, Slot::refused);
    let text = number::decimal(u64::from(count));
    let Some(text) = r.pool().and_then(|pool| pool.copy(&[text.as_bytes()])) else {
        return ERROR;
    };
    // SAFETY: `v` is null or a value to fill; the text is in the request's pool.
    unsafe { fill(v, text) };
    OK
}

/// Get handler of `$lua_var_restored`: the kind of redirect after which `ngx.ctx` was
/// restored, `error_page` or `other`; empty if it was not. It may be read in any phase.
///
/// # Safety
/// `r` must be null or a live request, and `v` null or a value to fill, as nginx passes them.
unsafe extern "C" fn restored(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    _data: usize,
) -> ngx_int_t {
    // SAFETY: `r` is null or the live request that nginx evaluates the variable for.
    let r = unsafe { Request::from_nginx(r) };
    let slot = r.and_then(|r| registry().find(r.address()));
    let text: &[u8] = match slot {
        Some(slot) if slot.has(Slot::RESTORED_ERROR_PAGE) => b"error_page",
        Some(slot) if slot.has(Slot::RESTORED_OTHER) => b"other",
        _ => b"",
    };
    // SAFETY: `v` is null or a value to fill; the text is a constant.
    unsafe { fill(v, text) };
    OK
}

// ---- The page ----------------------------------------------------------------------------

/// Bytes for the sums over all workers, in any format.
const PAGE: usize = 4096;
/// Bytes for the figures of one worker, in any format.
const PAGE_PER_WORKER: usize = 512;

/// A page that is being written.
struct Page<'a> {
    room: &'a mut [u8],
    len: usize,
    /// The number of workers when `room` was allocated. Workers that started since are left
    /// out, because there is no room for them.
    workers: usize,
}

impl Page<'_> {
    /// Appends a text; one that does not fit is left out.
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

    /// Appends a number in decimal.
    fn number(&mut self, number: u64) -> &mut Self {
        self.text(number::decimal(number).as_bytes())
    }

    /// Appends the members of a JSON object, one for each figure, each after a comma. `read`
    /// returns the value of a figure.
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

/// Whether `text` contains `what`.
fn contains(text: &[u8], what: &[u8]) -> bool {
    (0..text.len()).any(|at| text.get(at..).is_some_and(|rest| rest.starts_with(what)))
}

/// The format that the client's `Accept` headers name; plain text if they name none.
fn accepted(r: Request<'_>) -> StatusFormat {
    let header = b"http_accept";
    let handler = r.prefix_of(header).map(Variable::getter);
    let accept = handler.and_then(|handler| r.evaluate_prefixed(handler, header));
    let accepts = |what: &[u8]| accept.is_some_and(|accept| contains(accept, what));
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
/// `r` must be null or the live request that nginx serves.
pub(crate) unsafe extern "C" fn page(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: `r` is null or the live request that nginx serves.
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
    let format = r.conf::<conf::LocConf>().and_then(conf::LocConf::status);
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
