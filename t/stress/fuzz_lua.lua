-- The fuzzer's cases for the functions that the module gives to Lua.

local ffi = require "ffi"
local arguments = require "fuzz_arguments"
local ngxvar = require "resty.ngxvar"
local outcome = require "fuzz_outcome"
local requests = require "fuzz_requests"

local below = arguments.below
local check_marker, check_refused = outcome.check_marker, outcome.check_refused
local check_served, wrong = outcome.check_served, outcome.wrong
local fetch, set, live = ngxvar.fetch, ngxvar.set, ngxvar.live

-- A request argument of any kind, and the entry it names.
local function request_argument()
    local kind = below(8)

    if kind == 0 then
        return arguments.odd()
    end

    if kind < 3 then
        local address = arguments.address()
        local pointer = ffi.cast(kind == 1 and "void *" or "ngx_http_request_t *", address)

        -- a bare pointer is accepted for the current request only
        if requests.current and address == requests.current.address then
            return pointer, requests.current
        end

        return pointer
    end

    if kind == 3 and requests.current then
        return requests.current.handle, requests.current
    end

    -- of a live request, or of one that has ended
    local entry = requests.known[below(#requests.known) + 1]

    return entry.handle, requests.readable(entry)
end


local function check_fetched(what, name, entry, value, err)
    if not entry or entry.fake then
        return check_refused(what, value, err)
    end

    if err ~= nil then
        return wrong(what .. ": refused", name, err)
    end

    check_served(what, name:lower(), entry, value)
end


local function lua_fetch()
    local name = arguments.name(requests.names)
    local req, entry = request_argument()

    check_fetched("fetch", name, entry, fetch(name, req))
end


local function lua_fetch_current()
    local name = arguments.name(requests.names)

    check_fetched("fetch of the current", name, requests.current, fetch(name))
end


local function lua_capture()
    local req, entry = request_argument()
    local value, err = fetch(arguments.capture(), req)

    if not entry or entry.fake then
        return check_refused("capture", value, err)
    end

    check_served("capture", "", entry, value)
end


local function lua_bad_name()
    local req = request_argument()

    -- no name: an error, unless the request is refused first
    local ok, value, err = pcall(fetch, arguments.no_name(), req)

    if ok then
        return check_refused("bad name", value, err)
    end

    outcome.refused()
end


local settable = { "fuzz_set", "Fuzz_Set", "FUZZ_SET", "limit_rate" }
local limit_rates = { "0", "x", "", "-", "18446744073709551616" }

-- Cases may set only what no other case expects.
local untouchable = { args = true, from_error_page = true }

local function value_for(name)
    if name == "limit_rate" then
        return limit_rates[below(#limit_rates) + 1]
    end

    return arguments.value()
end


-- Checks the result of set or of a setter.
local function check_set(what, entry, name, value, ok, done, err)
    if not ok then
        -- the error of a __tostring
        outcome.refused()
        return
    end

    if not entry or entry.fake or done == nil then
        return check_refused(what, done, err)
    end

    if done ~= true then
        return wrong(what, done, err)
    end

    if name:lower() == "fuzz_set" and type(value) ~= "table" then
        local got = fetch("fuzz_set", entry.handle)
        local wanted = value ~= nil and tostring(value) or nil

        if got ~= wanted then
            return wrong(what .. ", then fetch", got, wanted)
        end
    end

    outcome.served()
end


local function lua_set()
    local req, entry = request_argument()
    local name = arguments.name(requests.names)

    if below(2) == 0 or untouchable[name:lower()] then
        name = settable[below(#settable) + 1]
    end

    local value = value_for(name)

    check_set("set", entry, name, value, pcall(set, name, value, req))
end


local setters = {}

local function lua_setter()
    local req, entry = request_argument()
    local name = settable[below(#settable) + 1]
    local value = value_for(name)

    setters[name] = setters[name] or ngxvar.setter(name)
    check_set("setter", entry, name, value, pcall(setters[name], value, req))
end


local function lua_live()
    local req, entry = request_argument()
    local is_live, err = live(req)

    if entry and not entry.fake then
        outcome.served()

        if is_live ~= true then
            wrong("live", is_live, err)
        end

    else
        outcome.refused()

        if is_live ~= false or type(err) ~= "string" then
            wrong("live: not refused", is_live, err)
        end
    end
end


local function lua_request()
    local handle, err = ngxvar.request()

    if not handle or tostring(handle) ~= tostring(requests.current.handle) then
        return wrong("request", handle, err)
    end

    if not tostring(handle):find("^request: ") then
        return wrong("tostring of a handle", tostring(handle))
    end

    outcome.served()
end


local getters = {}

local function lua_getter()
    local name = arguments.name(requests.names)
    local get = getters[name] or ngxvar.getter(name)
    local req, entry = request_argument()

    -- getters for a few names, as in a program
    if requests.names[name] then
        getters[name] = get
    end

    local ok, value, err = pcall(get, req)

    if not ok then
        return wrong("getter: error", value)
    end

    check_fetched("getter", name, entry, value, err)
end


-- ngx.var after patch_ngx_var()
local function lua_var()
    local ok, value = pcall(function () return ngx.var[arguments.name(requests.names)] end)

    if ok and type(value) == "string" and requests.current and not requests.current.fake then
        check_marker("ngx.var", value, requests.current)
    end

    outcome.served_if(ok)
end


-- Names, some with known values.
local function lua_reader()
    local names = {}

    for i = 1, 1 + below(4) do
        names[i] = arguments.name(requests.names)
    end

    local ok, read = pcall(ngxvar.reader, names)

    if not ok then
        return wrong("reader", read)
    end

    local req, entry = request_argument()

    -- a refused request gets nil and the reason
    if not entry or entry.fake then
        check_refused("reader", read(req))
        return check_refused("reader", read:table(req))
    end

    local values, by_name = { read(req) }, read:table(req)

    for i, name in ipairs(names) do
        check_fetched("reader", name, entry, values[i])
        check_fetched("reader", name, entry, by_name[name])
    end
end


-- A field of a handle, read or assigned: always an error. Its name may begin as a function's.
local function lua_field()
    local _, entry = request_argument()
    local handle = (entry or requests.known[below(#requests.known) + 1]).handle
    local key = ({ "fetch", "set", "live", "live(req)", "" })[below(5) + 1]
                .. (below(2) == 0 and "\0" or "") .. arguments.name(requests.names)

    local ok, err = pcall(function ()
        if below(2) == 0 then
            return handle[key]
        end

        handle[key] = key
    end)

    if ok or not tostring(err):find("a request's handle has no", 1, true) then
        return wrong("field", ok, err)
    end

    outcome.served()
end


-- Functions without arguments, in any context.
local function lua_figures()
    local stats = ngxvar.stats()

    if type(stats.live_requests) ~= "number" or stats.live_requests < 0 then
        return wrong("stats", stats.live_requests)
    end

    -- only a handshake has a ngx.ctx to return here
    local left = ngxvar.ssl_ctx()

    if left ~= nil and (type(left) ~= "table" or requests.current and not requests.current.fake) then
        return wrong("ssl_ctx", type(left))
    end

    outcome.served()
end


return {
    -- by name, as the module exports them
    tried = { "fetch", "set", "live", "request", "getter", "setter", "enable_patch",
              "patch_ngx_var", "stats", "ssl_ctx", "reader" },
    -- more often those that take more
    cases = {
        lua_fetch, lua_fetch, lua_fetch, lua_fetch, lua_fetch_current, lua_capture,
        lua_bad_name, lua_field, lua_figures, lua_reader, lua_set, lua_setter, lua_live, lua_request, lua_var,
        lua_getter, lua_getter, lua_getter, lua_getter,
    },
    -- variables that no case may set
    untouchable = untouchable,
}
