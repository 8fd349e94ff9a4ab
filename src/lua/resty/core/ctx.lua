-- Runs in place of lua-resty-core's resty.core.ctx: loads that file, then wraps
-- what it installed, so that a ngx.ctx which a redirect took is given back.
--
-- lua-nginx-module keeps the ngx.ctx table of a request in ctxs[ref] until the
-- request's pool goes, but the number ref in r->ctx, which redirects clear. The
-- registry knows the number still. It is not used again: a second
-- cleanup for the same number would free it twice. The table gets a new one.

local core = ...

local NAME = "resty.core.ctx"
local NO_REF = -2

local ffi = require "ffi"
local base = require "resty.core.base"
local misc = require "resty.core.misc"

local C = ffi.C
local lib = require("resty.ngxvar.call").lib
local get_request = base.get_request
local ref_in_table = base.ref_in_table
local vm = core.vm


local function load_stock()
    local tried = {}

    -- loader 1 looks in package.preload, which is where this file is
    for i = 2, #package.loaders do
        local loader = package.loaders[i](NAME)

        if type(loader) == "function" then
            return loader(NAME) or package.loaded[NAME]
        end

        tried[#tried + 1] = loader
    end

    error("module '" .. NAME .. "' not found:" .. table.concat(tried))
end


local stock_set

do
    local register = misc.register_ngx_magic_key_setter

    function misc.register_ngx_magic_key_setter(key, setter)
        if key == "ctx" then
            stock_set = setter
        end

        return register(key, setter)
    end

    local ok, stock = pcall(load_stock)

    misc.register_ngx_magic_key_setter = register

    if not ok then
        error(stock, 0)
    end

    core.stock_ctx = stock
end

local stock = core.stock_ctx
local stock_get = stock.get_ctx_table

-- what this file relies on; another lua-resty-core is left as it is
if type(stock_get) ~= "function" or type(stock_set) ~= "function"
   or ngx.config.subsystem ~= "http"
then
    ngx.log(ngx.ERR, "lua_var: this version of lua-resty-core is not known, ",
            "ngx.ctx is not restored after redirects")
    return stock
end

local ctxs = debug.getregistry().ngx_lua_ctx_tables
local get_ref = C.ngx_http_lua_ffi_get_ctx_ref
local set_ref = C.ngx_http_lua_ffi_set_ctx_ref
local in_ssl_phase = ffi.new("int[1]")
local ssl_ctx_ref = ffi.new("int[1]")


-- ngx.ctx of a request that has none: the one it lost, or a new one
local function missing_ctx(r, ctx)
    if in_ssl_phase[0] == 0 then
        local lost = ctxs[lib.ngx_http_lua_var_ffi_ctx_lost(r, vm)]

        -- index 0 is the head of the list of free references
        if type(lost) == "table" then
            local ref = ref_in_table(ctxs, lost)

            if set_ref(r, ref) ~= 0 then
                return nil
            end

            lib.ngx_http_lua_var_ffi_ctx_made(r, ref, vm, 1)
            return lost
        end
    end

    local made = stock_get(ctx)
    local ref = get_ref(r, nil, nil)

    if ref > 0 then
        lib.ngx_http_lua_var_ffi_ctx_made(r, ref, vm, 0)
    end

    return made
end


local function get_ctx_table(ctx)
    local r = get_request()

    if not r then
        error("no request found")
    end

    local ref = get_ref(r, in_ssl_phase, ssl_ctx_ref)

    if ref >= 0 then
        return ctxs[ref]
    end

    if ref == NO_REF then
        return missing_ctx(r, ctx)
    end

    -- no context of the Lua module: the stock getter knows what to say
    return stock_get(ctx)
end


local function set_ctx_table(ctx)
    stock_set(ctx)

    local r = get_request()
    local ref = get_ref(r, nil, nil)

    if ref > 0 then
        lib.ngx_http_lua_var_ffi_ctx_made(r, ref, vm, 0)
    end
end


misc.register_ngx_magic_key_getter("ctx", get_ctx_table)
misc.register_ngx_magic_key_setter("ctx", set_ctx_table)
stock.get_ctx_table = get_ctx_table

return stock
