//! Compiles the C files in src/shim, and generates Rust declarations from src/shim/shim.h,
//! both against the configured nginx source tree from which nginx-sys generates its bindings.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/shim");
    println!("cargo::rerun-if-env-changed=NGINX_SOURCE_DIR");
    println!("cargo::rerun-if-env-changed=NGINX_BUILD_DIR");

    // `nodelete` keeps the module mapped when nginx closes it, because LuaJIT has pointers to
    // its functions and the registry is in its statics. `-Bsymbolic` makes its functions call
    // each other, and not those of an older copy that is still mapped.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");

    let build = build_name()?;
    println!("cargo::rustc-env=LUA_VAR_BUILD={build}");

    let includes = nginx_includes()?;
    // Paths in debug information would differ from one directory to another.
    let prefix_map = format!("-ffile-prefix-map={}=.", env::var("CARGO_MANIFEST_DIR")?);

    cc::Build::new()
        .files(
            [
                "request",
                "lua",
                "vm",
                "arguments",
                "fetch",
                "functions",
                "culprits",
                "stream",
                "cycles",
            ]
            .map(|name| format!("src/shim/{name}.c")),
        )
        .includes(&includes)
        .define("LUA_VAR_VERSION", format!("\"{}\"", env::var("CARGO_PKG_VERSION")?).as_str())
        .define("LUA_VAR_BUILD", format!("\"{build}\"").as_str())
        .flag_if_supported(prefix_map)
        .flag("-Wno-unused-parameter")
        .flag("-Wno-missing-field-initializers")
        .compile("lua_var_shim");

    bindgen::Builder::default()
        .header("src/shim/shim.h")
        .clang_args(includes.iter().map(|path| format!("-I{}", path.display())))
        .allowlist_item("(?i)lua_var_.*")
        // nginx's types are taken from the `ngx` crate, so that they are the same types.
        .allowlist_recursively(false)
        .raw_line("use ngx::ffi::*;")
        .prepend_enum_name(false)
        .derive_default(true)
        .use_core()
        .generate()?
        .write_to_file(PathBuf::from(env::var("OUT_DIR")?).join("shim.rs"))?;
    Ok(())
}

/// What this build calls itself, such as `0.2.0-git.3f80999`. A tarball of `make dist` sets it
/// in the environment.
fn build_name() -> Result<String, Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=LUA_VAR_BUILD");
    if let Some(name) = env::var("LUA_VAR_BUILD").ok().filter(|name| !name.is_empty()) {
        return Ok(name);
    }
    println!("cargo::rerun-if-changed=build/version");
    let ask = |what: &[&str]| {
        Command::new("build/version")
            .args(what)
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for file in ask(&["changes"]).unwrap_or_default().lines() {
        println!("cargo::rerun-if-changed={file}");
    }
    match ask(&[]) {
        Some(name) => Ok(name.trim_end().to_owned()),
        None => Ok(env::var("CARGO_PKG_VERSION")?),
    }
}

/// The include directories in the Makefile that nginx's configure generated. `CFLAGS` is read,
/// too, because it has those of `--with-cc-opt`, such as the one of OpenResty's OpenSSL.
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
    // nginx writes "-I dir" in ALL_INCS, but a user may write "-Idir" in `--with-cc-opt`.
    let flags = line("CFLAGS =")?.replace("-I ", "-I");
    let includes = line("ALL_INCS =")?.replace("-I ", "-I");
    Ok(flags
        .split_whitespace()
        .chain(includes.split_whitespace())
        .filter_map(|word| word.strip_prefix("-I"))
        .map(|path| absolute(&source, &build, path))
        .collect())
}

/// The absolute form of a path in nginx's Makefile, which is relative to the source tree.
/// `objs` stands for the build directory.
fn absolute(source: &Path, build: &Path, path: &str) -> PathBuf {
    match path {
        "objs" => build.to_path_buf(),
        _ => source.join(path),
    }
}
