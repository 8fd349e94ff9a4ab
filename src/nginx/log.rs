//! nginx's logs, and macros that write a line to one.

use core::ptr::{self, NonNull};

use ngx::ffi::{self, NGX_LOG_DEBUG, NGX_LOG_DEBUG_HTTP, ngx_log_t};

/// The levels of the error log.
pub(crate) use ffi::{
    NGX_LOG_EMERG as EMERG, NGX_LOG_ERR as ERR, NGX_LOG_INFO as INFO, NGX_LOG_NOTICE as NOTICE,
    NGX_LOG_WARN as WARN,
};

/// A log of nginx's, or null, to which nothing is written.
///
/// Only the files in this folder can create one. They take it from the configuration, the
/// request or the cycle that is in use, which nginx's logs outlive.
#[derive(Clone, Copy)]
pub(crate) struct Log(*mut ngx_log_t);

impl Log {
    /// # Safety
    /// `log` must be null or a log that outlives the result.
    pub(super) unsafe fn from_raw(log: *mut ngx_log_t) -> Self {
        Log(log)
    }

    /// The log of the running cycle.
    pub(crate) fn of_cycle() -> Self {
        let cycle = &raw const ffi::ngx_cycle;
        // SAFETY: `ngx_cycle` is a static of nginx's, which this thread alone writes.
        let cycle = unsafe { cycle.read_volatile() };
        // SAFETY: nginx sets `ngx_cycle` to a valid cycle before it loads a module.
        Log(unsafe { cycle.as_ref() }.map_or(ptr::null_mut(), |cycle| cycle.log))
    }

    /// Calls `write`, with nginx's level and the log, if the log takes lines of this level.
    #[inline]
    pub(crate) fn at(self, level: usize, write: impl FnOnce(usize, *mut ngx_log_t)) {
        let Some(log) = NonNull::new(self.0) else {
            return;
        };
        // SAFETY: the log is valid, by the contract of `from_raw`.
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

/// The level of [`log_debug`]. nginx enables debug messages by their kind, so this is a mask.
pub(crate) const DEBUG: usize = (NGX_LOG_DEBUG | NGX_LOG_DEBUG_HTTP) as usize;

/// Writes a line to the log `$log` at `$level`. The format and the arguments are those of
/// `ngx_log_error_core`.
macro_rules! log_error {
    ($level:expr, $log:expr, $format:literal $(, $arg:expr)* $(,)?) => {
        $crate::nginx::log::Log::at($log, $level as usize, |level, log| {
            let format = concat!($format, "\0").as_ptr().cast::<core::ffi::c_char>();
            // SAFETY: `Log::at` passes a valid log, and each caller passes arguments of the
            // types that its format, a literal beside them, asks for.
            unsafe { ngx::ffi::ngx_log_error_core(level, log, 0, format $(, $arg)*) }
        })
    };
}
pub(crate) use log_error;

/// Writes a debug line to the log of the request `$r`, if `error_log … debug` enables them.
macro_rules! log_debug {
    ($r:expr, $format:literal $(, $arg:expr)* $(,)?) => {
        $crate::nginx::log::log_error!(
            $crate::nginx::log::DEBUG, $r.log(), $format $(, $arg)*
        )
    };
}
pub(crate) use log_debug;

/// Logs the file and the line in which a debug build panicked, and aborts.
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
    // SAFETY: `abort` may be called at any time.
    unsafe { libc::abort() }
}
