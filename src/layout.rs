//! Whether nginx and this module agree on where a request's members are.
//!
//! nginx's module signature does not say: patches may add members to
//! `ngx_http_request_t` without changing it, as those of OpenResty after 1.31.1.1 and of
//! Kong do (a `count` behind the headers). Two things are compared. Offsets:
//! the variables that `ngx_http_variable_request` and `ngx_http_variable_header`
//! serve carry nginx's own `offsetof` as their data, which is known before any
//! request is touched. Values: on the worker's first request, what the module
//! reads itself against what nginx's handlers say.
//!
//! If anything differs, variables are read through nginx's handlers from then on
//! and no context is restored.

use core::ffi::CStr;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use crate::names::{self, Field};
use crate::request::{LiveRequest, Value};
use crate::sys::{self, Request, VarValue, ngx_http_request_t};
use crate::table::Table;
use crate::worker::{Mode, worker};

/// Variables whose data is the offset of the member they show.
const OFFSETS: [(&CStr, usize); 6] = [
    (
        c"http_host",
        offset_of!(ngx_http_request_t, headers_in.host),
    ),
    (
        c"http_user_agent",
        offset_of!(ngx_http_request_t, headers_in.user_agent),
    ),
    (c"uri", offset_of!(ngx_http_request_t, uri)),
    (c"args", offset_of!(ngx_http_request_t, args)),
    (c"request_uri", offset_of!(ngx_http_request_t, unparsed_uri)),
    (
        c"server_protocol",
        offset_of!(ngx_http_request_t, http_protocol),
    ),
];

/// Members behind those that have an offset, and of other structures. Numbers before
/// what is found by following a pointer behind them.
const VALUES: [(&CStr, Field); 12] = [
    (c"uri", Field::Uri),
    (c"args", Field::Args),
    (c"request_method", Field::RequestMethod),
    (c"server_protocol", Field::ServerProtocol),
    (c"remote_addr", Field::RemoteAddr),
    (c"host", Field::Host),
    (c"server_name", Field::ServerName),
    (c"request_length", Field::RequestLength),
    (c"connection", Field::Connection),
    (c"connection_requests", Field::ConnectionRequests),
    (c"server_port", Field::ServerPort),
    (c"https", Field::Https),
];

const REBUILD: &CStr = c"rebuild ngx_http_lua_var_module against the sources of this nginx; \
     until then variables are read through nginx's handlers and lua_var_ctx_restore is off";

/// Compares offsets. To be called in each worker before its first request.
pub(crate) fn check_offsets(table: &Table) {
    if !VarValue::layout_agrees() {
        sys::log_error!(
            sys::EMERG,
            sys::cycle_log(),
            "lua_var: ngx_variable_value_t is not laid out as this module thinks; %s",
            REBUILD.as_ptr()
        );
        return differs();
    }
    for (name, ours) in OFFSETS {
        if let Some(var) = table.find(name.to_bytes()).filter(|var| var.data != ours) {
            sys::log_error!(
                sys::EMERG,
                sys::cycle_log(),
                "lua_var: the layout of ngx_http_request_t is not the one this module was \
                 built for: the member behind $%s is at offset %uz in nginx and at %uz in \
                 the module; %s",
                name.as_ptr(),
                var.data,
                ours,
                REBUILD.as_ptr()
            );
            return differs();
        }
    }
}

/// Compares values, on the worker's first request that has variables.
pub(crate) fn check_request(live: &LiveRequest) {
    let r = live.request();
    // This is the post-read phase: a main request, and not yet redirected.
    if !r.is_main() {
        let main = value_text(r.get().main as u64);
        return report(r, c"main", &main, &value_text(r.address() as u64));
    }
    let changes = r.uri_changes() as u64;
    if changes != sys::FRESH_URI_CHANGES as u64 {
        let expected = value_text(sys::FRESH_URI_CHANGES as u64);
        return report(r, c"uri_changes", &value_text(changes), &expected);
    }
    for (name, field) in VALUES {
        // SAFETY: null or a value in the request's pool.
        let theirs = unsafe {
            r.variable_named(name.to_bytes(), names::nginx_hash(name.to_bytes()))
                .as_ref()
        };
        let Some(theirs) = theirs else { continue };
        let theirs = theirs.text().unwrap_or(sys::EMPTY);
        // SAFETY: a variable's text lives as long as the request.
        let theirs = Text::of(unsafe { sys::bytes(theirs) });
        let ours = match live.field(field) {
            // SAFETY: as above; with a wrong layout it would not have passed `check_offsets`.
            Value::Text(text) => Text::of(unsafe { sys::bytes(text) }),
            Value::Number(number) => value_text(number as u64),
            Value::Nil => Text::of(b""),
        };
        if ours != theirs {
            return report(r, name, &ours, &theirs);
        }
    }
    worker().mode.set(Mode::Direct);
    live.slot().allow_direct();
}

/// Says which member differs, in the module's reading and in nginx's.
fn report(r: Request, name: &CStr, ours: &Text, theirs: &Text) {
    differs();
    sys::log_error!(
        sys::EMERG,
        r.log(),
        "lua_var: the layout of ngx_http_request_t is not the one this module was built for: \
         %s reads \"%*s\" in the module, \"%*s\" in nginx; %s",
        name.as_ptr(),
        ours.len,
        ours.bytes.as_ptr(),
        theirs.len,
        theirs.bytes.as_ptr(),
        REBUILD.as_ptr()
    );
}

fn differs() {
    worker().mode.set(Mode::Handlers);
    sys::LAYOUT_DIFFERS.store(true, Ordering::Relaxed);
}

fn value_text(number: u64) -> Text {
    Text::of(crate::value::decimal(number).as_bytes())
}

/// The beginning of a text, copied: nginx may move the original while it is compared.
#[derive(PartialEq, Eq)]
struct Text {
    len: usize,
    bytes: [u8; 64],
}

impl Text {
    fn of(source: &[u8]) -> Self {
        let mut text = Text {
            len: 0,
            bytes: [0; 64],
        };
        for (to, from) in text.bytes.iter_mut().zip(source) {
            *to = *from;
            text.len = text.len.wrapping_add(1);
        }
        text
    }
}
