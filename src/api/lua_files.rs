//! The files of the embedded Lua library, which `shim/lua.c` and `shim/stream.c` register.

use core::ffi::CStr;

use crate::nginx::shim::{self, lua_var_chunk_t};
use crate::statics::Shared;

const fn chunk(
    package: &'static CStr,
    name: &'static CStr,
    source: &'static [u8],
) -> lua_var_chunk_t {
    lua_var_chunk_t {
        package: package.as_ptr(),
        name: name.as_ptr(),
        source: source.as_ptr(),
        len: source.len(),
    }
}

pub(super) static CHUNKS: Shared<[lua_var_chunk_t; 4]> = Shared([
    chunk(c"resty.ngxvar", c"@resty/ngxvar.lua", include_bytes!("../lua/resty/ngxvar.lua")),
    chunk(
        c"resty.ngxvar.patch",
        c"@resty/ngxvar/patch.lua",
        include_bytes!("../lua/resty/ngxvar/patch.lua"),
    ),
    chunk(
        c"resty.ngxvar.reader",
        c"@resty/ngxvar/reader.lua",
        include_bytes!("../lua/resty/ngxvar/reader.lua"),
    ),
    chunk(
        c"resty.core.ctx",
        c"@resty/core/ctx.lua (lua_var)",
        include_bytes!("../lua/resty/core/ctx.lua"),
    ),
]);

static STREAM: Shared<lua_var_chunk_t> = Shared(chunk(
    c"resty.ngxvar",
    c"@resty/ngxvar/stream.lua",
    include_bytes!("../lua/resty/ngxvar/stream.lua"),
));

// The function has the type with which the shim declares it.
const _: [unsafe extern "C" fn() -> *const lua_var_chunk_t; 2] =
    [shim::lua_var_rs_stream, lua_var_rs_stream];

/// The library for the stream subsystem.
#[unsafe(no_mangle)]
unsafe extern "C" fn lua_var_rs_stream() -> *const lua_var_chunk_t {
    &raw const STREAM.0
}
