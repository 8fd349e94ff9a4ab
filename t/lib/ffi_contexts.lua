-- Calls every function that the module exports for FFI: t/ffi-contexts.t.

local ffi = require "ffi"
local base = require "resty.core.base"
local ngxvar = require "resty.ngxvar"

require "lua_var_c"
ngxvar.getter("uri")    -- declares what getters call

local get_request = base.get_request
local stock_index = getmetatable(ngx.var).__index

local _M = {}

local PREFIX = "ngx_http_lua_var_ffi_"

-- it notes what it is told, of whichever request, and is for the embedded library
local is_trusted = { [PREFIX .. "ctx_made"] = true }

local buffer = ffi.new("char[4096]")

-- what it returns for a request without variables; others return a negative number
local refusal = { [PREFIX .. "ctx_lost"] = 0 }


local function call(name, kinds, r, handle, number)
    local arguments = {}

    for i, kind in ipairs(kinds) do
        if kind == "request" then
            arguments[i] = r or ffi.cast("ngx_http_request_t *", nil)
        elseif kind == "handle" then
            arguments[i] = handle
        elseif kind == "name" then
            arguments[i] = "uri"
        elseif kind == "length" then
            arguments[i] = 3
        elseif kind == "buffer" then
            arguments[i] = ffi.cast("void *", buffer)
        else
            arguments[i] = number
        end
    end

    local rc = ffi.C[name](unpack(arguments, 1, #kinds))    -- nothing, of a void one

    return rc and tonumber(rc)
end


local function sorted(functions)
    local names = {}

    for name in pairs(functions) do
        names[#names + 1] = name
    end

    table.sort(names)

    return ipairs(names)
end


-- Calls all for a request without variables, or none; "refused", or who served it.
function _M.refuse_all(seen)
    local bad = {}

    -- twice, for the second time something may have been noted
    for number = 0, 3 do
        for _, name in sorted(_M.functions) do
            local rc = call(name, _M.functions[name], seen.r, seen.handle, number)

            if rc and not (refusal[name] and rc == refusal[name] or not refusal[name] and rc < 0) then
                bad[#bad + 1] = name:sub(#PREFIX + 1) .. " " .. rc
            end
        end
    end

    return #bad == 0 and "refused" or table.concat(bad, ", ")
end


-- The same for the request of this context, which is remembered as `seen`.
function _M.refuse()
    _M.seen = {
        r = get_request(),
        handle = ffi.new("ngx_http_lua_var_handle_t"),
    }

    local before = _M.refuse_all(_M.seen)

    _M.seen.handle = ngxvar.request() or _M.seen.handle

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
            if not is_trusted[name] and not name:find("_assign$") then
                call(name, _M.functions[name], r, handle, number)
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


-- In which phases it was done so far, and what was wrong.
function _M.report()
    return (#wrong == 0 and "served" or table.concat(wrong, "; ")) .. " in "
           .. table.concat(phases, " ")
end


return _M
