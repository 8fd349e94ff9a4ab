//! The get handlers that nginx itself defines, recorded before a directive can replace any.
//!
//! `map`, `geo`, `js_set` and other directives may redefine a changeable variable, such as
//! `$args`. The module reads a variable directly, and compares its layout with it, only
//! while the variable has nginx's own handler. In preconfiguration every variable still has.

use core::cell::Cell;

use super::field::{Field, NAMES};
use super::scan::Prefix;
use crate::nginx::ngx_http_core_main_conf_t;
use crate::nginx::value::{Getter, Variable, defined, prefixes};
use crate::statics::PerWorker;

/// Variables whose handler is `ngx_http_variable_header` in all versions of nginx. The
/// handler's data is the offset in `ngx_http_request_t` of a pointer to the header.
const HEADERS: [&str; 3] = ["http_host", "http_user_agent", "http_referer"];

/// nginx's own handlers: of the variables in [`NAMES`], of those in [`HEADERS`] and of the
/// prefixes. They are the same in every configuration of the process.
pub(crate) struct NginxHandlers {
    fields: [Cell<Getter>; NAMES.len()],
    headers: [Cell<Getter>; HEADERS.len()],
    prefixes: [Cell<Getter>; Prefix::ALL.len()],
}

static NGINX_HANDLERS: PerWorker<NginxHandlers> = PerWorker(NginxHandlers {
    fields: [const { Cell::new(Getter::NONE) }; NAMES.len()],
    headers: [const { Cell::new(Getter::NONE) }; HEADERS.len()],
    prefixes: [const { Cell::new(Getter::NONE) }; Prefix::ALL.len()],
});

/// nginx's own handlers; all are [`Getter::NONE`] until [`record`] is called.
pub(crate) fn nginx_handlers() -> &'static NginxHandlers {
    &NGINX_HANDLERS
}

/// Records nginx's own handlers. To be called in preconfiguration.
pub(crate) fn record(cmcf: &ngx_http_core_main_conf_t) {
    let named = |name: &str| {
        let is_it = |v: &Variable<'_>| v.name() == name.as_bytes();
        let found = defined(cmcf).ok().and_then(|mut all| all.find(is_it));
        found.map_or(Getter::NONE, Variable::getter)
    };
    for (place, (name, _)) in NGINX_HANDLERS.fields.iter().zip(NAMES) {
        place.set(named(name));
    }
    for (place, name) in NGINX_HANDLERS.headers.iter().zip(HEADERS) {
        place.set(named(name));
    }
    for (place, prefix) in NGINX_HANDLERS.prefixes.iter().zip(Prefix::ALL) {
        let is_it = |p: &Variable<'_>| p.name() == prefix.text();
        let found = prefixes(cmcf).ok().and_then(|mut all| all.find(is_it));
        place.set(found.map_or(Getter::NONE, Variable::getter));
    }
}

impl NginxHandlers {
    /// Each name that nginx defines among [`NAMES`], with its field and nginx's handler.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, Field, Getter)> {
        NAMES
            .iter()
            .zip(&self.fields)
            .map(|((name, field), getter)| (*name, *field, getter.get()))
            .filter(|(.., getter)| *getter != Getter::NONE)
    }

    /// The names in [`HEADERS`], with nginx's handlers.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, Getter)> {
        HEADERS.into_iter().zip(self.headers.iter().map(Cell::get))
    }

    /// The field from which a variable can be read; `None` if there is none, or if the
    /// variable's handler is not nginx's own.
    pub(crate) fn field(&self, variable: Variable<'_>) -> Option<Field> {
        self.fields()
            .find(|(name, ..)| name.as_bytes() == variable.name())
            .filter(|(.., getter)| *getter == variable.getter())
            .map(|(_, field, _)| field)
    }

    /// The offset in `ngx_http_request_t` of the pointer to a variable's header. `None` if the
    /// variable is not among [`HEADERS`], or if its handler is not nginx's own. One handler
    /// must serve all of [`HEADERS`], or its data may be something else than an offset.
    pub(crate) fn header_offset(&self, variable: Variable<'_>) -> Option<u32> {
        let (_, own) = self
            .headers()
            .find(|(n, _)| n.as_bytes() == variable.name())?;
        let serves_all = self.headers().all(|(_, other)| other.is_same_handler(own));
        let is_it = own != Getter::NONE && own == variable.getter() && serves_all;
        u32::try_from(own.data()).ok().filter(|_| is_it)
    }

    /// For each of [`Prefix::ALL`], whether its handler is nginx's own and no other module
    /// defines a longer prefix that begins with it.
    pub(crate) fn builtin_prefixes(
        &self,
        cmcf: &ngx_http_core_main_conf_t,
    ) -> [bool; Prefix::ALL.len()] {
        let mut all = [false; Prefix::ALL.len()];
        for ((is_builtin, prefix), own) in all.iter_mut().zip(Prefix::ALL).zip(&self.prefixes) {
            let Ok(defined) = prefixes(cmcf) else { break };
            let mut like = defined.filter(|p| p.name().starts_with(prefix.text()));
            let first = like.next().map(Variable::getter);
            let own = own.get();
            *is_builtin = first == Some(own) && own != Getter::NONE && like.next().is_none();
        }
        all
    }
}
