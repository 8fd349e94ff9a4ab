//! The variable table: the variables of a configuration, in a form in which a name is
//! found in a few instructions. Built once when the configuration is complete.
//!
//! It holds every variable that nginx's own hash has, and those names of a prefix that
//! `lua_var_index` lists and nobody defines. A name that is not in it is either one of a
//! prefix (`http_`, `arg_`, …) or unknown.

use core::cell::Cell;
use core::ptr;

use super::builtin::builtins;
use super::field::Field;
use super::name::Key;
use super::scan::Prefix;
use crate::conf::MainConf;
use crate::nginx::conf::Complete;
use crate::nginx::ngx_http_core_main_conf_t;
use crate::nginx::pool::Pool;
use crate::nginx::request::Request;
use crate::nginx::string::bytes;
use crate::nginx::value::{Getter, Variable, each_in_hash, prefixes};
use crate::statics::PerWorker;

/// How one variable is found.
#[derive(Clone, Copy)]
pub struct Var {
    key: Key,
    /// The name, in lower case.
    pub name: &'static [u8],
    /// Set when the module reads it from the request itself.
    pub field: Option<Field>,
    /// Its place in `r->variables`, when the configuration uses it by index.
    pub index: Option<u32>,
    /// Whether nginx may keep its first value there, instead of asking the handler again.
    pub is_cacheable: bool,
    /// Whether assigning to it means storing the value there, and nothing else.
    pub is_assignable: bool,
    /// Set when it is one of a prefix that the module looks up.
    pub prefix: Option<Prefix>,
    /// Where the request has the pointer to the header that it shows, if it is one of those
    /// that `ngx_http_variable_header` serves.
    pub header: Option<u32>,
    /// nginx's handler for it.
    pub(crate) getter: Getter,
    /// Next in the chain, as number + 1.
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

    /// A variable that nginx has in its hash. It is read from the request itself only as
    /// long as its handler is nginx's own: a `map`, for one, may redefine `$args`.
    fn of(variable: Variable<'static>) -> Self {
        let index = variable.index();
        Var {
            key: Key::new(variable.name()),
            name: variable.name(),
            field: builtins().field(variable),
            index,
            is_cacheable: variable.is_cacheable(),
            is_assignable: index.is_some()
                && variable.is_changeable()
                && !variable.has_set_handler(),
            header: builtins().header_offset(variable),
            getter: variable.getter(),
            ..Var::EMPTY
        }
    }

    /// Its place in `r->variables`, if a value that nginx keeps there counts.
    pub(crate) fn cached_at(&self) -> Option<u32> {
        self.index.filter(|_| self.is_cacheable)
    }
}

/// The variables of one configuration.
#[derive(Clone, Copy)]
pub struct Table {
    vars: &'static [Var],
    heads: &'static [u32],
    core: &'static ngx_http_core_main_conf_t,
    /// For each of [`Prefix::ALL`] whether it is nginx's own, and no other prefix begins
    /// like it, so that it is the one for every name that does.
    is_own: [bool; Prefix::ALL.len()],
    /// Distinguishes the tables of a process, so a number of one is not taken for another's.
    epoch: u32,
}

/// The table of the newest configuration, and how many there have been.
struct Newest {
    table: Cell<Option<&'static Table>>,
    epoch: Cell<u32>,
}

static NEWEST: PerWorker<Newest> = PerWorker(Newest {
    table: Cell::new(None),
    epoch: Cell::new(0),
});

/// The table of the newest configuration; `None` without memory for it.
#[inline(always)]
pub(crate) fn newest() -> Option<&'static Table> {
    NEWEST.table.get()
}

/// The table of the configuration that serves the request, if that is the newest.
#[inline(always)]
pub(crate) fn of(r: Request<'_>) -> Option<&'static Table> {
    let table = newest()?;
    (ptr::from_ref(table.core) as usize == r.core_main_conf()).then_some(table)
}

/// Forgets the table, which goes with its cycle: nginx destroys that after a new one
/// has started.
pub(crate) fn forget() {
    NEWEST.table.set(None);
}

/// Builds the table of a complete configuration, which has to be forgotten when the
/// next cycle starts. False without memory: nothing is read directly then.
pub(crate) fn renew(complete: &Complete, conf: &MainConf) -> bool {
    let epoch = NEWEST.epoch.get().wrapping_add(1);
    NEWEST.epoch.set(epoch);
    NEWEST.table.set(build(complete, conf, epoch));
    newest().is_some()
}

impl Table {
    /// The variable of this name, which has to be lower case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&'static Var> {
        find(self.vars, self.heads, name)
    }

    /// The number of a variable, which is only good for this table.
    pub fn number(&self, var: &Var) -> Option<u32> {
        let at = self.vars.iter().position(|other| ptr::eq(other, var))?;
        u32::try_from(at).ok()
    }

    /// The variable of that number.
    #[inline(always)]
    pub fn numbered(&self, number: u32) -> Option<&'static Var> {
        self.vars.get(number as usize)
    }

    /// See the member.
    #[inline(always)]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The prefix of `name` that the module looks up, and the rest of the name.
    #[inline]
    pub fn prefix<'a>(&self, name: &'a [u8]) -> Option<(Prefix, &'a [u8])> {
        for (prefix, is_own) in Prefix::ALL.iter().zip(&self.is_own) {
            if let Some(rest) = name.strip_prefix(prefix.text()).filter(|_| *is_own) {
                return Some((*prefix, rest));
            }
        }
        None
    }

    /// The handler of the longest prefix that `name` begins with
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

/// What a table is built into.
struct Builder {
    vars: &'static mut [Var],
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
        is_own: builtins().own_prefixes(core),
        epoch,
    };
    for name in conf.index_names() {
        // SAFETY: a string of the configuration, as which it stays where it is.
        let text = unsafe { bytes(*name) };
        // A definition wins over a prefix, as in `ngx_http_get_variable`.
        if builder.has(text) {
            continue;
        }
        if let Some(handler) = table.handler_of_prefix(text) {
            builder.push(Var {
                key: Key::new(text),
                name: text,
                prefix: table.prefix(text).map(|(prefix, _)| prefix),
                // SAFETY: a string of the configuration, as which it stays where it is.
                getter: unsafe { handler.of_prefixed(name) },
                ..Var::EMPTY
            });
        }
    }
    table.vars = builder.vars;
    table.heads = builder.heads;
    // SAFETY: the pool lives as long as the cycle that uses the table, see `renew`.
    Some(unsafe { pool.put(table)?.as_ref() })
}

/// `len` copies of `fill` in the pool.
fn slice<T: Copy>(pool: Pool, fill: T, len: usize) -> Option<&'static mut [T]> {
    let mut place = pool.put_many(fill, len)?;
    // SAFETY: just written, and nobody else has it; the pool outlives every use of the
    // table, see `renew`.
    Some(unsafe { place.as_mut() })
}
