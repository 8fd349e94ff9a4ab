//! The names that `lua_var_index` lists, and the check that each is a variable.
//!
//! A name may be listed before the directive that defines it, so the check waits until the
//! whole configuration has been read. Each name is stored with its file and line for the
//! error message.

use core::ptr;

use crate::nginx::array::{Elements, push};
use crate::nginx::conf::{Conf, conf_error};
use crate::nginx::log::{EMERG, log_error};
use crate::nginx::string::{bytes, str_of};
use crate::nginx::value::{defined, prefixes};
use crate::nginx::{ngx_array_t, ngx_str_t, ngx_uint_t};

/// A name, and the file and line that list it.
#[derive(Clone, Copy)]
struct Entry {
    name: ngx_str_t,
    file: ngx_str_t,
    line: ngx_uint_t,
}

/// The names that one configuration lists, without duplicates: null, or an array of
/// [`Entry`].
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Names(*mut ngx_array_t);

impl Names {
    pub(super) const NONE: Self = Names(ptr::null_mut());

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        // SAFETY: null, or the array that `add` made; `add` needs `&mut self`, so the array
        // does not grow while the iterator lives.
        let entries = unsafe { Elements::of(self.0) };
        entries.into_iter().flat_map(Elements::read)
    }

    /// The names in lower case, without the `$`.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ngx_str_t> {
        self.entries().map(|entry| &entry.name)
    }

    /// Adds the arguments of the directive that is being read. Returns false if one is no
    /// variable name, after logging it, or if there is no memory.
    pub(super) fn add_arguments(&mut self, cf: Conf<'_>) -> bool {
        for argument in cf.arguments().skip(1) {
            // nginx, too, ignores the case of a variable's name.
            let Some(lower) = cf.lower_case(argument) else {
                return false;
            };
            let Some(name) = lower.strip_prefix(b"$").filter(|name| is_name(name)) else {
                conf_error!(cf, "invalid variable name \"%V\"", ptr::from_ref(argument));
                return false;
            };
            if !self.add(cf, name) {
                return false;
            }
        }
        true
    }

    /// Adds one name. A name that is already there is no error, because two included files
    /// may list the same. Returns false if there is no memory.
    fn add(&mut self, cf: Conf<'_>, name: &[u8]) -> bool {
        // SAFETY: the names are strings in the configuration's pool.
        if self.iter().any(|other| unsafe { bytes(*other) } == name) {
            return true;
        }
        if self.0.is_null() {
            self.0 = cf
                .pool()
                .map_or(ptr::null_mut(), |pool| pool.array::<Entry>(8));
        }
        let (file, line) = cf.file_and_line();
        let name = str_of(name);
        // SAFETY: it is null if there was no memory, else an array of `Entry` made above.
        unsafe { push(self.0, Entry { name, file, line }) }
    }

    /// Whether every name is a defined variable or begins with a prefix such as `http_`.
    /// Returns false after logging the first that does not.
    ///
    /// To be called in postconfiguration: all directives have defined their variables, and
    /// nginx still has the list from which it builds its hash (`variables_keys`).
    pub(super) fn check(&self, cf: Conf<'_>) -> bool {
        let Some(cmcf) = cf.core_main_conf() else {
            return false;
        };
        for Entry { name, file, line } in self.entries() {
            // SAFETY: the name is a string in the configuration's pool.
            let text = unsafe { bytes(*name) };
            let is_defined = defined(cmcf).is_ok_and(|mut all| all.any(|v| v.name() == text));
            // A prefix alone, such as `http_`, is not the name of a variable.
            let has_prefix = || {
                prefixes(cmcf).is_ok_and(|mut all| {
                    all.any(|p| text.starts_with(p.name()) && text != p.name())
                })
            };
            if !is_defined && !has_prefix() {
                log_error!(
                    EMERG,
                    cf.log(),
                    "unknown \"%V\" variable in \"lua_var_index\" in %V:%ui",
                    ptr::from_ref(name),
                    ptr::from_ref(file),
                    *line
                );
                return false;
            }
        }
        true
    }
}

/// Whether nginx would read all of this as the name of one variable
/// (`ngx_http_script_compile`). The name is in lower case already.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}
