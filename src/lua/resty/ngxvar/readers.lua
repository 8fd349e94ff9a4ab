-- Readers of what is in a request that is known to be live (live.lua): no calls.

local bit = require "bit"
local ffi = require "ffi"
local live = require "resty.ngxvar.live"

local band = bit.band
local rshift = bit.rshift
local ffi_string = ffi.string
local format = string.format
local max = math.max
local tonumber = tonumber
local layout = live.layout

local request_p = ffi.typeof("const ngx_http_lua_var_request_t *")
local time = ffi.cast("const ngx_http_lua_var_time_t *const *", layout.time)
local word_p = ffi.typeof("const int32_t *")
local CORE = layout.core_srv_index


-- Where strings are.
local places = {
    uri = function (r) return r.uri end,
    args = function (r) return r.args end,
    request_uri = function (r) return r.unparsed_uri end,
    remote_addr = function (r) return r.connection.addr_text end,
    server_name = function (r) return r.srv_conf[CORE].server_name end,
    host = function (r) return r.server end,
}

places.document_uri = places.uri
places.query_string = places.args


-- Readers of what is in the request itself: nil when it is not set.

local function text(s)
    if s.data ~= nil then
        return (ffi_string(s.data, s.len))
    end
end


local function is_get(s)
    local data = s.data
    return s.len == 3 and data[0] == 71 and data[1] == 69 and data[2] == 84
end


local function is_post(s)
    local data = s.data
    return s.len == 4 and data[0] == 80 and data[1] == 79 and data[2] == 83
           and data[3] == 84
end


-- "HTTP/" and what follows; the request line has been parsed, so it is that
local function is_http(s, major, minor)
    local data = s.data
    return s.len == 8 and data[5] == major and data[7] == minor
           and data[0] == 72 and data[4] == 47 and data[6] == 46
end


-- What is made of a number, kept while the number stays the same.
local function kept(make)
    local last, made

    return function (n)
        if n ~= last then
            made = make(n)
            last = n
        end

        return made
    end
end


-- of milliseconds, which are negative when the clock was set back, or as long as
-- an upstream has not got that far
local function seconds(ms)
    return max(ms, 0) / 1000
end


local function integer(n)
    return format("%.0f", n)
end


local connection_text = kept(integer)
local requests_text = kept(integer)

-- of the first four bytes of an address: AF_INET (2) and AF_INET6 (10) have the port
-- behind the family, most significant byte first
local port_text = kept(function (word)
    local family = band(word, 0xffff)

    if family == 2 or family == 10 then
        return integer(band(rshift(word, 16), 0xff) * 256 + rshift(word, 24))
    end
end)

local request_seconds = kept(seconds)
local msec_text = kept(function (n) return (format("%.3f", n / 1000)) end)


local readers = {
    scheme = function (r)
        if r.connection.ssl ~= nil then
            return "https"
        end

        return "http"
    end,

    https = function (r)
        if r.connection.ssl ~= nil then
            return "on"
        end

        return ""
    end,

    request_method = function (r)
        local s = ffi.cast(request_p, r.main).method_name

        if is_get(s) then
            return "GET"
        end

        if is_post(s) then
            return "POST"
        end

        return text(s)
    end,

    server_protocol = function (r)
        local s = r.http_protocol

        if is_http(s, 49, 49) then
            return "HTTP/1.1"
        end

        if is_http(s, 50, 48) then
            return "HTTP/2.0"
        end

        return text(s)
    end,

    status = function (r)
        if r.err_status ~= 0 then
            return r.err_status
        end

        if r.out_status == 0 and r.http_version == 9 then
            return 9
        end

        return r.out_status
    end,

    request_time = function (r)
        local now = time[0]
        local ms = (now.sec - r.start_sec) * 1000 + (now.msec - r.start_msec)

        return (request_seconds(tonumber(ms)))
    end,

    bytes_sent = function (r) return (tonumber(r.connection.sent)) end,
    request_length = function (r) return (tonumber(r.request_length)) end,

    connection = function (r)
        return (connection_text(tonumber(r.connection.number)))
    end,

    connection_requests = function (r)
        return (requests_text(tonumber(r.connection.requests)))
    end,

    msec = function ()
        local now = time[0]
        return (msec_text(tonumber(now.sec) * 1000 + tonumber(now.msec)))
    end,

    server_port = function (r)
        local sa = r.connection.local_sockaddr

        if sa ~= nil then
            return (port_text(ffi.cast(word_p, sa)[0]))
        end
    end,
}

-- the only one here that fetch gives as a number and nginx may keep as text
local numbers = {
    bytes_sent = true,
}

-- for these, a reader's nil means that nginx has to be asked
local partial = {
    server_port = true,
}

local upstream = {
    upstream_response_time = {
        kind = 0,
        seconds = kept(seconds),
        read = function (state) return state.response_time end,
    },
    upstream_header_time = {
        kind = 1,
        seconds = kept(seconds),
        read = function (state) return state.header_time end,
    },
    upstream_connect_time = {
        kind = 2,
        seconds = kept(seconds),
        read = function (state) return state.connect_time end,
    },
}


return {
    places = places,
    readers = readers,
    numbers = numbers,
    partial = partial,
    upstream = upstream,
}
