//! The lines that the module logs when a configuration takes effect: which build of the
//! module is in use, and whether its file was replaced by another one since.

use core::cell::Cell;
use core::ffi::CStr;

use crate::conf::LocConf;
use crate::layout;
pub(crate) use crate::nginx::BUILT_FOR;
use crate::nginx::conf::Complete;
use crate::nginx::file::{self, Identity};
use crate::nginx::log::{ERR, NOTICE, log_error};
use crate::statics::PerWorker;

/// The module's file at the first configuration, which is when it was loaded.
static LOADED: PerWorker<Cell<Option<Identity>>> = PerWorker(Cell::new(None));

static RESTORE: PerWorker<Cell<&str>> = PerWorker(Cell::new("off"));

/// The version and, unless this is a release, the commit that was built (`build.rs`).
pub(crate) const BUILD: &str = env!("LUA_VAR_BUILD");

/// The `lua_var_ctx_restore` of `http {}`.
pub(crate) fn restore() -> &'static str {
    RESTORE.get()
}

/// Whether nginx has the layout that the module was built for. Offsets are compared when the
/// configuration is read, the rest at the first request of a worker.
pub(crate) fn layout_state() -> &'static str {
    if layout::differs() { "differs" } else { "agrees" }
}

/// Logs the version, the nginx that it was built for, whether the layout agrees, and the
/// `lua_var_ctx_restore` of `http {}`.
pub(crate) fn write(complete: &Complete) {
    let outermost = complete.conf::<LocConf>();
    RESTORE.set(outermost.map_or("error_page", LocConf::restore_name));
    log_error!(
        NOTICE, complete.log;
        "version ", BUILD, ", built for ", BUILT_FOR, ", layout ", layout_state(),
        ", lua_var_ctx_restore ", restore(),
    );
    if let Some(name) = file::name() {
        compare(complete, name);
    }
}

/// Says if the file is not the one that was loaded. A reload does not load the new file:
/// the module stays mapped (`-z nodelete`), because LuaJIT keeps pointers to its functions,
/// so for `dlopen` a file of this name is loaded already.
fn compare(complete: &Complete, name: &CStr) {
    let now = file::identity(name);
    match LOADED.get() {
        None => LOADED.set(now),
        Some(loaded) if now == Some(loaded) => {}
        Some(_) => {
            log_error!(
                ERR, complete.log;
                "\"", name, "\" was replaced; restart nginx to load the new build",
            );
        }
    }
}
