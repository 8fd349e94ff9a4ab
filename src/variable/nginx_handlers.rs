//! The get handlers that nginx itself defines, recorded before a directive can replace any.
//!
//! `map`, `geo`, `js_set` and other directives may redefine a changeable variable, such as
//! `$args`. The module reads a variable directly, and compares its layout with it, only
//! while the variable has nginx's own handler. In preconfiguration every variable still has.

use core::cell::Cell;

use super::field::{Field, NAMES};
use crate::nginx::ngx_http_core_main_conf_t;
use crate::nginx::value::{Getter, Variable, defined};
use crate::statics::PerWorker;

/// How the names of headers begin. nginx defines the frequent ones by name
/// (`ngx_http_core_variables`), and prefixes for the others.
const PREFIXES: [&[u8]; 2] = [b"http_", b"sent_http_"];

/// nginx's own handlers, which are the same in every configuration of the process.
pub(crate) struct NginxHandlers {
    /// Of the variables in [`NAMES`].
    fields: [Cell<Getter>; NAMES.len()],
    /// Of the variables that begin with one of [`PREFIXES`], each function once.
    headers: [Cell<Getter>; 16],
    /// Of `$request_body`.
    body: Cell<Getter>,
}

static NGINX_HANDLERS: PerWorker<NginxHandlers> = PerWorker(NginxHandlers {
    fields: [const { Cell::new(Getter::NONE) }; NAMES.len()],
    headers: [const { Cell::new(Getter::NONE) }; 16],
    body: Cell::new(Getter::NONE),
});

/// nginx's own handlers; all are [`Getter::NONE`] until [`record`] is called.
pub(crate) fn nginx_handlers() -> &'static NginxHandlers {
    &NGINX_HANDLERS
}

/// Records nginx's own handlers. To be called in preconfiguration.
pub(crate) fn record(cmcf: &ngx_http_core_main_conf_t) {
    let Ok(all) = defined(cmcf) else { return };
    for variable in all {
        let name = variable.name();
        for (place, (other, _)) in NGINX_HANDLERS.fields.iter().zip(NAMES) {
            if other.as_bytes() == name {
                place.set(variable.getter());
            }
        }
        if name == b"request_body" {
            NGINX_HANDLERS.body.set(variable.getter());
        }
        if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            let getter = variable.getter();
            let is_free = |place: &&Cell<Getter>| {
                place.get() == Getter::NONE || place.get().is_same_handler(getter)
            };
            if let Some(place) = NGINX_HANDLERS.headers.iter().find(is_free) {
                place.set(getter);
            }
        }
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

    /// The field from which a variable can be read; `None` if there is none, or if the
    /// variable's handler is not nginx's own.
    pub(crate) fn field(&self, variable: Variable<'_>) -> Option<Field> {
        self.fields()
            .find(|(name, ..)| name.as_bytes() == variable.name())
            .filter(|(.., getter)| *getter == variable.getter())
            .map(|(_, field, _)| field)
    }

    /// Whether a variable is nginx's `$request_body`.
    pub(crate) fn is_body(&self, variable: Variable<'_>) -> bool {
        variable.getter() != Getter::NONE && variable.getter() == self.body.get()
    }

    /// Whether a variable is a header that nginx itself defines by name.
    pub(crate) fn is_header(&self, variable: Variable<'_>) -> bool {
        let getter = variable.getter();
        getter != Getter::NONE && (self.headers.iter()).any(|own| own.get().is_same_handler(getter))
    }
}
