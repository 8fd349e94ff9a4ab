//! The value of a variable, and how it is converted for the caller. Numbers become text as
//! late as possible, so that none is allocated in the request's pool.

use crate::nginx::request::Request;

/// A variable's value.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    /// The variable is not found.
    Nil,
    /// The result of a call without a value.
    True,
    /// A text of the request, which lives as long as it.
    Text(&'a [u8]),
    /// A text that a handler returned. It may be freed before the request ends, as `$request_body`
    /// is by `ngx.req.set_body_data`, so that it has to be copied before any Lua code runs.
    Volatile(&'a [u8]),
    /// `$request_body` of a request, which C makes a string of.
    Body(Request<'a>),
    /// A number for Lua ([`Flavour::Typed`]).
    Number(f64),
    /// A text: the digits of this number.
    Decimal(u64),
    /// A text: these milliseconds, as seconds with three decimals.
    Seconds(i64),
}

impl<'a> Value<'a> {
    /// The text that a handler returned, or `Nil` for `None`.
    #[inline(always)]
    pub(crate) fn of(text: Option<&'a [u8]>) -> Self {
        text.map_or(Value::Nil, Value::Volatile)
    }
}

/// How a value is converted for the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// As lua-var-nginx-module does: some variables are numbers. The value of a no-cacheable
    /// variable is not stored.
    Typed,
    /// As `ngx.var` does: every value is text, and nginx stores that of an indexed variable.
    NgxVar,
}
