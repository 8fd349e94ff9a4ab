//! The functions of the Lua library, as the interpreter calls them by way of
//! `shim/functions.c`.

use core::slice;

use super::{Failure, arguments};
use crate::mode;
use crate::nginx::lua_module::{self, SENTENCE};
use crate::nginx::request::AnyRequest;
use crate::nginx::shim::{
    LUA_VAR_SERIES, NGX_HTTP_LUA_VAR_AGAIN, NGX_HTTP_LUA_VAR_FIXED, lua_var_req_t,
    ngx_http_lua_var_found_t, ngx_http_lua_var_value_t,
};
use crate::nginx::{ngx_http_request_t, ngx_uint_t};
use crate::registry::slots::Handle;
use crate::status;
use crate::text::Writer;
use crate::validation::{Call, Direct, LiveRequest, Named, Readable};
use crate::variable::name::has_upper;
use crate::variable::read::{self, InTable};
use crate::variable::value::{Again, Flavour, Value};
use crate::variable::{assign, table};

/// `fetch`: the value of the variable `name` of the request `req`.
///
/// # Safety
/// `shim/functions.c` calls it: `name` is a Lua string of `len` bytes that is on the Lua stack,
/// `req` and `out` are on the C stack.
pub(super) unsafe extern "C" fn fetch(
    req: *const lua_var_req_t,
    name: *const u8,
    len: usize,
    flavour: i32,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: both are on the stack of the C function that calls this one.
    let (req, out) = unsafe { arguments(req, out) };
    // SAFETY: it is a Lua string of `len` bytes, which the Lua stack keeps alive.
    let name = unsafe { slice::from_raw_parts(name, len) };
    // SAFETY: `request_arg` in `shim/core.h` set `current` for this call.
    let named = unsafe { req.named() };
    out.put_result(by_name(
        &Call::enter(),
        named,
        name,
        Flavour::numbered(flavour),
    ));
}

fn by_name<'a>(
    call: &'a Call,
    named: Named<'a>,
    name: &[u8],
    flavour: Flavour,
) -> Result<Value<'a>, Failure<'a>> {
    if !mode::is_foreign() {
        return Ok(read::by_name(Readable::named(call, named)?, name, flavour)?);
    }
    let r = named.opaque()?;
    if has_upper(name) {
        return Err(Failure::Again);
    }
    Ok(read::by_lua_module(r, name, flavour)?)
}

/// `fetch` of a resolved name: the request is `current`, or the handle's if that is null.
/// `NGX_HTTP_LUA_VAR_AGAIN` if [`fetch`] has to be called.
///
/// # Safety
/// As [`fetch`]. [`find`] must have filled `found` in this process, maybe for an older
/// configuration, and the name must be where it was then.
pub(super) unsafe extern "C" fn read(
    handle: u64,
    current: *mut ngx_http_request_t,
    found: *const ngx_http_lua_var_found_t,
    flavour: i32,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: `found` is in the userdata of the VM, `out` on the stack of the C function that
    // calls this one.
    let (found, out) = unsafe { arguments(found, out) };
    let call = Call::enter();
    let live = if current.is_null() {
        Direct::by_handle(&call, Handle::from_bits(handle))
    } else {
        Direct::by_address(&call, current as usize)
    };
    match live.and_then(InTable::of) {
        // SAFETY: `find` filled it, for a name that `shim/names.c` anchors.
        Some(request) => unsafe { put_found(request, found, Flavour::numbered(flavour), out) },
        None => out.put_kind(NGX_HTTP_LUA_VAR_AGAIN),
    }
}

/// Writes the value of a resolved name to `out`.
///
/// # Safety
/// `found` must be as [`InTable::resolve`] requires.
#[inline(always)]
pub(super) unsafe fn put_found(
    request: InTable<'_>,
    found: &ngx_http_lua_var_found_t,
    flavour: Flavour,
    out: &mut ngx_http_lua_var_value_t,
) {
    // SAFETY: `found` is as required, by the contract above.
    let Some(resolved) = (unsafe { request.resolve(found) }) else {
        return out.put_kind(NGX_HTTP_LUA_VAR_AGAIN);
    };
    let read = request.read(
        resolved,
        flavour,
        #[inline(always)]
        |field, value| {
            let fixed = match (field, value) {
                (Some(field), Value::Text(text)) => field.fixed(text),
                _ => None,
            };
            match fixed {
                Some(n) => {
                    out.len = n as i32;
                    out.put_kind(NGX_HTTP_LUA_VAR_FIXED);
                }
                None => out.put(value),
            }
        },
    );
    if let Err(Again) = read {
        out.put_kind(NGX_HTTP_LUA_VAR_AGAIN);
    }
}

/// Resolves a name in the newest configuration. Returns 0 if only [`fetch`] can read it.
///
/// # Safety
/// As [`fetch`], with `found` valid for writes.
pub(super) unsafe extern "C" fn find(
    name: *const u8,
    len: usize,
    found: *mut ngx_http_lua_var_found_t,
) -> ngx_uint_t {
    // SAFETY: it is a Lua string of `len` bytes, which the Lua stack keeps alive.
    let name = unsafe { slice::from_raw_parts(name, len) };
    let resolved = table::newest().and_then(|table| read::find(table, name));
    // SAFETY: the C function that calls this one passes room for it.
    unsafe { found.write(resolved.unwrap_or(read::NOT_FOUND)) };
    ngx_uint_t::from(resolved.is_some())
}

/// `fetch` with a number: a capture of the last regular expression.
///
/// # Safety
/// As [`fetch`].
pub(super) unsafe extern "C" fn capture(
    req: *const lua_var_req_t,
    n: isize,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: both are on the stack of the C function that calls this one.
    let (req, out) = unsafe { arguments(req, out) };
    // SAFETY: `request_arg` in `shim/core.h` set `current` for this call.
    let named = unsafe { req.named() };
    out.put_result(numbered(&Call::enter(), named, n));
}

fn numbered<'a>(call: &'a Call, named: Named<'a>, n: isize) -> Result<Value<'a>, Failure<'a>> {
    if mode::is_foreign() {
        return Ok(Value::of(lua_module::capture(named.opaque()?, n)?));
    }
    let r = Readable::named(call, named)?.request();
    let n = usize::try_from(n).ok().filter(|n| *n > 0);
    Ok(Value::of(n.and_then(|n| r.capture(n))))
}

/// `set`: assigns `value` to the variable `name`; a null value unsets it.
///
/// # Safety
/// As [`fetch`]. `value` is null or a Lua string of `value_len` bytes; `sentence` is valid for
/// writes of [`SENTENCE`] bytes.
pub(super) unsafe extern "C" fn set(
    req: *const lua_var_req_t,
    name: *const u8,
    len: usize,
    value: *const u8,
    value_len: usize,
    sentence: *mut u8,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: both are on the stack of the C function that calls this one.
    let (req, out) = unsafe { arguments(req, out) };
    // SAFETY: it is a Lua string of `len` bytes, which the Lua stack keeps alive.
    let name = unsafe { slice::from_raw_parts(name, len) };
    // SAFETY: it is a Lua string of `value_len` bytes, which the Lua stack keeps alive.
    let value = (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value, value_len) });
    // SAFETY: `l_set` in `shim/functions.c` passes that many bytes on its stack.
    let sentence = unsafe { &mut *sentence.cast::<[u8; SENTENCE]>() };
    // SAFETY: `request_arg` in `shim/core.h` set `current` for this call.
    let named = unsafe { req.named() };
    out.put_done(assign(&Call::enter(), named, name, value, sentence));
}

fn assign<'a>(
    call: &'a Call,
    named: Named<'a>,
    name: &[u8],
    value: Option<&[u8]>,
    sentence: &'a mut [u8; SENTENCE],
) -> Result<(), Failure<'a>> {
    if has_upper(name) {
        return Err(Failure::Again);
    }
    let done = if mode::is_foreign() {
        lua_module::assign(named.opaque()?, name, value, sentence)
    } else {
        assign::assign(Readable::named(call, named)?, name, value)
    };
    done.map_err(Failure::Error)
}

/// `live`: whether the request is live.
///
/// # Safety
/// As [`fetch`].
pub(super) unsafe extern "C" fn live(
    req: *const lua_var_req_t,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: both are on the stack of the C function that calls this one.
    let (req, out) = unsafe { arguments(req, out) };
    // SAFETY: `request_arg` in `shim/core.h` set `current` for this call.
    let named = unsafe { req.named() };
    let call = Call::enter();
    let live = LiveRequest::named(&call, named);
    out.put_done(live.map(drop).map_err(Failure::Refused));
}

/// `request`: registers the current request and writes the bits of its handle.
///
/// # Safety
/// `current` is null or the request for which lua-nginx-module runs Lua; `handle` and `out` are
/// on the stack of `shim/functions.c`.
pub(super) unsafe extern "C" fn acquire(
    current: *mut ngx_http_request_t,
    handle: *mut u64,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: it is on the stack of the C function that calls this one.
    let out = unsafe { &mut *out };
    // SAFETY: `current` is null or live, by the contract above.
    let current = unsafe { AnyRequest::from_raw(current) };
    let call = Call::enter();
    let live = LiveRequest::current(&call, current);
    if let Ok(live) = live {
        // SAFETY: it is on the stack of that function, too.
        unsafe { handle.write(live.slot().handle().to_bits()) };
    }
    out.put_done(live.map(drop).map_err(Failure::Refused));
}

/// `stats`: the name of series `n` in `buf`, its length in `out.len`, and its value in
/// `out.number`. Returns 0 after the last series.
///
/// # Safety
/// `out` and the `LUA_VAR_SERIES` bytes at `buf` are on the stack of `shim/functions.c`.
pub(super) unsafe extern "C" fn figure(
    n: ngx_uint_t,
    buf: *mut u8,
    out: *mut ngx_http_lua_var_value_t,
) -> ngx_uint_t {
    // SAFETY: it is on the stack of the C function that calls this one.
    let out = unsafe { &mut *out };
    // SAFETY: so is this.
    let room = unsafe { &mut *buf.cast::<[u8; LUA_VAR_SERIES as usize]>() };
    let mut name = Writer::new(room);
    let Some(value) = status::numbered(n, &mut name) else {
        return 0;
    };
    out.len = name.finish().len() as i32;
    out.number = value as f64;
    1
}
