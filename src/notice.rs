//! What the error log has of the module when a configuration takes effect: which build
//! serves, and whether another one waits for a restart.

use core::cell::Cell;
use core::ffi::CStr;

use crate::conf::LocConf;
use crate::mode;
use crate::nginx::conf::Complete;
use crate::nginx::file::{self, Identity};
use crate::nginx::log::{NOTICE, WARN, log_error};
use crate::nginx::{BUILT_FOR, is_testing_configuration};
use crate::statics::PerWorker;

/// The file as it was when this process loaded it.
static LOADED: PerWorker<Cell<Option<Identity>>> = PerWorker(Cell::new(None));

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Says which build serves, how it reads requests, and what is restored where no location
/// says otherwise.
pub(crate) fn write(complete: &Complete) {
    if is_testing_configuration() {
        return;
    }
    // SAFETY: made by `create_loc_conf`.
    let outermost = unsafe { complete.outermost.cast::<LocConf>().as_ref() };
    // What comparing the offsets gave; the first request shows the rest.
    let (layout, restore) = match outermost {
        Some(outermost) if !mode::is_foreign() => (c"layout agrees", outermost.restore_name()),
        _ => (c"layout differs", c"off"),
    };
    log_error!(
        NOTICE,
        complete.log,
        "lua_var: version %*s, built for %s, %s, lua_var_ctx_restore %s",
        VERSION.len(),
        VERSION.as_ptr(),
        BUILT_FOR.as_ptr(),
        layout.as_ptr(),
        restore.as_ptr()
    );
    if let Some(name) = file::name() {
        compare(complete, name);
    }
}

/// Says when the file is another one than was loaded. A reload does not load it: the
/// dynamic linker knows the name, and LuaJIT keeps pointers to the functions of this build.
fn compare(complete: &Complete, name: &CStr) {
    let now = file::identity(name);
    match LOADED.get() {
        None => LOADED.set(now),
        Some(loaded) if now == Some(loaded) => {}
        Some(_) => {
            log_error!(
                WARN,
                complete.log,
                "lua_var: \"%s\" was replaced or removed, but a reload loads no other build: \
                 the one in use stays until nginx is restarted",
                name.as_ptr()
            );
        }
    }
}
