//! The lines that the module logs when a configuration takes effect: which build of the
//! module is in use, and whether its file was replaced by another one since.

use core::cell::Cell;
use core::ffi::CStr;

use crate::conf::LocConf;
use crate::nginx::conf::Complete;
use crate::nginx::file::{self, Identity};
use crate::nginx::log::{NOTICE, WARN, log_error};
use crate::nginx::{BUILT_FOR, is_testing_configuration};
use crate::statics::PerWorker;

/// The module's file at the first configuration, which is when it was loaded.
static LOADED: PerWorker<Cell<Option<Identity>>> = PerWorker(Cell::new(None));

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Logs the version, the nginx that it was built for, whether the layout agrees, and the
/// `lua_var_ctx_restore` of `http {}`. With `nginx -t` nothing is logged.
pub(crate) fn write(complete: &Complete) {
    if is_testing_configuration() {
        return;
    }
    // Offsets agree, or nginx would not have accepted the configuration; the rest is compared at
    // the first request.
    let restore = complete
        .conf::<LocConf>()
        .map_or(c"error_page", LocConf::restore_name);
    log_error!(
        NOTICE,
        complete.log,
        "lua_var: version %*s, built for %s, layout agrees, lua_var_ctx_restore %s",
        VERSION.len(),
        VERSION.as_ptr(),
        BUILT_FOR.as_ptr(),
        restore.as_ptr()
    );
    if let Some(name) = file::name() {
        compare(complete, name);
    }
}

/// Warns if the file is not the one that was loaded. A reload does not load the new file:
/// the module stays mapped (`-z nodelete`), because LuaJIT keeps pointers to its functions,
/// so for `dlopen` a file of this name is loaded already.
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
