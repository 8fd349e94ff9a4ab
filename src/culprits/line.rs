//! The line of the error log about a refusal. The culprit comes first.

use super::origins::{self, Origin};
use super::table::Culprit;
use super::{Context, OTHER, Place, is_other, made_in, place};
use crate::mode;
use crate::nginx;
use crate::nginx::shim::{
    LUA_VAR_FRAMES, LUA_VAR_REQ_HANDLE, LUA_VAR_REQ_POINTER, lua_var_frame_t, lua_var_refusal_t,
};
use crate::refusal::Refusal;
use crate::registry::registry;
use crate::registry::slots::{Ended, Handle};
use crate::text::{Writer, until_zero};
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

/// Writes which request was named.
pub(super) fn request(writer: &mut Writer<'_>, refusal: &lua_var_refusal_t) {
    match refusal.kind {
        LUA_VAR_REQ_HANDLE => handle(writer, Handle::from_bits(refusal.given)),
        LUA_VAR_REQ_POINTER => {
            writer.text("pointer 0x").digits(refusal.given, 16, 1);
        }
        _ => {}
    }
}

fn handle(writer: &mut Writer<'_>, Handle { id, generation }: Handle) {
    writer.text("request ").number(id.into());
    writer.text("/").number(generation.into());
}

/// Writes the whole line.
pub(super) fn write(
    writer: &mut Writer<'_>,
    refusal: &lua_var_refusal_t,
    running: Option<LiveRequest<'_>>,
) {
    let callers = frames(&refusal.frames, refusal.nframes);
    match callers.first() {
        Some(first) => frame(writer, first),
        None => {
            writer.text("unknown Lua code called");
        }
    }
    writer.text(" ").text(until_zero(&refusal.asked));
    let name = until_zero(&refusal.name);
    if !name.is_empty() {
        writer.text(" \"").escaped(name).text("\"");
    }
    if matches!(refusal.kind, LUA_VAR_REQ_HANDLE | LUA_VAR_REQ_POINTER) {
        request(writer.text(" of "), refusal);
    }
    let named = Handle::from_bits(refusal.given);
    let named = (refusal.kind == LUA_VAR_REQ_HANDLE).then_some(named);
    if let Some(named) = named {
        ended(writer, named);
    }
    reason(writer, until_zero(&refusal.why));
    // Where the layout differs, whether the request has variables cannot be read.
    let running = running.filter(|live| !mode::is_foreign() && live.readable().is_ok());
    if let Some(running) = running {
        handle(writer.text(", while "), running.slot().handle());
        writer.text(" was running");
    }
    in_phase(writer, phase(refusal.context));
    if callers.is_empty() {
        writer.text(", over FFI, which does not tell by whom");
    }
    called_at(writer, callers.get(1..).unwrap_or_default(), ", called at ");
    called_at(
        writer,
        frames(&refusal.resumer, refusal.nresumer),
        ", in a coroutine resumed at ",
    );
    if let Some(named) = named {
        made(writer, named);
    }
    more(writer, refusal.since.saturating_sub(1));
}

/// Writes a line for refusals that had none.
pub(super) fn left_out(writer: &mut Writer<'_>, culprit: &Culprit, since: u64) {
    if is_other(culprit) {
        writer
            .text(OTHER)
            .text(" Lua code, for which the table has no room");
    } else {
        writer.text(culprit.at.load().bytes()).text(" ");
        writer.text(culprit.asked.load().bytes());
        let variable = culprit.variable.load();
        if !variable.bytes().is_empty() {
            writer.text(" \"").text(variable.bytes()).text("\"");
        }
        reason(writer, Refusal::numbered(culprit.reason() as u32).reason());
        in_phase(writer, culprit.phase.load().bytes());
    }
    more(writer, since);
}

fn frames(all: &[lua_var_frame_t], count: u32) -> &[lua_var_frame_t] {
    all.get(..count as usize).unwrap_or_default()
}

/// `source:line function()`
fn frame(writer: &mut Writer<'_>, frame: &lua_var_frame_t) {
    let mut room = Place::default();
    writer.text(place(&mut room, until_zero(&frame.source), frame.line));
    let function = until_zero(&frame.function);
    if !function.is_empty() {
        writer.text(" ").word(function).text("()");
    }
}

fn called_at(writer: &mut Writer<'_>, callers: &[lua_var_frame_t], first: &str) {
    for (n, caller) in callers.iter().enumerate() {
        frame(
            writer.text(if n == 0 { first } else { ", called at " }),
            caller,
        );
    }
    if callers.len().saturating_add(1) >= LUA_VAR_FRAMES as usize {
        writer.text(", ...");
    }
}

fn reason(writer: &mut Writer<'_>, sentence: &[u8]) {
    writer.text(" (").escaped(sentence).text(")");
}

fn in_phase(writer: &mut Writer<'_>, phase: &[u8]) {
    if !phase.is_empty() {
        writer.text(", in ").text(phase);
    }
}

fn ended(writer: &mut Writer<'_>, named: Handle) {
    let (before, ms) = match registry().slots.ended(named, nginx::msec()) {
        Ended::Ago(ms) => ("", ms),
        Ended::Before(ms) => ("more than ", ms),
        Ended::Never => return,
    };
    writer
        .text(", which ended ")
        .text(before)
        .seconds(ms.into())
        .text(" ago");
}

/// Where a handle was made: in what, and with `lua_var_trace_handles` by which Lua.
fn made(writer: &mut Writer<'_>, named: Handle) {
    let context = made_in(named);
    let origin = origins::of(named);
    if context.is_none() && origin.is_none() {
        return;
    }
    let is_first = origin.is_some_and(|origin| !origin.is_only());
    writer.text(if is_first { ", first made" } else { ", made" });
    match context {
        Some(Context::Handshake) => writer.text(" in a TLS handshake"),
        Some(Context::Other) => writer.text(" in a timer or at the start of a worker"),
        None => writer,
    };
    if let Some(origin) = origin {
        made_at(writer, origin);
    }
    if context == Some(Context::Handshake) {
        writer.text(" (lua_var_ssl_ctx off keeps it from requests)");
    }
}

fn made_at(writer: &mut Writer<'_>, origin: &Origin) {
    writer
        .text(" ")
        .seconds(origin.ago().into())
        .text(" ago at ");
    writer.text(origin.at.load().bytes());
    let request_line = origin.request_line.load();
    if !request_line.bytes().is_empty() {
        writer.text(" for \"").text(request_line.bytes()).text("\"");
    }
}

fn more(writer: &mut Writer<'_>, since: u64) {
    if since > 0 {
        writer.text(", ").number(since);
        writer.text(" more since the last line");
    }
}
