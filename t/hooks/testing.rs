//! Functions through which the test suite inspects the registry, and a prefix within another one,
//! which no module at hand has. This file is compiled only with the `testing` feature.

use crate::figures::{self, Figure};
use crate::nginx::conf::Conf;
use crate::nginx::request::Request;
use crate::nginx::value::Defined;
use crate::nginx::{ngx_http_request_t, ngx_str_t};
use crate::registry::registry;

/// Defines the prefix `arg_nested_`, which is always found. Returns false after logging an error.
pub(crate) fn define_variables(cf: Conf<'_>) -> bool {
    cf.add_variable::<Nested>(b"arg_nested_", 0)
}

struct Nested;

impl Defined for Nested {
    fn value<'a>(_r: Request<'a>, _which: usize) -> Option<&'a [u8]> {
        Some(b"nested")
    }
}

/// A figure of this worker: 0 live requests, 1 retired slots, 2 writable slots, 3 refusals of
/// stale requests, 4 restored `ngx.ctx`, 5 entries in the index of addresses.
#[unsafe(no_mangle)]
extern "C" fn ngx_http_lua_var_testing_figure(which: u32) -> f64 {
    let registry = registry();
    match which {
        0 => f64::from(registry.slots.live()),
        1 => f64::from(registry.slots.retired()),
        2 => registry.slots.allocated() as f64,
        3 => figures::own(Figure::RefusedStale) as f64,
        5 => registry.indexed() as f64,
        _ => {
            let other = figures::own(Figure::RestoredOther);
            figures::own(Figure::RestoredErrorPage).wrapping_add(other) as f64
        }
    }
}

/// Makes the generation of a slot its last (`Slot::age`). Returns 0 if there is no such slot.
#[unsafe(no_mangle)]
extern "C" fn ngx_http_lua_var_testing_age(id: u32) -> i32 {
    registry().slots.by_id(id).map_or(0, |slot| {
        slot.age();
        1
    })
}

/// Reads `r->uri` without validation, as lua-var-nginx-module's C code does. `make test-guard`
/// calls this with a request that has ended, to show that the guard pages detect it.
///
/// # Safety
/// `r` must be a live request; the test breaks this on purpose. `uri` must be valid for
/// writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn ngx_http_lua_var_testing_unsafe_uri(
    r: *const ngx_http_request_t,
    uri: &mut ngx_str_t,
) {
    // SAFETY: the caller is responsible; the test breaks the contract on purpose.
    *uri = unsafe { (*r).uri };
}
