//! Reading variables: a name is resolved to nginx's definition, and that is read.
//!
//! A value is taken from the first of these that has it: nginx's cache in `r->variables`, the
//! request itself ([`Field`]), nginx's handler.

use super::field::Field;
use super::nginx_handlers::nginx_handlers;
use super::number;
use super::value::{Flavour, Value};
use crate::nginx::request::Request;
use crate::nginx::shim::{
    LUA_VAR_HEADER, LUA_VAR_PLAIN, LUA_VAR_PREFIX, LUA_VAR_REQUEST_BODY, lua_var_found_t as Found,
};
use crate::nginx::value::{VarValue, Variable};

/// What a name means in the configuration that serves a request.
#[derive(Clone, Copy)]
pub(crate) struct Resolved<'a> {
    /// The definition of the variable, or of the prefix that its name has.
    variable: Variable<'a>,
    /// How the module reads it directly, if it does.
    field: Option<Field>,
    kind: Kind,
}

/// What [`Resolved::variable`] defines.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Kind {
    Variable = LUA_VAR_PLAIN,
    /// A header that nginx defines by name. Its value may still change, as
    /// with `ngx.req.set_header`, so that reading it stores nothing.
    Header = LUA_VAR_HEADER,
    /// A prefix, whose handler needs the name.
    Prefix = LUA_VAR_PREFIX,
    /// `$request_body`. `ngx.req.set_body_data` frees what it was, so that a cached text is not read.
    Body = LUA_VAR_REQUEST_BODY,
}

impl<'a> Resolved<'a> {
    /// Resolves a name, which has to be in lower case. `None` if nginx does not know it.
    pub(crate) fn of(r: Request<'a>, name: &[u8]) -> Option<Self> {
        if let Some(variable) = r.definition(name) {
            return Some(Resolved {
                variable,
                field: nginx_handlers().field(variable),
                kind: if nginx_handlers().is_header(variable) {
                    Kind::Header
                } else if nginx_handlers().is_body(variable) {
                    Kind::Body
                } else {
                    Kind::Variable
                },
            });
        }
        let variable = r.prefix_of(name).filter(|_| is_safe(name))?;
        Some(Resolved { variable, field: None, kind: Kind::Prefix })
    }

    /// The same for C, which caches it together with the request's configuration.
    pub(crate) fn to_c(self, r: Request<'_>) -> Found {
        Found {
            conf: r.core_main_conf() as u64,
            variable: self.variable.as_ptr(),
            field: self.field.map_or(-1, |field| field as i32),
            kind: self.kind as i32,
        }
    }

    /// What C has cached; `None` if it was resolved in another configuration.
    ///
    /// # Safety
    /// `found` must point to a value of [`Resolved::to_c`], made in the Lua VM that runs now.
    /// lua-nginx-module closes a VM together with its configuration, so that no other configuration
    /// can have the same address.
    #[inline(always)]
    pub(crate) unsafe fn from_c(found: *const Found, r: Request<'a>) -> Option<Self> {
        // SAFETY: it points to such a value, by the contract above.
        let found = unsafe { &*found };
        if found.conf != r.core_main_conf() as u64 {
            return None;
        }
        Some(Resolved {
            // SAFETY: it is a definition of the configuration that serves the request.
            variable: unsafe { Variable::from_raw(found.variable) }?,
            field: Field::numbered(found.field),
            kind: match found.kind as u32 {
                LUA_VAR_PLAIN => Kind::Variable,
                LUA_VAR_HEADER => Kind::Header,
                LUA_VAR_REQUEST_BODY => Kind::Body,
                _ => Kind::Prefix,
            },
        })
    }

    /// Reads the value and passes it to `give`, together with the field if it was read directly.
    // This and its callees are inlined so that the value stays in registers. If it were written
    // to memory as words and copied as one vector, the processor would stall.
    #[inline(always)]
    pub(crate) fn read<T>(
        self,
        r: Request<'a>,
        name: &[u8],
        flavour: Flavour,
        give: impl FnOnce(Option<Field>, Value<'a>) -> T,
    ) -> T {
        let Resolved { variable, field, kind } = self;
        match (kind, flavour) {
            (Kind::Prefix, _) => {
                return give(None, Value::of(r.evaluate_prefixed(variable.getter(), name)));
            }
            (Kind::Body, Flavour::Typed) => {
                let is_missing = variable.index().is_some_and(|index| r.has_cached_nothing(index));
                return give(None, if is_missing { Value::Nil } else { Value::Body(r) });
            }
            _ => {}
        }
        if let Some(text) = variable.index().and_then(|index| r.cached(index)) {
            return give(field, typed(Value::of(text), field, flavour));
        }
        match (field, flavour) {
            (Some(field), Flavour::Typed) => field.read_with(
                r,
                #[inline(always)]
                |field, value| match value {
                    Some(value) => give(Some(field), value),
                    None => give(None, self.through_nginx(r, flavour)),
                },
            ),
            (Some(field), Flavour::NgxVar) => match as_ngx_var(r, variable, field) {
                Some(value) => give(Some(field), value),
                None => give(None, self.through_nginx(r, flavour)),
            },
            (None, _) => give(None, self.through_nginx(r, flavour)),
        }
    }

    /// Reads a variable with nginx's handler.
    fn through_nginx(self, r: Request<'a>, flavour: Flavour) -> Value<'a> {
        let variable = self.variable;
        // nginx's function stores the value in `r->variables`, as `ngx.var` does.
        let stores =
            flavour == Flavour::NgxVar || variable.is_cacheable() && self.kind == Kind::Variable;
        let text = match variable.index().filter(|_| stores) {
            Some(index) => r.flushed(index),
            None => r.evaluate(variable.getter()),
        };
        typed(Value::of(text), self.field, flavour)
    }
}

/// Whether a name contains an upper-case letter.
pub(crate) fn has_upper(name: &[u8]) -> bool {
    name.iter().any(u8::is_ascii_uppercase)
}

/// Whether nginx's handlers of prefixes can be called with this name.
///
/// No argument, header or cookie has a `&` or a NUL in its name, but these bytes mislead
/// the handlers: with a `&`, `ngx_http_arg` may find the end of a value before its beginning,
/// and a NUL ends a comparison (`ngx_strncasecmp`) early, which then counts as a match of
/// the whole name.
fn is_safe(name: &[u8]) -> bool {
    !name.iter().any(|b| matches!(b, 0 | b'&'))
}

/// The value of a field as `ngx.var` returns it. It is stored in `r->variables`, as nginx does
/// after its handler returned it (`ngx_http_get_indexed_variable`). `None` if it is a number, which
/// nginx has to convert to text.
fn as_ngx_var<'a>(r: Request<'a>, variable: Variable<'_>, field: Field) -> Option<Value<'a>> {
    let value = field.read(r).filter(|_| !field.is_number())?;
    let Some(index) = variable.index() else {
        return Some(value);
    };
    let stored = match value {
        Value::Text(text) => VarValue::found(text),
        Value::Nil => VarValue::NOT_THERE,
        _ => return None,
    };
    r.store(
        index,
        match variable.is_cacheable() {
            true => stored,
            false => stored.no_cacheable(),
        },
    );
    Some(value)
}

/// Converts a text of nginx's to a number, if the flavour and the variable's field ask for it.
#[inline(always)]
fn typed<'a>(value: Value<'a>, field: Option<Field>, flavour: Flavour) -> Value<'a> {
    match value {
        Value::Volatile(text)
            if flavour == Flavour::Typed && field.is_some_and(Field::is_number) =>
        {
            number_in(text)
        }
        value => value,
    }
}

/// The number in a text of nginx's; 0 for one without a number, such as the "-" of an attempt
/// without a time.
#[cold]
pub(crate) fn number_in(text: &[u8]) -> Value<'static> {
    Value::Number(number::parse_sum(text).unwrap_or(0.0))
}
