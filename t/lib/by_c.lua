-- Makes a ngx.ctx as lua-nginx-module's own functions in C do, which bypasses ngx.ctx.

local base = require "resty.core.base"
local ffi = require "ffi"

local _M = {}

function _M.set(ctx)
    local ctxs = debug.getregistry().ngx_lua_ctx_tables
    local r, ref = base.get_request(), base.ref_in_table(ctxs, ctx)
    assert(ffi.C.ngx_http_lua_ffi_set_ctx_ref(r, ref) == 0)
end

return _M
