-- Replaces lua-resty-core's resty.core.ctx: loads that file, and wraps the getter and the
-- setter of ngx.ctx that it registers, so that a ngx.ctx lost in a redirect is restored.
--
-- lua-nginx-module keeps the ngx.ctx table of a request in ctxs[ref] until the request's
-- pool is destroyed, but the number ref in r->ctx, which internal redirects clear. The
-- registry has stashed the number. When the table is restored it gets a new number,
-- because lua-nginx-module would add a second cleanup for the old one and free it twice.

local core = ...

local NAME = "resty.core.ctx"
local NO_REF = -2

local ffi = require "ffi"
local base = require "resty.core.base"
local misc = require "resty.core.misc"

local C = ffi.C
local connection = core.connection
local ctx_lost = ffi.cast("int32_t (*)(ngx_http_request_t *, uint32_t)", core.ctx_lost)
local ctx_made = ffi.cast("void (*)(ngx_http_request_t *, uint32_t, int32_t)", core.ctx_made)
local get_request = base.get_request
local ref_in_table = base.ref_in_table
local vm = core.vm


local function load_stock()
    local tried = {}

    -- loader 1 looks in package.preload and would find this file
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

-- with another lua-resty-core this file cannot work, and its functions are left in place
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


-- The reference of the ngx.ctx of each TLS handshake by the number of its connection, which is
-- never used again, and the other way round. As long as a connection is open, so is its
-- reference. One of a connection that was closed is overwritten when its reference is used again.
local ref_of, number_of = {}, {}


-- Records the ngx.ctx of the handshake for which Lua runs.
local function record_handshake()
    local r = get_request()

    if not r then
        return
    end

    local ref = get_ref(r, in_ssl_phase, ssl_ctx_ref)

    -- a later phase of a handshake has no reference of its own, but that of an earlier one
    if ref < 0 then
        ref = ssl_ctx_ref[0]
    end

    local number = connection()

    if number and ref > 0 then
        if number_of[ref] then
            ref_of[number_of[ref]] = nil
        end

        ref_of[number], number_of[ref] = ref, number
    end
end


-- Returns a copy of what Lua left in the ngx.ctx of this connection's handshake, or nil.
function core.ssl_ctx()
    local number = connection()
    local left = ctxs[number and ref_of[number] or 0]

    if type(left) ~= "table" then
        return nil
    end

    local copy = {}

    for key, value in pairs(left) do
        -- lua-resty-core sets this key, to make the table the metatable of inheriting ones
        if key ~= "__index" then
            copy[key] = value
        end
    end

    return copy
end


-- Returns the ngx.ctx for a request without one: the one that it lost, or a new one.
local function missing_ctx(ctx)
    local r = get_request()

    if in_ssl_phase[0] ~= 0 then
        local made = stock_get(ctx)
        record_handshake()
        return made
    end

    local lost = ctxs[ctx_lost(r, vm)]

    -- ctxs[0] is a number, the head of the list of free references
    if type(lost) == "table" then
        if set_ref(r, ref_in_table(ctxs, lost)) ~= 0 then
            return nil
        end

        ctx_made(r, vm, 1)
        return lost
    end

    local made

    -- stock_get() would inherit from the handshake's ngx.ctx, which `lua_var_ssl_ctx off` forbids
    if ssl_ctx_ref[0] > 0 and not core.inherits() then
        made = ctx or {}

        if set_ref(r, ref_in_table(ctxs, made)) ~= 0 then
            return nil
        end
    else
        made = stock_get(ctx)
    end

    ctx_made(r, vm, 0)
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
        return missing_ctx(ctx)
    end

    -- the Lua module has no context for the request: the stock getter raises the error
    return stock_get(ctx)
end


-- Whether the current request is that of a TLS handshake.
local function is_handshake()
    local r = get_request()

    if not r then
        return false
    end

    local ref = get_ref(r, in_ssl_phase, ssl_ctx_ref)

    if ref >= 0 then
        local number = number_of[ref]
        return number and number == connection() and ref_of[number] == ref
    end

    return ref == NO_REF and in_ssl_phase[0] ~= 0
end


local function set_ctx_table(ctx)
    local in_handshake = is_handshake()

    stock_set(ctx)

    if in_handshake then
        record_handshake()

    else
        ctx_made(get_request(), vm, 0)
    end
end


misc.register_ngx_magic_key_getter("ctx", get_ctx_table)
misc.register_ngx_magic_key_setter("ctx", set_ctx_table)
stock.get_ctx_table = get_ctx_table

return stock
