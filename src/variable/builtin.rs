//! nginx's own definitions, noted before a directive can change any.
//!
//! `map`, `geo`, `js_set` and their like may redefine a variable that nginx lets be
//! changed, as `$args`. What the module reads itself, and what it compares its layout
//! with, is only what nginx's own handler would give. In preconfiguration, after the core
//! module's, every definition is still nginx's.

use core::cell::Cell;

use super::field::{Field, NAMES};
use super::scan::Prefix;
use crate::nginx::ngx_http_core_main_conf_t;
use crate::nginx::value::{Getter, Variable, defined, prefixes};
use crate::statics::PerWorker;

/// Variables that `ngx_http_variable_header` serves in all versions of nginx: their data
/// is the offset in the request of a pointer to the header.
const HEADERS: [&str; 3] = ["http_host", "http_user_agent", "http_referer"];

/// nginx's own handlers. They stay what they are for as long as the process runs.
pub(crate) struct Builtins {
    fields: [Cell<Getter>; NAMES.len()],
    headers: [Cell<Getter>; HEADERS.len()],
    prefixes: [Cell<Getter>; Prefix::ALL.len()],
}

static BUILTINS: PerWorker<Builtins> = PerWorker(Builtins {
    fields: [const { Cell::new(Getter::NONE) }; NAMES.len()],
    headers: [const { Cell::new(Getter::NONE) }; HEADERS.len()],
    prefixes: [const { Cell::new(Getter::NONE) }; Prefix::ALL.len()],
});

/// nginx's own handlers, none of which is known before [`note`].
pub(crate) fn builtins() -> &'static Builtins {
    &BUILTINS
}

/// Notes them. To be called in preconfiguration.
pub(crate) fn note(cmcf: &ngx_http_core_main_conf_t) {
    let named = |name: &str| {
        let is_it = |v: &Variable<'_>| v.name() == name.as_bytes();
        let found = defined(cmcf).ok().and_then(|mut all| all.find(is_it));
        found.map_or(Getter::NONE, Variable::getter)
    };
    for (place, (name, _)) in BUILTINS.fields.iter().zip(NAMES) {
        place.set(named(name));
    }
    for (place, name) in BUILTINS.headers.iter().zip(HEADERS) {
        place.set(named(name));
    }
    for (place, prefix) in BUILTINS.prefixes.iter().zip(Prefix::ALL) {
        let is_it = |p: &Variable<'_>| p.name() == prefix.text();
        let found = prefixes(cmcf).ok().and_then(|mut all| all.find(is_it));
        place.set(found.map_or(Getter::NONE, Variable::getter));
    }
}

impl Builtins {
    /// nginx's handler of a field, of each of its names.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, Field, Getter)> {
        NAMES
            .iter()
            .zip(&self.fields)
            .map(|((name, field), getter)| (*name, *field, getter.get()))
            .filter(|(.., getter)| *getter != Getter::NONE)
    }

    /// Names and handlers of the headers whose pointers have an offset.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, Getter)> {
        HEADERS.into_iter().zip(self.headers.iter().map(Cell::get))
    }

    /// The field of a variable whose handler is nginx's own.
    pub(crate) fn field(&self, variable: Variable<'_>) -> Option<Field> {
        self.fields()
            .find(|(name, ..)| name.as_bytes() == variable.name())
            .filter(|(.., getter)| *getter == variable.getter())
            .map(|(_, field, _)| field)
    }

    /// The offset in the request of the pointer to the header that a variable shows.
    pub(crate) fn header_offset(&self, variable: Variable<'_>) -> Option<u32> {
        let (_, own) = self
            .headers()
            .find(|(n, _)| n.as_bytes() == variable.name())?;
        let serves_all = self.headers().all(|(_, other)| other.is_same_handler(own));
        let is_it = own != Getter::NONE && own == variable.getter() && serves_all;
        u32::try_from(own.data()).ok().filter(|_| is_it)
    }

    /// For each of [`Prefix::ALL`] whether its handler is nginx's own, and no other
    /// prefix begins like it.
    pub(crate) fn own_prefixes(
        &self,
        cmcf: &ngx_http_core_main_conf_t,
    ) -> [bool; Prefix::ALL.len()] {
        let mut all = [false; Prefix::ALL.len()];
        for ((is_own, prefix), own) in all.iter_mut().zip(Prefix::ALL).zip(&self.prefixes) {
            let Ok(defined) = prefixes(cmcf) else { break };
            let mut like = defined.filter(|p| p.name().starts_with(prefix.text()));
            let first = like.next().map(Variable::getter);
            let own = own.get();
            *is_own = first == Some(own) && own != Getter::NONE && like.next().is_none();
        }
        all
    }
}
