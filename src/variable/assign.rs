//! Assigning to variables, as `ngx.var.name = value` does: the rules and the error messages
//! are those of `ngx_http_lua_ffi_var_set` in lua-nginx-module.

use crate::nginx::request::Request;
use crate::nginx::value::VarValue;
use crate::text::{Writer, put};

/// Assigns a copy of `value`, which is made in the request's pool. `None` unsets the variable.
///
/// Returns an error message, which lives as long as the request, if there is no such
/// variable, if it is not changeable, or if there is no memory. `name` has to be in lower
/// case.
pub(crate) fn assign<'a>(
    r: Request<'a>,
    name: &[u8],
    value: Option<&[u8]>,
) -> Result<(), &'a [u8]> {
    let Some(variable) = r.definition(name) else {
        return Err(message(r, |w| {
            put!(
                w; "variable \"", name, "\" not found for writing; maybe it is a built-in variable \
                that is not changeable or you forgot to use \"set $", name,
                " '';\" in the config file to define it first"
            );
        }));
    };
    if !variable.is_changeable() {
        return Err(message(r, |w| put!(w; "variable \"", name, "\" not changeable")));
    }
    if !variable.has_set_handler() && variable.index().is_none() {
        return Err(message(r, |w| put!(w; "variable \"", name, "\" cannot be assigned a value")));
    }
    let value = new_value(r, value).ok_or(NO_MEMORY)?;
    if variable.has_set_handler() {
        return if r.assign(variable, value) { Ok(()) } else { Err(NO_MEMORY) };
    }
    if let Some(index) = variable.index() {
        r.store(index, value);
    }
    Ok(())
}

const NO_MEMORY: &[u8] = b"no memory";

/// A variable's value with a copy of `value`; `None` if there is no memory.
fn new_value(r: Request<'_>, value: Option<&[u8]>) -> Option<VarValue> {
    match value {
        Some(value) => Some(VarValue::found(r.pool()?.text(0, |w| put!(w; value))?)),
        None => Some(VarValue::NOT_THERE),
    }
}

/// An error message, in the request's pool.
fn message<'a>(r: Request<'a>, write: impl Fn(&mut Writer<'_>)) -> &'a [u8] {
    r.pool().and_then(|pool| pool.text(0, write)).unwrap_or(NO_MEMORY)
}
