//! `reader`, as `shim/reader.c` has it: many variables of one request at once.

use core::slice;

use super::functions::put_found;
use crate::mode;
use crate::nginx::shim::{
    NGX_HTTP_LUA_VAR_AGAIN, lua_var_req_t, ngx_http_lua_var_found_t, ngx_http_lua_var_value_t,
};
use crate::nginx::{AGAIN, ERROR, OK, ngx_int_t};
use crate::request::{Call, Readable};
use crate::variable::read::InTable;
use crate::variable::value::Flavour;

/// Many variables of the request `req`: `NGX_OK`; `NGX_AGAIN` when some have to be asked for
/// with `fetch`; `NGX_ERROR` when the request is refused, which the first of `out` says.
///
/// # Safety
/// `shim/reader.c` calls it: `req` is on its stack; there are `n` of `found`, each filled by
/// `find` in this process for a name that is still where it was; there is room for `n`
/// values at `out`, which is one at least.
pub(super) unsafe extern "C" fn read_many(
    req: *const lua_var_req_t,
    found: *const ngx_http_lua_var_found_t,
    n: usize,
    out: *mut ngx_http_lua_var_value_t,
) -> ngx_int_t {
    // SAFETY: on the stack of the function that waits for this one.
    let req = unsafe { &*req };
    // SAFETY: `n` of them, in a userdata that an upvalue of that function keeps.
    let found = unsafe { slice::from_raw_parts(found, n) };
    let call = Call::enter();
    let request = if mode::is_foreign() {
        None
    } else {
        // SAFETY: C filled it for this call.
        match Readable::named(&call, unsafe { req.named() }) {
            Ok(live) => live.direct().and_then(InTable::of),
            Err(why) => {
                // SAFETY: room for one at least, which nobody else has.
                unsafe { &mut *out }.put_refusal(why);
                return ERROR;
            }
        }
    };
    let mut rc = OK;
    for (at, found) in found.iter().enumerate() {
        // SAFETY: there is room for as many as were found.
        let out = unsafe { out.add(at) };
        // SAFETY: within that room, which nobody else has.
        let out = unsafe { &mut *out };
        match request {
            // SAFETY: `find` filled it, for a name that `shim/reader.c` keeps.
            Some(request) => unsafe { put_found(request, found, Flavour::Typed, out) },
            None => out.put_kind(NGX_HTTP_LUA_VAR_AGAIN),
        }
        if out.kind == NGX_HTTP_LUA_VAR_AGAIN as i32 {
            rc = AGAIN;
        }
    }
    rc
}
