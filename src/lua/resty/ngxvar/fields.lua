-- Reads fields of a request without a call, for getters on a trace. The request must be one
-- that live() of handles.lua returned. These are counterparts of rows in
-- src/variable/field.rs; where a function returns nil, the module has to read the variable.

local bit = require "bit"
local ffi = require "ffi"
local handles = require "resty.ngxvar.handles"

local band = bit.band
local rshift = bit.rshift
local format = string.format
local max = math.max
local tonumber = tonumber
local layout = handles.layout

local request_p = ffi.typeof("const ngx_http_lua_var_request_t *")
local bytes_p = ffi.typeof("const uint8_t *")
local value_p = ffi.typeof("const ngx_http_lua_var_cached_t *")
local state_p = ffi.typeof("const ngx_http_lua_var_state_t *")
local time = ffi.cast("const ngx_http_lua_var_time_t *const *", layout.time)
local CORE = layout.core_index


-- Returns the first word and the data of a ngx_str_t or of a variable's value, which have the
-- same layout: a length, in a value with flags, and a pointer. Both are read before anything
-- else is done. In the interpreter, reading a pointer allocates a cdata, which may run a
-- finalizer that changes them.
local function text_at(place)
    local at = ffi.cast(value_p, place)
    local word, data = at.word, at.data

    return word, ffi.cast(bytes_p, data)
end


-- Variables whose value is a ngx_str_t in the request: functions that return its address.
local strings = {
    uri = function (r) return r.uri end,
    args = function (r) return r.args end,
    request_uri = function (r) return r.unparsed_uri end,
    remote_addr = function (r) return r.connection.addr_text end,
    server_name = function (r) return r.srv_conf[CORE].server_name end,
    host = function (r) return r.server end,
}

strings.document_uri = strings.uri
strings.query_string = strings.args


-- Other variables: functions that return the value.
local values = {}


local function is_get(len, data)
    return len == 3 and data[0] == 71 and data[1] == 69 and data[2] == 84
end


local function is_post(len, data)
    return len == 4 and data[0] == 80 and data[1] == 79 and data[2] == 83
           and data[3] == 84
end


-- Whether the text is "HTTP/" and this version. Since nginx has parsed the request line, a
-- few bytes are enough to tell.
local function is_http(len, data, major, minor)
    return len == 8 and data[5] == major and data[7] == minor
           and data[0] == 72 and data[4] == 47 and data[6] == 46
end


-- Returns a function that returns make(n), but calls make only if n differs from the last one.
local function memoized(make)
    local last, made

    return function (n)
        if n ~= last then
            made = make(n)
            last = n
        end

        return made
    end
end


-- Converts milliseconds to seconds. They are negative if the clock was set back, or if an
-- upstream attempt did not get that far.
local function seconds(ms)
    return max(ms, 0) / 1000
end


local function integer(n)
    return format("%.0f", n)
end


local connection_text = memoized(integer)
local requests_text = memoized(integer)

-- Takes the first four bytes of a sockaddr. In AF_INET (2) and AF_INET6 (10) the port follows
-- the family, most significant byte first.
local port_text = memoized(function (word)
    local family = band(word, 0xffff)

    if family == 2 or family == 10 then
        return integer(band(rshift(word, 16), 0xff) * 256 + rshift(word, 24))
    end
end)

local request_seconds = memoized(seconds)
local msec_text = memoized(function (n) return (format("%.3f", n / 1000)) end)


function values.scheme(r)
    if r.connection.ssl ~= nil then
        return "https"
    end

    return "http"
end


function values.https(r)
    if r.connection.ssl ~= nil then
        return "on"
    end

    return ""
end


function values.request_method(r)
    local len, data = text_at(ffi.cast(request_p, r.main).method_name)

    if is_get(len, data) then
        return "GET"
    end

    if is_post(len, data) then
        return "POST"
    end
end


function values.server_protocol(r)
    local len, data = text_at(r.http_protocol)

    if is_http(len, data, 49, 49) then
        return "HTTP/1.1"
    end

    if is_http(len, data, 50, 48) then
        return "HTTP/2.0"
    end
end


function values.status(r)
    if r.err_status ~= 0 then
        return r.err_status
    end

    if r.out_status == 0 and r.http_version == 9 then
        return 9
    end

    return r.out_status
end


function values.request_time(r)
    local now = time[0]
    local ms = (now.sec - r.start_sec) * 1000 + (now.msec - r.start_msec)

    return (request_seconds(tonumber(ms)))
end


function values.bytes_sent(r)
    return (tonumber(r.connection.sent))
end


function values.request_length(r)
    return (tonumber(r.request_length))
end


function values.connection(r)
    return (connection_text(tonumber(r.connection.number)))
end


function values.connection_requests(r)
    return (requests_text(tonumber(r.connection.requests)))
end


function values.msec()
    local now = time[0]
    return (msec_text(tonumber(now.sec) * 1000 + tonumber(now.msec)))
end


function values.server_port(r)
    local sa = r.connection.local_sockaddr

    if sa ~= nil then
        return (port_text(sa[0]))
    end
end


-- Returns a function that returns a time of the only upstream attempt, in seconds. If there
-- are several attempts, the module has to compute the sum.
local function attempt(read)
    local seconds_of = memoized(seconds)

    return function (r)
        local states = r.upstream_states

        if states ~= nil and states.nelts == 1 then
            local state = ffi.cast(state_p, states.elts)
            return (seconds_of(tonumber(read(state))))
        end
    end
end

values.upstream_response_time = attempt(function (state)
    return state.response_time
end)

values.upstream_header_time = attempt(function (state)
    return state.header_time
end)

values.upstream_connect_time = attempt(function (state)
    return state.connect_time
end)


return { strings = strings, values = values, text_at = text_at }
