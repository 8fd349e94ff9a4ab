//! The configurations that nginx has of each HTTP module: one for the whole `http {}`, one for
//! each server and one for each location, in three tables with an entry for each module.

use core::ffi::c_void;

use ngx::ffi::ngx_http_conf_ctx_t;

use super::{
    core_index, entry, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_core_srv_conf_t, ngx_http_request_t,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Main,
    Server,
    Location,
}

/// A configuration of a module at one level.
///
/// # Safety
/// The module's function that creates its configurations of this level must return null or a
/// value of this type. `ctx_index()` must be what nginx assigned to the module, as soon as nginx
/// has a configuration or a request.
pub(crate) unsafe trait ModuleConf {
    const LEVEL: Level;

    /// The module's place in the tables.
    fn ctx_index() -> usize;
}

/// Implements [`ModuleConf`] for the configurations of a module that has this index.
macro_rules! module_confs {
    ($index:expr; $($level:ident $conf:ty),+) => {$(
        // SAFETY: the module creates these configurations, and this is its index, as the user of
        // this macro knows.
        unsafe impl $crate::nginx::module_conf::ModuleConf for $conf {
            const LEVEL: Level = Level::$level;

            fn ctx_index() -> usize {
                $index
            }
        }
    )+};
}
pub(crate) use module_confs;

// nginx assigns the index before it reads a configuration, and does not change it later.
module_confs! {
    core_index();
    Main ngx_http_core_main_conf_t, Server ngx_http_core_srv_conf_t,
    Location ngx_http_core_loc_conf_t
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
        // like), at the place that `ModuleConf` promises.
        unsafe { entry(table, T::ctx_index()) }.cast()
    }
}
