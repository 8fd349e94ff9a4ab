-- A request as a gateway handles it: variables are read through a table that caches them, as
-- APISIX's ctx.var does, in the access, header filter and log phases; some are computed in
-- Lua. Thirty names: twenty of nginx's (bench.handlers), ten that are computed.

local encode = require("cjson").encode
local handlers = require "bench.handlers"

local COMPUTED = {
    "route_id", "route_name", "service_id", "service_name", "consumer_name", "consumer_group",
    "balancer_ip", "balancer_port", "resp_source", "matched_host",
}

-- What each phase reads; repeated names are cached by then.
local PHASES = {
    access = {
        "uri", "host", "request_method", "scheme", "remote_addr", "args", "arg_id", "cookie_c",
        "http_x_custom", "http_host", "route_id", "route_name", "service_id", "service_name",
        "consumer_name", "consumer_group", "matched_host", "uri", "host", "remote_addr",
    },
    header_filter = {
        "server_protocol", "request_method", "host", "resp_source", "balancer_ip", "balancer_port",
    },
    log = {
        "remote_addr", "request", "uri", "request_uri", "args", "query_string", "document_uri",
        "is_args", "host", "http_host", "http_user_agent", "http_cookie", "http_x_custom",
        "cookie_c", "arg_page", "arg_id", "scheme", "request_method", "server_name",
        "server_protocol", "route_id", "route_name", "service_id", "service_name",
        "consumer_name", "balancer_ip", "balancer_port", "resp_source",
    },
}

-- make() replaces the words in capitals.
local SOURCE = [[
local is_computed, encode, constants = ...
SETUP

local function compute(self, key)
    return self._ctx[key] or "none"
end

local mt = {
    __index = function (self, key)
        if type(key) ~= "string" then
            error("invalid argument, expect string value", 2)
        end

        local cached = self._cache[key]

        if cached ~= nil then
            return cached
        end

        local value

        if is_computed[key] then
            value = compute(self, key)
        else
            local req = self._request
            value = READ
        end

        if value ~= nil then
            self._cache[key] = value
        end

        return value
    end,
}

local function new_ctx()
    ASK
    local ctx = { route_id = "42", route_name = "bench", service_id = "7", consumer_name = "jack" }
    ctx.var = setmetatable({ _cache = {}, _request = REQUEST, _ctx = ctx }, mt)
    ngx.ctx.api_ctx = ctx
    return ctx.var
end

return {
    access = function ()
        local var = new_ctx()
        ACCESS
        ngx.ctx.sum = sum
    end,

    header_filter = function ()
        local var = ngx.ctx.api_ctx.var
        HEADER_FILTER
        ngx.ctx.sum = ngx.ctx.sum + sum
    end,

    log = function ()
        local var = ngx.ctx.api_ctx.var
        LOG
        return ngx.ctx.sum + #encode(entry)
    end,
}
]]

local _M = {}


-- The handlers of the phases for a reader of bench.handlers; "constants" reads nothing.
local function make(reader)
    local parts = {
        SETUP = "", ASK = "", REQUEST = "false", READ = "constants[key]",
    }

    if reader ~= "constants" then
        local setup, ask, expression = unpack(handlers.readers[reader])

        parts.SETUP, parts.ASK = setup, ask
        parts.READ = handlers.by_key(expression)
        parts.REQUEST = ask ~= "" and "req" or "false"
    end

    for phase, names in pairs(PHASES) do
        local lines = {}

        for i, name in ipairs(names) do
            lines[i] = phase == "log" and name .. " = var." .. name .. ","
                       or "sum = sum + #var." .. name
        end

        parts[phase:upper()] = phase == "log"
            and "local entry = { " .. table.concat(lines, " ") .. " }"
            or "local sum = 0\n" .. table.concat(lines, "\n")
    end

    local is_computed, constants = {}, {}

    for _, name in ipairs(COMPUTED) do
        is_computed[name] = true
    end

    for _, name in ipairs(handlers.names) do
        constants[name] = ngx.var[name]
    end

    local source = SOURCE:gsub("%u[%u_]+%u", parts)

    return assert(loadstring(source, "=gateway"))(is_computed, encode, constants)
end


-- Runs a phase. The sum of all reads is the same for each request of a client; the log phase
-- can report a wrong one only in the error log.
function _M.run(phase, reader)
    local phases = _M[reader]

    if not phases then
        phases = make(reader)
        _M[reader] = phases
    end

    local sum = phases[phase]()

    if phase == "log" then
        _M.want = _M.want or sum

        if sum ~= _M.want then
            ngx.log(ngx.ERR, "wrong: ", sum, ", expected ", _M.want)
        end
    end
end


return _M
