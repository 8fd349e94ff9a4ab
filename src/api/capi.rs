//! What `shim/functions.c` asks on behalf of Lua.

use core::cell::Cell;
use core::ffi::c_char;
use core::ptr;
use core::slice;

use super::library::{CDEF, CHUNKS, REPLACEMENTS};
use crate::mode;
use crate::nginx::conf::{Conf, conf_error};
use crate::nginx::log::{INFO, Log, log_error};
use crate::nginx::lua_module::{self, SENTENCE};
use crate::nginx::shim::{
    LUA_VAR_REQ_CURRENT, LUA_VAR_REQ_HANDLE, LUA_VAR_REQ_POINTER, NGX_HTTP_LUA_VAR_AGAIN,
    NGX_HTTP_LUA_VAR_FIXED, NGX_HTTP_LUA_VAR_TRUE, lua_var_refusal_t, lua_var_req_t,
    lua_var_rust_t, ngx_http_lua_var_found_t, ngx_http_lua_var_value_t,
};
use crate::nginx::{self, AGAIN, ERROR, OK, ngx_http_request_t, ngx_int_t, ngx_uint_t};
use crate::refused;
use crate::registry::registry;
use crate::registry::slots::Handle;
use crate::request::{Call, Direct, LiveRequest, Readable, Refusal};
use crate::statics::{PerWorker, Shared};
use crate::status;
use crate::variable::name::has_upper;
use crate::variable::read::{self, InTable};
use crate::variable::value::{Again, Flavour, Value};
use crate::variable::{assign, table};

static FUNCTIONS: Shared<lua_var_rust_t> = Shared(lua_var_rust_t {
    fetch: Some(fetch),
    read: Some(read_found),
    read_many: Some(read_many),
    find: Some(find),
    capture: Some(capture),
    set: Some(set),
    live: Some(live),
    acquire: Some(acquire),
    refused: Some(count_refusal),
    describe: Some(describe_refusal),
    is_tracing: Some(is_tracing),
    made: Some(made),
    figure: Some(figure),
    vm: Some(vm),
    chunks: CHUNKS.0.as_ptr(),
    nchunks: CHUNKS.0.len(),
    nreplacements: REPLACEMENTS,
    cdef: CDEF.as_ptr(),
    cdef_len: CDEF.len(),
});

/// What is known of the process's Lua VMs.
struct Vms {
    /// Whether the configuration is being read, when VMs are made that serve the worker.
    is_configuring: Cell<bool>,
    /// Number of the newest VM that serves one request only (`lua_code_cache off`).
    newest: Cell<u32>,
}

static VMS: PerWorker<Vms> = PerWorker(Vms {
    is_configuring: Cell::new(false),
    newest: Cell::new(0),
});

/// Says whether the configuration is being read.
pub(crate) fn set_configuring(is_configuring: bool) {
    VMS.is_configuring.set(is_configuring);
}

/// A number for a Lua VM that is being made: 0 for one that serves the worker.
unsafe extern "C" fn vm() -> u32 {
    if VMS.is_configuring.get() {
        return 0;
    }
    VMS.newest.set(VMS.newest.get().wrapping_add(1).max(1));
    VMS.newest.get()
}

/// The request that an argument names.
#[inline]
fn validated<'a>(call: &'a Call, req: &lua_var_req_t) -> Result<LiveRequest<'a>, Refusal> {
    match req.kind {
        LUA_VAR_REQ_HANDLE => LiveRequest::by_handle(call, Handle::from_bits(req.value)),
        LUA_VAR_REQ_CURRENT => LiveRequest::current(call, req.current),
        // A bare pointer has no generation, so it must be the one that is running.
        LUA_VAR_REQ_POINTER if req.value != 0 && req.value == req.current as u64 => {
            LiveRequest::current(call, req.current)
        }
        _ => Err(Refusal::Stale),
    }
}

/// The same, if it has variables.
#[inline]
fn readable<'a>(call: &'a Call, req: &lua_var_req_t) -> Result<Readable<'a>, Refusal> {
    match req.kind {
        LUA_VAR_REQ_CURRENT => Readable::running(call, req.current),
        _ => validated(call, req)?.readable(),
    }
}

/// The request that an argument names, where the layout of requests is not known: as a
/// pointer that only nginx reads.
fn opaque(req: &lua_var_req_t) -> Result<*mut ngx_http_request_t, Refusal> {
    match req.kind {
        LUA_VAR_REQ_HANDLE => {
            let slot = registry().slots.get(Handle::from_bits(req.value));
            let slot = slot.ok_or(Refusal::Stale)?;
            Ok(slot.request() as *mut ngx_http_request_t)
        }
        LUA_VAR_REQ_POINTER if req.value != req.current as u64 => Err(Refusal::Stale),
        _ if req.current.is_null() => Err(Refusal::NoRequest),
        _ => Ok(req.current),
    }
}

/// What `shim/functions.c` passes.
///
/// # Safety
/// Both point to structures on the stack of a function in `shim/functions.c`, which waits.
#[inline(always)]
unsafe fn arguments<'a, T, O>(given: *const T, out: *mut O) -> (&'a T, &'a mut O) {
    // SAFETY: a structure that outlives this call, by the contract above.
    let given = unsafe { &*given };
    // SAFETY: as above; nobody else has it.
    (given, unsafe { &mut *out })
}

/// `fetch`: the value of the variable `name` of the request `req`.
///
/// # Safety
/// `shim/functions.c` calls it: `name` is a Lua string on the Lua stack, `req` and `out` are
/// its own.
unsafe extern "C" fn fetch(
    req: *const lua_var_req_t,
    name: *const u8,
    len: usize,
    flavour: i32,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: `shim/functions.c` passes structures on the stack of the function that waits for this
    // one.
    let (req, out) = unsafe { arguments(req, out) };
    // SAFETY: `name` is a Lua string of `len` bytes, on the Lua stack of the function that
    // waits.
    let name = unsafe { slice::from_raw_parts(name, len) };
    let flavour = Flavour::numbered(flavour);
    if mode::is_foreign() {
        return fetch_opaque(req, name, flavour, out);
    }
    match readable(&Call::enter(), req) {
        Ok(live) => out.put_result(read::by_name(live, name, flavour)),
        Err(why) => out.put_refusal(why),
    }
}

/// `fetch` for a name that C knows already, of the request that `handle` names, or of the
/// current one if that is not null. `NGX_HTTP_LUA_VAR_AGAIN` when [`fetch`] has to be asked.
///
/// # Safety
/// As [`fetch`]; `found` is what [`find`] filled in this process, maybe for a
/// configuration that is gone, and its name is still where it was.
unsafe extern "C" fn read_found(
    handle: u64,
    current: *mut ngx_http_request_t,
    found: *const ngx_http_lua_var_found_t,
    flavour: i32,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: `shim/functions.c` passes structures on the stack of the function that waits for this
    // one.
    let (found, out) = unsafe { arguments(found, out) };
    let call = Call::enter();
    let live = if current.is_null() {
        Direct::by_handle(&call, Handle::from_bits(handle))
    } else {
        Direct::by_address(&call, current as usize)
    };
    match live.and_then(InTable::of) {
        // SAFETY: `find` filled it, for a name that `shim/functions.c` keeps from the collector.
        Some(request) => unsafe { put_found(request, found, Flavour::numbered(flavour), out) },
        None => out.put_kind(NGX_HTTP_LUA_VAR_AGAIN),
    }
}

/// Puts the value of what was found.
///
/// # Safety
/// As for [`InTable::resolve`].
#[inline(always)]
unsafe fn put_found(
    request: InTable<'_>,
    found: &ngx_http_lua_var_found_t,
    flavour: Flavour,
    out: &mut ngx_http_lua_var_value_t,
) {
    // SAFETY: the caller's word, which is what `resolve` asks for.
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

/// Many variables of the request `req`: `NGX_OK`; `NGX_AGAIN` when some have to be asked for
/// with [`fetch`]; `NGX_ERROR` when the request is refused, which the first of `out` says.
///
/// # Safety
/// As [`fetch`]; there are `n` of `found`, as for [`read_found`], and room for as many at
/// `out`, which is more than none.
unsafe extern "C" fn read_many(
    req: *const lua_var_req_t,
    found: *const ngx_http_lua_var_found_t,
    n: usize,
    out: *mut ngx_http_lua_var_value_t,
) -> ngx_int_t {
    // SAFETY: `shim/reader.c` passes a structure on its stack.
    let req = unsafe { &*req };
    // SAFETY: `n` of them, in a userdata that the function's upvalue keeps.
    let found = unsafe { slice::from_raw_parts(found, n) };
    let call = Call::enter();
    let request = if mode::is_foreign() {
        None
    } else {
        match readable(&call, req) {
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
        // SAFETY: as above; nobody else has it.
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

/// Finds a name in the newest configuration; 0 when it has to be asked for by name.
///
/// # Safety
/// As [`fetch`].
unsafe extern "C" fn find(
    name: *const u8,
    len: usize,
    found: *mut ngx_http_lua_var_found_t,
) -> ngx_uint_t {
    // SAFETY: `name` is a Lua string of `len` bytes, on the Lua stack of the function that
    // waits.
    let name = unsafe { slice::from_raw_parts(name, len) };
    let way = table::newest().and_then(|table| read::find(table, name));
    // SAFETY: the caller passes room for it.
    unsafe { found.write(way.unwrap_or(read::NOT_FOUND)) };
    ngx_uint_t::from(way.is_some())
}

/// `fetch` where the layout of requests is not known: no member is read.
#[cold]
fn fetch_opaque(
    req: &lua_var_req_t,
    name: &[u8],
    flavour: Flavour,
    out: &mut ngx_http_lua_var_value_t,
) {
    match opaque(req) {
        Err(why) => out.put_refusal(why),
        Ok(_) if has_upper(name) => out.put_kind(NGX_HTTP_LUA_VAR_AGAIN),
        Ok(r) => match read::by_lua_module(r, name, flavour) {
            Ok(value) => out.put(value),
            Err(sentence) => out.put_error(sentence.to_bytes()),
        },
    }
}

/// `fetch` with a number for a name: a capture of the last regular expression.
///
/// # Safety
/// As [`fetch`].
unsafe extern "C" fn capture(
    req: *const lua_var_req_t,
    n: isize,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: `shim/functions.c` passes structures on the stack of the function that waits for this
    // one.
    let (req, out) = unsafe { arguments(req, out) };
    if mode::is_foreign() {
        return match opaque(req) {
            // SAFETY: registered, or lua-nginx-module is running it.
            Ok(r) => match unsafe { lua_module::capture(r, n) } {
                Ok(text) => out.put(text.map_or(Value::Nil, Value::Text)),
                Err(sentence) => out.put_error(sentence.to_bytes()),
            },
            Err(why) => out.put_refusal(why),
        };
    }
    match readable(&Call::enter(), req) {
        Ok(live) => {
            let n = usize::try_from(n).ok().filter(|n| *n > 0);
            let text = n.and_then(|n| live.request().capture(n));
            out.put(text.map_or(Value::Nil, Value::Text));
        }
        Err(why) => out.put_refusal(why),
    }
}

/// `live`: whether the request is one that handles and pointers may name now.
///
/// # Safety
/// As [`fetch`].
unsafe extern "C" fn live(req: *const lua_var_req_t, out: *mut ngx_http_lua_var_value_t) {
    // SAFETY: `shim/functions.c` passes structures on the stack of the function that waits for this
    // one.
    let (req, out) = unsafe { arguments(req, out) };
    match validated(&Call::enter(), req) {
        Ok(_) => out.put_kind(NGX_HTTP_LUA_VAR_TRUE),
        Err(why) => out.put_refusal(why),
    }
}

/// `request`: registers the current request; its handle is `id` and `generation`.
///
/// # Safety
/// As [`fetch`]; lua-nginx-module is running `current`, or it is null.
unsafe extern "C" fn acquire(
    current: *mut ngx_http_request_t,
    id: *mut u32,
    generation: *mut u32,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: `shim/functions.c` passes a value on its stack, which nobody else has.
    let out = unsafe { &mut *out };
    match LiveRequest::current(&Call::enter(), current) {
        Ok(live) => {
            let handle = live.slot().handle();
            // SAFETY: `shim/functions.c` passes room for both on its stack.
            unsafe { id.write(handle.id) };
            // SAFETY: `shim/functions.c` passes room for both on its stack.
            unsafe { generation.write(handle.generation) };
            out.put_kind(NGX_HTTP_LUA_VAR_TRUE);
        }
        Err(why) => out.put_refusal(why),
    }
}

/// Has a refusal counted; 1 when more is to be said of it.
///
/// # Safety
/// `shim/refusal.c` passes a value on its stack.
unsafe extern "C" fn count_refusal(
    out: *const ngx_http_lua_var_value_t,
    current: *mut ngx_http_request_t,
) -> ngx_uint_t {
    // SAFETY: on the stack of the function that waits for this one.
    let out = unsafe { &*out };
    let why = Refusal::numbered(out.number as u32);
    ngx_uint_t::from(refused::count(why, current as usize))
}

/// Has it described; 1 when it is to be logged.
///
/// # Safety
/// `shim/refusal.c` passes structures on its stack, whose texts are there meanwhile.
unsafe extern "C" fn describe_refusal(
    out: *const ngx_http_lua_var_value_t,
    refusal: *mut lua_var_refusal_t,
) -> ngx_uint_t {
    // SAFETY: structures on the stack of the function that waits for this one.
    let (out, refusal) = unsafe { arguments(out, refusal) };
    // SAFETY: the texts are those of the Lua functions on the stack that waits.
    let is_due = unsafe { refused::describe(Refusal::numbered(out.number as u32), refusal) };
    ngx_uint_t::from(is_due)
}

/// Whether handles are remembered with where they were made.
unsafe extern "C" fn is_tracing() -> ngx_uint_t {
    ngx_uint_t::from(refused::is_tracing())
}

/// Remembers it.
///
/// # Safety
/// `source` is a C string.
unsafe extern "C" fn made(id: u32, generation: u32, source: *const c_char, line: i32) {
    let call = Call::enter();
    if let Ok(live) = LiveRequest::by_handle(&call, Handle { id, generation }) {
        // SAFETY: the name of a Lua function's file, on the stack that waits.
        unsafe { refused::remember_origin(live, source, line) };
    }
}

/// A figure's name and its sum over all workers; null beyond the last.
///
/// # Safety
/// `shim/functions.c` passes room for both on its stack.
unsafe extern "C" fn figure(n: ngx_uint_t, len: *mut usize, value: *mut f64) -> *const u8 {
    let Some((name, sum)) = status::numbered(n) else {
        return ptr::null();
    };
    // SAFETY: `shim/functions.c` passes room for both on its stack.
    unsafe { len.write(name.len()) };
    // SAFETY: `shim/functions.c` passes room for both on its stack.
    unsafe { value.write(sum as f64) };
    name.as_ptr()
}

/// `set`: assigns `value` to the variable `name`; a null value unsets it.
///
/// # Safety
/// As [`fetch`]; `value` is null or has `value_len` bytes, `sentence` has [`SENTENCE`].
unsafe extern "C" fn set(
    req: *const lua_var_req_t,
    name: *const u8,
    len: usize,
    value: *const u8,
    value_len: usize,
    sentence: *mut u8,
    out: *mut ngx_http_lua_var_value_t,
) {
    // SAFETY: `shim/functions.c` passes structures on the stack of the function that waits for this
    // one.
    let (req, out) = unsafe { arguments(req, out) };
    // SAFETY: `name` is a Lua string of `len` bytes, on the Lua stack of the function that
    // waits.
    let name = unsafe { slice::from_raw_parts(name, len) };
    // SAFETY: `value` is a Lua string of `value_len` bytes, on the Lua stack of the function
    // that waits.
    let value = (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value, value_len) });
    // SAFETY: `shim/functions.c` passes `LUA_VAR_SENTENCE` bytes on its stack.
    let sentence = unsafe { &mut *sentence.cast::<[u8; SENTENCE]>() };
    if has_upper(name) {
        return out.put_kind(NGX_HTTP_LUA_VAR_AGAIN);
    }
    if mode::is_foreign() {
        return match opaque(req) {
            Err(why) => out.put_refusal(why),
            // SAFETY: registered, or lua-nginx-module is running it.
            Ok(r) => match unsafe { lua_module::assign(r, name, value, sentence) } {
                Ok(()) => out.put_kind(NGX_HTTP_LUA_VAR_TRUE),
                Err(sentence) => out.put_error(sentence),
            },
        };
    }
    let call = Call::enter();
    match readable(&call, req).map(|live| assign::assign(live, name, value)) {
        Ok(Ok(())) => out.put_kind(NGX_HTTP_LUA_VAR_TRUE),
        Ok(Err(sentence)) => out.put_error(sentence),
        Err(why) => out.put_refusal(why),
    }
}

/// Whether the configuration that runs has the Lua module.
#[inline]
pub(crate) fn is_lua_running() -> bool {
    // SAFETY: a C function that reads a flag of this thread.
    unsafe { nginx::shim::lua_var_lua_is_running() != 0 }
}

/// Whether the configuration being read has the Lua module.
pub(crate) fn is_lua_configured() -> bool {
    // SAFETY: a C function that reads a flag of this thread.
    unsafe { nginx::shim::lua_var_lua_is_configured() != 0 }
}

/// The configuration with which [`init`] looked for the Lua module is the one that runs.
pub(crate) fn commit() {
    // SAFETY: a C function that sets a flag of this thread.
    unsafe { nginx::shim::lua_var_lua_commit() }
}

/// Registers the embedded packages with the Lua module, if there is one. False,
/// with the error logged, when it is too old.
pub(crate) fn init(cf: Conf<'_>) -> bool {
    let mut missing = ptr::null();
    let functions = &raw const FUNCTIONS.0;
    // SAFETY: nginx's `cf`, in preconfiguration, when the Lua module has its main conf.
    let rc = unsafe { nginx::shim::lua_var_lua_init(cf.as_ptr(), functions, &raw mut missing) };
    match rc {
        nginx::OK => true,
        nginx::DECLINED => {
            log_error!(
                INFO,
                Log::of_cycle(),
                "lua_var: ngx_http_lua_module is not loaded, only the module's variables are served"
            );
            true
        }
        _ => {
            conf_error!(
                cf,
                "ngx_http_lua_module is too old for ngx_http_lua_var_module: it lacks %s",
                missing
            );
            false
        }
    }
}
