//! The line of the error log about a refusal. The culprit comes first.

use super::origins;
use super::table::{Culprit, OTHER};
use crate::nginx;
use crate::nginx::shim::{
    LUA_VAR_FRAMES, LUA_VAR_REQ_HANDLE, LUA_VAR_REQ_POINTER, lua_var_frame_t, lua_var_refusal_t,
};
use crate::refusal::Refusal;
use crate::registry::registry;
use crate::registry::slots::{Ended, Handle};
use crate::text::{Escaped, Hex, PLACE, Part, Seconds, Word, Writer, place, put, until_zero};
use crate::validation::LiveRequest;

/// The contexts of lua-nginx-module (`NGX_HTTP_LUA_CONTEXT_*`), which are one bit each.
const PHASES: [&str; 19] = [
    "set_by_lua*",
    "rewrite_by_lua*",
    "access_by_lua*",
    "content_by_lua*",
    "log_by_lua*",
    "header_filter_by_lua*",
    "body_filter_by_lua*",
    "a timer",
    "init_worker_by_lua*",
    "balancer_by_lua*",
    "ssl_certificate_by_lua*",
    "ssl_session_store_by_lua*",
    "ssl_session_fetch_by_lua*",
    "exit_worker_by_lua*",
    "ssl_client_hello_by_lua*",
    "server_rewrite_by_lua*",
    "proxy_ssl_verify_by_lua*",
    "precontent_by_lua*",
    "proxy_ssl_certificate_by_lua*",
];

/// The name of a context; empty if it is not known.
pub(super) fn phase(context: i32) -> &'static [u8] {
    let bit = context.trailing_zeros() as usize;
    let name = PHASES.get(bit).filter(|_| context.count_ones() == 1);
    name.copied().unwrap_or_default().as_bytes()
}

/// `source:line function()`
impl Part for &lua_var_frame_t {
    fn write(self, w: &mut Writer<'_>) {
        put!(w; place(&mut [0; PLACE], until_zero(&self.source), self.line));
        let function = until_zero(&self.function);
        if !function.is_empty() {
            put!(w; " ", Word(function), "()");
        }
    }
}

pub(super) fn request(w: &mut Writer<'_>, refusal: &lua_var_refusal_t) {
    match refusal.kind {
        LUA_VAR_REQ_HANDLE => put!(w; Handle::from_bits(refusal.given)),
        LUA_VAR_REQ_POINTER => put!(w; "pointer 0x", Hex(refusal.given)),
        _ => {}
    }
}

pub(super) fn write(
    w: &mut Writer<'_>,
    refusal: &lua_var_refusal_t,
    running: Option<LiveRequest<'_>>,
) {
    let callers = frames(&refusal.frames, refusal.nframes);
    match callers.first() {
        Some(first) => put!(w; first, " "),
        None => put!(w; "unknown Lua code called "),
    }
    put!(w; until_zero(&refusal.asked));
    let name = until_zero(&refusal.name);
    if !name.is_empty() {
        put!(w; " \"", Escaped(name), "\"");
    }
    if matches!(refusal.kind, LUA_VAR_REQ_HANDLE | LUA_VAR_REQ_POINTER) {
        put!(w; " of ");
        request(w, refusal);
    }
    let named = Handle::from_bits(refusal.given);
    let named = (refusal.kind == LUA_VAR_REQ_HANDLE).then_some(named);
    match named.map(|named| registry().slots.ended(named, nginx::msec() as u32)) {
        Some(Ended::Ago(ms)) => put!(w; ", which ended ", Seconds(i64::from(ms)), "s ago"),
        Some(Ended::Before(ms)) => {
            put!(w; ", which ended more than ", Seconds(i64::from(ms)), "s ago")
        }
        Some(Ended::Never) | None => {}
    }
    put!(w; " (", Escaped(until_zero(&refusal.why)), ")");
    if let Some(running) = running.and_then(|live| registry().find(live.address())) {
        put!(w; ", while ", running.handle(), " was running");
    }
    in_phase(w, phase(refusal.context));
    if callers.is_empty() {
        put!(w; ", through FFI, so that the caller is unknown");
    }
    called_at(w, callers.get(1..).unwrap_or_default(), ", called at ");
    let resumer = frames(&refusal.resumer, refusal.nresumer);
    called_at(w, resumer, ", in a coroutine resumed at ");
    if let Some(named) = named {
        made(w, named);
    }
    more(w, refusal.since.saturating_sub(1));
}

/// Writes a line for refusals that had none.
pub(super) fn left_out(w: &mut Writer<'_>, culprit: &Culprit, since: u64) {
    if culprit.is_other() {
        put!(w; OTHER, " Lua code, for which the table has no room");
    } else {
        put!(w; culprit.at.load().bytes(), " ", culprit.asked.load().bytes());
        let variable = culprit.variable.load();
        if !variable.bytes().is_empty() {
            put!(w; " \"", variable.bytes(), "\"");
        }
        put!(w; " (", Refusal::numbered(culprit.reason() as u32).reason(), ")");
        in_phase(w, culprit.phase.load().bytes());
    }
    more(w, since);
}

fn frames(all: &[lua_var_frame_t], count: u32) -> &[lua_var_frame_t] {
    all.get(..count as usize).unwrap_or_default()
}

fn called_at(w: &mut Writer<'_>, callers: &[lua_var_frame_t], first: &str) {
    for (n, caller) in callers.iter().enumerate() {
        put!(w; if n == 0 { first } else { ", called at " }, caller);
    }
    if callers.len().saturating_add(1) >= LUA_VAR_FRAMES as usize {
        put!(w; ", ...");
    }
}

fn in_phase(w: &mut Writer<'_>, phase: &[u8]) {
    if !phase.is_empty() {
        put!(w; ", in ", phase);
    }
}

/// Where a handle was made: in what, and with `lua_var_trace_handles` by which Lua.
fn made(w: &mut Writer<'_>, named: Handle) {
    let origin = origins::of(named);
    if !named.is_fake() && origin.is_none() {
        return;
    }
    let is_first = origin.is_some_and(|origin| !origin.is_only());
    put!(w; if is_first { ", first made" } else { ", made" });
    if named.is_of_handshake() {
        put!(w; " in a TLS handshake");
    } else if named.is_fake() {
        put!(w; " in a timer or at the start of a worker");
    }
    if let Some(origin) = origin {
        put!(w; " ", Seconds(i64::from(origin.ago())), "s ago at ", origin.at.load().bytes());
        let request_line = origin.request_line.load();
        if !request_line.bytes().is_empty() {
            put!(w; " for \"", request_line.bytes(), "\"");
        }
    }
    if named.is_of_handshake() {
        put!(w; " (lua_var_ssl_ctx off keeps it from requests)");
    }
}

fn more(w: &mut Writer<'_>, since: u64) {
    if since > 0 {
        put!(w; ", ", since, " more since the last line");
    }
}
