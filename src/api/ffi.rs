//! The functions that the Lua library calls over LuaJIT's FFI. `shim/ffi.h` declares them.
//!
//! They raise no errors and log nothing. What they cannot do has `NGX_HTTP_LUA_VAR_AGAIN` or
//! its like as the result, and the library calls the function of Lua's C API.

use core::ffi::c_void;

use super::declared_in_shim;
use crate::conf::SrvConf;
use crate::culprits;
use crate::layout;
use crate::mode;
use crate::nginx::shim::{
    NGX_HTTP_LUA_VAR_AGAIN, ngx_http_lua_var_found_t, ngx_http_lua_var_handle_t,
    ngx_http_lua_var_layout_t, ngx_http_lua_var_value_t,
};
use crate::nginx::{self, DECLINED, ERROR, OK, ngx_http_request_t};
use crate::ngx_ctx;
use crate::refusal::Refusal;
use crate::registry::registry;
use crate::registry::slots::{Handle, Slot};
use crate::restore;
use crate::validation::{Call, Direct, LiveRequest, Readable};
use crate::variable::read::{self, InTable, Resolved};
use crate::variable::value::Flavour;
use crate::variable::{assign, table};

declared_in_shim! {
    ngx_http_lua_var_ffi_fetch
    ngx_http_lua_var_ffi_read
    ngx_http_lua_var_ffi_slot
    ngx_http_lua_var_ffi_resolve
    ngx_http_lua_var_ffi_assign
    ngx_http_lua_var_ffi_layout
    ngx_http_lua_var_ffi_ctx_lost
    ngx_http_lua_var_ffi_handshake
    ngx_http_lua_var_ffi_ctx_made
}

/// The request that `handle` names or, if that is null, the live one at `current`. It is refused
/// if it has no variables or the layout differs.
///
/// # Safety
/// `handle` is null or points to a handle; `current` may be any pointer.
#[inline(always)]
unsafe fn readable(
    call: &Call,
    handle: *const ngx_http_lua_var_handle_t,
    current: *mut ngx_http_request_t,
) -> Result<Readable<'_>, Refusal> {
    if mode::is_foreign() {
        return Err(Refusal::Layout);
    }
    // SAFETY: `handle` is null or a cdata that LuaJIT keeps alive during the call.
    match unsafe { handle.as_ref() } {
        Some(&ngx_http_lua_var_handle_t { id, generation }) => {
            Readable::by_handle(call, Handle { id, generation })
        }
        None => Readable::by_address(call, current as usize),
    }
}

/// The same request, if its members may be read.
///
/// # Safety
/// As [`readable`].
#[inline(always)]
unsafe fn direct(
    call: &Call,
    handle: *const ngx_http_lua_var_handle_t,
    current: *mut ngx_http_request_t,
) -> Option<Direct<'_>> {
    // SAFETY: `handle` is null or a cdata that LuaJIT keeps alive during the call.
    match unsafe { handle.as_ref() } {
        Some(&ngx_http_lua_var_handle_t { id, generation }) => {
            Direct::by_handle(call, Handle { id, generation })
        }
        None => Direct::by_address(call, current as usize),
    }
}

/// Numbers the value in `out`, so that its reader notices when another call replaces it.
#[inline(always)]
fn finish(out: &mut ngx_http_lua_var_value_t) -> i32 {
    out.call = out.call.wrapping_add(1);
    out.call
}

/// Reads the variable `name`, in lower case, of the request that `handle` names or, if that is
/// null, of the current request `current`. Writes the value to `out` and returns its number,
/// `out.call`. `NGX_HTTP_LUA_VAR_AGAIN` if the function of the C API has to be called.
///
/// # Safety
/// `handle` is null or points to a handle, `name` is valid for reads of `len` bytes, and `out` is
/// null or valid for writes. `current` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_fetch(
    handle: *const ngx_http_lua_var_handle_t,
    current: *mut ngx_http_request_t,
    name: *const u8,
    len: usize,
    flavour: i32,
    out: *mut ngx_http_lua_var_value_t,
) -> i32 {
    // SAFETY: it is null or valid for writes, by the contract above, and LuaJIT runs nothing
    // that refers to it meanwhile.
    let Some(out) = (unsafe { out.as_mut() }) else {
        return 0;
    };
    // SAFETY: it is a Lua string of `len` bytes, which LuaJIT keeps alive during the call.
    let name = unsafe { core::slice::from_raw_parts(name, len) };
    let call = Call::enter();
    // SAFETY: `handle` is null or a cdata that LuaJIT keeps alive during the call.
    let live = unsafe { readable(&call, handle, current) };
    match live {
        Ok(live) => out.put_result(read::by_name(live, name, Flavour::numbered(flavour))),
        Err(_) => out.put_kind(NGX_HTTP_LUA_VAR_AGAIN),
    }
    finish(out)
}

/// Reads a variable by its resolved name, of the same request, with the same results.
/// `NGX_HTTP_LUA_VAR_AGAIN` if it has to be read by its name.
///
/// # Safety
/// As [`ngx_http_lua_var_ffi_fetch`]. `found` is null, or [`ngx_http_lua_var_ffi_resolve`] filled
/// it and the name is where it was then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_read(
    handle: *const ngx_http_lua_var_handle_t,
    current: *mut ngx_http_request_t,
    found: *const ngx_http_lua_var_found_t,
    flavour: i32,
    out: *mut ngx_http_lua_var_value_t,
) -> i32 {
    // SAFETY: it is null or a cdata that LuaJIT keeps alive during the call.
    let found = unsafe { found.as_ref() };
    // SAFETY: it is null or valid for writes, by the contract above, and LuaJIT runs nothing
    // that refers to it meanwhile.
    let (Some(found), Some(out)) = (found, unsafe { out.as_mut() }) else {
        return 0;
    };
    let call = Call::enter();
    // SAFETY: `handle` is null or a cdata that LuaJIT keeps alive during the call.
    let live = unsafe { direct(&call, handle, current) };
    let read = live.and_then(InTable::of).and_then(|request| {
        // SAFETY: `ngx_http_lua_var_ffi_resolve` filled it, for a name that the Lua library
        // keeps alive.
        let resolved = unsafe { request.resolve(found) }?;
        request
            .read(
                resolved,
                Flavour::numbered(flavour),
                #[inline(always)]
                |_, value| out.put(value),
            )
            .ok()
    });
    if read.is_none() {
        out.put_kind(NGX_HTTP_LUA_VAR_AGAIN);
    }
    finish(out)
}

/// The number of the slot of the live request at `r`, from which the Lua library makes its
/// handle. -1 if the function of the C API has to be called: the request is not registered or
/// has no variables, or the place of each handle in Lua is remembered
/// (`lua_var_trace_handles`).
///
/// # Safety
/// `r` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_slot(r: *mut ngx_http_request_t) -> i32 {
    if mode::is_foreign() || culprits::origins::is_tracing() {
        return -1;
    }
    let call = Call::enter();
    let live = Readable::by_address(&call, r as usize);
    live.map_or(-1, |live| live.slot().id() as i32)
}

/// Resolves a name, in lower case, in the configuration that serves the request or, if `handle`
/// is null, in the newest one.
///
/// # Safety
/// `handle` is null or points to a handle, `name` is valid for reads of `len` bytes, and `found`
/// is null or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_resolve(
    handle: *const ngx_http_lua_var_handle_t,
    name: *const u8,
    len: usize,
    found: *mut ngx_http_lua_var_found_t,
) {
    // SAFETY: it is a Lua string of `len` bytes, which LuaJIT keeps alive during the call.
    let name = unsafe { core::slice::from_raw_parts(name, len) };
    let call = Call::enter();
    let table = if handle.is_null() {
        table::newest()
    } else {
        // SAFETY: `handle` is null or a cdata that LuaJIT keeps alive during the call.
        let live = unsafe { readable(&call, handle, core::ptr::null_mut()) };
        live.ok().and_then(|live| table::of(live.request()))
    };
    let resolved = table.map(|table| read::find(table, name).unwrap_or(read::none_in(table)));
    // SAFETY: it is null or valid for writes, by the contract above, and LuaJIT runs nothing
    // that refers to it meanwhile.
    if let Some(found) = unsafe { found.as_mut() } {
        *found = resolved.unwrap_or(read::NOT_FOUND);
    }
}

/// Assigns to a variable by its resolved name. `NGX_DECLINED` if `set` has to be called,
/// `NGX_ERROR` if the request is refused.
///
/// # Safety
/// As [`ngx_http_lua_var_ffi_read`], with `value` valid for reads of `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_assign(
    handle: *const ngx_http_lua_var_handle_t,
    found: *const ngx_http_lua_var_found_t,
    value: *const u8,
    len: usize,
) -> i32 {
    let call = Call::enter();
    // SAFETY: `handle` is null or a cdata that LuaJIT keeps alive during the call.
    let Ok(live) = (unsafe { readable(&call, handle, core::ptr::null_mut()) }) else {
        return ERROR as i32;
    };
    // SAFETY: it is a Lua string of `len` bytes, which LuaJIT keeps alive during the call.
    let value = unsafe { core::slice::from_raw_parts(value, len) };
    // SAFETY: it is null or a cdata that LuaJIT keeps alive during the call.
    let found = unsafe { found.as_ref() };
    let (Some(found), Some(request)) = (found, live.direct().and_then(InTable::of)) else {
        return DECLINED as i32;
    };
    // SAFETY: `ngx_http_lua_var_ffi_resolve` filled it, for a name that the Lua library keeps
    // alive.
    match unsafe { request.resolve(found) } {
        Some(Resolved::Var(var)) if assign::store(live, var, value) => OK as i32,
        _ => DECLINED as i32,
    }
}

/// Fills `out` with the offsets and addresses with which Lua reads requests itself.
///
/// # Safety
/// `out` is null or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_layout(out: *mut ngx_http_lua_var_layout_t) {
    let members = layout::members();
    let layout = ngx_http_lua_var_layout_t {
        members: members.as_ptr(),
        nmembers: members.len(),
        slots: registry().slots.all().as_ptr().cast(),
        slot_size: size_of::<Slot>(),
        nslots: registry().slots.all().len(),
        time: nginx::time_address(),
        signature: nginx::SIGNATURE,
        core_index: nginx::core_index() as u32,
        header_next: nginx::header::next_header() as u32,
    };
    // SAFETY: it is null or valid for writes, by the contract above, and LuaJIT runs nothing
    // that refers to it meanwhile.
    if let Some(out) = unsafe { out.as_mut() } {
        *out = layout;
    }
}

/// Writes the address of the TLS connection of the live request at `r` to `connection`; in a
/// handshake, that is the same connection. Returns 1 if the `ngx.ctx` of the handshake shows
/// through that of the request (`lua_var_ssl_ctx`), else 0, and `NGX_ERROR` without TLS or
/// without a live request.
///
/// # Safety
/// `r` may be any pointer; `connection` is null or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_handshake(
    r: *mut ngx_http_request_t,
    connection: *mut *const c_void,
) -> i32 {
    if mode::is_foreign() {
        return ERROR as i32;
    }
    let call = Call::enter();
    let live = LiveRequest::by_address(&call, r as usize);
    let tls = live.ok().and_then(|live| live.tls().map(|tls| (live, tls)));
    // SAFETY: it is null or valid for writes, by the contract above, and LuaJIT runs nothing
    // that refers to it meanwhile.
    let (Some((live, tls)), Some(out)) = (tls, unsafe { connection.as_mut() }) else {
        return ERROR as i32;
    };
    *out = tls;
    let server = live.readable().ok().map(Readable::request);
    i32::from(
        server
            .and_then(|r| r.conf::<SrvConf>())
            .is_none_or(SrvConf::inherits_ssl_ctx),
    )
}

/// The reference of the `ngx.ctx` that the live request at `r` lost in a redirect and gets back
/// in the Lua VM `vm`; 0 if it gets none.
///
/// # Safety
/// `r` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_ctx_lost(r: *mut ngx_http_request_t, vm: u32) -> i32 {
    let call = Call::enter();
    let live = Readable::by_address(&call, r as usize).ok();
    live.and_then(|live| restore::restorable(live, vm))
        .unwrap_or(0)
}

/// Stores the reference that the `ngx.ctx` of the live request at `r` has in the Lua VM `vm`.
/// `was_restored` is 1 if the request got that `ngx.ctx` back after a redirect.
///
/// # Safety
/// `r` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_var_ffi_ctx_made(
    r: *mut ngx_http_request_t,
    reference: i32,
    vm: u32,
    was_restored: i32,
) {
    let call = Call::enter();
    if let Ok(live) = Readable::by_address(&call, r as usize) {
        let was_restored = was_restored != 0;
        ngx_ctx::made(live, reference, vm, was_restored);
        restore::note(live, was_restored);
    }
}
