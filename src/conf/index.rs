//! `lua_var_index`: its names, and whether there are such variables.

use core::ptr;

use crate::nginx::array::{Elements, push};
use crate::nginx::conf::{Conf, conf_error};
use crate::nginx::log::{EMERG, log_error};
use crate::nginx::string::{bytes, str_of};
use crate::nginx::value::{defined, prefixes};
use crate::nginx::{ngx_array_t, ngx_str_t, ngx_uint_t};

/// A name, and where it is listed.
#[derive(Clone, Copy)]
struct Entry {
    name: ngx_str_t,
    file: ngx_str_t,
    line: ngx_uint_t,
}

/// The names that the directives of one configuration list, each once. Valid when zeroed.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Names(*mut ngx_array_t);

impl Names {
    pub(super) const NONE: Self = Names(ptr::null_mut());

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        // SAFETY: null or the array that `add` made, which is complete when it is asked for.
        let entries = unsafe { Elements::of(self.0) };
        entries.into_iter().flat_map(Elements::read)
    }

    /// The names, without the `$`, in lower case.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ngx_str_t> {
        self.entries().map(|entry| &entry.name)
    }

    /// Adds those of the directive that is being read; false with the error logged.
    pub(super) fn add_arguments(&mut self, cf: Conf<'_>) -> bool {
        for argument in cf.arguments().skip(1) {
            // As everywhere in a configuration, a name may be written in upper case.
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

    /// Adds one, if it is not there: two included files may list the same. False without
    /// memory.
    fn add(&mut self, cf: Conf<'_>, name: &[u8]) -> bool {
        // SAFETY: they are strings of the configuration.
        if self.iter().any(|other| unsafe { bytes(*other) } == name) {
            return true;
        }
        if self.0.is_null() {
            self.0 = cf
                .pool()
                .map_or(ptr::null_mut(), |pool| pool.array::<Entry>(8));
        }
        let (file, line) = cf.place();
        let name = str_of(name);
        // SAFETY: null, or the array that was made above.
        unsafe { push(self.0, Entry { name, file, line }) }
    }

    /// Whether every name is a variable or has a variable's prefix. To be asked in
    /// postconfiguration, when directives have defined theirs and nginx still has the list
    /// that it makes its hash of.
    pub(super) fn check(&self, cf: Conf<'_>) -> bool {
        let Some(cmcf) = cf.core_main_conf() else {
            return false;
        };
        for Entry { name, file, line } in self.entries() {
            // SAFETY: a string of the configuration.
            let text = unsafe { bytes(*name) };
            let is_defined = defined(cmcf).is_ok_and(|mut all| all.any(|v| v.name() == text));
            // A prefix alone is the name of no variable.
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

/// Whether nginx's own parser would read it as the name of one variable, in lower case.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}
