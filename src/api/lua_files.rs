//! The files of the embedded Lua library, which `shim/lua.c` and `shim/stream.c` register.

use core::ffi::CStr;

use super::declared_in_shim;
use crate::nginx::shim::lua_var_chunk_t;
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

/// The embedded files.
pub(super) static CHUNKS: Shared<[lua_var_chunk_t; 11]> = Shared([
    chunk(
        c"resty.ngxvar",
        c"@resty/ngxvar.lua",
        include_bytes!("../lua/resty/ngxvar.lua"),
    ),
    chunk(
        c"resty.ngxvar.getters",
        c"@resty/ngxvar/getters.lua",
        include_bytes!("../lua/resty/ngxvar/getters.lua"),
    ),
    chunk(
        c"resty.ngxvar.call",
        c"@resty/ngxvar/call.lua",
        include_bytes!("../lua/resty/ngxvar/call.lua"),
    ),
    chunk(
        c"resty.ngxvar.handles",
        c"@resty/ngxvar/handles.lua",
        include_bytes!("../lua/resty/ngxvar/handles.lua"),
    ),
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
        c"resty.ngxvar.fields",
        c"@resty/ngxvar/fields.lua",
        include_bytes!("../lua/resty/ngxvar/fields.lua"),
    ),
    chunk(
        c"resty.ngxvar.string_cache",
        c"@resty/ngxvar/string_cache.lua",
        include_bytes!("../lua/resty/ngxvar/string_cache.lua"),
    ),
    chunk(
        c"resty.ngxvar.trace",
        c"@resty/ngxvar/trace.lua",
        include_bytes!("../lua/resty/ngxvar/trace.lua"),
    ),
    chunk(
        c"resty.core.ctx",
        c"@resty/core/ctx.lua (lua_var)",
        include_bytes!("../lua/resty/core/ctx.lua"),
    ),
    // From here on, those that lua_var_replace names.
    chunk(
        c"resty.ctxdump",
        c"@resty/ctxdump.lua (lua_var)",
        include_bytes!("../lua/resty/ctxdump.lua"),
    ),
]);

/// How many of the files, at the end, replace another library if `lua_var_replace` names it.
pub(super) const REPLACEMENTS: usize = 1;

static STREAM: Shared<lua_var_chunk_t> = Shared(chunk(
    c"resty.ngxvar",
    c"@resty/ngxvar/stream.lua",
    include_bytes!("../lua/resty/ngxvar/stream.lua"),
));

declared_in_shim!(lua_var_rs_stream);

/// The library for the stream subsystem.
#[unsafe(no_mangle)]
unsafe extern "C" fn lua_var_rs_stream() -> *const lua_var_chunk_t {
    &raw const STREAM.0
}

/// The declarations for LuaJIT's `ffi.cdef`.
pub(super) const CDEF: &[u8] = include_bytes!("../shim/ffi.h");
