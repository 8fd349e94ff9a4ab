//! nginx's logs, and macros that write a line to one, of the parts that `put!` takes.

use core::ptr::{self, NonNull};

use ngx::ffi::{self, NGX_LOG_DEBUG, NGX_LOG_DEBUG_HTTP, ngx_log_t};

use super::cycle_address;
use crate::text::{Writer, written};

/// The levels of the error log.
pub(crate) use ffi::{
    NGX_LOG_EMERG as EMERG, NGX_LOG_ERR as ERR, NGX_LOG_INFO as INFO, NGX_LOG_NOTICE as NOTICE,
    NGX_LOG_WARN as WARN,
};

/// The longest line of the error log (`NGX_MAX_ERROR_STR`), which nginx begins with the time.
pub(super) const LINE: usize = 2048;

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

    pub(crate) fn of_cycle() -> Self {
        // SAFETY: `ngx_cycle` is a static of nginx's, which this thread alone writes.
        let cycle = unsafe { cycle_address().read_volatile() };
        // SAFETY: nginx sets `ngx_cycle` to a valid cycle before it loads a module.
        Log(unsafe { cycle.as_ref() }.map_or(ptr::null_mut(), |cycle| cycle.log))
    }

    /// Writes the line that `write` makes, if the log takes lines of this level.
    #[inline]
    pub(crate) fn line(self, level: usize, write: impl FnOnce(&mut Writer<'_>)) {
        let Some(log) = NonNull::new(self.0) else {
            return;
        };
        // SAFETY: the log is valid, by the contract of `from_raw`.
        let enabled = unsafe { log.as_ref() }.log_level;
        if level == DEBUG && enabled & NGX_LOG_DEBUG_HTTP as usize != 0 {
            write_line(NGX_LOG_DEBUG as usize, log, write);
        } else if level != DEBUG && enabled >= level {
            write_line(level, log, write);
        }
    }
}

#[cold]
fn write_line(level: usize, log: NonNull<ngx_log_t>, write: impl FnOnce(&mut Writer<'_>)) {
    let mut room = [0; LINE];
    let line = written(&mut room, write);
    let format = c"lua_var: %*s".as_ptr();
    // SAFETY: the log is valid, by the contract of `Log::from_raw`, and the format takes a length
    // and as many bytes.
    unsafe { ffi::ngx_log_error_core(level, log.as_ptr(), 0, format, line.len(), line.as_ptr()) }
}

/// The level of [`log_debug`]. nginx enables debug messages by their kind, so this is a mask.
pub(crate) const DEBUG: usize = (NGX_LOG_DEBUG | NGX_LOG_DEBUG_HTTP) as usize;

macro_rules! log_error {
    ($level:expr, $log:expr; $($part:expr),+ $(,)?) => {
        $log.line($level as usize, |w| $crate::text::put!(w; $($part),+))
    };
}
pub(crate) use log_error;

/// Writes a debug line to the log of the request `$r`, if `error_log … debug` enables them.
macro_rules! log_debug {
    ($r:expr; $($part:expr),+ $(,)?) => {
        $crate::nginx::log::log_error!($crate::nginx::log::DEBUG, $r.log(); $($part),+)
    };
}
pub(crate) use log_debug;
