//! The variables of a configuration, in a form that is found in a few
//! instructions: built once when the configuration is complete, never changed.
//!
//! It holds every variable that nginx's own hash has, and those that
//! `lua_var_index` names. A name that is not in it is either one of a prefix
//! (`http_`, `arg_`, …) or unknown.

use core::ptr;

use crate::names::{Field, Key};
use crate::scan::Own;
use crate::sys::{self, GetHandler, ngx_http_core_main_conf_t, ngx_http_variable_t, ngx_str_t};

/// How one variable is found.
#[derive(Clone, Copy)]
pub struct Var {
    key: Key,
    /// The name, in lower case; lives as long as the configuration.
    pub name: ngx_str_t,
    /// Set when the module reads it from the request itself.
    pub field: Option<Field>,
    /// Its place in `r->variables`, when the configuration uses it by index.
    pub index: Option<u32>,
    /// Whether nginx keeps its first value there, instead of asking the handler again.
    pub cacheable: bool,
    /// Whether assigning to it means storing the value there, and nothing else.
    pub assignable: bool,
    /// nginx's handler for it.
    pub handler: Option<GetHandler>,
    /// Set when it is one of a prefix that the module looks up itself.
    pub own: Option<Own>,
    /// What the handler wants as `data`.
    pub data: usize,
    /// Next in the chain, as number + 1.
    next: u32,
}

impl Var {
    /// Which of the texts that Lua keeps (`LUA_VAR_FIXED_TEXTS`) a value of it is.
    #[inline(always)]
    pub fn fixed(&self, text: ngx_str_t) -> Option<usize> {
        let all: &[(usize, &[u8])] = match self.field? {
            Field::Scheme => &[(0, b"http"), (1, b"https")],
            Field::RequestMethod => &[(2, b"GET"), (3, b"POST")],
            Field::ServerProtocol => &[(4, b"HTTP/1.1"), (5, b"HTTP/2.0")],
            Field::Https => &[(6, b"on"), (7, b"")],
            _ => return None,
        };
        // SAFETY: a variable's text lives as long as the request.
        let text = unsafe { sys::bytes(text) };
        all.iter()
            .find(|(_, fixed)| *fixed == text)
            .map(|(n, _)| *n)
    }
}

/// The variables of one configuration.
pub struct Table {
    vars: &'static [Var],
    heads: &'static [u32],
    /// Variables that stand for all names with a prefix, as nginx keeps them.
    pub prefixes: &'static [ngx_http_variable_t],
    /// For each of [`Own::ALL`] whether no other prefix begins like it, so that it is
    /// the one for every name that does.
    own: [bool; Own::ALL.len()],
    /// Address of the core module's main configuration that this was made from.
    pub cmcf: usize,
    /// Distinguishes the tables of a process, so a number of one is not taken for another's.
    pub epoch: u16,
}

impl Table {
    /// The variable of this name, which has to be lower case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&'static Var> {
        let key = Key::new(name);
        let mask = self.heads.len().wrapping_sub(1);
        let mut link = *self.heads.get(key.hash() as usize & mask)?;
        while let Some(var) = self.vars.get(link.wrapping_sub(1) as usize) {
            // SAFETY: the name was copied from the configuration's, which lives on.
            if var.key == key && (key.is_exact() || unsafe { sys::bytes(var.name) } == name) {
                return Some(var);
            }
            link = var.next;
        }
        None
    }

    /// The number by which getters name a variable; it is only good for this table.
    pub fn number(&self, var: &Var) -> Option<u32> {
        let at = self.vars.iter().position(|other| ptr::eq(other, var))?;
        let at = u16::try_from(at).ok()?;
        Some(u32::from(self.epoch) << 16 | u32::from(at))
    }

    /// The variable of that number; `None` when it is of another table.
    #[inline]
    pub fn numbered(&self, number: u32) -> Option<&'static Var> {
        if number >> 16 != u32::from(self.epoch) {
            return None;
        }
        self.vars.get(number as usize & 0xffff)
    }

    /// The number by which getters name a prefix; as [`Table::number`] does a variable.
    pub fn own_number(&self, own: Own) -> Option<u32> {
        let at = Own::ALL.iter().position(|other| *other == own)?;
        Some(u32::from(self.epoch) << 16 | at as u32)
    }

    /// The prefix of that number; `None` when it is of another table.
    #[inline]
    pub fn own_numbered(&self, number: u32) -> Option<Own> {
        if number >> 16 != u32::from(self.epoch) {
            return None;
        }
        Own::ALL.get(number as usize & 0xffff).copied()
    }

    /// Where the request has the pointer to the header that `var` shows, if it is one
    /// of those that `ngx_http_variable_header` serves. That handler is `static`, so
    /// it is known by serving all three.
    pub fn header_offset(&self, var: &Var) -> Option<u32> {
        const SERVED: [&[u8]; 3] = [b"http_host", b"http_user_agent", b"http_referer"];
        let handler = |var: &Var| var.handler.map(|handler| handler as usize);
        let is_served = |name: &[u8]| {
            self.find(name)
                .is_some_and(|served| handler(served) == handler(var))
        };
        // SAFETY: the name lives as long as the configuration.
        let is_one = SERVED.contains(&unsafe { sys::bytes(var.name) });
        let is_within = var.data < size_of::<sys::ngx_http_request_t>();
        (is_one && is_within && SERVED.iter().all(|name| is_served(name)))
            .then_some(var.data as u32)
    }

    /// `var`, if it is an entry of this table.
    #[inline(always)]
    pub(crate) fn entry(&self, var: *const Var) -> Option<&'static Var> {
        if self.vars.as_ptr_range().contains(&var) {
            // SAFETY: within the table, whose entries are all it can have been taken from.
            return unsafe { var.as_ref() };
        }
        None
    }

    /// The prefix of `name` that the module looks up itself, and the rest of the name.
    #[inline]
    pub fn own<'a>(&self, name: &'a [u8]) -> Option<(Own, &'a [u8])> {
        for (own, sole) in Own::ALL.iter().zip(&self.own) {
            if *sole {
                if let Some(rest) = name.strip_prefix(own.prefix()) {
                    return Some((*own, rest));
                }
            }
        }
        None
    }

    /// The longest prefix that `name` begins with (`ngx_http_get_variable`).
    pub fn prefix(&self, name: &[u8]) -> Option<&'static ngx_http_variable_t> {
        let mut best: Option<&ngx_http_variable_t> = None;
        for prefix in self.prefixes {
            // SAFETY: nginx keeps the name for as long as the configuration.
            let matches = name.starts_with(unsafe { sys::bytes(prefix.name) });
            if matches && best.is_none_or(|b| prefix.name.len > b.name.len) {
                best = Some(prefix);
            }
        }
        best
    }
}

/// What a table is built from, and into.
pub struct Builder {
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
}

/// Calls `each` with the variables in nginx's hash.
fn each_variable(
    cmcf: &ngx_http_core_main_conf_t,
    mut each: impl FnMut(&'static ngx_http_variable_t),
) {
    let hash = &cmcf.variables_hash;
    for bucket in 0..hash.size {
        // SAFETY: `ngx_hash_init` made `size` buckets.
        let bucket = unsafe { hash.buckets.add(bucket) };
        // SAFETY: as above.
        let mut element = unsafe { *bucket };
        if element.is_null() {
            continue;
        }
        loop {
            // SAFETY: a bucket is a run of elements that ends at one without a value.
            let &sys::ngx_hash_elt_t { value, len, .. } = unsafe { &*element };
            // SAFETY: the values of this hash are variables, which live with the cycle.
            let Some(var) = (unsafe { value.cast::<ngx_http_variable_t>().as_ref() }) else {
                break;
            };
            each(var);
            let name = core::mem::offset_of!(sys::ngx_hash_elt_t, name);
            // `ngx_hash_find`: the next element begins pointer-aligned after the name.
            let size = name
                .wrapping_add(usize::from(len))
                .next_multiple_of(size_of::<usize>());
            // SAFETY: as above, there is another element.
            element = unsafe { element.byte_add(size) };
        }
    }
}

/// Builds the table of the configuration `cmcf`, in its pool.
///
/// `extra` are names that `lua_var_index` lists. `None` without memory.
pub fn build(
    pool: *mut sys::ngx_pool_t,
    cmcf: &'static ngx_http_core_main_conf_t,
    extra: &[ngx_str_t],
    epoch: u16,
) -> Option<&'static Table> {
    let mut count = extra.len();
    each_variable(cmcf, |_| count = count.saturating_add(1));
    let buckets = count.checked_next_power_of_two()?;

    // SAFETY: null or an array of variables, complete once nginx has built the hash.
    let prefixes = unsafe { sys::elements(&raw const cmcf.prefix_variables) };
    let mut builder = Builder {
        vars: slice(pool, count, EMPTY_VAR)?,
        len: 0,
        heads: slice(pool, buckets, 0)?,
    };
    let mut table = Table {
        vars: &[],
        heads: &[],
        prefixes,
        own: [false; Own::ALL.len()],
        cmcf: ptr::from_ref(cmcf) as usize,
        epoch,
    };

    for (own, sole) in Own::ALL.iter().zip(&mut table.own) {
        // SAFETY: nginx keeps the names for as long as the configuration.
        let like = table
            .prefixes
            .iter()
            .filter(|p| unsafe { sys::bytes(p.name) }.starts_with(own.prefix()));
        *sole = like.count() == 1;
    }

    each_variable(cmcf, |var| {
        // SAFETY: nginx keeps the name for as long as the configuration.
        let name = unsafe { sys::bytes(var.name) };
        let indexed = var.flags & sys::NGX_HTTP_VAR_INDEXED as usize != 0;
        builder.push(Var {
            key: Key::new(name),
            name: var.name,
            field: Field::named(name),
            index: indexed.then_some(var.index as u32),
            cacheable: var.flags & sys::NGX_HTTP_VAR_NOCACHEABLE as usize == 0,
            assignable: indexed
                && var.flags & sys::NGX_HTTP_VAR_CHANGEABLE as usize != 0
                && var.set_handler.is_none(),
            handler: var.get_handler,
            own: None,
            data: var.data,
            next: 0,
        });
    });
    for name in extra {
        // SAFETY: the directive's arguments live as long as the configuration.
        let text = unsafe { sys::bytes(*name) };
        if let Some(prefix) = table.prefix(text) {
            builder.push(Var {
                key: Key::new(text),
                name: *name,
                own: table.own(text).map(|(own, _)| own),
                handler: prefix.get_handler,
                data: ptr::from_ref(name) as usize,
                ..EMPTY_VAR
            });
        }
    }
    let Builder { vars, heads, .. } = builder;
    table.vars = vars;
    table.heads = heads;
    let place = sys::palloc(pool, size_of::<Table>()).cast::<Table>();
    if place.is_null() {
        return None;
    }
    // SAFETY: just allocated with that size, and aligned as nginx's pools align.
    unsafe { place.write(table) };
    // SAFETY: written above; the pool lives as long as the cycle that uses it.
    unsafe { place.as_ref() }
}

const EMPTY_VAR: Var = Var {
    key: Key::EMPTY,
    name: sys::EMPTY,
    field: None,
    index: None,
    cacheable: true,
    assignable: false,
    handler: None,
    own: None,
    data: 0,
    next: 0,
};

/// `len` copies of `fill` in the pool.
fn slice<T: Copy>(pool: *mut sys::ngx_pool_t, len: usize, fill: T) -> Option<&'static mut [T]> {
    let place = sys::palloc(pool, size_of::<T>().checked_mul(len)?).cast::<T>();
    if place.is_null() {
        return None;
    }
    for at in 0..len {
        // SAFETY: `at` is within what was allocated.
        let element = unsafe { place.add(at) };
        // SAFETY: as above.
        unsafe { element.write(fill) };
    }
    // SAFETY: all elements are written; the pool outlives every use of the table,
    // see `directives::init_module`.
    Some(unsafe { core::slice::from_raw_parts_mut(place, len) })
}
