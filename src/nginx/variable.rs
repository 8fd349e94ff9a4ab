//! A request's variables: what nginx has cached of them, what their handlers give, how they
//! are assigned; and the captures of its last regular expression.

use ngx::ffi;

use super::request::Request;
use super::string::str_of;
use super::value::{Getter, VarValue, Variable};
use super::{OK, ngx_http_core_main_conf_t};

impl<'a> Request<'a> {
    /// The place of an indexed variable's value; the index has to be of the
    /// configuration that serves the request.
    fn variable_place(self, index: u32) -> *mut VarValue {
        let variables = self.members().variables.cast::<VarValue>();
        // SAFETY: `r->variables` has as many elements as the configuration has indexed
        // variables, and indices come from the variable table of that configuration only.
        unsafe { variables.add(index as usize) }
    }

    /// What nginx has cached of an indexed variable: `None` when nothing, `Some(None)`
    /// that it is not found.
    #[inline(always)]
    pub(crate) fn cached(self, index: u32) -> Option<Option<&'a [u8]>> {
        // SAFETY: see `variable_place`; copied, since any handler may change it.
        let value = unsafe { *self.variable_place(index) };
        // SAFETY: cached values are texts of the request or of its configuration.
        value.is_cached().then(|| unsafe { value.text() })
    }

    /// Stores a value there, as nginx does with what a handler gave.
    pub(crate) fn store(self, index: u32, value: VarValue) {
        // SAFETY: a place in `r->variables`, which nothing borrows.
        unsafe { *self.variable_place(index) = value }
    }

    /// Evaluates or finds an indexed variable (`ngx_http_get_flushed_variable`), which
    /// stores what it computes. `None` when it is not found, and on an error.
    pub(crate) fn flushed(self, index: u32) -> Option<&'a [u8]> {
        // SAFETY: a live request and an index of its own configuration.
        let value = unsafe { ffi::ngx_http_get_flushed_variable(self.as_ptr(), index as usize) };
        // SAFETY: null, or the value in `r->variables`.
        let value = unsafe { value.cast::<VarValue>().as_ref() }?;
        // SAFETY: nginx, or the handler, filled it with a text of the request.
        unsafe { value.text() }
    }

    /// Runs a variable's get handler on a value of the module's own: nothing that nginx
    /// keeps is changed by it. `None` when it is not found, and on an error.
    #[inline(always)]
    pub(crate) fn evaluate(self, getter: Getter) -> Option<&'a [u8]> {
        let (handler, data) = getter.parts()?;
        let mut value = VarValue::EMPTY;
        let place = (&raw mut value).cast();
        // SAFETY: handler and data are a pair from nginx's variables.
        if unsafe { handler(self.as_ptr(), place, data) } != OK {
            return None;
        }
        // SAFETY: the handler filled it, with a text of the request.
        unsafe { value.text() }
    }

    /// Runs the get handler of a prefix for a name that begins with it.
    pub(crate) fn evaluate_prefixed(self, prefix: Getter, name: &[u8]) -> Option<&'a [u8]> {
        let name = str_of(name);
        // SAFETY: the name outlives the call, and handlers of prefixes only read it.
        self.evaluate(unsafe { prefix.of_prefixed(&name) })
    }

    /// nginx's definition of the variable of this name, in lower case.
    pub(crate) fn definition(self, name: &[u8], hash: usize) -> Option<Variable<'a>> {
        let core = self.conf::<ngx_http_core_main_conf_t>()?;
        let variables = (&raw const core.variables_hash).cast_mut();
        let name_data = name.as_ptr().cast_mut();
        // SAFETY: nginx only reads the hash and the name.
        let found = unsafe { ffi::ngx_hash_find(variables, hash, name_data, name.len()) };
        // SAFETY: null or a variable, which lives as long as the configuration.
        unsafe { Variable::from_raw(found.cast()) }
    }

    /// Runs a variable's set handler; false without memory for the value.
    pub(crate) fn assign(self, variable: Variable<'_>, value: VarValue) -> bool {
        let Some(handler) = variable.raw().set_handler else {
            return false;
        };
        // In the pool, since the handler may keep it.
        let Some(place) = self.pool().and_then(|pool| pool.put(value)) else {
            return false;
        };
        // SAFETY: handler and data are a pair from nginx's variables.
        unsafe { handler(self.as_ptr(), place.as_ptr().cast(), variable.raw().data) };
        true
    }

    /// Makes `r->args` a string that was never set, which only nginx's own set handler
    /// of `$args` knows how to do whatever the layout.
    pub(crate) fn unset_args(self, args: Variable<'_>) {
        let Some(handler) = args.raw().set_handler else {
            return;
        };
        let mut value = VarValue::NULL;
        // SAFETY: as in `assign`; `ngx_http_variable_set_args` copies length and address.
        unsafe { handler(self.as_ptr(), (&raw mut value).cast(), args.raw().data) };
    }

    /// Capture `n` of the last regular expression, as `ngx.var[n]` gives it.
    pub(crate) fn capture(self, n: usize) -> Option<&'a [u8]> {
        let members = self.members();
        let at = n.checked_mul(2).filter(|at| *at < members.ncaptures)?;
        if members.captures.is_null() || members.captures_data.is_null() {
            return None;
        }
        // SAFETY: nginx keeps `ncaptures` offsets, an even number, and `at` is below it and even.
        let offsets = unsafe { members.captures.add(at) };
        // SAFETY: two offsets, since their number is even and `at` is.
        let [start, end] = unsafe { offsets.cast::<[i32; 2]>().read() };
        // A group that took no part in the match has -1 for both: an empty text.
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else {
            return Some(&[]);
        };
        // SAFETY: the offsets lie in the text that was matched.
        let data = unsafe { members.captures_data.add(start) };
        let len = end.saturating_sub(start);
        // SAFETY: as above; the text lives as long as the request.
        Some(unsafe { core::slice::from_raw_parts(data, len) })
    }
}
