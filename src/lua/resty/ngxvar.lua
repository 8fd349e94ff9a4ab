-- resty.ngxvar: reads and sets NGINX variables of a request that is validated first.
--
-- Most functions are written in C, with Lua's C API (src/shim/functions.c): in the interpreter an
-- FFI call takes ten times as long.

local core = ...

if ngx.config.subsystem ~= "http" then
    error("resty.ngxvar: no variables in the " .. ngx.config.subsystem
          .. " subsystem")
end

local fetch = core.fetch
local set = core.set
local type = type

local _M = {
    _VERSION = core.version,
    _BUILD = core.build,
    request = core.request,
    fetch = fetch,
    set = set,
    live = core.live,
    stats = core.stats,
    enable_patch = core.enable_patch,
}


-- Returns a copy of what Lua left in the ngx.ctx of this connection's TLS handshake.
function _M.ssl_ctx()
    -- resty/core/ctx.lua sets it, unless it does not know the lua-resty-core
    local ssl_ctx = core.ssl_ctx

    return ssl_ctx and ssl_ctx()
end


local function check_name(name, usage)
    if type(name) ~= "string" then
        error("bad variable name: expected string, got " .. type(name) .. ": call ngxvar."
              .. usage .. (name == _M and ", with a dot" or ""), 3)
    end
end


-- fetch with a name.
function _M.getter(name)
    check_name(name, "getter(name)")

    return function (req)
        local value, err = fetch(name, req)

        if err then
            return nil, err
        end

        return value
    end
end


-- set with a name.
function _M.setter(name)
    check_name(name, "setter(name)")

    return function (value, req)
        local ok, err = set(name, value, req)

        if err then
            return nil, err
        end

        return ok
    end
end


-- Returns a callable table, read: read(req) returns the values of these variables in order,
-- and read:table(req, t) returns a table of them by name.
function _M.reader(names)
    if names == _M then
        error("bad call: write ngxvar.reader(names), with a dot", 2)
    end

    return require("resty.ngxvar.reader")(names)
end


-- Makes ngx.var.name read as fetch does, and assign as set does. To be called in init_by_lua*.
function _M.patch_ngx_var()
    require("resty.ngxvar.patch")()
end


return _M
