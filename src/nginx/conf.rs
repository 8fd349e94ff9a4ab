//! nginx's configuration: while nginx reads it ([`Conf`]), and when it is complete
//! ([`Complete`]).

use core::ffi::{c_char, c_void};
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use ngx::ffi;
pub(crate) use ngx::ffi::{
    NGX_CONF_FLAG, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_HTTP_LOC_CONF,
    NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF, NGX_HTTP_SRV_CONF_OFFSET,
};

use super::array::{Elements, push};
use super::log::{EMERG, LINE, Log};
use super::module_conf::{ModuleConf, Tables};
use super::pool::Pool;
use super::string::{EMPTY, bytes, str_of};
use super::value::{self, Defined};
use super::{
    OK, entry, ngx_array_t, ngx_command_t, ngx_conf_t, ngx_cycle_t, ngx_flag_t,
    ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t, ngx_http_handler_pt, ngx_module_t,
    ngx_str_t, ngx_uint_t, shim,
};
use crate::text::{Writer, written};

pub(crate) const UNSET_UINT: ngx_uint_t = ngx_uint_t::MAX;
pub(crate) const UNSET_FLAG: ngx_flag_t = -1;
pub(crate) use ngx::ffi::ngx_conf_set_flag_slot as set_flag;
pub(crate) const CONF_OK: *mut c_char = ptr::null_mut();
pub(crate) const CONF_ERROR: *mut c_char = ptr::without_provenance_mut(usize::MAX);

/// The end of a module's array of directives (`ngx_null_command`).
pub(crate) const NO_COMMAND: ngx_command_t =
    ngx_command_t { name: EMPTY, type_: 0, set: None, conf: 0, offset: 0, post: ptr::null_mut() };

/// The HTTP configuration that nginx reads during `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Conf<'a> {
    cf: NonNull<ngx_conf_t>,
    of: PhantomData<&'a ngx_conf_t>,
}

impl<'a> Conf<'a> {
    /// # Safety
    /// `cf` must be what nginx passed, for `'a`, to a directive or a callback of an HTTP module.
    pub(crate) unsafe fn from_raw(cf: *mut ngx_conf_t) -> Self {
        // SAFETY: nginx passes its configuration, by the contract above.
        Conf { cf: unsafe { NonNull::new_unchecked(cf) }, of: PhantomData }
    }

    fn get(&self) -> &ngx_conf_t {
        // SAFETY: nginx reads this configuration during `'a`, by the contract of `from_raw`.
        unsafe { self.cf.as_ref() }
    }

    pub(crate) fn as_ptr(self) -> *mut ngx_conf_t {
        self.cf.as_ptr()
    }

    /// The pool that lives as long as the configuration.
    pub(crate) fn pool(self) -> Option<Pool> {
        // SAFETY: nginx created the pool for this configuration, and destroys both together.
        unsafe { Pool::from_raw(self.get().pool) }
    }

    /// Registers `handler` to be called when nginx has finished with the configuration,
    /// whether it accepted it or not (`ngx_init_cycle` destroys `temp_pool` either way).
    /// Returns false if there is no memory.
    pub(crate) fn when_done(self, handler: unsafe extern "C" fn(*mut c_void)) -> bool {
        // SAFETY: nginx destroys `temp_pool` only after all functions that get a `Conf`.
        let pool = unsafe { Pool::from_raw(self.get().temp_pool) };
        pool.is_some_and(|pool| pool.on_cleanup(handler, 0))
    }

    /// To be called before anything else for a configuration that has the module. Returns false if
    /// there is no memory.
    pub(crate) fn enter(self) -> bool {
        // SAFETY: nginx reads this configuration, whose cycle has a pool.
        unsafe { shim::lua_var_enter(self.as_ptr()) == OK }
    }

    pub(crate) fn log(self) -> Log {
        // SAFETY: the log exists for as long as nginx reads the configuration.
        unsafe { Log::from_raw(self.get().log) }
    }

    /// Logs the error that `write` writes, with the file and the line of the configuration.
    pub(crate) fn error(self, write: impl FnOnce(&mut Writer<'_>)) {
        let mut room = [0; LINE];
        let line = written(&mut room, write);
        let format = c"%*s".as_ptr();
        // SAFETY: nginx reads this configuration, and the format takes a length and as many bytes.
        unsafe {
            let (len, bytes) = (line.len(), line.as_ptr());
            ffi::ngx_conf_log_error(EMERG as usize, self.as_ptr(), 0, format, len, bytes);
        }
    }

    /// The directive that is being read: first its name, then its arguments. They live as long as
    /// the configuration.
    pub(crate) fn arguments(self) -> impl Iterator<Item = &'a [u8]> {
        // SAFETY: `args` is an array of strings that does not change until nginx has read the
        // directive.
        let arguments = unsafe { Elements::<ngx_str_t>::of(self.get().args) };
        // SAFETY: the strings are in the configuration's pool.
        let text = |argument: &ngx_str_t| unsafe { bytes(*argument) };
        arguments.into_iter().flat_map(Elements::read).map(text)
    }

    fn ctx(&self) -> &ffi::ngx_http_conf_ctx_t {
        // SAFETY: `ctx` has this type whenever nginx calls an HTTP module's function.
        unsafe { &*self.get().ctx.cast::<ffi::ngx_http_conf_ctx_t>() }
    }

    /// A module's configuration that nginx is reading or merging.
    pub(crate) fn conf<T: ModuleConf>(self) -> *mut T {
        Tables::of_block(self.ctx()).get()
    }

    pub(crate) fn core_main_conf(self) -> Option<&'a ngx_http_core_main_conf_t> {
        // SAFETY: the core module made its entry, and only nginx writes to it.
        unsafe { self.conf::<ngx_http_core_main_conf_t>().as_ref() }
    }

    /// Sets the content handler of the location that is being merged.
    pub(crate) fn serve_location(self, handler: ngx_http_handler_pt) {
        // SAFETY: the core module made its entry for the location that nginx is merging.
        unsafe { (*self.conf::<ngx_http_core_loc_conf_t>()).handler = handler };
    }

    /// Adds a handler to a phase. nginx calls the handler that was added last first, but in
    /// the log phase last. Returns false if there is no memory.
    pub(crate) fn add_phase_handler(self, phase: u32, handler: ngx_http_handler_pt) -> bool {
        match self.phase_handlers(phase) {
            // SAFETY: `handlers` is nginx's array of handlers of this type.
            Some(handlers) => unsafe { push(handlers, handler) },
            None => false,
        }
    }

    /// Moves the handler that was added to a phase last in front of all others.
    pub(crate) fn last_handler_first(self, phase: u32) {
        let Some(handlers) = self.phase_handlers(phase) else {
            return;
        };
        // SAFETY: `handlers` is nginx's array of handlers, which is not extended meanwhile.
        let Ok(mut handlers) = (unsafe { Elements::<ngx_http_handler_pt>::of(handlers) }) else {
            return;
        };
        let Some(first) = handlers.next() else { return };
        for place in handlers {
            // SAFETY: both are elements of the array, to which no reference exists.
            unsafe { place.swap(first) };
        }
    }

    /// The array of a phase's handlers; `None` if nginx has no such phase.
    fn phase_handlers(self, phase: u32) -> Option<*mut ngx_array_t> {
        let conf = self.conf::<ngx_http_core_main_conf_t>();
        // SAFETY: the core module's main configuration is never null, and this only computes
        // the address of a member.
        let phases = unsafe { &raw mut (*conf).phases };
        // SAFETY: `phases` points to an array in that configuration; `len` reads none of it.
        let count = unsafe { (*phases).len() };
        ((phase as usize) < count).then(|| {
            // SAFETY: `phase` is less than the length of the array.
            let phase = unsafe { phases.cast::<ffi::ngx_http_phase_t>().add(phase as usize) };
            // SAFETY: `phase` is an element of the array, and this only computes the address
            // of a member.
            unsafe { &raw mut (*phase).handlers }
        })
    }

    /// Defines the variable `which` of a type, or a prefix, whose name ends with `_`
    /// (`ngx_http_add_variable`). Returns false after nginx has logged an error.
    pub(crate) fn add_variable<T: Defined>(self, name: &[u8], which: usize) -> bool {
        let mut flags = ffi::NGX_HTTP_VAR_NOCACHEABLE;
        if T::IS_CHANGEABLE {
            flags |= ffi::NGX_HTTP_VAR_CHANGEABLE;
        }
        if name.ends_with(b"_") {
            flags |= ffi::NGX_HTTP_VAR_PREFIX;
        }
        let flags = flags as ngx_uint_t;
        let mut name = str_of(name);
        // SAFETY: the name is valid for the call, and nginx copies it.
        let variable = unsafe { ffi::ngx_http_add_variable(self.as_ptr(), &raw mut name, flags) };
        // SAFETY: it is null, or a variable that nginx has just made and nothing refers to.
        let Some(variable) = (unsafe { variable.as_mut() }) else {
            return false;
        };
        variable.get_handler = Some(value::get::<T>);
        if T::IS_CHANGEABLE {
            variable.set_handler = Some(value::set::<T>);
        }
        variable.data = which;
        true
    }
}

/// The offset that a directive of the core module has in nginx: of the member that it fills,
/// in the core module's main, server or location configuration. `None` if there is no such
/// directive.
pub(crate) fn core_directive_offset(name: &[u8]) -> Option<usize> {
    let module: *const ngx_module_t = &raw const ffi::ngx_http_core_module;
    // SAFETY: the core module is a static of nginx's, whose `commands` does not change.
    let mut command = unsafe { (*module).commands };
    // SAFETY: the array of directives ends with one that has no name, where the loop stops.
    while let Some(this) = unsafe { command.as_ref() }.filter(|this| this.name.len != 0) {
        // SAFETY: the name of a directive is a constant string of nginx's.
        if unsafe { bytes(this.name) } == name {
            return Some(this.offset);
        }
        command = command.wrapping_add(1);
    }
    None
}

/// The complete configuration of a cycle, while nginx starts it.
pub(crate) struct Complete<'a> {
    tables: Tables,
    pub(crate) log: Log,
    of: PhantomData<&'a ngx_cycle_t>,
}

impl<'a> Complete<'a> {
    /// The configuration of a cycle; `None` if it has no `http {}`.
    ///
    /// # Safety
    /// `cycle` must be what nginx passed to `init_module`, which returns after `'a`.
    pub(crate) unsafe fn of(cycle: *mut ngx_cycle_t) -> Option<Self> {
        // SAFETY: `cycle` is the one that nginx is starting, by the contract above.
        let cycle = unsafe { cycle.as_ref() }?;
        let module = &raw const ffi::ngx_http_module;
        // SAFETY: nginx assigns the index before it reads a configuration.
        let index = unsafe { (*module).index };
        // SAFETY: `conf_ctx` has an entry for every module.
        let ctx = unsafe { entry(cycle.conf_ctx, index) }.cast::<ffi::ngx_http_conf_ctx_t>();
        Some(Complete {
            // SAFETY: it is null without `http {}`, else what `ngx_http_block` made.
            tables: Tables::of_block(unsafe { ctx.as_ref() }?),
            // SAFETY: the log lives as long as the cycle.
            log: unsafe { Log::from_raw(cycle.log) },
            of: PhantomData,
        })
    }

    /// A module's configuration of `http {}`. What is not set in a location configuration is
    /// still unset there.
    pub(crate) fn conf<T: ModuleConf>(&self) -> Option<&'a T> {
        // SAFETY: the module made it, and nothing writes to it any more.
        unsafe { self.tables.get::<T>().as_ref() }
    }
}

macro_rules! conf_error {
    ($cf:expr; $($part:expr),+ $(,)?) => {
        $cf.error(|w| $crate::text::put!(w; $($part),+))
    };
}
pub(crate) use conf_error;
