//! The configurations that nginx has of each HTTP module: one for the whole `http {}`, one for
//! each server and one for each location, in three tables with an entry for each module.

use core::ffi::c_void;

use ngx::ffi::ngx_http_conf_ctx_t;

use super::{
    core_index, entry, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_core_srv_conf_t, ngx_http_request_t,
};

/// An HTTP module of nginx's.
///
/// # Safety
/// `ctx_index()` must be what nginx assigned to the module, as soon as nginx has a
/// configuration or a request.
pub(crate) unsafe trait HttpModule {
    /// The module's place in the tables that have an entry for each HTTP module.
    fn ctx_index() -> usize;
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Main,
    Server,
    Location,
}

/// A configuration of a module at one level.
///
/// # Safety
/// The module's function that creates its configurations of this level
/// (`create_main_conf` and so on) must return null or a value of this type.
pub(crate) unsafe trait ModuleConf {
    type Module: HttpModule;
    const LEVEL: Level;
}

/// The module that all others extend.
pub(crate) struct CoreModule;

// SAFETY: nginx assigns it before it reads a configuration, and does not change it later.
unsafe impl HttpModule for CoreModule {
    fn ctx_index() -> usize {
        core_index()
    }
}

// SAFETY: `ngx_http_core_create_main_conf` returns one.
unsafe impl ModuleConf for ngx_http_core_main_conf_t {
    type Module = CoreModule;
    const LEVEL: Level = Level::Main;
}

// SAFETY: `ngx_http_core_create_srv_conf` returns one.
unsafe impl ModuleConf for ngx_http_core_srv_conf_t {
    type Module = CoreModule;
    const LEVEL: Level = Level::Server;
}

// SAFETY: `ngx_http_core_create_loc_conf` returns one.
unsafe impl ModuleConf for ngx_http_core_loc_conf_t {
    type Module = CoreModule;
    const LEVEL: Level = Level::Location;
}

/// The three tables of a request, or of the block that nginx reads.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    main: *mut *mut c_void,
    server: *mut *mut c_void,
    location: *mut *mut c_void,
}

impl Tables {
    #[inline(always)]
    pub(super) fn of_request(r: &ngx_http_request_t) -> Self {
        Tables { main: r.main_conf, server: r.srv_conf, location: r.loc_conf }
    }

    pub(super) fn of_block(ctx: &ngx_http_conf_ctx_t) -> Self {
        Tables { main: ctx.main_conf, server: ctx.srv_conf, location: ctx.loc_conf }
    }

    /// The configuration of a module. It lives as long as the cycle, and nginx changes it only
    /// while it reads the configuration.
    #[inline(always)]
    pub(super) fn get<T: ModuleConf>(self) -> *mut T {
        let table = match T::LEVEL {
            Level::Main => self.main,
            Level::Server => self.server,
            Level::Location => self.location,
        };
        // SAFETY: each table has an entry for every HTTP module (`ngx_http_block` and its
        // like), at the place that `HttpModule` promises.
        unsafe { entry(table, T::Module::ctx_index()) }.cast()
    }
}
