//! The functions that Lua calls: over LuaJIT's FFI ([`ffi`]), under the names that they have in
//! lua-var-nginx-module ([`compat`]), and through Lua's C API.
//!
//! Functions of the C API may raise Lua errors, so they are written in C. Behind each of those
//! files is the file of Rust with its name: `shim/functions.c` creates the Lua values, for
//! example, and `functions.rs` reads the variables.

pub mod compat;
mod culprits;
pub mod ffi;
mod functions;
pub mod lua;
mod lua_files;
mod reader;

use core::ffi::CStr;

use crate::nginx::request::AnyRequest;
use crate::nginx::shim::{
    LUA_VAR_REQ_CURRENT, LUA_VAR_REQ_HANDLE, LUA_VAR_REQ_POINTER, NGX_HTTP_LUA_VAR_AGAIN,
    NGX_HTTP_LUA_VAR_ERROR, NGX_HTTP_LUA_VAR_NGX_VAR, NGX_HTTP_LUA_VAR_NIL,
    NGX_HTTP_LUA_VAR_NUMBER, NGX_HTTP_LUA_VAR_REFUSED, NGX_HTTP_LUA_VAR_STRING,
    NGX_HTTP_LUA_VAR_TRUE, NGX_HTTP_LUA_VAR_WRITTEN, lua_var_req_t, ngx_http_lua_var_value_t,
};
use crate::refusal::Refusal;
use crate::registry::slots::Handle;
use crate::validation::Named;
use crate::variable::number::{self, Text};
use crate::variable::value::{Again, Flavour, Value};

impl Flavour {
    fn numbered(n: i32) -> Self {
        match n as u32 {
            NGX_HTTP_LUA_VAR_NGX_VAR => Flavour::NgxVar,
            _ => Flavour::Typed,
        }
    }
}

/// Fails the build unless these functions have the types with which the shim declares them.
macro_rules! declared_in_shim {
    ($($function:ident)+) => {
        const _: () = {
            $(let _ = [crate::nginx::shim::$function, $function];)+
        };
    };
}
use declared_in_shim;

/// The structures that a C function passes: one to read and one to fill.
///
/// # Safety
/// Both must be valid during `'a`, and nothing else may refer to the second.
#[inline(always)]
unsafe fn arguments<'a, T, O>(given: *const T, out: *mut O) -> (&'a T, &'a mut O) {
    // SAFETY: `given` is valid, by the contract above.
    let given = unsafe { &*given };
    // SAFETY: `out` is valid and not referred to elsewhere, by the contract above.
    (given, unsafe { &mut *out })
}

impl lua_var_req_t {
    /// The request that the call names.
    ///
    /// # Safety
    /// `current` must be null or the request for which lua-nginx-module runs Lua during `'a`.
    #[inline]
    unsafe fn named<'a>(&self) -> Named<'a> {
        // SAFETY: `current` is null or a live request, by the contract above.
        let current = unsafe { AnyRequest::from_raw(self.current) };
        match self.kind {
            LUA_VAR_REQ_CURRENT => Named::Current(current),
            LUA_VAR_REQ_HANDLE => Named::Handle(Handle::from_bits(self.value)),
            LUA_VAR_REQ_POINTER if self.value != 0 && self.value == self.current as u64 => {
                Named::Current(current)
            }
            _ => Named::Nothing,
        }
    }
}

/// Why a call has no value.
enum Failure<'a> {
    /// Its request is refused.
    Refused(Refusal),
    /// An error message, which lives as long as the request or longer.
    Error(&'a [u8]),
    /// The call has to be made in another way, see [`Again`].
    Again,
}

impl From<Refusal> for Failure<'_> {
    fn from(why: Refusal) -> Self {
        Failure::Refused(why)
    }
}

impl From<&'static CStr> for Failure<'_> {
    fn from(sentence: &'static CStr) -> Self {
        Failure::Error(sentence.to_bytes())
    }
}

impl From<Again> for Failure<'_> {
    fn from(Again: Again) -> Self {
        Failure::Again
    }
}

impl ngx_http_lua_var_value_t {
    #[inline(always)]
    fn put_kind(&mut self, kind: u32) {
        self.kind = kind as i32;
    }

    #[inline(always)]
    fn put_bytes(&mut self, kind: u32, bytes: &[u8]) {
        self.data = bytes.as_ptr();
        self.len = bytes.len() as i32;
        self.put_kind(kind);
    }

    fn put_written(&mut self, text: &Text) {
        let bytes = text.as_bytes();
        for (to, from) in self.text.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.len = bytes.len() as i32;
        self.put_kind(NGX_HTTP_LUA_VAR_WRITTEN);
    }

    #[inline(always)]
    fn put(&mut self, value: Value<'_>) {
        match value {
            Value::Nil => self.put_kind(NGX_HTTP_LUA_VAR_NIL),
            Value::Text(text) => self.put_bytes(NGX_HTTP_LUA_VAR_STRING, text),
            Value::Number(number) => {
                self.number = number;
                self.put_kind(NGX_HTTP_LUA_VAR_NUMBER);
            }
            Value::Decimal(number) => self.put_written(&number::decimal(number)),
            Value::Seconds(ms) => self.put_written(&number::seconds(ms)),
        }
    }

    #[inline(always)]
    fn put_result<'a>(&mut self, result: Result<Value<'a>, impl Into<Failure<'a>>>) {
        match result {
            Ok(value) => self.put(value),
            Err(failure) => self.put_failure(failure.into()),
        }
    }

    /// The result of a call without a value: true, or the failure.
    fn put_done(&mut self, result: Result<(), Failure<'_>>) {
        match result {
            Ok(()) => self.put_kind(NGX_HTTP_LUA_VAR_TRUE),
            Err(failure) => self.put_failure(failure),
        }
    }

    fn put_failure(&mut self, failure: Failure<'_>) {
        match failure {
            Failure::Refused(why) => self.put_refusal(why),
            Failure::Error(sentence) => self.put_bytes(NGX_HTTP_LUA_VAR_ERROR, sentence),
            Failure::Again => self.put_kind(NGX_HTTP_LUA_VAR_AGAIN),
        }
    }

    #[cold]
    fn put_refusal(&mut self, why: Refusal) {
        self.put_bytes(NGX_HTTP_LUA_VAR_REFUSED, why.reason());
        self.number = f64::from(why as u32);
    }
}
