//! Reading many variables of one request at once, for `shim/reader.c`.

use core::slice;

use super::functions::put_found;
use crate::mode;
use crate::nginx::shim::{
    NGX_HTTP_LUA_VAR_AGAIN, lua_var_req_t, ngx_http_lua_var_found_t, ngx_http_lua_var_value_t,
};
use crate::nginx::{AGAIN, ERROR, OK, ngx_int_t};
use crate::validation::{Call, Readable};
use crate::variable::read::InTable;
use crate::variable::value::Flavour;

/// Reads `n` variables of the request `req`. `NGX_AGAIN` if `fetch` has to be called for those
/// whose value is `NGX_HTTP_LUA_VAR_AGAIN`; `NGX_ERROR` if the request is refused, with the
/// reason in the first value.
///
/// # Safety
/// `shim/reader.c` calls it, with `req` on its stack. `find` has filled each of the `n` of
/// `found` in this process, for a name that is still where it was. `out` is valid for writes
/// of `n` values, and `n` is not 0.
pub(super) unsafe extern "C" fn read_many(
    req: *const lua_var_req_t,
    found: *const ngx_http_lua_var_found_t,
    n: usize,
    out: *mut ngx_http_lua_var_value_t,
) -> ngx_int_t {
    // SAFETY: it is on the stack of the C function that calls this one.
    let req = unsafe { &*req };
    // SAFETY: there are `n` of them, in a userdata that is an upvalue of that function.
    let found = unsafe { slice::from_raw_parts(found, n) };
    let call = Call::enter();
    let request = if mode::is_foreign() {
        None
    } else {
        // SAFETY: `request_arg` in `shim/core.h` set `current` for this call.
        match Readable::named(&call, unsafe { req.named() }) {
            Ok(live) => live.direct().and_then(InTable::of),
            Err(why) => {
                // SAFETY: there is room for one value at least, by the contract above.
                unsafe { &mut *out }.put_refusal(why);
                return ERROR;
            }
        }
    };
    let mut rc = OK;
    for (at, found) in found.iter().enumerate() {
        // SAFETY: `at` is less than `n`, and the caller has room for `n` values.
        let out = unsafe { out.add(at) };
        // SAFETY: it is within the room for `n` values, to which nothing else refers.
        let out = unsafe { &mut *out };
        match request {
            // SAFETY: `find` filled it, for a name that `shim/reader.c` anchors.
            Some(request) => unsafe { put_found(request, found, Flavour::Typed, out) },
            None => out.put_kind(NGX_HTTP_LUA_VAR_AGAIN),
        }
        if out.kind == NGX_HTTP_LUA_VAR_AGAIN as i32 {
            rc = AGAIN;
        }
    }
    rc
}
