//! What a `no_std` library has to bring itself: what happens on a panic.
//!
//! The release module cannot panic. Its panic handler calls a function that
//! exists nowhere, so a build in which the optimiser left one panic reachable has
//! an undefined symbol: `make check` names the function it comes from, and
//! nginx, which resolves all symbols at load time, refuses the file. A debug
//! build logs where it panicked and aborts.

use core::panic::PanicInfo;

#[cfg(not(debug_assertions))]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn ngx_http_lua_var_release_build_must_not_panic() -> !;
    }
    // SAFETY: there is no such function, so a module that reaches this is never loaded.
    unsafe { ngx_http_lua_var_release_build_must_not_panic() }
}

#[cfg(debug_assertions)]
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (file, line) = info
        .location()
        .map_or(("?", 0), |at| (at.file(), at.line()));
    crate::nginx::log::abort_with(file.as_bytes(), line as usize);
}
