//! The panic handler, which a `no_std` library has to provide.
//!
//! The release module cannot panic. Its panic handler calls a function that does not exist,
//! so a build in which the optimiser leaves a panic reachable has an undefined symbol.
//! `make check` then names the function with the panic, and nginx, which resolves all symbols
//! when it loads a module, refuses the file.

use core::panic::PanicInfo;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn ngx_http_lua_var_release_build_must_not_panic() -> !;
    }
    // SAFETY: this is never executed, because a module with the undefined symbol is not loaded.
    unsafe { ngx_http_lua_var_release_build_must_not_panic() }
}
