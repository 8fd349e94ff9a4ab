//! What Lua calls: through its C API ([`capi`], by way of `shim/functions.c`), over LuaJIT's
//! FFI ([`ffi`]), and by the names that lua-var-nginx-module has ([`compat`]). The Lua files
//! that call the first two are embedded (`library.rs`).

pub mod capi;
pub mod compat;
pub mod ffi;
mod library;

use crate::nginx::shim::{
    NGX_HTTP_LUA_VAR_AGAIN, NGX_HTTP_LUA_VAR_ERROR, NGX_HTTP_LUA_VAR_NGX_VAR, NGX_HTTP_LUA_VAR_NIL,
    NGX_HTTP_LUA_VAR_NUMBER, NGX_HTTP_LUA_VAR_REFUSED, NGX_HTTP_LUA_VAR_STRING,
    NGX_HTTP_LUA_VAR_WRITTEN, ngx_http_lua_var_value_t,
};
use crate::request::Refusal;
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
    fn put_result(&mut self, result: Result<Value<'_>, Again>) {
        match result {
            Ok(value) => self.put(value),
            Err(Again) => self.put_kind(NGX_HTTP_LUA_VAR_AGAIN),
        }
    }

    /// A sentence that says what is wrong; it lives as long as the request at least.
    fn put_error(&mut self, sentence: &[u8]) {
        self.put_bytes(NGX_HTTP_LUA_VAR_ERROR, sentence);
    }

    #[cold]
    fn put_refusal(&mut self, why: Refusal) {
        self.put_bytes(NGX_HTTP_LUA_VAR_REFUSED, why.reason());
        self.number = f64::from(why as u32);
    }
}
