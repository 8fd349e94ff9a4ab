//! nginx's logs.

use core::ptr::{self, NonNull};

use ngx::ffi::{self, NGX_LOG_DEBUG, NGX_LOG_DEBUG_HTTP, ngx_log_t};

/// Levels of the error log.
pub(crate) use ffi::{
    NGX_LOG_EMERG as EMERG, NGX_LOG_ERR as ERR, NGX_LOG_INFO as INFO, NGX_LOG_NOTICE as NOTICE,
    NGX_LOG_WARN as WARN,
};

/// A log of nginx's, which may be none.
///
/// One is made in this folder only, of what is being configured, served or run: nginx's
/// logs outlive the configuration, the request or the cycle they are taken from.
#[derive(Clone, Copy)]
pub(crate) struct Log(*mut ngx_log_t);

impl Log {
    /// # Safety
    /// `log` must be null or outlive the result.
    pub(super) unsafe fn from_raw(log: *mut ngx_log_t) -> Self {
        Log(log)
    }

    /// The log of the running cycle.
    pub(crate) fn of_cycle() -> Self {
        let cycle = &raw const ffi::ngx_cycle;
        // SAFETY: nginx sets `ngx_cycle` before it loads a module and never unsets it.
        let cycle = unsafe { cycle.read_volatile() };
        // SAFETY: nginx sets `ngx_cycle` before it loads a module and never unsets it.
        Log(unsafe { cycle.as_ref() }.map_or(ptr::null_mut(), |cycle| cycle.log))
    }

    /// For C.
    pub(crate) fn as_ptr(self) -> *mut ngx_log_t {
        self.0
    }

    /// Calls `write` when the log takes lines of this level.
    #[inline]
    pub(crate) fn at(self, level: usize, write: impl FnOnce(usize, *mut ngx_log_t)) {
        let Some(log) = NonNull::new(self.0) else {
            return;
        };
        // SAFETY: a log that is there, by the contract of `from_raw`.
        let enabled = unsafe { log.as_ref() }.log_level;
        if level == DEBUG {
            if enabled & NGX_LOG_DEBUG_HTTP as usize != 0 {
                write(NGX_LOG_DEBUG as usize, log.as_ptr());
            }
        } else if enabled >= level {
            write(level, log.as_ptr());
        }
    }
}

/// Level of [`log_debug`]: debug messages are switched by kind, not by level.
pub(crate) const DEBUG: usize = (NGX_LOG_DEBUG | NGX_LOG_DEBUG_HTTP) as usize;

/// Writes a line to `$log` at `$level`; the arguments are `ngx_log_error_core`'s.
macro_rules! log_error {
    ($level:expr, $log:expr, $format:literal $(, $arg:expr)* $(,)?) => {
        $crate::nginx::log::Log::at($log, $level as usize, |level, log| {
            let format = concat!($format, "\0").as_ptr().cast::<core::ffi::c_char>();
            // SAFETY: `Log::at` passes a log that is not null, and each caller's
            // arguments have the types its format, a literal beside them, asks for.
            unsafe { ngx::ffi::ngx_log_error_core(level, log, 0, format $(, $arg)*) }
        })
    };
}
pub(crate) use log_error;

/// Writes a debug line for the request `$r` when `error_log … debug` asks for it.
macro_rules! log_debug {
    ($r:expr, $format:literal $(, $arg:expr)* $(,)?) => {
        $crate::nginx::log::log_error!(
            $crate::nginx::log::DEBUG, $r.log(), $format $(, $arg)*
        )
    };
}
pub(crate) use log_debug;

/// Logs where a debug build panicked, and aborts.
#[cfg(debug_assertions)]
pub(crate) fn abort_with(file: &[u8], line: usize) -> ! {
    log_error!(
        EMERG,
        Log::of_cycle(),
        "lua_var: panic at %*s:%ui",
        file.len(),
        file.as_ptr(),
        line
    );
    // SAFETY: abort may be called anywhere.
    unsafe { libc::abort() }
}
