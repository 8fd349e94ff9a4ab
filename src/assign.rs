//! Assigning to variables, as `ngx.var.name = value` does
//! (`ngx_http_lua_ffi_var_set` in lua-nginx-module, `ngx_http_rewrite_set` in nginx).

use core::ptr;

use crate::names;
use crate::request::LiveRequest;
use crate::sys::{self, Request, VarValue, ngx_str_t};
use crate::table::Var;

/// Assigns a copy of `value`, in the request's pool; `None` unsets the variable.
///
/// Fails, with a sentence that belongs to the request, when there is no such
/// variable, when it cannot be changed, and without memory.
pub fn assign(live: &LiveRequest, name: &[u8], value: Option<&[u8]>) -> Result<(), ngx_str_t> {
    let r = live.request();
    let Some(definition) = r.definition(name, names::nginx_hash(name)) else {
        return Err(sentence(
            r,
            &[
                b"variable \"",
                name,
                b"\" not found for writing; maybe it is a built-in variable \
              that is not changeable or you forgot to use \"set $",
                name,
                b" '';\" in the \
              config file to define it first",
            ],
        ));
    };
    if definition.flags & sys::NGX_HTTP_VAR_CHANGEABLE as usize == 0 {
        return Err(sentence(r, &[b"variable \"", name, b"\" not changeable"]));
    }
    if definition.set_handler.is_some() {
        let place = sys::palloc(r.pool(), size_of::<VarValue>()).cast::<VarValue>();
        if place.is_null() {
            return Err(NO_MEMORY);
        }
        let made = make(r, value).ok_or(NO_MEMORY)?;
        // SAFETY: just allocated with that size.
        unsafe { place.write(made) };
        r.assign(definition.set_handler, place, definition.data);
        return Ok(());
    }
    if definition.flags & sys::NGX_HTTP_VAR_INDEXED as usize == 0 {
        return Err(sentence(
            r,
            &[b"variable \"", name, b"\" cannot be assigned a value"],
        ));
    }
    r.set_variable(definition.index, make(r, value).ok_or(NO_MEMORY)?);
    Ok(())
}

/// Assigns to a variable of which that means to store the value; false when it is
/// not one of those, and without memory.
pub fn store(live: &LiveRequest, var: &Var, value: &[u8]) -> bool {
    let r = live.request();
    let Some(index) = var.index.filter(|_| var.assignable) else {
        return false;
    };
    match make(r, Some(value)) {
        Some(made) => {
            r.set_variable(index as usize, made);
            true
        }
        None => false,
    }
}

const NO_MEMORY: ngx_str_t = sys::text(b"no memory");

/// A variable value of a copy of `value`; `None` without memory.
fn make(r: Request, value: Option<&[u8]>) -> Option<VarValue> {
    match value {
        Some(value) => Some(VarValue::found(copy(r, &[value])?)),
        None => Some(VarValue::NONE),
    }
}

/// A sentence of these parts, in the request's pool.
fn sentence(r: Request, parts: &[&[u8]]) -> ngx_str_t {
    copy(r, parts).unwrap_or(NO_MEMORY)
}

/// The parts one after another, in the request's pool.
fn copy(r: Request, parts: &[&[u8]]) -> Option<ngx_str_t> {
    let len = parts
        .iter()
        .fold(0usize, |len, part| len.saturating_add(part.len()));
    let data = sys::pnalloc(r.pool(), len.max(1));
    if data.is_null() {
        return None;
    }
    let mut end = data;
    for part in parts {
        // SAFETY: the parts fit, their lengths were added up above.
        unsafe { ptr::copy_nonoverlapping(part.as_ptr(), end, part.len()) };
        // SAFETY: as above.
        end = unsafe { end.add(part.len()) };
    }
    Some(ngx_str_t { len, data })
}
