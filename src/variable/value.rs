//! What a value is, and how it is converted for the caller.

/// A variable's value.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Not found.
    Nil,
    /// Text in the request's memory.
    Text(&'a [u8]),
    /// A number, where values are typed.
    Number(f64),
    /// Text: a number, yet to be written.
    Decimal(u64),
    /// Text: milliseconds, yet to be written as seconds with three decimals.
    Seconds(i64),
}

impl<'a> Value<'a> {
    #[inline(always)]
    pub(crate) fn of(text: Option<&'a [u8]>) -> Self {
        text.map_or(Value::Nil, Value::Text)
    }
}

/// How a value is converted for the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// As lua-var-nginx-module types them.
    Typed,
    /// As `ngx.var`: text, and nginx caches what it would have cached.
    NgxVar,
}

/// The question has to be asked in a slower way: with the name in lower case; by name
/// instead of by what was found of it.
#[derive(Clone, Copy, Debug)]
pub struct Again;
