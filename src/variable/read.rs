//! Reading: by name, and by what was found of a name before.

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
use crate::request::{Direct, Readable};

/// The variable of this name, in lower case.
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

/// A name that is no variable of the table: one of a prefix, or unknown.
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

/// What a name stands for in the configuration that serves a request.
#[derive(Clone, Copy)]
pub(crate) enum Resolved<'n> {
    /// A variable.
    Var(&'static Var),
    /// One of a prefix, and the rest of its name.
    Prefixed(Prefix, &'n [u8]),
}

/// A request that is read directly, with the variable table of its configuration.
#[derive(Clone, Copy)]
pub(crate) struct InTable<'a> {
    r: Request<'a>,
    table: &'static Table,
}

impl<'a> InTable<'a> {
    /// `None` when it is served by an older configuration, whose table is gone.
    #[inline(always)]
    pub(crate) fn of(live: Direct<'a>) -> Option<Self> {
        let r = live.request();
        Some(InTable {
            r,
            table: table::of(r)?,
        })
    }

    /// What was found of a name, if it was found in this table.
    ///
    /// # Safety
    /// `found` was filled in this process, maybe for a configuration that is gone, and its
    /// name is still where it was.
    #[inline(always)]
    pub(crate) unsafe fn resolve<'n>(self, found: &'n Found) -> Option<Resolved<'n>> {
        if self.table.epoch() != found.epoch {
            return None;
        }
        if found.variable >= 0 {
            return (self.table.numbered(found.variable as u32)).map(Resolved::Var);
        }
        let prefix = *Prefix::ALL.get(found.prefix as usize)?;
        // SAFETY: by the caller's word; `find` set it together with the prefix.
        let rest = unsafe {
            bytes(ngx_str_t {
                len: found.rest_len as usize,
                data: found.rest.cast_mut(),
            })
        };
        Some(Resolved::Prefixed(prefix, rest))
    }

    /// Hands the value to `give`, with the field that it was read from, if it was.
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

/// Nothing was found.
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

/// Nothing was found in this configuration.
pub(crate) fn none_in(table: &Table) -> Found {
    Found {
        epoch: table.epoch(),
        ..NOT_FOUND
    }
}

/// Finds a name, in lower case, in a configuration. It has to stay where it is for as
/// long as [`InTable::resolve`] is asked about it.
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
    // Names are looked up in lower case, which this one would not be.
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

/// The value of a variable.
fn read<'a>(r: Request<'a>, var: &Var, flavour: Flavour) -> Value<'a> {
    read_with(r, var, flavour, |_, value| value)
}

/// The same, handed to `give`, with the field that it was read from, if it was.
// Inlined, with what it is made of, so that a value stays in registers: written
// to memory as words and copied as one vector, it stalls the reader.
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

/// A variable that is read from the request, as `ngx.var` gives it; `None` when nginx has
/// to make the text, or to keep it.
fn as_ngx_var<'a>(r: Request<'a>, var: &Var, field: Field) -> Option<Value<'a>> {
    let value = field.read(r).filter(|_| !field.is_number())?;
    cache(r, var, value).then_some(value)
}

/// A variable whose handler has to be asked, or that is one of a prefix.
fn through_nginx<'a>(r: Request<'a>, var: &Var, flavour: Flavour) -> Value<'a> {
    if let Some(index) = var.index {
        // Where nginx asks its handler each time, `fetch` leaves nothing behind; a value
        // that nginx caches is cached, as it is for whoever reads it first.
        if var.is_cacheable || flavour == Flavour::NgxVar {
            return typed(Value::of(r.flushed(index)), var.field, flavour);
        }
    }
    if let Some(offset) = var.header {
        // SAFETY: nginx's own handler of this variable reads such a pointer there.
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

/// Leaves in `r->variables` what nginx would leave there after its handler gave `value`
/// (`ngx_http_get_indexed_variable`); false when the handler has to be asked.
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

/// The variable as lua-nginx-module and nginx find and read it, whatever this
/// module knows of requests. The name has to be in lower case.
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

/// Makes text of nginx's a number, where the flavour and the variable ask for it.
#[inline(always)]
fn typed<'a>(value: Value<'a>, field: Option<Field>, flavour: Flavour) -> Value<'a> {
    match value {
        Value::Text(text) if flavour == Flavour::Typed && field.is_some_and(Field::is_number) => {
            number_in(text)
        }
        value => value,
    }
}

#[cold]
fn number_in(text: &[u8]) -> Value<'static> {
    number::parse_sum(text).map_or(Value::Nil, Value::Number)
}
