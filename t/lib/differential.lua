-- Compares the module with ngx.var, for every variable of nginx and of the modules in
-- Debian's nginx and for every way to read one.  One request is under test at a time: begin(),
-- then check() in each of its phases, then finish(), which returns a line with the result.

local client = require "client"
local ngxvar = require "resty.ngxvar"
local base = require "resty.core.base"

local _M = {}

-- lua-resty-core's reader, also after patch_ngx_var()
local stock_index = getmetatable(ngx.var).__index


-- By the module that defines them.  Names that this nginx lacks have to be nil in all ways.
_M.groups = {
    core = [[
        arg_a arg_empty arg_none args binary_remote_addr body_bytes_sent bytes_sent
        connection connection_requests connection_time content_length content_type
        cookie_a cookie_none document_root document_uri host hostname http_accept
        http_cookie http_host http_none http_referer http_user_agent http_via
        http_x_forwarded_for http_x_long http_x_empty https is_args limit_rate msec
        nginx_version pid pipe query_string realpath_root remote_addr remote_port
        remote_user request request_body request_body_file request_completion
        request_filename request_id request_length request_method request_time
        request_uri scheme sent_http_cache_control sent_http_connection
        sent_http_content_length sent_http_content_type sent_http_keep_alive
        sent_http_last_modified sent_http_link sent_http_location sent_http_none
        sent_http_transfer_encoding sent_http_x_test sent_trailer_none sent_trailer_x
        server_addr server_name server_port server_protocol status time_iso8601
        time_local uri
    ]],

    proxy_protocol = [[
        proxy_protocol_addr proxy_protocol_port proxy_protocol_server_addr
        proxy_protocol_server_port proxy_protocol_tlv_alpn
    ]],

    tcpinfo = "tcpinfo_rtt tcpinfo_rttvar tcpinfo_snd_cwnd tcpinfo_rcv_space",

    ssl = [[
        ssl_alpn_protocol ssl_cipher ssl_ciphers ssl_client_cert
        ssl_client_escaped_cert ssl_client_fingerprint ssl_client_i_dn
        ssl_client_i_dn_legacy ssl_client_raw_cert ssl_client_s_dn
        ssl_client_s_dn_legacy ssl_client_serial ssl_client_v_end
        ssl_client_v_remain ssl_client_v_start ssl_client_verify ssl_curve
        ssl_curves ssl_early_data ssl_protocol ssl_server_name ssl_session_id
        ssl_session_reused
    ]],

    upstream = [[
        proxy_add_x_forwarded_for proxy_host proxy_port upstream_addr
        upstream_bytes_received upstream_bytes_sent upstream_cache_status
        upstream_connect_time upstream_cookie_none upstream_header_time
        upstream_http_content_length upstream_http_x_cookie upstream_http_server
        upstream_response_length upstream_response_time upstream_status
        upstream_trailer_grpc_status
    ]],

    modules = [[
        ancient_browser connections_active connections_reading connections_waiting
        connections_writing date_gmt date_local fastcgi_path_info
        fastcgi_script_name gzip_ratio http2 invalid_referer limit_conn_status
        limit_req_status memcached_key modern_browser msie realip_remote_addr
        realip_remote_port secure_link secure_link_expires slice_range uid_got
        uid_reset uid_set
    ]],

    -- defined by the tests' configurations, and by this module
    own = "from_error_page own mapped fresh_map geo split auth_value named",

    nothing = "http3 no_such_variable x 0 a-b arg_a=b http_x-test http_xatest http_x_under cookie_a=b",
}

-- in the order they are compared
local names = {}

for _, group in ipairs { "core", "proxy_protocol", "tcpinfo", "ssl", "upstream",
                         "modules", "own", "nothing" }
do
    -- qemu-user, in which the tests run for arm64, does not give the guest's TCP_INFO
    if group ~= "tcpinfo" or jit.arch ~= "arm64" then
        for name in _M.groups[group]:gmatch("%S+") do
            names[#names + 1] = name
        end
    end
end

_M.names = names

local numbers = { request_time = true, request_length = true, bytes_sent = true,
                  status = true }

local sums = { upstream_response_time = true, upstream_header_time = true,
               upstream_connect_time = true }


-- Variables whose handlers return another value each time: not compared.
local function is_random(name, text)
    return name == "request_id" and text ~= stock_index(ngx.var, name)
end


-- The sum of the times in nginx's list of attempts, where "-" is one without a time.
local function sum_of(text)
    local ms = 0

    for seconds, thousandths in text:gmatch("(%d+)%.(%d%d%d)") do
        ms = ms + seconds * 1000 + thousandths
    end

    return ms / 1000
end


-- The value that fetch has to return where ngx.var has this text.
local function expected(name, text)
    if text and numbers[name] then
        return tonumber(text)
    end

    if text and sums[name] then
        return sum_of(text)
    end

    return text
end


-- The ways to read, each a function (name, handle, pointer).
local readers = {
    { "fetch", function (name) return ngxvar.fetch(name) end },
    { "fetch by handle", function (name, handle) return ngxvar.fetch(name, handle) end },
    { "fetch by pointer", function (name, _, r) return ngxvar.fetch(name, r) end },
    { "fetch in upper case", function (name) return ngxvar.fetch(name:upper()) end },
    { "enable_patch(false)", function (name, handle)
        ngxvar.enable_patch(false)
        local value, err = ngxvar.fetch(name, handle)
        ngxvar.enable_patch(true)
        return value, err
    end },
}


-- Also compares ngx.var itself, after patch_ngx_var(): strings always.
function _M.compare_patched()
    readers[#readers + 1] = { "ngx.var", function (name) return ngx.var[name] end,
                              text = true }
end


-- Compares compiled code as well: a loop for each variable and each way to read it, which
-- LuaJIT compiles at its second iteration.
function _M.compare_compiled()
    jit.opt.start("hotloop=1", "hotexit=1", "maxtrace=10000", "maxmcode=8192")

    local function compiled(label, text, function_for)
        local loops = {}

        readers[#readers + 1] = { label .. ", compiled", function (name, handle)
            if not loops[name] then
                -- source of its own, because LuaJIT counts iterations by code position
                loops[name] = assert(loadstring([[
                    local f, name = ...
                    return function (handle)
                        local value, err
                        for _ = 1, 5 do
                            value, err = f(]] .. text .. [[)
                        end
                        return value, err
                    end
                ]]))(function_for(name), name)
            end

            return loops[name](handle)
        end, text = label == "ngx.var" }
    end

    compiled("fetch by handle", "name, handle", function () return ngxvar.fetch end)
    compiled("fetch", "name", function () return ngxvar.fetch end)
    compiled("ngx.var", "ngx.var, name", function () return getmetatable(ngx.var).__index end)
end


local function show(value)
    if type(value) == "string" then
        return string.format("%q", #value > 60 and value:sub(1, 60) .. "..." or value)
    end

    return tostring(value)
end


-- Reads one variable in one way; returns nil when it agrees, else the difference.
--
-- Once only, because the first read may make nginx cache the value.  $tcpinfo_* are tried
-- again, because the kernel changes them at any time.
local function differs(reader, name, handle, r)
    local value, err, text

    for _ = 1, name:find("^tcpinfo_") and 5 or 1 do
        value, err = reader[2](name, handle, r)
        text = stock_index(ngx.var, name)

        local want = reader.text and text or expected(name, text)

        if value == want and err == nil then
            return nil
        end

        if is_random(name, text) and type(value) == type(text) and #value == #text then
            return nil
        end
    end

    return name .. " by " .. reader[1] .. ": " .. show(value) .. ", "
           .. (err and show(err) .. ", " or "") .. "ngx.var: " .. show(text)
end


local current
local turn = 0
local one_in = 1
local draw = 1
local never_set = {}

for _, name in ipairs(names) do
    never_set[name] = true
end


-- From now on each check reads one name in n, others each time, because nginx caches most
-- values on the first read: one read in each phase would stay the same.
function _M.sparse(n)
    one_in = n
end


-- Whether each check reads all names.
function _M.is_dense()
    return one_in == 1
end


-- The same "random" choice in each run (a linear congruential generator).
local function is_chosen()
    draw = (draw * 16807) % 2147483647

    return draw % one_in == 0
end


-- Records which ways to read a variable disagree.
local function check_name(name, handle, r, where)
    -- the first reader makes nginx cache the value, so each is first in turn
    for _ = 1, #readers do
        turn = turn + 1

        local message = differs(readers[turn % #readers + 1], name, handle, r)

        if message then
            _M.note(where .. ": " .. message)
        end
    end

    turn = turn + 1     -- so that another way is first for the next name

    if never_set[name] and stock_index(ngx.var, name) then
        never_set[name] = nil
    end
end


-- Starts the test of one more request.
function _M.begin(label)
    current = { label = label, phases = {}, bad = {} }
end


-- Whether a phase of the request under test has been checked.
function _M.reached(phase)
    return current and current.phases[phase]
end


-- Adds a difference.
function _M.note(text)
    if current and #current.bad < 20 then
        current.bad[#current.bad + 1] = "\n  " .. text
    end
end


-- Compares everything in a phase, or after a step in it.
function _M.check(phase, step)
    if not current then
        return
    end

    local phases = current.phases
    local where = step and phase .. ", " .. step or phase

    if not phases[phase] then
        phases[phase] = true
        phases[#phases + 1] = phase
    end

    local handle = ngxvar.request()
    local r = base.get_request()

    for _, name in ipairs(names) do
        if is_chosen() then
            check_name(name, handle, r, where)
        end
    end
end


-- The variables of these groups that never had a value in any check.
function _M.never_set(...)
    local list = {}

    for _, group in ipairs { ... } do
        for name in _M.groups[group]:gmatch("%S+") do
            list[#list + 1] = never_set[name] and name
        end
    end

    return table.concat(list, " ")
end


-- Records the end of the request under test, when other requests run beside it.
function _M.logged(request_uri)
    if current then
        current.logged = current.logged or request_uri == current.label
    end
end


-- Waits for the end of the request under test.
function _M.await_log()
    client.wait_until(function () return current.logged end, "the log phase of " .. current.label)
end


-- Ends the test; returns "label: phases" and the differences.
function _M.finish()
    local line = current.label .. ": " .. table.concat(current.phases, " ")
                 .. table.concat(current.bad)
    current = nil

    return line
end


-- Waits until the request under test has reached a phase, then does finish().
function _M.await(phase)
    client.wait_until(function () return _M.reached(phase) end, phase .. " of " .. current.label)

    return _M.finish()
end


return _M
