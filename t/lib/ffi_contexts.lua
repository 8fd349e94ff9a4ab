-- Calls every function that the module exports for FFI: t/ffi-contexts.t.

local ffi = require "ffi"
local base = require "resty.core.base"
local ngxvar = require "resty.ngxvar"

require "lua_var_c"

local get_request = base.get_request
local stock_index = getmetatable(ngx.var).__index

local _M = {}

local PREFIX = "ngx_http_lua_var_ffi_"

-- not refused: it records what the embedded library tells it of any request
local is_trusted = { [PREFIX .. "ctx_made"] = true }

local buffer = ffi.new("char[4096]")


-- Calls a function; its result, and whether that is a refusal.  number: any number argument.
local function call(name, kinds, r, number)
    local arguments = {}

    for i, kind in ipairs(kinds) do
        if kind == "request" then
            arguments[i] = r or ffi.cast("ngx_http_request_t *", nil)
        elseif kind == "buffer" then
            arguments[i] = ffi.cast("void *", buffer)
        else
            arguments[i] = number
        end
    end

    local rc = ffi.C[name](unpack(arguments, 1, #kinds))    -- nil when it returns void

    if rc ~= nil then
        rc = tonumber(rc)
        -- whether a connection has TLS is returned without a request, too
        return rc, name == PREFIX .. "ctx_lost" and rc == 0 or rc < 0
                   or name == PREFIX .. "handshake"
    end

    return nil, true
end


local function sorted(functions)
    local names = {}

    for name in pairs(functions) do
        names[#names + 1] = name
    end

    table.sort(names)

    return ipairs(names)
end


-- Calls all for a request without variables, or for none; "refused", or which served it.
function _M.refuse_all(seen)
    local bad = {}

    -- twice, because the first call may leave something behind
    for number = 0, 3 do
        for _, name in sorted(_M.functions) do
            local rc, is_refused = call(name, _M.functions[name], seen.r, number)

            if not is_refused then
                bad[#bad + 1] = name:sub(#PREFIX + 1) .. " " .. rc
            end
        end
    end

    return #bad == 0 and "refused" or table.concat(bad, ", ")
end


-- The same for the request of this context, which is remembered as `seen`.
function _M.refuse()
    _M.seen = { r = get_request() }

    local before = _M.refuse_all(_M.seen)

    -- registered or not, it makes no difference
    ngxvar.request()

    local after = _M.refuse_all(_M.seen)

    return before == after and before or before .. "; with a handle: " .. after
end


local phases, wrong = {}, {}

local names = { "uri", "args", "host", "remote_addr", "status", "request_method", "arg_a",
                "request_length", "sent_http_content_type" }

local function all_of(read)
    local text = {}

    for i, name in ipairs(names) do
        text[i] = tostring(read(name))
    end

    return table.concat(text, " ")
end


-- Calls all for a request that has variables: nothing is changed by it.
function _M.serve()
    local function stock(name)
        return stock_index(ngx.var, name)
    end

    local before = all_of(stock)
    local ctx = ngx.ctx
    local r, handle = get_request(), ngxvar.request()

    phases[#phases + 1] = ngx.get_phase()
    assert(handle, "no handle")

    for number = 0, 3 do
        for _, name in sorted(_M.functions) do
            if not is_trusted[name] then
                call(name, _M.functions[name], r, number)
            end
        end
    end

    local after = all_of(stock)

    if after ~= before then
        wrong[#wrong + 1] = ngx.get_phase() .. ": " .. before .. ", then " .. after
    end

    if ngx.ctx ~= ctx then
        wrong[#wrong + 1] = ngx.get_phase() .. ": another ngx.ctx"
    end

    if ngxvar.fetch("uri", handle) ~= stock("uri") then
        wrong[#wrong + 1] = ngx.get_phase() .. ": another uri"
    end
end


-- The phases in which serve() was called so far, and what was wrong.
function _M.report()
    return (#wrong == 0 and "served" or table.concat(wrong, "; ")) .. " in "
           .. table.concat(phases, " ")
end


return _M
