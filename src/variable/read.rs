//! Reading variables, by name or by a name that was resolved before.
//!
//! A value is taken from the first of these that has it: nginx's cache in `r->variables`, the
//! request itself ([`Field`]), a header or a look-up by prefix, nginx's handler. If nginx's
//! layout differs, or an older configuration serves the request, lua-nginx-module reads it.

use core::ffi::CStr;

use super::field::Field;
use super::scan::Prefix;
use super::table::{self, Table, Var};
use super::value::{Again, Flavour, Value};
use super::{name, number, prefix};
use crate::nginx::lua_module;
use crate::nginx::ngx_str_t;
use crate::nginx::request::{AnyRequest, Request};
use crate::nginx::shim::ngx_http_lua_var_found_t as Found;
use crate::nginx::string::bytes;
use crate::nginx::value::VarValue;
use crate::validation::{Direct, Readable};

/// The variable with this name. [`Again`] if the name has an upper-case letter and has to be
/// converted to lower case first.
#[inline(always)]
pub(crate) fn by_name<'a>(
    live: Readable<'a>,
    name: &[u8],
    flavour: Flavour,
) -> Result<Value<'a>, Again> {
    let r = live.request();
    if let Some(InTable { table, .. }) = live.direct().and_then(InTable::of) {
        return match table.find(name) {
            Some(var) => Ok(read(r, var, flavour)),
            None => prefixed(r, table, name),
        };
    }
    if name::has_upper(name) {
        return Err(Again);
    }
    Ok(by_lua_module(*r, name, flavour).unwrap_or(Value::Nil))
}

/// The variable with a name that is not in the table: it has a prefix, or it is unknown.
fn prefixed<'a>(r: Request<'a>, table: &Table, name: &[u8]) -> Result<Value<'a>, Again> {
    if name::has_upper(name) {
        return Err(Again);
    }
    if let Some((prefix, rest)) = table.prefix(name) {
        if let Some(text) = prefix::look_up(r, prefix, rest).sure() {
            return Ok(Value::of(text));
        }
    }
    Ok(match table.handler_of_prefix(name) {
        Some(handler) if name::is_safe(name) => Value::of(r.evaluate_prefixed(handler, name)),
        _ => Value::Nil,
    })
}

/// What a name means in the configuration that serves a request.
#[derive(Clone, Copy)]
pub(crate) enum Resolved<'n> {
    /// A variable of the table.
    Var(&'static Var),
    /// A built-in prefix, and the part of the name behind it.
    Prefixed(Prefix, &'n [u8]),
}

/// A request that may be read directly, with the variable table of its configuration.
#[derive(Clone, Copy)]
pub(crate) struct InTable<'a> {
    r: Request<'a>,
    table: &'static Table,
}

impl<'a> InTable<'a> {
    /// `None` if an older configuration than the newest serves the request, whose table is
    /// not used any more.
    #[inline(always)]
    pub(crate) fn of(live: Direct<'a>) -> Option<Self> {
        let r = live.request();
        Some(InTable {
            r,
            table: table::of(r)?,
        })
    }

    /// What `found` means, if it was resolved with this table; `None` if it has to be resolved
    /// again.
    ///
    /// # Safety
    /// `found` must come from [`find`], [`NOT_FOUND`] or [`none_in`] in this process, and the
    /// name that was resolved must still be where it was. The table need not exist any more.
    #[inline(always)]
    pub(crate) unsafe fn resolve<'n>(self, found: &'n Found) -> Option<Resolved<'n>> {
        if self.table.epoch() != found.epoch {
            return None;
        }
        if found.variable >= 0 {
            return (self.table.numbered(found.variable as u32)).map(Resolved::Var);
        }
        let prefix = *Prefix::ALL.get(found.prefix as usize)?;
        // SAFETY: `find` has set `rest` and its length, and the name is still there, by the
        // contract above.
        let rest = unsafe {
            bytes(ngx_str_t {
                len: found.rest_len as usize,
                data: found.rest.cast_mut(),
            })
        };
        Some(Resolved::Prefixed(prefix, rest))
    }

    /// Reads the value and passes it to `give`, together with the field if it was read
    /// directly. [`Again`] if it has to be read by name, because nginx has to look.
    #[inline(always)]
    pub(crate) fn read<T>(
        self,
        resolved: Resolved<'_>,
        flavour: Flavour,
        give: impl FnOnce(Option<Field>, Value<'a>) -> T,
    ) -> Result<T, Again> {
        Ok(match resolved {
            Resolved::Var(var) => read_with(self.r, var, flavour, give),
            Resolved::Prefixed(prefix, rest) => {
                let text = prefix::look_up(self.r, prefix, rest).sure().ok_or(Again)?;
                give(None, Value::of(text))
            }
        })
    }
}

/// A name that is not resolved yet: no table has the epoch 0.
pub(crate) const NOT_FOUND: Found = Found {
    rest: core::ptr::null(),
    rest_len: 0,
    epoch: 0,
    variable: -1,
    prefix: -1,
    cached: -1,
    header: -1,
    is_direct: 0,
    is_number: 0,
};

/// A name that was looked for in this table, and is neither a variable nor has a prefix.
pub(crate) fn none_in(table: &Table) -> Found {
    Found {
        epoch: table.epoch(),
        ..NOT_FOUND
    }
}

/// Resolves a name, which has to be in lower case, in a configuration. `None` if it is neither
/// a variable nor has a prefix. The result may point into `name`, which must stay where it is
/// for as long as the result is used.
pub(crate) fn find(table: &Table, name: &[u8]) -> Option<Found> {
    let epoch = table.epoch();
    if let Some(var) = table.find(name) {
        let or_none =
            |number: Option<u32>| number.and_then(|n| i32::try_from(n).ok()).unwrap_or(-1);
        return Some(Found {
            epoch,
            variable: or_none(table.number(var)),
            cached: or_none(var.cached_at()),
            header: or_none(var.header),
            is_direct: i32::from(var.field.is_some()),
            is_number: i32::from(var.field.is_some_and(Field::is_number)),
            ..NOT_FOUND
        });
    }
    // The caller did not convert the name, and a look-up by prefix would compare it as it is.
    if name::has_upper(name) {
        return None;
    }
    let (prefix, rest) = table.prefix(name)?;
    Some(Found {
        rest: rest.as_ptr(),
        rest_len: u32::try_from(rest.len()).ok()?,
        epoch,
        prefix: Prefix::ALL.iter().position(|other| *other == prefix)? as i32,
        ..NOT_FOUND
    })
}

/// Reads a variable of the table.
fn read<'a>(r: Request<'a>, var: &Var, flavour: Flavour) -> Value<'a> {
    read_with(r, var, flavour, |_, value| value)
}

/// Reads a variable of the table and passes the value to `give`, together with the field if
/// it was read directly.
// This and its callees are inlined so that the value stays in registers. If it were written
// to memory as words and copied as one vector, the processor would stall.
#[inline(always)]
fn read_with<'a, T>(
    r: Request<'a>,
    var: &Var,
    flavour: Flavour,
    give: impl FnOnce(Option<Field>, Value<'a>) -> T,
) -> T {
    if let Some(text) = var.index.and_then(|index| r.cached(index)) {
        return give(var.field, typed(Value::of(text), var.field, flavour));
    }
    match (var.field, flavour) {
        (Some(field), Flavour::Typed) => field.read_with(
            r,
            #[inline(always)]
            |field, value| match value {
                Some(value) => give(Some(field), value),
                None => give(None, through_nginx(r, var, flavour)),
            },
        ),
        (Some(field), Flavour::NgxVar) => match as_ngx_var(r, var, field) {
            Some(value) => give(Some(field), value),
            None => give(None, through_nginx(r, var, flavour)),
        },
        (None, _) => give(None, through_nginx(r, var, flavour)),
    }
}

/// The value of a field as `ngx.var` returns it, which is cached as nginx would do. `None`
/// if nginx has to convert a number to text, or to store the text.
fn as_ngx_var<'a>(r: Request<'a>, var: &Var, field: Field) -> Option<Value<'a>> {
    let value = field.read(r).filter(|_| !field.is_number())?;
    cache(r, var, value).then_some(value)
}

/// Reads a variable that is not read directly: with a look-up of the module's, or with nginx's
/// handler.
fn through_nginx<'a>(r: Request<'a>, var: &Var, flavour: Flavour) -> Value<'a> {
    if let Some(index) = var.index {
        // nginx's functions store the value in `r->variables`. For a cacheable variable that
        // is right; for a no-cacheable one only `ngx.var` does it.
        if var.is_cacheable || flavour == Flavour::NgxVar {
            return typed(Value::of(r.flushed(index)), var.field, flavour);
        }
    }
    if let Some(offset) = var.header {
        // SAFETY: the offset comes from nginx's own handler of this variable, which reads a
        // pointer to a header there.
        if let Ok(text) = unsafe { r.header_at(offset) } {
            return Value::of(text);
        }
    }
    if let Some(prefix) = var.prefix {
        let rest = var.name.get(prefix.text().len()..).unwrap_or_default();
        if let Some(text) = prefix::look_up(r, prefix, rest).sure() {
            return Value::of(text);
        }
    }
    typed(Value::of(r.evaluate(var.getter)), var.field, flavour)
}

/// Stores in `r->variables` what nginx would store there after its handler returned `value`
/// (`ngx_http_get_indexed_variable`). Returns false if nginx's handler has to be called,
/// because `value` is a number that would have to be converted to text.
#[inline(always)]
fn cache(r: Request<'_>, var: &Var, value: Value<'_>) -> bool {
    let Some(index) = var.index else {
        return true;
    };
    let value = match value {
        Value::Text(text) => VarValue::found(text),
        Value::Nil => VarValue::NOT_THERE,
        _ => return false,
    };
    r.store(
        index,
        if var.is_cacheable {
            value
        } else {
            value.no_cacheable()
        },
    );
    true
}

/// Reads a variable through lua-nginx-module, which works with any layout and configuration.
/// The name has to be in lower case. The error is a message of lua-nginx-module's.
pub(crate) fn by_lua_module<'a>(
    r: AnyRequest<'a>,
    name: &[u8],
    flavour: Flavour,
) -> Result<Value<'a>, &'static CStr> {
    if !name::is_safe(name) {
        return Ok(Value::Nil);
    }
    let text = lua_module::variable(r, name)?;
    Ok(typed(Value::of(text), Field::named(name), flavour))
}

/// Converts a text of nginx's to a number, if the flavour and the variable's field ask for it.
#[inline(always)]
fn typed<'a>(value: Value<'a>, field: Option<Field>, flavour: Flavour) -> Value<'a> {
    match value {
        Value::Text(text) if flavour == Flavour::Typed && field.is_some_and(Field::is_number) => {
            number_in(text)
        }
        value => value,
    }
}

/// The number in a text of nginx's; nil if there is none.
#[cold]
fn number_in(text: &[u8]) -> Value<'static> {
    number::parse_sum(text).map_or(Value::Nil, Value::Number)
}
