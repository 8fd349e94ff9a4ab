//! What the figures and culprits look like: the `lua_var_status` page, `ngxvar.stats()`, and two
//! variables about one request for the access log, `$lua_var_refused` and `$lua_var_restored`.

use core::{iter, mem};

use crate::conf::{self, StatusFormat};
use crate::culprits;
use crate::culprits::table::{Culprit, OTHER};
use crate::figures::{self, Figure};
use crate::nginx::conf::Conf;
use crate::nginx::request::Request;
use crate::nginx::value::{Defined, Variable};
use crate::nginx::{ERROR, ngx_http_request_t, ngx_int_t};
use crate::refusal::Refusal;
use crate::registry::registry;
use crate::restore;
use crate::text::{Html, Quoted, Writer, put};
use crate::which_build;

/// Writes the name of series `n`, as `ngxvar.stats()` has it, and returns its value: first the
/// figures, then the refusals by culprit. `None` after the last.
pub(crate) fn numbered(n: usize, w: &mut Writer<'_>) -> Option<u64> {
    let Some(after) = n.checked_sub(Figure::ALL.len()) else {
        let figure = *Figure::ALL.get(n)?;
        put!(w; figure.name());
        return Some(figures::sum(figure));
    };
    let culprit = first_of_each().nth(after)?;
    refused_by(w, culprit);
    Some(refused_alike(culprit))
}

/// The first culprit of each series: others may differ from it in what is no label.
fn first_of_each() -> impl Iterator<Item = &'static Culprit> {
    culprits::all().filter(|culprit| {
        let first = culprits::all().find(|other| other.is_alike(culprit));
        first.is_some_and(|first| core::ptr::eq(first, *culprit))
    })
}

fn refused_alike(culprit: &Culprit) -> u64 {
    let alike = culprits::all().filter(|other| other.is_alike(culprit));
    alike.fold(0, |sum, other| sum.wrapping_add(other.count()))
}

fn refused_by(w: &mut Writer<'_>, culprit: &Culprit) {
    let mut before = "refused_by_total{";
    fields(culprit, |name, text| {
        if matches!(name, "at" | "variable" | "reason") {
            put!(w; before, name, "=", Quoted(text));
            before = ",";
        }
    });
    put!(w; "}");
}

/// Calls `each` with the name and the text of what is known of a culprit. The texts are
/// escaped for the error log already.
fn fields(culprit: &Culprit, mut each: impl FnMut(&'static str, &[u8])) {
    if culprit.is_other() {
        each("at", OTHER.as_bytes());
        each("variable", b"");
        each("reason", b"");
        return;
    }
    each("at", culprit.at.load().bytes());
    each("asked", culprit.asked.load().bytes());
    each("variable", culprit.variable.load().bytes());
    let reason = Refusal::numbered(culprit.reason() as u32);
    each("reason", reason.label().as_bytes());
    each("phase", culprit.phase.load().bytes());
    if culprit.has_example() {
        each("request", culprit.request.load().bytes());
        each("while", culprit.request_line.load().bytes());
    }
}

/// The culprits, the last one that was refused first.
fn newest_first() -> impl Iterator<Item = &'static Culprit> {
    let mut before = (u64::MAX, 0);
    iter::from_fn(move || {
        let all = culprits::all().enumerate();
        let keyed = all.map(|(n, culprit)| ((culprit.last(), n), culprit));
        let (key, culprit) = keyed.filter(|(key, _)| *key < before).max_by_key(|(key, _)| *key)?;
        before = key;
        Some(culprit)
    })
}

fn info() -> [(&'static str, &'static [u8]); 4] {
    [
        ("version", which_build::BUILD.as_bytes()),
        ("nginx", which_build::BUILT_FOR.to_bytes()),
        ("restore", which_build::restore().as_bytes()),
        ("layout", which_build::layout_state().as_bytes()),
    ]
}

pub(crate) fn define_variables(cf: Conf<'_>) -> bool {
    cf.add_variable::<OfRequest>(b"lua_var_refused", REFUSED)
        && cf.add_variable::<OfRequest>(b"lua_var_restored", RESTORED)
}

/// How many accesses were refused while the request was running.
const REFUSED: usize = 0;
/// The redirect after which `ngx.ctx` was restored, `error_page` or `other`, or why it was
/// not; empty if it was not lost.
const RESTORED: usize = 1;

struct OfRequest;

impl Defined for OfRequest {
    fn value<'a>(r: Request<'a>, which: usize) -> Option<&'a [u8]> {
        // Without a slot nothing is known of the layout, and the pool is not.
        match registry().find(r.address()) {
            Some(slot) if which == REFUSED => r.pool()?.text(0, |w| put!(w; slot.refused())),
            Some(slot) => Some(restore::outcome(slot).as_bytes()),
            None => Some(if which == REFUSED { b"0" } else { b"" }),
        }
    }
}

fn plain(w: &mut Writer<'_>) {
    for (name, value) in info() {
        put!(w; name, " ", value, "\n");
    }
    for figure in Figure::ALL {
        put!(w; figure.name(), " ", figures::sum(*figure), "\n");
    }
    for row in figures::workers() {
        put!(w; "\nworker ", row.pid(), "\n");
        for figure in Figure::ALL {
            put!(w; "    ", figure.name(), " ", row.get(*figure), "\n");
        }
    }
    for culprit in newest_first() {
        let count = culprit.count();
        let times = if count == 1 { " time" } else { " times" };
        put!(w; "\nrefused ", count, times, ", last ");
        ago(w, culprit);
        fields(culprit, |name, text| {
            if !text.is_empty() {
                put!(w; "\n    ", name, " ", text);
            }
        });
        put!(w; "\n");
    }
}

fn json(w: &mut Writer<'_>) {
    let mut before = "{";
    for (name, value) in info() {
        put!(w; before, Quoted(name.as_bytes()), ":", Quoted(value));
        before = ",";
    }
    json_figures(w, figures::sum);
    put!(w; ",\"by_worker\":[");
    before = "";
    for row in figures::workers() {
        put!(w; before, "{\"pid\":", row.pid());
        json_figures(w, |figure| row.get(figure));
        put!(w; "}");
        before = ",";
    }
    put!(w; "],\"culprits\":[");
    before = "";
    for culprit in newest_first() {
        put!(w; before, "{\"count\":", culprit.count(), ",\"last\":", culprit.last() / 1000);
        fields(culprit, |name, text| put!(w; ",", Quoted(name.as_bytes()), ":", Quoted(text)));
        put!(w; "}");
        before = ",";
    }
    put!(w; "]}\n");
}

fn json_figures(w: &mut Writer<'_>, value: impl Fn(Figure) -> u64) {
    for figure in Figure::ALL {
        put!(w; ",", Quoted(figure.name().as_bytes()), ":", value(*figure));
    }
}

fn prometheus(w: &mut Writer<'_>) {
    for figure in Figure::ALL {
        if !figure.help().is_empty() {
            let metric = figure.name().as_bytes().split(|byte| *byte == b'{').next();
            metric_head(w, metric.unwrap_or_default(), figure.help());
        }
        put!(w; PREFIX, figure.name(), " ", figures::sum(*figure), "\n");
    }
    metric_head(w, b"info", "The build, its nginx, and lua_var_ctx_restore of http.");
    let mut before = "info{";
    put!(w; PREFIX);
    for (name, value) in info() {
        put!(w; before, name, "=", Quoted(value));
        before = ",";
    }
    put!(w; "} 1\n");
    let help = "Refusals by the line of Lua that asked; fix that line. The first 64 culprits have \
                series of their own; a restart forgets them.";
    metric_head(w, b"refused_by_total", help);
    for culprit in first_of_each() {
        put!(w; PREFIX);
        refused_by(w, culprit);
        put!(w; " ", refused_alike(culprit), "\n");
    }
}

const PREFIX: &str = "nginx_lua_var_";

fn metric_head(w: &mut Writer<'_>, metric: &[u8], help: &str) {
    let is_counter = metric.ends_with(b"_total");
    let kind = if is_counter { " counter\n" } else { " gauge\n" };
    put!(w; "# HELP ", PREFIX, metric, " ", help, "\n# TYPE ", PREFIX, metric, kind);
}

const HTML_HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content='width=device-width'><meta http-equiv=refresh content=10>\
<title>lua_var</title><style>\
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#222}\
h1{font-size:1.3em}h2{font-size:1.1em;margin-top:2em}div{overflow-x:auto}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25em .7em;border-bottom:1px solid #ddd;white-space:nowrap}\
th{font-weight:600;background:#f4f4f4}.n{text-align:right}.z{color:#aaa}\
.at{font:600 13px ui-monospace,monospace;color:#a00;white-space:normal;overflow-wrap:anywhere;\
min-width:9em}@media(min-width:60em){.at{white-space:nowrap}}\
</style><h1>ngx_http_lua_var_module</h1><p>";

fn html(w: &mut Writer<'_>) {
    put!(w; HTML_HEAD);
    for (name, value) in info() {
        put!(w; name, " <b>", Html(value), "</b> ");
    }
    put!(w; "<h2>Refused, most recent first</h2>");
    let mut head = "<div><table><tr><th class=n>times<th>last<th>Lua<th>asked for<th>reason\
                    <th>in<th>for example<th>while";
    for culprit in newest_first() {
        put!(w; mem::take(&mut head), "<tr><td class=n>", culprit.count(), "<td>");
        ago(w, culprit);
        fields(culprit, |name, text| {
            let cell = match name {
                "at" => "<td class=at>",
                "variable" => " ",
                _ => "<td>",
            };
            put!(w; cell, Html(text));
        });
    }
    put!(w; if head.is_empty() { "</table></div>" } else { "<p>Nothing was refused." });
    put!(w; "<h2>Figures</h2><div><table><tr><th class=n>all<th>");
    for row in figures::workers() {
        put!(w; "<th class=n>", row.pid());
    }
    for figure in Figure::ALL {
        put!(w; "<tr>");
        cell(w, figures::sum(*figure));
        put!(w; "<td title='", Html(figure.help().as_bytes()), "'>", figure.name());
        for row in figures::workers() {
            cell(w, row.get(*figure));
        }
    }
    put!(w; "</table></div>\n");
}

fn cell(w: &mut Writer<'_>, number: u64) {
    put!(w; if number == 0 { "<td class='n z'>" } else { "<td class=n>" }, number);
}

fn ago(w: &mut Writer<'_>, culprit: &Culprit) {
    let seconds = culprits::now().saturating_sub(culprit.last()) / 1000;
    let (number, unit) = match seconds {
        0..120 => (seconds, " s ago"),
        120..7200 => (seconds / 60, " min ago"),
        7200..172_800 => (seconds / 3600, " h ago"),
        _ => (seconds / 86_400, " d ago"),
    };
    put!(w; number, unit);
}

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
    } else if accepts(b"text/html") {
        StatusFormat::Html
    } else {
        StatusFormat::Text
    }
}

/// By how many bytes the page may grow while it is made.
const SPARE: usize = 4096;

/// Content handler of `lua_var_status`.
///
/// # Safety
/// `r` must be the request that nginx serves.
pub(crate) unsafe extern "C" fn page(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: it is the request that nginx serves.
    let r = unsafe { Request::from_nginx(r) };
    let format = r.conf::<conf::LocConf>().and_then(conf::LocConf::status);
    let (write, content_type): (fn(&mut Writer<'_>), &[u8]) =
        match format.unwrap_or_else(|| accepted(r)) {
            StatusFormat::Text => (plain, b"text/plain"),
            StatusFormat::Json => (json, b"application/json"),
            StatusFormat::Prometheus => (prometheus, b"text/plain; version=0.0.4"),
            StatusFormat::Html => (html, b"text/html"),
        };
    match r.own_pool().and_then(|pool| pool.text(SPARE, write)) {
        Some(text) => r.respond(content_type, text),
        None => ERROR,
    }
}
