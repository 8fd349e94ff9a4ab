-- All ways to read a variable, each compared with stock ngx.var.

local ngxvar = require "resty.ngxvar"
local base = require "resty.core.base"

local _M = {}

local mt = getmetatable(ngx.var)
local stock = mt.__index

-- patched ngx.var, beside the stock one
ngxvar.patch_ngx_var()
local patched = mt.__index
mt.__index = stock

local getters = setmetatable({}, { __index = function (self, name)
    local get = ngxvar.getter(name)

    self[name] = get
    return get
end })


function _M.stock(name)
    return stock(ngx.var, name)
end


function _M.patched(name)
    return patched(ngx.var, name)
end


-- Each as function (name, handle), by its name.
_M.ways = {
    fetch = function (name, handle) return ngxvar.fetch(name, handle) end,
    current = function (name) return ngxvar.fetch(name) end,
    pointer = function (name) return ngxvar.fetch(name, base.get_request()) end,
    upper = function (name, handle) return ngxvar.fetch(name:upper(), handle) end,
    mixed = function (name, handle)
        return ngxvar.fetch(name:gsub("_.*", string.upper), handle)
    end,
    getter = function (name, handle) return getters[name](handle) end,
    patched = function (name) return patched(ngx.var, name) end,
}

local order = {}

for way in pairs(_M.ways) do
    order[#order + 1] = way
end

table.sort(order)


local numbers = { request_time = true, request_length = true, bytes_sent = true,
                  status = true }

local sums = { upstream_response_time = true, upstream_header_time = true,
               upstream_connect_time = true }

-- The value that a way has to return where stock ngx.var has this text.
function _M.expected(name, text, way)
    if way == "patched" or text == nil then
        return text
    end

    if numbers[name] then
        return tonumber(text)
    end

    if sums[name] then
        local ms = 0

        for seconds, thousandths in text:gmatch("(%d+)%.(%d%d%d)") do
            ms = ms + seconds * 1000 + thousandths
        end

        return ms / 1000
    end

    return text
end


-- "name: value of stock ngx.var", and the ways that differ.  All read before stock does,
-- because stock may make nginx cache a value, and once more after it.
function _M.show(name)
    local handle = ngxvar.request()
    local got = {}

    for round = 1, 2 do
        for _, way in ipairs(order) do
            local value, err = _M.ways[way](name, handle)

            got[#got + 1] = { way, value, err }
        end

        stock(ngx.var, name)
    end

    local want = stock(ngx.var, name)
    local text = { name, ": ", tostring(want) }

    for _, each in ipairs(got) do
        local way, value, err = each[1], each[2], each[3]

        if value ~= _M.expected(name, want, way) or err then
            text[#text + 1] = "; " .. way .. ": " .. tostring(value)
                              .. (err and " (" .. err .. ")" or "")
        end
    end

    return table.concat(text)
end


function _M.say_all(names)
    for name in names:gmatch("%S+") do
        ngx.say(_M.show(name))
    end
end


return _M
