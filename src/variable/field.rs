//! The variables that the module reads directly from the request, without nginx's handler.
//! Each is one row of a table below, which CONTRIBUTING.md explains.

use super::number::{self, Attempt};
use super::value::Value;
use crate::nginx;
use crate::nginx::request::{Request, UpstreamState};

/// Makes [`Field`] of rows `Field [names] kind |request| value;`.
///
/// The value must be the one that nginx's handler of that name returns: see
/// `ngx_http_variables.c`, and `ngx_http_upstream.c` for the upstream times. With the kind
/// `number` the Lua function `fetch` returns a Lua number, as lua-var-nginx-module's does.
/// Whether a variable is no-cacheable comes from nginx's definition of it.
macro_rules! fields {
    ($($field:ident [$($name:literal)+] $kind:ident |$r:ident| $value:expr;)+) => {
        /// A variable that is read directly from the request.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Field {
            $(#[doc = concat!($("`$", $name, "` ",)+)] $field,)+
        }

        /// All names, in lower case, each with its field.
        pub(crate) const NAMES: &[(&str, Field)] = &[$($(($name, Field::$field),)+)+];

        impl Field {
            /// All fields, in the order of their numbers.
            const ALL: &'static [Field] = &[$(Field::$field,)+];

            /// Whether the Lua function `fetch` returns a number for it.
            pub(crate) const fn is_number(self) -> bool {
                match self {
                    $(Field::$field => fields!(@is_number $kind),)+
                }
            }

            /// The value in a request; `None` if nginx's handler has to be called.
            #[inline(always)]
            pub(crate) fn read(self, r: Request<'_>) -> Option<Value<'_>> {
                self.read_with(r, |_, value| value)
            }

            /// Reads the value and passes it to `give` together with the field.
            // `give` is called in each arm, because there the compiler knows which kind of
            // value it is.
            #[inline(always)]
            pub(crate) fn read_with<'a, T>(
                self,
                r: Request<'a>,
                give: impl FnOnce(Field, Option<Value<'a>>) -> T,
            ) -> T {
                match self {
                    $(Field::$field => give(Field::$field, { let $r = r; $value }),)+
                }
            }
        }
    };
    (@is_number text) => { false };
    (@is_number number) => { true };
}

fields! {
    Uri ["uri" "document_uri"] text |r| text_or_nil(r.uri());
    RequestUri ["request_uri"] text |r| text_or_nil(r.unparsed_uri());
    Args ["args" "query_string"] text |r| text_or_nil(r.args());
    RequestMethod ["request_method"] text |r| text_or_nil(r.method_name());
    ServerProtocol ["server_protocol"] text |r| text_or_nil(r.http_protocol());
    Host ["host"] text |r| text(host(r));
    ServerName ["server_name"] text |r| text(r.server_name());
    RemoteAddr ["remote_addr"] text |r| text(r.remote_addr());
    Scheme ["scheme"] text |r| text(scheme(r));
    Https ["https"] text |r| text(if r.is_tls() { b"on" } else { b"" });
    Connection ["connection"] text |r| Some(Value::Decimal(r.connection_number()));
    ConnectionRequests ["connection_requests"] text
        |r| Some(Value::Decimal(r.connection_requests()));
    ServerPort ["server_port"] text |r| port(r.local_port());
    Msec ["msec"] text |_r| Some(Value::Seconds(now()));
    Status ["status"] number |r| Some(Value::Number(status(r) as f64));
    RequestTime ["request_time"] number |r| seconds(request_time(r));
    RequestLength ["request_length"] number |r| Some(Value::Number(r.request_length() as f64));
    BytesSent ["bytes_sent"] number |r| Some(Value::Number(r.bytes_sent() as f64));
    UpstreamResponseTime ["upstream_response_time"] number
        |r| upstream_seconds(r, UpstreamState::response_time);
    UpstreamHeaderTime ["upstream_header_time"] number
        |r| upstream_seconds(r, UpstreamState::header_time);
    UpstreamConnectTime ["upstream_connect_time"] number
        |r| upstream_seconds(r, UpstreamState::connect_time);
}

impl Field {
    /// The field with this number (`Field as i32`); `None` if there is none.
    #[inline(always)]
    pub(crate) fn numbered(number: i32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Whether `fetch` returns a number for the variable with this name, in any case.
    pub(crate) fn is_name_of_number(name: &[u8]) -> bool {
        let is_it = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        NAMES.iter().any(|(other, field)| field.is_number() && is_it(other))
    }

    /// The number of a value among the strings that Lua has already (`LUA_VAR_FIXED_TEXTS`);
    /// `None` if it is none of them.
    #[inline(always)]
    pub(crate) fn fixed(self, text: &[u8]) -> Option<u32> {
        let (first, one, other): (u32, &[u8], &[u8]) = match self {
            Field::Scheme => (0, b"http", b"https"),
            Field::RequestMethod => (2, b"GET", b"POST"),
            Field::ServerProtocol => (4, b"HTTP/1.1", b"HTTP/2.0"),
            Field::Https => (6, b"on", b""),
            _ => return None,
        };
        match text {
            text if text == one => Some(first),
            text if text == other => Some(first.wrapping_add(1)),
            _ => None,
        }
    }
}

#[inline(always)]
fn text(text: &[u8]) -> Option<Value<'_>> {
    Some(Value::Text(text))
}

/// The value of an `ngx_str_t`. One whose `data` is null was never set, and the variable is
/// not found (`ngx_http_variable_request`).
#[inline(always)]
fn text_or_nil(text: Option<&[u8]>) -> Option<Value<'_>> {
    Some(text.map_or(Value::Nil, Value::Text))
}

/// Milliseconds as a number of seconds.
fn seconds(ms: i64) -> Option<Value<'static>> {
    Some(Value::Number(ms as f64 / 1000.0))
}

/// `$host` (`ngx_http_variable_host`)
pub(crate) fn host(r: Request<'_>) -> &[u8] {
    match r.host() {
        b"" => r.server_name(),
        host => host,
    }
}

/// `$scheme` (`ngx_http_variable_scheme`)
pub(crate) fn scheme(r: Request<'_>) -> &'static [u8] {
    if r.is_tls() { b"https" } else { b"http" }
}

/// `$server_port` (`ngx_http_variable_server_port`). 0 stands for an address without a port,
/// such as a unix socket's.
fn port(port: Option<u16>) -> Option<Value<'static>> {
    Some(match port? {
        0 => Value::Text(b""),
        port => Value::Decimal(port.into()),
    })
}

/// `$msec` (`ngx_http_variable_msec`), in milliseconds.
fn now() -> i64 {
    let (sec, msec) = nginx::time();
    sec.wrapping_mul(1000).wrapping_add(msec)
}

/// `$status` (`ngx_http_variable_status`)
fn status(r: Request<'_>) -> usize {
    match (r.err_status(), r.out_status()) {
        (0, 0) if r.http_version() == 9 => 9,
        (0, status) => status,
        (status, _) => status,
    }
}

/// `$request_time` (`ngx_http_variable_request_time`), in milliseconds.
pub(crate) fn request_time(r: Request<'_>) -> i64 {
    let (now_sec, now_msec) = nginx::time();
    let (start_sec, start_msec) = r.start();
    number::elapsed(now_sec, now_msec, start_sec, start_msec)
}

/// Milliseconds at upstreams, summed over all attempts. `Some(None)` if there was no attempt;
/// `None` if the elements of `r->upstream_states` are smaller than the module expects, so
/// that nginx's handler has to be called.
pub(crate) fn upstream_time<'a>(
    r: Request<'a>,
    time: fn(UpstreamState<'a>) -> i64,
) -> Option<Option<i64>> {
    let states = r.upstream_states().ok()?;
    Some(number::sum(states.map(|state| Attempt { ms: time(state), has_peer: state.has_peer() })))
}

fn upstream_seconds<'a>(
    r: Request<'a>,
    time: fn(UpstreamState<'a>) -> i64,
) -> Option<Value<'static>> {
    match upstream_time(r, time)? {
        Some(ms) => seconds(ms),
        None => Some(Value::Nil),
    }
}
