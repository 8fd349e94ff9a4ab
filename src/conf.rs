//! The module's configuration.

use crate::sys::{self, ngx_array_t, ngx_int_t, ngx_uint_t};

/// `lua_var_ctx_restore`: after which redirects a request gets its context back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restore {
    /// Never; what lua-nginx-module does is left alone.
    Off,
    /// In a request that came through `error_page`.
    ErrorPage,
    /// After any internal redirect.
    All,
}

impl Restore {
    /// Values as a location's configuration keeps them.
    pub const OFF: ngx_uint_t = 0;
    /// See [`Restore::OFF`].
    pub const ERROR_PAGE: ngx_uint_t = 1;
    /// See [`Restore::OFF`].
    pub const ALL: ngx_uint_t = 2;
}

/// `http {}`: one for the configuration.
#[repr(C)]
pub struct MainConf {
    /// Arguments of `lua_var_index`, without the `$`; null without the directive.
    pub names: *mut ngx_array_t,
    /// Index of `$from_error_page`.
    pub from_error_page: ngx_int_t,
}

/// One for each location.
#[repr(C)]
pub struct LocConf {
    restore: ngx_uint_t,
}

impl LocConf {
    /// Whether the location sets it itself.
    pub fn is_set(&self) -> bool {
        self.restore != sys::UNSET_UINT
    }

    /// Sets it to one of the values of [`Restore`].
    pub fn set(&mut self, restore: ngx_uint_t) {
        self.restore = restore;
    }

    /// Marks everything as not set.
    pub fn unset(&mut self) {
        self.restore = sys::UNSET_UINT;
    }

    /// Inherits what is not set; the default is `error_page`.
    pub fn merge(&mut self, outer: &LocConf) {
        if self.restore == sys::UNSET_UINT {
            self.restore = match outer.restore {
                sys::UNSET_UINT => Restore::ERROR_PAGE,
                set => set,
            };
        }
    }

    /// The setting that counts here.
    pub fn restore(&self) -> Restore {
        match self.restore {
            Restore::OFF => Restore::Off,
            Restore::ALL => Restore::All,
            _ => Restore::ErrorPage,
        }
    }
}
