//! The variable table: a hash table of all variables of a configuration, with everything that
//! is needed to read each. It is built once, when the configuration is complete.
//!
//! It contains the variables in nginx's own hash, and the names with a prefix (`http_`,
//! `arg_`, …) that `lua_var_index` lists. Any other name has a prefix, or is unknown.

use core::cell::Cell;
use core::ptr;

use super::field::Field;
use super::name::Key;
use super::nginx_handlers::nginx_handlers;
use super::scan::Prefix;
use crate::conf::MainConf;
use crate::nginx::conf::Complete;
use crate::nginx::ngx_http_core_main_conf_t;
use crate::nginx::pool::Pool;
use crate::nginx::request::Request;
use crate::nginx::string::bytes;
use crate::nginx::value::{Getter, Variable, each_in_hash, prefixes};
use crate::statics::PerWorker;

/// A variable of a configuration.
#[derive(Clone, Copy)]
pub struct Var {
    /// The key of `name`, to compare it.
    key: Key,
    /// The name, in lower case.
    pub name: &'static [u8],
    /// How the module reads the variable directly; `None` if it does not.
    pub field: Option<Field>,
    /// The variable's index in `r->variables`, if the configuration uses it by index.
    pub index: Option<u32>,
    /// Whether nginx may cache the first value, that is, the variable is not no-cacheable.
    pub is_cacheable: bool,
    /// Whether assigning to the variable only stores the value in `r->variables`.
    pub is_assignable: bool,
    /// The built-in prefix of the name, if nothing defines the variable.
    pub prefix: Option<Prefix>,
    /// The offset in `ngx_http_request_t` of the pointer to the header that the variable
    /// shows, if its handler is `ngx_http_variable_header`.
    pub header: Option<u32>,
    /// nginx's handler.
    pub(crate) getter: Getter,
    /// The next variable in the chain: its number + 1, or 0 at the end.
    next: u32,
}

impl Var {
    const EMPTY: Self = Var {
        key: Key::EMPTY,
        name: &[],
        field: None,
        index: None,
        is_cacheable: true,
        is_assignable: false,
        prefix: None,
        header: None,
        getter: Getter::NONE,
        next: 0,
    };

    /// The entry for a variable in nginx's hash. The variable is read directly only if its
    /// handler is nginx's own, because a `map`, for example, may redefine `$args`.
    fn of(variable: Variable<'static>) -> Self {
        let index = variable.index();
        Var {
            key: Key::new(variable.name()),
            name: variable.name(),
            field: nginx_handlers().field(variable),
            index,
            is_cacheable: variable.is_cacheable(),
            is_assignable: index.is_some()
                && variable.is_changeable()
                && !variable.has_set_handler(),
            header: nginx_handlers().header_offset(variable),
            getter: variable.getter(),
            ..Var::EMPTY
        }
    }

    /// The index in `r->variables`, if a value there is to be taken, because the variable is
    /// cacheable.
    pub(crate) fn cached_at(&self) -> Option<u32> {
        self.index.filter(|_| self.is_cacheable)
    }
}

/// The variables of one configuration.
#[derive(Clone, Copy)]
pub struct Table {
    vars: &'static [Var],
    /// The heads of the hash's chains: number of a variable + 1, or 0 for an empty chain.
    heads: &'static [u32],
    /// The configuration that the table was built from.
    core: &'static ngx_http_core_main_conf_t,
    /// For each of [`Prefix::ALL`], whether the module may look up names with it, see
    /// `NginxHandlers::builtin_prefixes`.
    is_builtin: [bool; Prefix::ALL.len()],
    /// The number of this table in the process, from 1. What was resolved with another table
    /// has another epoch.
    epoch: u32,
}

/// The table of the newest configuration.
struct Newest {
    table: Cell<Option<&'static Table>>,
    /// The epoch given last.
    epoch: Cell<u32>,
}

static NEWEST: PerWorker<Newest> = PerWorker(Newest {
    table: Cell::new(None),
    epoch: Cell::new(0),
});

/// The table of the newest configuration; `None` if there was no memory for it.
#[inline(always)]
pub(crate) fn newest() -> Option<&'static Table> {
    NEWEST.table.get()
}

/// The table of the configuration that serves the request; `None` if that is not the newest.
#[inline(always)]
pub(crate) fn of(r: Request<'_>) -> Option<&'static Table> {
    let table = newest()?;
    (ptr::from_ref(table.core) as usize == r.core_main_conf()).then_some(table)
}

/// Forgets the table. To be called when a new cycle starts, because nginx then destroys the
/// old cycle and with it the pool that has the table.
pub(crate) fn forget() {
    NEWEST.table.set(None);
}

/// Builds the table of a complete configuration. [`forget`] has to be called when the next
/// cycle starts. Returns false if there is no memory; then nothing is read directly.
pub(crate) fn renew(complete: &Complete, conf: &MainConf) -> bool {
    let epoch = NEWEST.epoch.get().wrapping_add(1);
    NEWEST.epoch.set(epoch);
    NEWEST.table.set(build(complete, conf, epoch));
    newest().is_some()
}

impl Table {
    /// The variable with this name, which has to be in lower case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&'static Var> {
        find(self.vars, self.heads, name)
    }

    /// The number of a variable in this table.
    pub fn number(&self, var: &Var) -> Option<u32> {
        let at = self.vars.iter().position(|other| ptr::eq(other, var))?;
        u32::try_from(at).ok()
    }

    /// The variable with this number.
    #[inline(always)]
    pub fn numbered(&self, number: u32) -> Option<&'static Var> {
        self.vars.get(number as usize)
    }

    /// The number of this table in the process, see the field.
    #[inline(always)]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The built-in prefix of `name`, and the part of the name behind it.
    #[inline]
    pub fn prefix<'a>(&self, name: &'a [u8]) -> Option<(Prefix, &'a [u8])> {
        for (prefix, is_builtin) in Prefix::ALL.iter().zip(&self.is_builtin) {
            if let Some(rest) = name.strip_prefix(prefix.text()).filter(|_| *is_builtin) {
                return Some((*prefix, rest));
            }
        }
        None
    }

    /// The handler of the longest prefix, of any module, that `name` begins with
    /// (`ngx_http_get_variable`).
    pub(crate) fn handler_of_prefix(&self, name: &[u8]) -> Option<Getter> {
        prefixes(self.core)
            .ok()?
            .filter(|prefix| name.starts_with(prefix.name()))
            .max_by_key(|prefix| prefix.name().len())
            .map(Variable::getter)
    }
}

#[inline(always)]
fn find(vars: &'static [Var], heads: &[u32], name: &[u8]) -> Option<&'static Var> {
    let key = Key::new(name);
    let mask = heads.len().wrapping_sub(1);
    let mut link = *heads.get(key.hash() as usize & mask)?;
    while let Some(var) = vars.get(link.wrapping_sub(1) as usize) {
        if var.key == key && (key.is_exact() || var.name == name) {
            return Some(var);
        }
        link = var.next;
    }
    None
}

/// A table's variables and hash while they are filled.
struct Builder {
    vars: &'static mut [Var],
    /// How many of `vars` are filled.
    len: usize,
    heads: &'static mut [u32],
}

impl Builder {
    fn push(&mut self, mut var: Var) {
        let mask = self.heads.len().wrapping_sub(1);
        let Some(head) = self.heads.get_mut(var.key.hash() as usize & mask) else {
            return;
        };
        let Some(place) = self.vars.get_mut(self.len) else {
            return;
        };
        self.len = self.len.wrapping_add(1);
        var.next = *head;
        *head = self.len as u32;
        *place = var;
    }

    fn has(&self, name: &[u8]) -> bool {
        self.vars.iter().take(self.len).any(|var| var.name == name)
    }
}

/// Builds a table in the cycle's pool; `None` if there is no memory.
fn build(complete: &Complete, conf: &MainConf, epoch: u32) -> Option<&'static Table> {
    let &Complete { pool, core, .. } = complete;
    let mut count = conf.index_names().count();
    each_in_hash(core, |_| count = count.saturating_add(1));

    let mut builder = Builder {
        vars: slice(pool, Var::EMPTY, count)?,
        len: 0,
        heads: slice(pool, 0, count.checked_next_power_of_two()?)?,
    };
    each_in_hash(core, |variable| builder.push(Var::of(variable)));

    let mut table = Table {
        vars: &[],
        heads: &[],
        core,
        is_builtin: nginx_handlers().builtin_prefixes(core),
        epoch,
    };
    for name in conf.index_names() {
        // SAFETY: the name is in the configuration's pool, which lives as long as the table.
        let text = unsafe { bytes(*name) };
        // A defined variable wins over a prefix, as in `ngx_http_get_variable`.
        if builder.has(text) {
            continue;
        }
        if let Some(handler) = table.handler_of_prefix(text) {
            builder.push(Var {
                key: Key::new(text),
                name: text,
                prefix: table.prefix(text).map(|(prefix, _)| prefix),
                // SAFETY: the name is in the configuration's pool, which lives as long as the
                // table.
                getter: unsafe { handler.of_prefixed(name) },
                ..Var::EMPTY
            });
        }
    }
    table.vars = builder.vars;
    table.heads = builder.heads;
    // SAFETY: the table is in the cycle's pool, and `forget` drops it before that is destroyed.
    Some(unsafe { pool.put(table)?.as_ref() })
}

/// A slice of `len` copies of `fill` in the pool; `None` if there is no memory.
fn slice<T: Copy>(pool: Pool, fill: T, len: usize) -> Option<&'static mut [T]> {
    let mut place = pool.put_many(fill, len)?;
    // SAFETY: `put_many` has just written it, there is no other reference to it, and `forget`
    // drops the table before the pool is destroyed.
    Some(unsafe { place.as_mut() })
}
