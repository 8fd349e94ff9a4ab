//! The functions of the Lua library, as `shim/fetch.c` and `shim/functions.c` call them.

use core::ptr;

use super::Failure;
use crate::culprits::origins;
use crate::nginx::request::{AnyRequest, Unproved};
use crate::nginx::shim::{
    LUA_VAR_AGAIN, LUA_VAR_SERIES, LUA_VAR_TRUE, lua_var_call_t, lua_var_found_t, lua_var_value_t,
};
use crate::nginx::string::{bytes, bytes_or_null};
use crate::nginx::{ngx_connection_t, ngx_http_request_t, ngx_uint_t};
use crate::ngx_ctx;
use crate::refusal::Refusal;
use crate::registry::registry;
use crate::registry::slots::{Handle, Slot};
use crate::restore;
use crate::status;
use crate::text::Writer;
use crate::validation::{self, Call, LiveRequest, Named};
use crate::variable::assign;
use crate::variable::field::Field;
use crate::variable::read::{self, Resolved};
use crate::variable::value::{Flavour, Value};

pub(super) struct Asked<'a> {
    named: Named,
    /// The variable's name; empty if none is asked for.
    name: &'a [u8],
    /// The value to assign or to convert.
    text: Option<&'a [u8]>,
    number: isize,
    flavour: Flavour,
    /// What the name was resolved to before; null if it was not.
    known: *const lua_var_found_t,
    /// What it is resolved to now.
    found: &'a mut lua_var_found_t,
    out: &'a mut lua_var_value_t,
}

impl<'a> Asked<'a> {
    /// # Safety
    /// `call` must be on the stack of a function in `shim/`, which sets `current` for
    /// this call, and passes Lua strings that the Lua stack keeps alive.
    #[inline(always)]
    pub(super) unsafe fn of(call: *mut lua_var_call_t) -> Self {
        // SAFETY: nothing else refers to it during the call, by the contract above.
        let call = unsafe { &mut *call };
        Asked {
            named: call.req.named(),
            // SAFETY: it is null or a Lua string of this length.
            name: unsafe { bytes(call.name) },
            // SAFETY: it is null or a Lua string of this length.
            text: unsafe { bytes_or_null(call.text) },
            number: call.number,
            flavour: Flavour::numbered(call.flavour),
            known: call.known,
            found: &mut call.found,
            out: &mut call.out,
        }
    }

    /// The request of a call with a name. A name with upper case has to come again in lower case.
    fn request_for_name(&self, call: &'a Call) -> Result<LiveRequest<'a>, Failure> {
        let live = LiveRequest::named(call, self.named)?;
        match read::has_upper(self.name) {
            true => Err(Failure::Again),
            false => Ok(live),
        }
    }
}

/// The function of C's table that calls `$function` with what C asks for.
macro_rules! asked_by_c {
    ($function:path) => {{
        unsafe extern "C" fn called(call: *mut lua_var_call_t) {
            // SAFETY: the shim passes a call that is on its stack, with Lua strings of its Lua
            // stack.
            $function(unsafe { functions::Asked::of(call) }, &Call::enter());
        }
        Some(called)
    }};
}
pub(super) use asked_by_c;

/// `fetch`: the value of the variable `name`, and what the name was resolved to.
pub(super) fn fetch(asked: Asked<'_>, call: &Call) {
    asked.found.conf = 0;
    let value = asked.request_for_name(call).map(|live| match Resolved::of(*live, asked.name) {
        Some(resolved) => {
            *asked.found = resolved.to_c(*live);
            resolved.read(*live, asked.name, asked.flavour, |_, value| value)
        }
        None => Value::Nil,
    });
    asked.out.put_result(value);
}

/// `fetch` of a name that was resolved before. `LUA_VAR_AGAIN` if [`fetch`] has to be called.
pub(super) fn read(asked: Asked<'_>, call: &Call) {
    let Ok(live) = LiveRequest::named(call, asked.named) else {
        return asked.out.put_kind(LUA_VAR_AGAIN);
    };
    // SAFETY: `fetch` has filled it in this VM.
    match unsafe { Resolved::from_c(asked.known, *live) } {
        Some(resolved) => resolved.read(
            *live,
            asked.name,
            asked.flavour,
            #[inline(always)]
            |field, value| asked.out.put_of(field, value),
        ),
        None => asked.out.put_kind(LUA_VAR_AGAIN),
    }
}

/// `fetch` with a number: a capture of the last regular expression.
pub(super) fn capture(asked: Asked<'_>, call: &Call) {
    let value = LiveRequest::named(call, asked.named).map(|live| {
        let n = usize::try_from(asked.number).ok().filter(|n| *n > 0);
        Value::of(n.and_then(|n| live.capture(n)))
    });
    asked.out.put_result(value);
}

/// The number in a text of `ngx.var`, if [`fetch`] gives a number for this name.
pub(super) fn number(asked: Asked<'_>, _call: &Call) {
    asked.out.put_result(match asked.text {
        Some(text) if Field::is_name_of_number(asked.name) => Ok(read::number_in(text)),
        _ => Err(Failure::Again),
    });
}

/// `set`: assigns the text to the variable `name`; without one, the variable is unset.
pub(super) fn set(asked: Asked<'_>, call: &Call) {
    let done = asked.request_for_name(call).and_then(|live| {
        let done = assign::assign(*live, asked.name, asked.text);
        done.map(|()| Value::True).map_err(Failure::Error)
    });
    asked.out.put_result(done);
}

pub(super) fn live(asked: Asked<'_>, call: &Call) {
    asked.out.put_result(LiveRequest::named(call, asked.named).map(|_| Value::True));
}

/// `request`: writes the bits of the current request's handle, which is registered if it was not.
pub(super) unsafe extern "C" fn acquire(call: *mut lua_var_call_t) {
    // SAFETY: the shim passes a call that is on its stack, with only the current request set.
    let call = unsafe { &mut *call };
    let current = Unproved::from_lua(call.req.current as usize);
    let entered = Call::enter();
    let made = match LiveRequest::current(&entered, current) {
        Ok(live) => validation::register(*live).map(Slot::handle).ok_or(Refusal::NoMemory),
        Err(Refusal::Fake) => {
            let fake = validation::proved(&entered, current);
            let is_handshake = fake.is_some_and(AnyRequest::is_tls);
            Ok(Handle::fake(is_handshake, origins::next_number()))
        }
        Err(why) => Err(why),
    };
    match made {
        Ok(made) => {
            call.req.value = made.to_bits();
            call.out.put_kind(LUA_VAR_TRUE);
        }
        Err(why) => call.out.put_failure(why.into()),
    }
}

/// `stats`: the name of series `n` in `buf`, its length in `out.len`, and its value in
/// `out.number`. Returns 0 after the last series.
///
/// # Safety
/// `out` and the `LUA_VAR_SERIES` bytes at `buf` are on the stack of `shim/functions.c`.
pub(super) unsafe extern "C" fn figure(
    n: ngx_uint_t,
    buf: *mut u8,
    out: *mut lua_var_value_t,
) -> ngx_uint_t {
    // SAFETY: it is on the stack of the C function that calls this one.
    let out = unsafe { &mut *out };
    // SAFETY: it has that length, by the contract above, and nothing else refers to it.
    let room = unsafe { &mut *buf.cast::<[u8; LUA_VAR_SERIES as usize]>() };
    let mut name = Writer::new(room);
    let Some(value) = status::numbered(n, &mut name) else {
        return 0;
    };
    out.len = name.finish().len() as i32;
    out.number = value as f64;
    1
}

// Lua calls the next two over FFI, which it compiles, so that `r` may be any pointer.

/// The reference of the `ngx.ctx` that the live request at `r` lost in a redirect and gets back in
/// the Lua VM `vm`; 0 if it gets none.
pub(super) unsafe extern "C" fn ctx_lost(r: *mut ngx_http_request_t, vm: u32) -> i32 {
    let found = registry().find(r as usize);
    let Some(slot) = found.filter(|slot| slot.ctx().is_some()) else {
        return 0;
    };
    let call = Call::enter();
    let live = LiveRequest::of(&call, slot).ok();
    live.and_then(|live| restore::restorable(live, slot, vm)).unwrap_or(0)
}

/// Stashes the `ngx.ctx` that the live request at `r` has got in the Lua VM `vm`. `was_restored` is
/// 1 if it is the one that it had lost.
pub(super) unsafe extern "C" fn ctx_made(r: *mut ngx_http_request_t, vm: u32, was_restored: i32) {
    let Some(slot) = registry().find(r as usize) else {
        return;
    };
    let call = Call::enter();
    if let Ok(live) = LiveRequest::of(&call, slot) {
        ngx_ctx::made(*live, slot, vm);
        restore::note(slot, was_restored != 0);
    }
}

/// The connection of the current request, if that is known to be live; null otherwise.
pub(super) unsafe extern "C" fn connection(raw: *mut ngx_http_request_t) -> *mut ngx_connection_t {
    let call = Call::enter();
    let any = validation::proved(&call, Unproved::from_lua(raw as usize));
    any.map_or(ptr::null_mut(), AnyRequest::connection_ptr)
}

/// Whether `lua_var_ssl_ctx` lets the handshake's `ngx.ctx` show through that of the request.
pub(super) unsafe extern "C" fn inherits_ssl_ctx(raw: *mut ngx_http_request_t) -> ngx_uint_t {
    let call = Call::enter();
    let live = LiveRequest::current(&call, Unproved::from_lua(raw as usize)).ok();
    ngx_uint_t::from(ngx_ctx::inherits_ssl_ctx(live.map(|live| *live)))
}
