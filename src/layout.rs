//! The layout of nginx's structures: the offsets of the members that Lua reads, and the check
//! that the running nginx has the layout that this module was built for.
//!
//! nginx's module signature does not show a difference, because patches may add members to
//! structures without changing it, as those of OpenResty after 1.31.1.1 and of Kong do. So
//! two things are compared:
//!
//! - when the configuration is read, offsets, so that `nginx -t` reports a difference. nginx
//!   has its own `offsetof` in the data of the variables that `ngx_http_variable_request` and
//!   `ngx_http_variable_header` serve, and in its directives;
//! - at a worker's first request, what the module reads directly with what nginx's handlers
//!   return. The handlers fill a value of the module's, so that `r->variables` does not change.
//!
//! If anything differs, all variables are read through nginx's handlers from then on, and no
//! `ngx.ctx` is restored.

use core::cell::Cell;
use core::ffi::CStr;
use core::mem::offset_of;

use crate::mode::{self, Mode};
use crate::nginx::conf::core_directive_offset;
use crate::nginx::log::{EMERG, Log, log_error};
use crate::nginx::request::Request;
use crate::nginx::shim::ngx_http_lua_var_member_t as Member;
use crate::nginx::value::{Getter, VarValue};
use crate::nginx::{
    FRESH_URI_CHANGES, ngx_array_t, ngx_connection_t, ngx_http_core_loc_conf_t,
    ngx_http_core_main_conf_t, ngx_http_core_srv_conf_t, ngx_http_request_t,
    ngx_http_upstream_state_t, ngx_http_variable_value_t, ngx_str_t, ngx_table_elt_t, ngx_time_t,
};
use crate::registry::slots::Slot;
use crate::statics::{PerWorker, Shared};
use crate::validation::Readable;
use crate::variable::field::Field;
use crate::variable::nginx_handlers::nginx_handlers;
use crate::variable::number;
use crate::variable::value::Value;

/// The types that a member has in Lua's `ffi.cdef`. Each function takes a member of nginx's that
/// fits the type of its name; no other compiles.
mod fits {
    use super::ngx_str_t;

    pub(super) trait Integer {}

    impl Integer for i32 {}
    impl Integer for u32 {}
    impl Integer for i64 {}
    impl Integer for u64 {}
    impl Integer for isize {}
    impl Integer for usize {}

    pub(super) const fn int32<S, T: Integer>(_: fn(&S) -> &T) {
        assert!(size_of::<T>() == 4);
    }

    pub(super) const fn int64<S, T: Integer>(_: fn(&S) -> &T) {
        assert!(size_of::<T>() == 8);
    }

    /// The lower half of a 64-bit integer.
    pub(super) const fn low32<S, T: Integer>(_: fn(&S) -> &T) {
        assert!(size_of::<T>() == 8 && cfg!(target_endian = "little"));
    }

    pub(super) const fn string<S>(_: fn(&S) -> &ngx_str_t) {}

    pub(super) const fn pointer<S, T>(_: fn(&S) -> &*mut T) {}
}

/// The same types, as `ffi.cdef` writes them.
macro_rules! lua_type {
    (int32) => {
        c"int32_t"
    };
    (int64) => {
        c"int64_t"
    };
    (low32) => {
        c"int32_t"
    };
    (string) => {
        c"ngx_str_t"
    };
    (pointer $pointer:literal) => {
        $pointer
    };
}

/// Makes an array of [`Member`] of rows `structure name: type in Structure: member;`, or
/// `… at offset;` where the structure is not nginx's.
macro_rules! members {
    (@made [$($made:expr,)*]) => { [$($made,)*] };
    (@made [$($made:expr,)*]
        $structure:literal $name:literal: $type:ident $($pointer:literal)?
            in $of:ident: $($member:ident).+;
        $($rest:tt)*
    ) => {
        members!(@made [$($made,)* {
            fits::$type(|of: &$of| &of.$($member).+);
            Member {
                structure: $structure.as_ptr(),
                name: $name.as_ptr(),
                type_: lua_type!($type $($pointer)?).as_ptr(),
                offset: offset_of!($of, $($member).+),
            }
        },] $($rest)*)
    };
    (@made [$($made:expr,)*]
        $structure:literal $name:literal: $type:ident $($pointer:literal)? at $offset:expr;
        $($rest:tt)*
    ) => {
        members!(@made [$($made,)* Member {
            structure: $structure.as_ptr(),
            name: $name.as_ptr(),
            type_: lua_type!($type $($pointer)?).as_ptr(),
            offset: $offset,
        },] $($rest)*)
    };
    ($($row:tt)+) => { members!(@made [] $($row)+) };
}

macro_rules! in_request {
    ($($member:tt)+) => { offset_of!(ngx_http_request_t, $($member)+) };
}

/// The members that Lua reads. The structures are in the order in which C can declare them.
/// Most integers are signed, whatever they are in nginx, because LuaJIT compiles those best.
static MEMBERS: Shared<&[Member]> = Shared(&members! {
    c"connection" c"ssl": pointer c"const void *" in ngx_connection_t: ssl;
    c"connection" c"sent": int64 in ngx_connection_t: sent;
    c"connection" c"addr_text": string in ngx_connection_t: addr_text;
    c"connection" c"number": int64 in ngx_connection_t: number;
    c"connection" c"requests": int64 in ngx_connection_t: requests;
    c"connection" c"local_sockaddr": pointer c"const int32_t *" in ngx_connection_t: local_sockaddr;
    c"array" c"elts": pointer c"const void *" in ngx_array_t: elts;
    c"array" c"nelts": int64 in ngx_array_t: nelts;
    c"state" c"response_time": int64 in ngx_http_upstream_state_t: response_time;
    c"state" c"header_time": int64 in ngx_http_upstream_state_t: header_time;
    c"state" c"connect_time": int64 in ngx_http_upstream_state_t: connect_time;
    c"header" c"hash": int64 in ngx_table_elt_t: hash;
    c"header" c"value": string in ngx_table_elt_t: value;
    c"srv_conf" c"server_name": string in ngx_http_core_srv_conf_t: server_name;
    // The length and the flags share the first word, see `VarValue`.
    c"cached" c"word": int32 at 0;
    c"cached" c"data": pointer c"const void *" in ngx_http_variable_value_t: data;
    c"time" c"sec": int64 in ngx_time_t: sec;
    c"time" c"msec": int64 in ngx_time_t: msec;
    c"request" c"signature": int32 in ngx_http_request_t: signature;
    c"request" c"connection": pointer c"const ngx_http_lua_var_connection_t *"
        in ngx_http_request_t: connection;
    c"request" c"main": pointer c"const void *" in ngx_http_request_t: main;
    c"request" c"uri": string in ngx_http_request_t: uri;
    c"request" c"unparsed_uri": string in ngx_http_request_t: unparsed_uri;
    c"request" c"args": string in ngx_http_request_t: args;
    c"request" c"http_protocol": string in ngx_http_request_t: http_protocol;
    c"request" c"method_name": string in ngx_http_request_t: method_name;
    c"request" c"server": string in ngx_http_request_t: headers_in.server;
    c"request" c"err_status": low32 in ngx_http_request_t: err_status;
    c"request" c"out_status": low32 in ngx_http_request_t: headers_out.status;
    c"request" c"http_version": low32 in ngx_http_request_t: http_version;
    c"request" c"start_sec": int64 in ngx_http_request_t: start_sec;
    c"request" c"start_msec": int64 in ngx_http_request_t: start_msec;
    c"request" c"request_length": int64 in ngx_http_request_t: request_length;
    c"request" c"variables": pointer c"const ngx_http_lua_var_cached_t *"
        in ngx_http_request_t: variables;
    c"request" c"srv_conf": pointer c"const ngx_http_lua_var_srv_conf_t *const *"
        in ngx_http_request_t: srv_conf;
    c"request" c"upstream_states": pointer c"const ngx_http_lua_var_array_t *"
        in ngx_http_request_t: upstream_states;
    c"slot" c"generation": int32 at Slot::OFFSETS.generation;
    c"slot" c"readable": pointer c"const ngx_http_lua_var_request_t *" at Slot::OFFSETS.readable;
    c"slot" c"connection": pointer c"const ngx_http_lua_var_connection_t *"
        at Slot::OFFSETS.connection;
});

/// The members that Lua reads, for `ngx_http_lua_var_layout_t`.
pub(crate) fn members() -> &'static [Member] {
    MEMBERS.0
}

/// Variables whose data in nginx is the offset of a member of `ngx_http_request_t`, with the
/// module's offset of that member.
const VARIABLES: [(&str, usize); 7] = [
    ("uri", in_request!(uri)),
    ("args", in_request!(args)),
    ("request_uri", in_request!(unparsed_uri)),
    ("server_protocol", in_request!(http_protocol)),
    ("query_string", in_request!(args)),
    ("http_host", in_request!(headers_in.host)),
    ("http_user_agent", in_request!(headers_in.user_agent)),
];

/// Directives of the core module, with the module's offset of the member that each fills. The
/// members that the module uses are near these.
const DIRECTIVES: [(&str, usize); 4] = [
    (
        "variables_hash_max_size",
        offset_of!(ngx_http_core_main_conf_t, variables_hash_max_size),
    ),
    (
        "connection_pool_size",
        offset_of!(ngx_http_core_srv_conf_t, connection_pool_size),
    ),
    (
        "log_not_found",
        offset_of!(ngx_http_core_loc_conf_t, log_not_found),
    ),
    (
        "types_hash_max_size",
        offset_of!(ngx_http_core_loc_conf_t, types_hash_max_size),
    ),
];

/// Fields that are compared at the first request: their members are of other structures, or
/// behind those whose offsets nginx tells.
const FIELDS: [Field; 12] = [
    Field::Uri,
    Field::Args,
    Field::RequestMethod,
    Field::ServerProtocol,
    Field::RemoteAddr,
    Field::Host,
    Field::ServerName,
    Field::RequestLength,
    Field::Connection,
    Field::ConnectionRequests,
    Field::ServerPort,
    Field::Https,
];

/// The end of each message about a difference.
const REBUILD: &CStr = c"rebuild ngx_http_lua_var_module against the sources of this nginx; \
     until then variables are read through nginx's handlers and lua_var_ctx_restore is off";

/// The offsets of one member.
#[derive(Clone, Copy)]
struct Difference {
    /// The variable or directive that tells nginx's offset.
    name: &'static str,
    /// The offset in nginx.
    theirs: usize,
    /// The offset in this module.
    ours: usize,
}

/// The first difference that [`check_offsets`] found.
static DIFFERENCE: PerWorker<Cell<Option<Difference>>> = PerWorker(Cell::new(None));

/// Compares offsets. To be called in preconfiguration, because with a different layout the
/// rest of the configuration is read in another way.
pub(crate) fn check_offsets() {
    let found = if VarValue::layout_agrees() {
        offsets().find(|offset| offset.theirs != offset.ours)
    } else {
        Some(Difference {
            name: "ngx_variable_value_t",
            theirs: 0,
            ours: 0,
        })
    };
    DIFFERENCE.set(found);
    if found.is_some() {
        mode::set(Mode::Handlers);
    }
}

/// All members whose offsets nginx tells, equal ones included.
fn offsets() -> impl Iterator<Item = Difference> {
    let known = |name: &str| {
        let fields = nginx_handlers()
            .fields()
            .map(|(name, _, getter)| (name, getter));
        let mut all = fields.chain(nginx_handlers().headers());
        let found = all.find(|(other, getter)| *other == name && *getter != Getter::NONE);
        found.map(|(_, getter)| getter.data())
    };
    let variables = VARIABLES
        .iter()
        .map(move |(name, ours)| (*name, known(name), *ours));
    let directives = DIRECTIVES
        .iter()
        .map(|(name, ours)| (*name, core_directive_offset(name.as_bytes()), *ours));
    variables
        .chain(directives)
        .filter_map(|(name, theirs, ours)| {
            let theirs = theirs?;
            Some(Difference { name, theirs, ours })
        })
}

/// Logs a difference that [`check_offsets`] found. To be called in `init_module`, when the
/// configuration's log is open.
pub(crate) fn report_offsets() {
    if let Some(Difference { name, theirs, ours }) = DIFFERENCE.get() {
        log_error!(
            EMERG,
            Log::of_cycle(),
            "lua_var: the layout of nginx's structures is not the one this module was \
             built for: the member for \"%*s\" is at offset %uz in nginx and at %uz in \
             the module; %s",
            name.len(),
            name.as_ptr(),
            theirs,
            ours,
            REBUILD.as_ptr()
        );
    }
}

/// Compares what the module reads from a request with what nginx's handlers return. To be
/// called for a worker's first main request, in the post-read phase, when it was not
/// redirected yet.
pub(crate) fn check_request(live: Readable<'_>) {
    let r = live.request();
    if !r.is_main() {
        return report_number(r, "main", r.main_address() as u64, r.address() as u64);
    }
    let (changes, fresh) = (r.uri_changes() as u64, FRESH_URI_CHANGES as u64);
    if changes != fresh {
        return report_number(r, "uri_changes", changes, fresh);
    }
    for wanted in FIELDS {
        // Without a local address nginx's handler would call `getsockname` and store it.
        if wanted == Field::ServerPort && r.local_port().is_none() {
            continue;
        }
        for (name, field, getter) in nginx_handlers().fields() {
            if field == wanted && !agrees(r, name, field, r.evaluate(getter)) {
                return;
            }
        }
    }
    mode::set(Mode::Direct);
    live.slot().allow_direct();
}

/// Whether the module reads `theirs`, the value that nginx's handler returned. Returns false
/// after logging an error.
///
/// Only the address and the length of a text are compared, because with a different layout
/// the address may be anything.
fn agrees(r: Request<'_>, name: &str, field: Field, theirs: Option<&[u8]>) -> bool {
    let number = match field.read(r) {
        Some(Value::Number(number)) => number as u64,
        Some(Value::Decimal(number)) => number,
        Some(Value::Text(ours)) => {
            let is_same = match theirs {
                // The module has its own constant "on".
                Some(theirs) if field == Field::Https => ours.len() == theirs.len(),
                // nginx allocates the text, even the empty one for a unix socket.
                Some(theirs) if field == Field::ServerPort => ours.len() == theirs.len(),
                Some(theirs) => core::ptr::eq(ours, theirs),
                None => false,
            };
            if !is_same {
                report(r, name, ours.as_ptr() as u64, ours.len(), theirs);
            }
            return is_same;
        }
        _ => {
            if let Some(theirs) = theirs {
                report(r, name, 0, 0, Some(theirs));
            }
            return theirs.is_none();
        }
    };
    let ours = number::decimal(number);
    if Some(ours.as_bytes()) == theirs {
        return true;
    }
    report_text(r, name, ours.as_bytes(), theirs.unwrap_or_default());
    false
}

/// Logs a text that differs, and switches to nginx's handlers. Of the module's text only the
/// length and the address are logged.
fn report(r: Request<'_>, name: &str, at: u64, len: usize, theirs: Option<&[u8]>) {
    let theirs = theirs.unwrap_or_default();
    mode::set(Mode::Handlers);
    log_error!(
        EMERG,
        r.log(),
        "lua_var: the layout of ngx_http_request_t is not the one this module was built for: \
         %*s reads %uz bytes at %xL in the module, \"%*s\" at %p in nginx; %s",
        name.len(),
        name.as_ptr(),
        len,
        at,
        theirs.len(),
        theirs.as_ptr(),
        theirs.as_ptr(),
        REBUILD.as_ptr()
    );
}

/// Logs a number that differs, and switches to nginx's handlers.
fn report_number(r: Request<'_>, name: &str, ours: u64, theirs: u64) {
    let [ours, theirs] = [ours, theirs].map(number::decimal);
    report_text(r, name, ours.as_bytes(), theirs.as_bytes());
}

/// Logs a number that differs, as text, and switches to nginx's handlers.
fn report_text(r: Request<'_>, name: &str, ours: &[u8], theirs: &[u8]) {
    mode::set(Mode::Handlers);
    log_error!(
        EMERG,
        r.log(),
        "lua_var: the layout of ngx_http_request_t is not the one this module was built for: \
         %*s reads \"%*s\" in the module, \"%*s\" in nginx; %s",
        name.len(),
        name.as_ptr(),
        ours.len(),
        ours.as_ptr(),
        theirs.len(),
        theirs.as_ptr(),
        REBUILD.as_ptr()
    );
}
