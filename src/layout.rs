//! Whether nginx's structures have the layout that this module was built for.
//!
//! nginx's module signature does not show a difference, because patches may add members to
//! structures without changing it, as those of OpenResty after 1.31.1.1 and of Kong do. So
//! two things are compared:
//!
//! - when the configuration is read, offsets. nginx has its own `offsetof` in the data of the
//!   variables that `ngx_http_variable_request` and `ngx_http_variable_header` serve, and in its
//!   directives. If one differs, nginx refuses the configuration;
//! - at a worker's first request, what the module reads directly with what nginx's handlers
//!   return. The handlers fill a value of the module's, so that `r->variables` does not change.
//!   If one differs, the module does nothing in this worker: handles are refused, and `fetch`
//!   reads `ngx.var`.

use core::cell::Cell;
use core::mem::offset_of;

use crate::figures::{self, Figure};
use crate::nginx::conf::{Conf, conf_error, core_directive_offset};
use crate::nginx::log::{EMERG, Log, log_error};
use crate::nginx::request::Request;
use crate::nginx::value::{VarValue, Variable, defined};
use crate::nginx::{
    FRESH_URI_CHANGES, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_core_srv_conf_t, ngx_http_request_t,
};
use crate::statics::PerWorker;
use crate::text::{put, written};
use crate::variable::field::Field;
use crate::variable::nginx_handlers::nginx_handlers;
use crate::variable::value::Value;

/// What is known of the layout in this worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Layout {
    /// Nothing, until the worker's first request.
    Unchecked,
    /// It is the one that the module was built for.
    Agrees,
    /// It is another one, so that no member of a request may be read.
    Differs,
}

static LAYOUT: PerWorker<Cell<Layout>> = PerWorker(Cell::new(Layout::Unchecked));

/// Where it is stored, for `debugger.rs`.
pub(crate) const fn address() -> *const Cell<Layout> {
    &raw const LAYOUT.0
}

/// Whether requests may be read. The worker's first request is compared first.
#[inline(always)]
pub(crate) fn agrees(r: Request<'_>) -> bool {
    LAYOUT.get() == Layout::Agrees || check(r)
}

/// Whether the layout is known to be another one.
pub(crate) fn differs() -> bool {
    LAYOUT.get() == Layout::Differs
}

macro_rules! in_request {
    ($($member:tt)+) => { offset_of!(ngx_http_request_t, $($member)+) };
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
    ("variables_hash_max_size", offset_of!(ngx_http_core_main_conf_t, variables_hash_max_size)),
    ("connection_pool_size", offset_of!(ngx_http_core_srv_conf_t, connection_pool_size)),
    ("log_not_found", offset_of!(ngx_http_core_loc_conf_t, log_not_found)),
    ("types_hash_max_size", offset_of!(ngx_http_core_loc_conf_t, types_hash_max_size)),
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

/// Compares offsets. To be called in preconfiguration, because with a different layout the rest of
/// the configuration is read in another way. Returns false after logging a difference.
pub(crate) fn check_offsets(cf: Conf<'_>) -> bool {
    let found = if VarValue::layout_agrees() {
        offsets(cf).find(|(_, theirs, ours)| theirs != ours)
    } else {
        Some(("ngx_variable_value_t", 0, 0))
    };
    let Some((name, theirs, ours)) = found else {
        return true;
    };
    conf_error!(
        cf;
        "ngx_http_lua_var_module is not binary compatible with this nginx, which was built from \
         other sources: the member for \"", name, "\" is at offset ", theirs as u64, " in nginx and \
         at ", ours as u64, " in the module; rebuild ngx_http_lua_var_module against the sources \
         of this nginx",
    );
    false
}

/// All members whose offsets nginx tells: the variable or directive that tells it, the offset in
/// nginx and the one in the module.
fn offsets(cf: Conf<'_>) -> impl Iterator<Item = (&'static str, usize, usize)> {
    let known = move |name: &str| {
        let is_it = |v: &Variable<'_>| v.name() == name.as_bytes();
        let found = defined(cf.core_main_conf()?).ok()?.find(is_it)?;
        Some(found.getter().data())
    };
    let variables = VARIABLES.iter().map(move |(name, ours)| (*name, known(name), *ours));
    let directives = DIRECTIVES
        .iter()
        .map(|(name, ours)| (*name, core_directive_offset(name.as_bytes()), *ours));
    variables.chain(directives).filter_map(|(name, theirs, ours)| Some((name, theirs?, ours)))
}

/// Compares what the module reads from a worker's first request with what nginx's handlers return.
#[cold]
fn check(r: Request<'_>) -> bool {
    if differs() {
        return false;
    }
    let agrees = is_plausible(r) && FIELDS.iter().all(|field| agrees_on(r, *field));
    LAYOUT.set(match agrees {
        true => Layout::Agrees,
        false => Layout::Differs,
    });
    figures::set(Figure::LayoutDiffers, u64::from(!agrees));
    agrees
}

/// Compares the members that no variable shows.
fn is_plausible(r: Request<'_>) -> bool {
    let changes = r.uri_changes();
    if !r.is_main() {
        report("main", r.address() as u64, b"the same");
    } else if changes == 0 || changes > FRESH_URI_CHANGES {
        report("uri_changes", changes as u64, b"1 to 11");
    } else {
        return true;
    }
    false
}

/// Whether the module reads what nginx's handlers of a field return. Returns false after logging
/// an error.
///
/// Only the address and the length of a text are compared, because with a different layout
/// the address may be anything.
fn agrees_on(r: Request<'_>, field: Field) -> bool {
    // Without a local address nginx's handler would call `getsockname` and store it.
    if field == Field::ServerPort && r.local_port().is_none() {
        return true;
    }
    let mut handlers = nginx_handlers().fields().filter(|(_, f, _)| *f == field);
    handlers.all(|(name, _, getter)| {
        let theirs = r.evaluate(getter);
        let is_number = |ours: u64| Some(written(&mut [0; 20], |w| put!(w; ours))) == theirs;
        let (is_same, ours) = match field.read(r) {
            Some(Value::Number(number)) => (is_number(number as u64), number as u64),
            Some(Value::Decimal(number)) => (is_number(number), number),
            Some(Value::Text(ours)) => {
                let is_same = theirs.is_some_and(|theirs| match field {
                    // The module has its own constant "on", and nginx allocates the port, even the
                    // empty one of a unix socket.
                    Field::Https | Field::ServerPort => ours.len() == theirs.len(),
                    _ => core::ptr::eq(ours, theirs),
                });
                (is_same, ours.len() as u64)
            }
            _ => (theirs.is_none(), 0),
        };
        if !is_same {
            report(name, ours, theirs.unwrap_or_default());
        }
        is_same
    })
}

/// Logs what differs. Of a text that the module reads `ours` is the length, 0 of nothing.
fn report(name: &str, ours: u64, theirs: &[u8]) {
    log_error!(
        EMERG, Log::of_cycle();
        "the layout of nginx's structures is not the one this module was built for: ", name,
        " reads \"", ours, "\" in the module, \"", theirs, "\" in nginx; rebuild \
         ngx_http_lua_var_module against the sources of this nginx; until then fetch reads \
         ngx.var, handles are refused and no ngx.ctx is restored",
    );
}
