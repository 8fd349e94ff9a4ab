//! The functions that Lua calls: those of the Lua library, and those of lua-var-nginx-module
//! under their names there ([`compat`]).
//!
//! Functions of Lua's C API may raise Lua errors, so they are written in C. `shim/functions.c`
//! creates the Lua values, for example, and `functions.rs` reads the variables.

pub(crate) mod compat;
mod culprits;
mod functions;
pub(crate) mod lua;
mod lua_files;

use core::ffi::CStr;

use crate::nginx::request::Unproved;
use crate::nginx::shim::{
    LUA_VAR_AGAIN, LUA_VAR_BODY, LUA_VAR_ERROR, LUA_VAR_FIXED, LUA_VAR_LAYOUT, LUA_VAR_NGX_VAR,
    LUA_VAR_NIL, LUA_VAR_NUMBER, LUA_VAR_REFUSED, LUA_VAR_REQ_CURRENT, LUA_VAR_REQ_HANDLE,
    LUA_VAR_REQ_POINTER, LUA_VAR_STRING, LUA_VAR_TRUE, LUA_VAR_VOLATILE, LUA_VAR_WRITTEN,
    lua_var_req_t, lua_var_value_t,
};
use crate::refusal::Refusal;
use crate::registry::slots::Handle;
use crate::text::{Part, Seconds, put, written};
use crate::validation::Named;
use crate::variable::field::Field;
use crate::variable::value::{Flavour, Value};

const _: () = assert!(LUA_VAR_LAYOUT == Refusal::Layout as u32);

impl Flavour {
    #[inline(always)]
    fn numbered(n: i32) -> Self {
        match n as u32 {
            LUA_VAR_NGX_VAR => Flavour::NgxVar,
            _ => Flavour::Typed,
        }
    }
}

impl lua_var_req_t {
    #[inline(always)]
    fn named(&self) -> Named {
        let current = || Unproved::from_lua(self.current as usize);
        match self.kind {
            LUA_VAR_REQ_HANDLE => match Handle::from_bits(self.value) {
                handle if handle.is_fake() => Named::Fake(current()),
                handle => Named::Handle(handle),
            },
            LUA_VAR_REQ_CURRENT => Named::Current(current()),
            LUA_VAR_REQ_POINTER if self.value != 0 && self.value == self.current as u64 => {
                Named::Current(current())
            }
            _ => Named::Nothing,
        }
    }
}

/// Why a call has no value.
enum Failure {
    /// Its request is refused.
    Refused(Refusal),
    /// An error message, with `%s` for the variable's name.
    Error(&'static CStr),
    /// The call has to be repeated: with the name in lower case, or by name instead of by what was
    /// resolved.
    Again,
}

impl From<Refusal> for Failure {
    fn from(why: Refusal) -> Self {
        Failure::Refused(why)
    }
}

impl lua_var_value_t {
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

    fn put_written(&mut self, part: impl Part) {
        self.len = written(&mut self.text, |w| put!(w; part)).len() as i32;
        self.put_kind(LUA_VAR_WRITTEN);
    }

    #[inline(always)]
    fn put(&mut self, value: Value<'_>) {
        match value {
            Value::Nil => self.put_kind(LUA_VAR_NIL),
            Value::True => self.put_kind(LUA_VAR_TRUE),
            Value::Text(text) => self.put_bytes(LUA_VAR_STRING, text),
            Value::Volatile(text) => self.put_bytes(LUA_VAR_VOLATILE, text),
            Value::Body(r) => {
                self.data = r.as_ptr().cast();
                self.put_kind(LUA_VAR_BODY);
            }
            Value::Number(number) => {
                self.number = number;
                self.put_kind(LUA_VAR_NUMBER);
            }
            Value::Decimal(number) => self.put_written(number),
            Value::Seconds(ms) => self.put_written(Seconds(ms)),
        }
    }

    /// The value that was read from a field, or else in another way. Lua has the strings of
    /// frequent values already.
    #[inline(always)]
    fn put_of(&mut self, field: Option<Field>, value: Value<'_>) {
        let fixed = match (field, value) {
            (Some(field), Value::Text(text)) => field.fixed(text),
            _ => None,
        };
        match fixed {
            Some(n) => {
                self.len = n as i32;
                self.put_kind(LUA_VAR_FIXED);
            }
            None => self.put(value),
        }
    }

    fn put_result(&mut self, result: Result<Value<'_>, impl Into<Failure>>) {
        match result {
            Ok(value) => self.put(value),
            Err(failure) => self.put_failure(failure.into()),
        }
    }

    #[cold]
    fn put_failure(&mut self, failure: Failure) {
        match failure {
            Failure::Refused(why) => {
                self.put_bytes(LUA_VAR_REFUSED, why.reason());
                self.number = f64::from(why as u32);
            }
            Failure::Error(format) => self.put_bytes(LUA_VAR_ERROR, format.to_bytes_with_nul()),
            Failure::Again => self.put_kind(LUA_VAR_AGAIN),
        }
    }
}
