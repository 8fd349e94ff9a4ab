//! Assigning to variables, as `ngx.var.name = value` does: the rules and the error messages
//! are those of `ngx_http_lua_ffi_var_set` in lua-nginx-module.

use core::ffi::CStr;

use crate::nginx::request::Request;
use crate::nginx::value::VarValue;
use crate::text::put;

/// Assigns a copy of `value`, which is made in the request's pool. `None` unsets the variable. `name`
/// has to be in lower case.
///
/// Returns an error message if there is no such variable, if it is not changeable, or if there is no
/// memory. The name belongs where it has `%s`; it is not put there, because the request's pool would
/// grow with each error.
pub(crate) fn assign(
    r: Request<'_>,
    name: &[u8],
    value: Option<&[u8]>,
) -> Result<(), &'static CStr> {
    let Some(variable) = r.definition(name) else {
        return Err(
            c"variable \"%s\" not found for writing; maybe it is a built-in variable that \
                     is not changeable or you forgot to use \"set $%s '';\" in the config file to \
                     define it first",
        );
    };
    if !variable.is_changeable() {
        return Err(c"variable \"%s\" not changeable");
    }
    if !variable.has_set_handler() && variable.index().is_none() {
        return Err(c"variable \"%s\" cannot be assigned a value");
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

const NO_MEMORY: &CStr = c"no memory";

/// A variable's value with a copy of `value`; `None` if there is no memory.
fn new_value(r: Request<'_>, value: Option<&[u8]>) -> Option<VarValue> {
    match value {
        Some(value) => Some(VarValue::found(r.pool()?.text(0, |w| put!(w; value))?)),
        None => Some(VarValue::NOT_THERE),
    }
}
