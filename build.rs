//! Builds what is C in the module (src/shim) and its Rust declarations, against
//! the same configured nginx tree that nginx-sys generates its bindings from.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/shim");
    println!("cargo::rerun-if-env-changed=NGINX_SOURCE_DIR");
    println!("cargo::rerun-if-env-changed=NGINX_BUILD_DIR");

    // LuaJIT keeps pointers to the module's functions, and the registry lives in
    // its statics: it stays mapped when nginx closes it. Its own functions call each
    // other, not those of an older copy that is still mapped.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");

    let includes = nginx_includes()?;

    cc::Build::new()
        .files(
            [
                "request",
                "lua",
                "core",
                "names",
                "functions",
                "reader",
                "refusal",
                "stream",
            ]
            .map(|name| format!("src/shim/{name}.c")),
        )
        .includes(&includes)
        .define(
            "LUA_VAR_VERSION",
            format!("\"{}\"", env::var("CARGO_PKG_VERSION")?).as_str(),
        )
        .flag("-Wno-unused-parameter")
        .flag("-Wno-missing-field-initializers")
        .compile("lua_var_shim");

    bindgen::Builder::default()
        .header("src/shim/shim.h")
        .clang_args(includes.iter().map(|path| format!("-I{}", path.display())))
        .allowlist_item("(?i)(ngx_http_)?lua_var_.*")
        // nginx's types are the `ngx` crate's, or they would not be the same types.
        .allowlist_recursively(false)
        .blocklist_item("ngx_http_lua_var_module")
        .raw_line("use ngx::ffi::*;")
        .prepend_enum_name(false)
        .derive_default(true)
        .use_core()
        .generate()?
        .write_to_file(PathBuf::from(env::var("OUT_DIR")?).join("shim.rs"))?;
    Ok(())
}

/// nginx's include directories, as its own generated Makefile lists them. Those of
/// `--with-cc-opt` are among the flags: OpenResty's OpenSSL is there.
fn nginx_includes() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let source = PathBuf::from(env::var_os("NGINX_SOURCE_DIR").ok_or(
        "NGINX_SOURCE_DIR is not set: it names a configured nginx source tree (`make` prepares one)",
    )?);
    let build = env::var_os("NGINX_BUILD_DIR").map_or_else(|| source.join("objs"), PathBuf::from);
    let makefile = build.join("Makefile");
    println!("cargo::rerun-if-changed={}", makefile.display());

    let text = fs::read_to_string(&makefile)
        .map_err(|error| format!("{}: {error} (was nginx configured?)", makefile.display()))?
        .replace("\\\n", " ");
    let line = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .ok_or_else(|| format!("{}: no {name}", makefile.display()))
    };
    // In one of the two, "-I dir" is the rule; in the other, "-Idir".
    let flags = line("CFLAGS =")?.replace("-I ", "-I");
    let includes = line("ALL_INCS =")?.replace("-I ", "-I");
    Ok(flags
        .split_whitespace()
        .chain(includes.split_whitespace())
        .filter_map(|word| word.strip_prefix("-I"))
        .map(|path| absolute(&source, &build, path))
        .collect())
}

/// Paths in nginx's Makefile are relative to its source, `objs` stands for the build.
fn absolute(source: &Path, build: &Path, path: &str) -> PathBuf {
    match path {
        "objs" => build.to_path_buf(),
        _ => source.join(path),
    }
}
