//! What the test suite asks of the registry. Only in builds with the `testing`
//! feature.

use crate::figures::{self, Figure};
use crate::nginx::{ngx_http_request_t, ngx_str_t};
use crate::registry::registry;

/// Figures of the registry: 0 live, 1 retired, 2 slots with memory, 3 handles
/// refused, 4 contexts restored, 5 addresses in the index.
#[unsafe(no_mangle)]
pub extern "C" fn ngx_http_lua_var_testing_figure(which: u32) -> f64 {
    let registry = registry();
    match which {
        0 => f64::from(registry.slots.live()),
        1 => f64::from(registry.slots.retired()),
        2 => registry.slots.capacity() as f64,
        3 => figures::row().get(Figure::RefusedStale) as f64,
        5 => f64::from(registry.indexed()),
        _ => {
            let row = figures::row();
            let other = row.get(Figure::RestoredOther);
            row.get(Figure::RestoredErrorPage).wrapping_add(other) as f64
        }
    }
}

/// Makes the generation of a slot's occupant its last; 0 when there is no such slot.
#[unsafe(no_mangle)]
pub extern "C" fn ngx_http_lua_var_testing_age(id: u32) -> i32 {
    registry().slots.by_id(id).map_or(0, |slot| {
        slot.age();
        1
    })
}

/// `$uri` of whatever is at `r`, unchecked, as lua-var-nginx-module's C code reads
/// it: for `make test-guard` to show that it notices.
///
/// # Safety
/// `r` has to be live, which is what the caller does not see to; `uri` is valid
/// for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_testing_unsafe_uri(
    r: *const ngx_http_request_t,
    uri: &mut ngx_str_t,
) {
    // SAFETY: the caller's word, which is not kept.
    *uri = unsafe { (*r).uri };
}
