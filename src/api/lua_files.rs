//! The files of the embedded Lua library, which `shim/lua.c` and `shim/stream.c` register.

use crate::nginx::shim::{self, lua_var_chunk_t};
use crate::statics::Shared;

/// The file of a package below `lua/`. Lua's messages name it, with `$mark` behind it.
macro_rules! chunk {
    ($package:literal, $file:literal $(, $mark:literal)?) => {
        lua_var_chunk_t {
            package: concat!($package, "\0").as_ptr().cast(),
            name: concat!("@", $file, $($mark,)? "\0").as_ptr().cast(),
            source: include_bytes!(concat!("../lua/", $file)).as_ptr(),
            len: include_bytes!(concat!("../lua/", $file)).len(),
        }
    };
}

pub(super) static CHUNKS: Shared<[lua_var_chunk_t; 4]> = Shared([
    chunk!("resty.ngxvar", "resty/ngxvar.lua"),
    chunk!("resty.ngxvar.patch", "resty/ngxvar/patch.lua"),
    chunk!("resty.ngxvar.reader", "resty/ngxvar/reader.lua"),
    chunk!("resty.core.ctx", "resty/core/ctx.lua", " (lua_var)"),
]);

static STREAM: Shared<lua_var_chunk_t> = Shared(chunk!("resty.ngxvar", "resty/ngxvar/stream.lua"));

// The function has the type with which the shim declares it.
const _: [unsafe extern "C" fn() -> *const lua_var_chunk_t; 2] =
    [shim::lua_var_rs_stream, lua_var_rs_stream];

/// The library for the stream subsystem.
#[unsafe(no_mangle)]
unsafe extern "C" fn lua_var_rs_stream() -> *const lua_var_chunk_t {
    &raw const STREAM.0
}
