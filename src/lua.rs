//! The embedded Lua library, and what `shim/lua.c` asks on behalf of Lua.

use core::ffi::CStr;
use core::ptr;
use core::slice;

use crate::names;
use crate::request::{Flavour, LiveRequest, NotLower, Refusal, Value, by_nginx};
use crate::slots::Handle;
use crate::sys::shim::{
    LUA_VAR_AGAIN, LUA_VAR_ERROR, LUA_VAR_FIXED, LUA_VAR_LOWER, LUA_VAR_NIL, LUA_VAR_NUMBER,
    LUA_VAR_PLAIN, LUA_VAR_REQ_CURRENT, LUA_VAR_REQ_HANDLE, LUA_VAR_REQ_POINTER, LUA_VAR_STRING,
    LUA_VAR_TEXT, LUA_VAR_TRUE, lua_var_chunk_t, lua_var_found_t, lua_var_req_t, lua_var_value_t,
};
use crate::sys::{self, ngx_http_request_t, ngx_str_t, ngx_uint_t};
use crate::table::Table;
use crate::worker::{Mode, worker};

/// Embedded files, in the order of `packages` in `shim/lua.c`; behind them, that of
/// `shim/stream.c`.
#[repr(transparent)]
struct Chunks([lua_var_chunk_t; 8]);

// SAFETY: pointers to constants.
unsafe impl Sync for Chunks {}

const fn chunk(name: &'static core::ffi::CStr, source: &'static [u8]) -> lua_var_chunk_t {
    lua_var_chunk_t {
        name: name.as_ptr(),
        source: source.as_ptr(),
        len: source.len(),
    }
}

static CHUNKS: Chunks = Chunks([
    chunk(c"@resty/ngxvar.lua", include_bytes!("lua/resty/ngxvar.lua")),
    chunk(
        c"@resty/ngxvar/access.lua",
        include_bytes!("lua/resty/ngxvar/access.lua"),
    ),
    chunk(
        c"@resty/ngxvar/live.lua",
        include_bytes!("lua/resty/ngxvar/live.lua"),
    ),
    chunk(
        c"@resty/ngxvar/readers.lua",
        include_bytes!("lua/resty/ngxvar/readers.lua"),
    ),
    chunk(
        c"@resty/ngxvar/texts.lua",
        include_bytes!("lua/resty/ngxvar/texts.lua"),
    ),
    chunk(
        c"@resty/core/ctx.lua (lua_var)",
        include_bytes!("lua/resty/core/ctx.lua"),
    ),
    chunk(
        c"@resty/ngxvar/lib.lua",
        include_bytes!("lua/resty/ngxvar/lib.lua"),
    ),
    chunk(
        c"@resty/ngxvar/stream.lua",
        include_bytes!("lua/resty/ngxvar/stream.lua"),
    ),
]);

/// The embedded file number `n`, or null.
#[unsafe(no_mangle)]
extern "C" fn lua_var_rs_chunk(n: usize) -> *const lua_var_chunk_t {
    CHUNKS.0.get(n).map_or(ptr::null(), ptr::from_ref)
}

/// A number for a Lua VM that is being made: 0 for one that serves the worker.
#[unsafe(no_mangle)]
extern "C" fn lua_var_rs_vm() -> u32 {
    if worker().configuring.get() {
        return 0;
    }
    worker().vms.set(worker().vms.get().wrapping_add(1).max(1));
    worker().vms.get()
}

/// The request that an argument names.
#[inline]
fn validated(req: &lua_var_req_t) -> Result<LiveRequest, Refusal> {
    match req.kind {
        LUA_VAR_REQ_HANDLE => LiveRequest::by_handle(Handle::from_bits(req.value)),
        LUA_VAR_REQ_CURRENT => LiveRequest::running(req.current),
        // A bare pointer has no generation, so it must be the one that is running.
        LUA_VAR_REQ_POINTER if req.value != 0 && req.value == req.current as u64 => {
            LiveRequest::current(req.current)
        }
        _ => Err(Refusal::Stale),
    }
}

#[cold]
fn refuse(why: Refusal, out: &mut lua_var_value_t) {
    if why == Refusal::Stale {
        worker().refused.set(worker().refused.get().wrapping_add(1));
    }
    error(why.reason(), out);
}

fn error(text: &'static [u8], out: &mut lua_var_value_t) {
    out.kind = LUA_VAR_ERROR;
    out.data = text.as_ptr();
    out.len = text.len();
}

fn refuse_with(sentence: ngx_str_t, out: &mut lua_var_value_t) {
    out.kind = LUA_VAR_ERROR;
    out.data = sentence.data;
    out.len = sentence.len;
}

#[inline(always)]
fn give(value: Value, out: &mut lua_var_value_t) {
    match value {
        Value::Nil => out.kind = LUA_VAR_NIL,
        Value::Number(number) => {
            out.kind = LUA_VAR_NUMBER;
            out.number = number;
        }
        Value::Text(text) => {
            out.kind = LUA_VAR_STRING;
            out.data = text.data;
            out.len = text.len;
        }
    }
}

/// `fetch`: the value of the variable `name` of the request `req`.
///
/// # Safety
/// `shim/lua.c` calls it with a name of `len` bytes and valid `req` and `out`.
#[unsafe(no_mangle)]
unsafe extern "C" fn lua_var_rs_fetch(
    req: &lua_var_req_t,
    name: *const u8,
    len: usize,
    flavour: u32,
    out: &mut lua_var_value_t,
) {
    // SAFETY: the caller's word; the name is a Lua string on the Lua stack.
    let name = unsafe { slice::from_raw_parts(name, len) };
    let flavour = match flavour {
        LUA_VAR_TEXT => Flavour::Text,
        LUA_VAR_PLAIN => Flavour::Plain,
        _ => Flavour::Typed,
    };
    if worker().mode.get() == Mode::Handlers {
        return fetch_by_nginx(req, name, flavour, out);
    }
    match validated(req).and_then(LiveRequest::with_variables) {
        Ok(live) => match live.fetch(name, flavour) {
            Ok(value) => give(value, out),
            Err(NotLower) => out.kind = LUA_VAR_LOWER,
        },
        Err(why) => refuse(why, out),
    }
}

/// `fetch` for a name and a handle that C knows already.
///
/// # Safety
/// `found` is what [`lua_var_rs_find`] filled in this process, maybe for a
/// configuration that is gone: a variable is not dereferenced before it is known to
/// be of the one that serves the request. The name is still where it was.
#[unsafe(no_mangle)]
unsafe extern "C" fn lua_var_rs_read(
    handle: u64,
    found: &lua_var_found_t,
    out: &mut lua_var_value_t,
) {
    let live = match LiveRequest::by_handle(Handle::from_bits(handle)) {
        Ok(live) => live,
        Err(why) => return refuse(why, out),
    };
    if worker().mode.get() != Mode::Direct || live.with_variables().is_err() {
        out.kind = LUA_VAR_AGAIN;
        return;
    }
    if found.var.is_null() {
        // SAFETY: the caller's word.
        let rest = unsafe { slice::from_raw_parts(found.rest, found.len as usize) };
        return match live.of_own(found.prefix, rest) {
            Some(value) => give(value, out),
            None => out.kind = LUA_VAR_AGAIN,
        };
    }
    match live.entry(found.var.cast()) {
        Some(var) => match live.read(var, Flavour::Typed) {
            Value::Text(text) => match var.fixed(text) {
                Some(n) => {
                    out.kind = LUA_VAR_FIXED;
                    out.len = n;
                }
                None => give(Value::Text(text), out),
            },
            value => give(value, out),
        },
        None => out.kind = LUA_VAR_AGAIN,
    }
}

/// Finds a name in the newest configuration; 0 when it has to be asked for by name.
///
/// # Safety
/// `name` has `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn lua_var_rs_find(
    name: *const u8,
    len: usize,
    found: &mut lua_var_found_t,
) -> ngx_uint_t {
    // SAFETY: the caller's word.
    let name = unsafe { slice::from_raw_parts(name, len) };
    match worker().table.get().and_then(|table| find(table, name)) {
        Some(way) => {
            *found = way;
            1
        }
        None => 0,
    }
}

fn find(table: &Table, name: &[u8]) -> Option<lua_var_found_t> {
    if let Some(var) = table.find(name) {
        return Some(lua_var_found_t {
            var: ptr::from_ref(var).cast(),
            rest: ptr::null(),
            len: 0,
            prefix: 0,
        });
    }
    // Names are looked up in lower case, which this one would not be.
    if names::has_upper(name) {
        return None;
    }
    let (own, rest) = table.own(name)?;
    Some(lua_var_found_t {
        var: ptr::null(),
        rest: rest.as_ptr(),
        len: u32::try_from(rest.len()).ok()?,
        prefix: table.own_number(own)?,
    })
}

/// `fetch` where the layout of requests is not known: no member is read.
#[cold]
fn fetch_by_nginx(req: &lua_var_req_t, name: &[u8], flavour: Flavour, out: &mut lua_var_value_t) {
    match opaque(req) {
        Err(why) => refuse(why, out),
        Ok(_) if crate::names::has_upper(name) => out.kind = LUA_VAR_LOWER,
        Ok(r) => match by_nginx(r, name, flavour) {
            Ok(value) => give(value, out),
            Err(sentence) => error(sentence.to_bytes(), out),
        },
    }
}

/// The request that an argument names, as a pointer that only nginx reads.
fn opaque(req: &lua_var_req_t) -> Result<*mut ngx_http_request_t, Refusal> {
    match req.kind {
        LUA_VAR_REQ_HANDLE => {
            let slot = worker()
                .slots
                .get(Handle::from_bits(req.value))
                .ok_or(Refusal::Stale)?;
            Ok(slot.request() as *mut ngx_http_request_t)
        }
        LUA_VAR_REQ_POINTER if req.value != req.current as u64 => Err(Refusal::Stale),
        _ if req.current.is_null() => Err(Refusal::NoRequest),
        _ => Ok(req.current),
    }
}

/// What nginx answered to a question about a request it was given as a pointer.
fn answer(found: Result<Option<ngx_str_t>, &'static CStr>, out: &mut lua_var_value_t) {
    match found {
        Ok(Some(text)) => give(Value::Text(text), out),
        Ok(None) => give(Value::Nil, out),
        Err(sentence) => error(sentence.to_bytes(), out),
    }
}

/// `fetch` with a number for a name: a capture of the last regular expression.
#[unsafe(no_mangle)]
extern "C" fn lua_var_rs_capture(req: &lua_var_req_t, n: isize, out: &mut lua_var_value_t) {
    if worker().mode.get() == Mode::Handlers {
        return match opaque(req) {
            Ok(r) => answer(sys::lua_capture(r, n), out),
            Err(why) => refuse(why, out),
        };
    }
    match validated(req).and_then(LiveRequest::with_variables) {
        Ok(live) => give(live.capture(n), out),
        Err(why) => refuse(why, out),
    }
}

/// `live`: whether the request is one that handles and pointers may name now.
#[unsafe(no_mangle)]
extern "C" fn lua_var_rs_live(req: &lua_var_req_t, out: &mut lua_var_value_t) {
    match validated(req) {
        Ok(_) => out.kind = LUA_VAR_TRUE,
        Err(why) => refuse(why, out),
    }
}

/// `request`: registers the current request; its handle is `id` and `generation`.
#[unsafe(no_mangle)]
extern "C" fn lua_var_rs_acquire(
    current: *mut ngx_http_request_t,
    id: &mut u32,
    generation: &mut u32,
    out: &mut lua_var_value_t,
) {
    match LiveRequest::current(current) {
        Ok(live) => {
            let handle = live.slot().handle();
            *id = handle.id;
            *generation = handle.generation;
            out.kind = LUA_VAR_TRUE;
        }
        Err(why) => refuse(why, out),
    }
}

/// `set`: assigns `value` to the variable `name`; a null value unsets it.
///
/// # Safety
/// As [`lua_var_rs_fetch`]; `value` is null or has `value_len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn lua_var_rs_set(
    req: &lua_var_req_t,
    name: *const u8,
    len: usize,
    value: *const u8,
    value_len: usize,
    out: &mut lua_var_value_t,
) {
    // SAFETY: the caller's word; the name is a Lua string on the Lua stack.
    let name = unsafe { slice::from_raw_parts(name, len) };
    // SAFETY: the caller's word, likewise.
    let value = (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value, value_len) });
    if worker().mode.get() == Mode::Handlers {
        return match opaque(req) {
            Err(why) => refuse(why, out),
            Ok(_) if crate::names::has_upper(name) => out.kind = LUA_VAR_LOWER,
            Ok(r) => match sys::lua_assign(r, name, value) {
                Ok(()) => out.kind = LUA_VAR_TRUE,
                Err(sentence) => refuse_with(sentence, out),
            },
        };
    }
    let live = match validated(req).and_then(LiveRequest::with_variables) {
        Ok(live) => live,
        Err(why) => return refuse(why, out),
    };
    if crate::names::has_upper(name) {
        out.kind = LUA_VAR_LOWER;
        return;
    }
    match crate::assign::assign(&live, name, value) {
        Ok(()) => out.kind = LUA_VAR_TRUE,
        Err(sentence) => refuse_with(sentence, out),
    }
}

/// Whether the configuration that runs has the Lua module.
#[inline]
pub(crate) fn is_running() -> bool {
    // SAFETY: reads a flag.
    unsafe { sys::shim::lua_var_lua_present() != 0 }
}

/// The configuration with which [`init`] looked for the Lua module is the one that runs.
pub(crate) fn commit() {
    // SAFETY: sets a flag.
    unsafe { sys::shim::lua_var_lua_commit() }
}

/// Whether the configuration being read has the Lua module.
pub(crate) fn is_present() -> bool {
    // SAFETY: reads a flag.
    unsafe { sys::shim::lua_var_lua_found() != 0 }
}

/// Registers the embedded packages with the Lua module, if there is one. False,
/// with the error logged, when it is too old.
pub(crate) fn init(cf: ptr::NonNull<sys::ngx_conf_t>) -> bool {
    let mut missing = ptr::null();
    // SAFETY: nginx's `cf`, in preconfiguration, when the Lua module has its main conf.
    let rc = unsafe { sys::shim::lua_var_lua_init(cf.as_ptr(), &raw mut missing) };
    match rc {
        sys::OK => true,
        sys::DECLINED => {
            sys::log_error!(
                sys::INFO,
                sys::cycle_log(),
                "lua_var: ngx_http_lua_module is not loaded, only $from_error_page is served"
            );
            true
        }
        _ => {
            sys::conf_error!(
                cf,
                "ngx_http_lua_module is too old for ngx_http_lua_var_module: it lacks %s",
                missing
            );
            false
        }
    }
}
