//! A configuration while nginx reads it, and when it is complete.

use core::ffi::{c_char, c_void};
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use ngx::ffi;
pub(crate) use ngx::ffi::{
    NGX_CONF_1MORE, NGX_CONF_FLAG, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12,
    NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF,
    NGX_HTTP_SRV_CONF_OFFSET, NGX_HTTP_VAR_CHANGEABLE, NGX_HTTP_VAR_NOCACHEABLE,
    NGX_HTTP_VAR_NOHASH,
};

use super::array::{Elements, push};
use super::log::Log;
use super::pool::Pool;
use super::string::{EMPTY, bytes, str_of};
use super::{
    Foreign, GetHandler, OK, core_index, entry, ngx_array_t, ngx_command_t, ngx_conf_t,
    ngx_cycle_t, ngx_flag_t, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_err_page_t, ngx_http_handler_pt, ngx_module_t, ngx_str_t, ngx_uint_t,
};

/// `NGX_CONF_UNSET_UINT`
pub(crate) const UNSET_UINT: ngx_uint_t = ngx_uint_t::MAX;
/// `NGX_CONF_UNSET`, of a flag.
pub(crate) const UNSET_FLAG: ngx_flag_t = -1;
/// Fills a directive that is `on` or `off`.
pub(crate) use ngx::ffi::ngx_conf_set_flag_slot as set_flag;
/// `NGX_CONF_OK`
pub(crate) const CONF_OK: *mut c_char = ptr::null_mut();
/// `NGX_CONF_ERROR`
pub(crate) const CONF_ERROR: *mut c_char = ptr::without_provenance_mut(usize::MAX);

/// What ends a module's list of directives (`ngx_null_command`).
pub(crate) const NO_COMMAND: ngx_command_t = ngx_command_t {
    name: EMPTY,
    type_: 0,
    set: None,
    conf: 0,
    offset: 0,
    post: ptr::null_mut(),
};

/// The HTTP configuration that nginx is reading during `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Conf<'a> {
    cf: NonNull<ngx_conf_t>,
    of: PhantomData<&'a ngx_conf_t>,
}

impl<'a> Conf<'a> {
    /// # Safety
    /// `cf` must be null or what nginx passes to a directive or callback of a HTTP module.
    pub(crate) unsafe fn from_raw(cf: *mut ngx_conf_t) -> Option<Self> {
        let cf = NonNull::new(cf)?;
        let of = PhantomData;
        Some(Conf { cf, of })
    }

    fn get(&self) -> &ngx_conf_t {
        // SAFETY: what nginx is reading during `'a`, by the contract of `from_raw`.
        unsafe { self.cf.as_ref() }
    }

    /// For nginx's functions.
    pub(crate) fn as_ptr(self) -> *mut ngx_conf_t {
        self.cf.as_ptr()
    }

    /// What lives as long as the configuration.
    pub(crate) fn pool(self) -> Option<Pool> {
        // SAFETY: nginx made it for this configuration.
        unsafe { Pool::from_raw(self.get().pool) }
    }

    /// Has `handler` called when nginx is done with the configuration, whether it took
    /// it or not (`ngx_init_cycle` destroys `temp_pool` either way).
    pub(crate) fn when_done(self, handler: unsafe extern "C" fn(*mut c_void)) -> bool {
        // SAFETY: nginx destroys it when it is done with the configuration, after all
        // handlers.
        let pool = unsafe { Pool::from_raw(self.get().temp_pool) };
        pool.is_some_and(|pool| pool.on_cleanup(handler, 0))
    }

    /// The file that is being read and the line in it; empty and 0 if there is none.
    pub(crate) fn file_and_line(self) -> (ngx_str_t, ngx_uint_t) {
        // SAFETY: null, or the file that nginx is reading.
        match unsafe { self.get().conf_file.as_ref() } {
            Some(file) => (file.file.name, file.line),
            None => (EMPTY, 0),
        }
    }

    pub(crate) fn log(self) -> Log {
        // SAFETY: it is there for as long as the configuration is read.
        unsafe { Log::from_raw(self.get().log) }
    }

    /// The name of the location that is being merged, empty for a server's.
    pub(crate) fn location_name(self) -> ngx_str_t {
        // SAFETY: every HTTP module has an entry.
        let conf = unsafe { entry(self.ctx().loc_conf, core_index()) };
        // SAFETY: what the core module made for the location that nginx is merging.
        unsafe { (*conf.cast::<ngx_http_core_loc_conf_t>()).name }
    }

    /// The directive being read: its name and its arguments.
    pub(crate) fn arguments(self) -> impl Iterator<Item = &'a ngx_str_t> {
        // SAFETY: nginx's array of strings, which stays until the directive has been read.
        let arguments = unsafe { Elements::of(self.get().args) };
        arguments.into_iter().flat_map(Elements::read)
    }

    /// A module's part of the `http {}` (or server, or location) that is being read.
    fn ctx(&self) -> &ffi::ngx_http_conf_ctx_t {
        // SAFETY: it is one wherever a directive or a callback of a HTTP module runs.
        unsafe { &*self.get().ctx.cast::<ffi::ngx_http_conf_ctx_t>() }
    }

    /// The main configuration of the module at `ctx_index`.
    pub(crate) fn main_conf(self, ctx_index: usize) -> *mut c_void {
        // SAFETY: every HTTP module has an entry.
        unsafe { entry(self.ctx().main_conf, ctx_index) }
    }

    /// The core module's main configuration.
    pub(crate) fn core_main_conf(self) -> Option<&'a ngx_http_core_main_conf_t> {
        let conf = self.main_conf(core_index());
        // SAFETY: what the core module made; whoever writes to it is nginx.
        unsafe { conf.cast::<ngx_http_core_main_conf_t>().as_ref() }
    }

    /// The values of every `error_page` in force in the location being merged.
    pub(crate) fn error_pages(self) -> Result<impl Iterator<Item = ErrorPage<'a>>, Foreign> {
        // SAFETY: every HTTP module has an entry.
        let conf = unsafe { entry(self.ctx().loc_conf, core_index()) };
        // SAFETY: what the core module made for the location that nginx is merging.
        let pages = unsafe { (*conf.cast::<ngx_http_core_loc_conf_t>()).error_pages };
        // SAFETY: null or an array of error pages that nobody else holds.
        let pages = unsafe { Elements::<ngx_http_err_page_t>::of(pages) }?;
        Ok(pages.map(|page| ErrorPage {
            page,
            of: PhantomData,
        }))
    }

    /// Has `handler` serve the location that is being merged.
    pub(crate) fn serve_location(self, handler: ngx_http_handler_pt) {
        // SAFETY: every HTTP module has an entry.
        let conf = unsafe { entry(self.ctx().loc_conf, core_index()) };
        // SAFETY: what the core module made for the location that nginx is merging.
        unsafe { (*conf.cast::<ngx_http_core_loc_conf_t>()).handler = handler };
    }

    /// Adds a handler to a phase; false without memory. nginx calls the one that was
    /// added last first, in the log phase last.
    pub(crate) fn add_phase_handler(self, phase: u32, handler: ngx_http_handler_pt) -> bool {
        match self.phase_handlers(phase) {
            // SAFETY: nginx's array of handlers.
            Some(handlers) => unsafe { push(handlers, handler) },
            None => false,
        }
    }

    /// Puts the handler that was added to a phase last in front of all others.
    pub(crate) fn last_handler_first(self, phase: u32) {
        let Some(handlers) = self.phase_handlers(phase) else {
            return;
        };
        // SAFETY: nginx's array of handlers.
        let Ok(mut handlers) = (unsafe { Elements::<ngx_http_handler_pt>::of(handlers) }) else {
            return;
        };
        let Some(first) = handlers.next() else { return };
        for place in handlers {
            // SAFETY: elements of one array, which nobody else holds.
            unsafe { place.swap(first) };
        }
    }

    fn phase_handlers(self, phase: u32) -> Option<*mut ngx_array_t> {
        let conf = self.main_conf(core_index());
        let conf = conf.cast::<ngx_http_core_main_conf_t>();
        // SAFETY: the core module's main configuration is never null; only the address
        // of a member is taken, and nothing is borrowed.
        let phases = unsafe { &raw mut (*conf).phases };
        // SAFETY: an array within the core module's main configuration.
        let count = unsafe { (*phases).len() };
        ((phase as usize) < count).then(|| {
            // SAFETY: within the array, see above.
            let phase = unsafe { phases.cast::<ffi::ngx_http_phase_t>().add(phase as usize) };
            // SAFETY: an element of that array; nothing is borrowed.
            unsafe { &raw mut (*phase).handlers }
        })
    }

    /// Defines a variable (`ngx_http_add_variable`); false with the error logged.
    pub(crate) fn add_variable(
        self,
        name: &[u8],
        flags: u32,
        handler: GetHandler,
        data: usize,
    ) -> bool {
        let mut name = str_of(name);
        let flags = flags as ngx_uint_t;
        // SAFETY: nginx copies the name before it returns.
        let variable = unsafe { ffi::ngx_http_add_variable(self.as_ptr(), &raw mut name, flags) };
        // SAFETY: null, or a variable that nginx has just made.
        match unsafe { variable.as_mut() } {
            Some(variable) => {
                variable.get_handler = Some(handler);
                variable.data = data;
                true
            }
            None => false,
        }
    }

    /// Has `r->variables` hold a variable, and gives its place there
    /// (`ngx_http_get_variable_index`); `None` with the error logged.
    pub(crate) fn index_variable(self, name: &'static [u8]) -> Option<u32> {
        let mut name = str_of(name);
        // SAFETY: nginx copies the name before it returns.
        let index = unsafe { ffi::ngx_http_get_variable_index(self.as_ptr(), &raw mut name) };
        u32::try_from(index).ok()
    }

    /// A copy of a string in lower case; `None` without memory.
    pub(crate) fn lower_case(self, source: &ngx_str_t) -> Option<&'a [u8]> {
        // SAFETY: a string of the configuration.
        let copy = self.pool()?.concat(&[unsafe { bytes(*source) }])?;
        // SAFETY: source and copy have the length that is passed.
        unsafe { ffi::ngx_strlow(copy.data, source.data, source.len) };
        // SAFETY: written above; the pool lives as long as the configuration.
        Some(unsafe { bytes(copy) })
    }
}

/// One code's target in an `error_page` directive.
pub(crate) struct ErrorPage<'a> {
    page: NonNull<ngx_http_err_page_t>,
    of: PhantomData<&'a ngx_http_err_page_t>,
}

impl<'a> ErrorPage<'a> {
    fn get(&self) -> &ngx_http_err_page_t {
        // SAFETY: `Conf::error_pages` gives an element of nginx's array.
        unsafe { self.page.as_ref() }
    }

    /// The value as it is written, without the arguments that nginx takes off one that
    /// has no variables (`ngx_http_core_error_page`).
    pub(crate) fn value(&self) -> &'a [u8] {
        // SAFETY: text of the configuration.
        unsafe { bytes(self.get().value.value) }
    }

    /// The status that it is for.
    pub(crate) fn status(&self) -> usize {
        self.get().status as usize
    }

    /// Whether the value has variables.
    pub(crate) fn has_variables(&self) -> bool {
        !self.get().value.lengths.is_null()
    }

    /// The arguments that nginx took off; `None` when there was no `?`.
    pub(crate) fn args(&self) -> Option<&'a [u8]> {
        let args = self.get().args;
        // SAFETY: text of the configuration.
        (!args.data.is_null()).then(|| unsafe { bytes(args) })
    }

    /// Compiles `source` in place of the value and its arguments; false with the error logged.
    pub(crate) fn recompile(mut self, cf: Conf<'_>, mut source: ngx_str_t) -> bool {
        // SAFETY: as in `get`; nobody else holds the element.
        let page = unsafe { self.page.as_mut() };
        page.args = EMPTY;
        // SAFETY: all-zero is what nginx's own callers start from.
        let mut ccv: ffi::ngx_http_compile_complex_value_t = unsafe { core::mem::zeroed() };
        ccv.cf = cf.as_ptr();
        ccv.value = &raw mut source;
        ccv.complex_value = &raw mut page.value;
        // SAFETY: the members that nginx requires are set, and outlive the call.
        unsafe { ffi::ngx_http_compile_complex_value(&raw mut ccv) == OK }
    }
}

/// Where nginx has the member that a directive of the core module fills, as an offset in
/// that module's main, server or location configuration.
pub(crate) fn core_directive_offset(name: &[u8]) -> Option<usize> {
    let module: *const ngx_module_t = &raw const ffi::ngx_http_core_module;
    // SAFETY: nginx's module is a static, its directives are constants.
    let mut command = unsafe { (*module).commands };
    // SAFETY: a list of directives, which ends with one that has no name.
    while let Some(this) = unsafe { command.as_ref() }.filter(|this| this.name.len != 0) {
        // SAFETY: the name of a directive is a constant of nginx's.
        if unsafe { bytes(this.name) } == name {
            return Some(this.offset);
        }
        command = command.wrapping_add(1);
    }
    None
}

/// What a cycle that has a `http {}` is made of.
pub(crate) struct Complete {
    /// Lives as long as the cycle.
    pub(crate) pool: Pool,
    /// The core module's main configuration, likewise.
    pub(crate) core: &'static ngx_http_core_main_conf_t,
    /// The main configuration of the module that asks, likewise.
    pub(crate) ours: *mut c_void,
    /// That module's configuration for all locations that set nothing, as it was before
    /// it was merged.
    pub(crate) outermost: *mut c_void,
    /// The log that `error_log` names.
    pub(crate) log: Log,
}

/// The complete configuration of a cycle; `None` without a `http {}`.
///
/// # Safety
/// nginx passes `cycle` to `init_module`; what `Complete` says of lifetimes is kept by
/// whoever forgets it when the next cycle begins.
pub(crate) unsafe fn complete(cycle: *mut ngx_cycle_t, ctx_index: usize) -> Option<Complete> {
    // SAFETY: the cycle that nginx starts, by the contract above.
    let cycle = unsafe { cycle.as_ref() }?;
    let module = &raw const ffi::ngx_http_module;
    // SAFETY: nginx assigns the index before any configuration is read.
    let index = unsafe { (*module).index };
    // SAFETY: `conf_ctx` has an entry for every module.
    let ctx = unsafe { entry(cycle.conf_ctx, index) }.cast::<ffi::ngx_http_conf_ctx_t>();
    // SAFETY: null without `http {}`, else what `ngx_http_block` made.
    let ctx = unsafe { ctx.as_ref() }?;
    let main = ctx.main_conf;
    // SAFETY: `main_conf` has an entry for every HTTP module.
    let core = unsafe { entry(main, core_index()) };
    // SAFETY: `main_conf` has an entry for every HTTP module.
    let ours = unsafe { entry(main, ctx_index) };
    // SAFETY: `loc_conf` has an entry for every HTTP module, too.
    let outermost = unsafe { entry(ctx.loc_conf, ctx_index) };
    // SAFETY: what the core module made for this cycle.
    let core = unsafe { core.cast::<ngx_http_core_main_conf_t>().as_ref() }?;
    // SAFETY: the pool of a cycle lives as long as the cycle.
    let pool = unsafe { Pool::from_raw(cycle.pool) }?;
    // SAFETY: null, or a log that lives as long as the cycle.
    let log = unsafe { Log::from_raw(cycle.log) };
    Some(Complete {
        pool,
        core,
        ours,
        outermost,
        log,
    })
}

/// Reports an error in the configuration being read, with file and line.
macro_rules! conf_error {
    ($cf:expr, $format:literal $(, $arg:expr)* $(,)?) => {{
        let format = concat!($format, "\0").as_ptr().cast::<core::ffi::c_char>();
        // SAFETY: a `Conf` is nginx's, and the arguments have the types the format asks for.
        unsafe {
            ngx::ffi::ngx_conf_log_error(
                $crate::nginx::log::EMERG as usize, $cf.as_ptr(), 0, format $(, $arg)*
            )
        }
    }};
}
pub(crate) use conf_error;
