//! The variables of a request: the values that nginx has cached, those that handlers return,
//! assignment, and the captures of the last regular expression.

use ngx::ffi;

use super::request::Request;
use super::string::str_of;
use super::value::{Getter, VarValue, Variable, prefixes};
use super::{OK, ngx_http_core_main_conf_t};

impl<'a> Request<'a> {
    /// The place of an indexed variable's value. The index has to be one of the configuration
    /// that serves the request.
    fn variable_place(self, index: u32) -> *mut VarValue {
        let variables = self.members().variables.cast::<VarValue>();
        // SAFETY: `r->variables` has as many elements as the configuration has indexed
        // variables, and indices come from the variable table of that configuration only.
        unsafe { variables.add(index as usize) }
    }

    /// The cached value of an indexed variable: `None` if nginx has cached nothing,
    /// `Some(None)` if it has cached that the variable is not found.
    #[inline(always)]
    pub(crate) fn cached(self, index: u32) -> Option<Option<&'a [u8]>> {
        // SAFETY: `variable_place` gives an element of `r->variables`. It is copied, because
        // any handler may change it.
        let value = unsafe { *self.variable_place(index) };
        // SAFETY: a cached value is a text of the request or of its configuration.
        value.is_cached().then(|| unsafe { value.text() })
    }

    /// Whether nginx has cached that an indexed variable is not found.
    pub(crate) fn has_cached_nothing(self, index: u32) -> bool {
        // SAFETY: `variable_place` gives an element of `r->variables`, which is copied.
        let value = unsafe { *self.variable_place(index) };
        value.is_cached() && value.is_missing()
    }

    /// Stores the value of an indexed variable, as nginx does after a handler returned it.
    pub(crate) fn store(self, index: u32, value: VarValue) {
        // SAFETY: `variable_place` gives an element of `r->variables`, which nothing borrows.
        unsafe { *self.variable_place(index) = value }
    }

    /// The value of an indexed variable as `ngx_http_get_flushed_variable` returns it; nginx
    /// stores a value that it had to evaluate. `None` if it is not found, and on an error.
    pub(crate) fn flushed(self, index: u32) -> Option<&'a [u8]> {
        // SAFETY: the request is live, and the index is one of its configuration.
        let value = unsafe { ffi::ngx_http_get_flushed_variable(self.as_ptr(), index as usize) };
        // SAFETY: the result is null or points into `r->variables`.
        let value = unsafe { value.cast::<VarValue>().as_ref() }?;
        // SAFETY: nginx or the handler filled the value, with a text of the request.
        unsafe { value.text() }
    }

    /// Calls a variable's get handler with a value of the module's, so that nothing in
    /// `r->variables` changes. `None` if the variable is not found, and on an error.
    #[inline(always)]
    pub(crate) fn evaluate(self, getter: Getter) -> Option<&'a [u8]> {
        let handler = getter.handler?;
        let mut value = VarValue::EMPTY;
        let place = (&raw mut value).cast();
        // SAFETY: nginx calls this handler with this data.
        if unsafe { handler(self.as_ptr(), place, getter.data()) } != OK {
            return None;
        }
        // SAFETY: the handler filled the value, with a text of the request.
        unsafe { value.text() }
    }

    /// Calls the get handler of a prefix for a name that begins with it. nginx passes the address
    /// of the name as the data (`ngx_http_get_variable`).
    #[inline(always)]
    pub(crate) fn evaluate_prefixed(self, prefix: Getter, name: &[u8]) -> Option<&'a [u8]> {
        let name = str_of(name);
        // The name outlives the call, and the handlers of prefixes only read it.
        self.evaluate(prefix.with_data((&raw const name) as usize))
    }

    /// nginx's definition of the variable of this name, in lower case.
    pub(crate) fn definition(self, name: &[u8]) -> Option<Variable<'a>> {
        let core = self.conf::<ngx_http_core_main_conf_t>()?;
        let variables = (&raw const core.variables_hash).cast_mut();
        // `ngx_hash_key`
        let hash =
            name.iter().fold(0usize, |key, b| key.wrapping_mul(31).wrapping_add(usize::from(*b)));
        let name_data = name.as_ptr().cast_mut();
        // SAFETY: nginx only reads the hash and the name.
        let found = unsafe { ffi::ngx_hash_find(variables, hash, name_data, name.len()) };
        // SAFETY: the result is null or a variable of the configuration, which outlives the
        // request.
        unsafe { Variable::from_raw(found.cast()) }
    }

    /// The longest prefix, of any module, that `name` begins with (`ngx_http_get_variable`).
    pub(crate) fn prefix_of(self, name: &[u8]) -> Option<Variable<'a>> {
        prefixes(self.conf::<ngx_http_core_main_conf_t>()?)
            .ok()?
            .filter(|prefix| name.starts_with(prefix.name()))
            .max_by_key(|prefix| prefix.name().len())
    }

    /// Calls a variable's set handler. Returns false if there is no memory for the value.
    pub(crate) fn assign(self, variable: Variable<'_>, value: VarValue) -> bool {
        let Some(handler) = variable.raw().set_handler else {
            return false;
        };
        // It is in the pool because the handler may store its address.
        let Some(place) = self.pool().and_then(|pool| pool.put(value)) else {
            return false;
        };
        // SAFETY: nginx calls this handler with this data.
        unsafe { handler(self.as_ptr(), place.as_ptr().cast(), variable.raw().data) };
        true
    }

    /// Unsets `r->args`, as if they had never been set. The set handler of `$args` does it, since
    /// that works with any layout.
    pub(crate) fn unset_args(self, args: Variable<'_>) {
        let Some(handler) = args.raw().set_handler else {
            return;
        };
        let mut value = VarValue::NULL;
        // SAFETY: nginx calls this handler with this data, and it
        // (`ngx_http_variable_set_args`) copies the value's length and address.
        unsafe { handler(self.as_ptr(), (&raw mut value).cast(), args.raw().data) };
    }

    /// Capture `n` of the last regular expression, as `ngx.var[n]` returns it.
    pub(crate) fn capture(self, n: usize) -> Option<&'a [u8]> {
        let members = self.members();
        let at = n.checked_mul(2).filter(|at| *at < members.ncaptures)?;
        if members.captures.is_null() || members.captures_data.is_null() {
            return None;
        }
        // SAFETY: `captures` has `ncaptures` offsets, and `at` is less than that.
        let offsets = unsafe { members.captures.add(at) };
        // SAFETY: two offsets are there, because their number and `at` are even.
        let [start, end] = unsafe { offsets.cast::<[i32; 2]>().read() };
        // A group that took no part in the match has -1 for both; its text is empty.
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else {
            return Some(&[]);
        };
        // SAFETY: the offsets are within the text that was matched.
        let data = unsafe { members.captures_data.add(start) };
        let len = end.saturating_sub(start);
        // SAFETY: both offsets are within that text, which lives as long as the request.
        Some(unsafe { core::slice::from_raw_parts(data, len) })
    }
}
