-- The Lua of t/bin/limits.

local ffi = require "ffi"
local ngxvar = require "resty.ngxvar"

ffi.cdef[[
double ngx_http_lua_var_testing_figure(uint32_t which);
]]

local _M = {}

local fetch = ngxvar.fetch
local gate = require("ngx.semaphore").new()
local handles = {}
local waiting, wrong = 0, 0


-- A request that stays until "go".
function _M.wait()
    local handle = ngxvar.request()
    local id = ngx.var.http_x_id

    handles[handle] = id
    waiting = waiting + 1
    gate:wait(3600)

    if fetch("http_x_id", handle) ~= id or not ngxvar.live(handle) then
        wrong = wrong + 1
    end

    waiting = waiting - 1
    ngx.say(id)
end


-- Uses the handles of all requests; those of ended ones have to be refused.
local function state()
    local live, stale, foreign = 0, 0, 0

    for handle, id in pairs(handles) do
        local value, err = fetch("http_x_id", handle)

        if value == id then
            live = live + 1
        elseif value == nil and err == "stale request" then
            stale = stale + 1
        else
            foreign = foreign + 1
        end
    end

    local slots = ffi.C.ngx_http_lua_var_testing_figure(0) - 1      -- not that of /control

    return table.concat({ "waiting", waiting, "live", live, "stale", stale, "foreign", foreign,
                          "wrong", wrong, "slots", slots }, " ")
end


-- Answers words with lines, on a connection that stays when nginx has none left.
function _M.control()
    local sock = assert(ngx.req.socket(true))

    sock:settimeouts(3600000, 3600000, 3600000)

    while true do
        local word = sock:receive()

        if word == "state" then
            sock:send(state() .. "\n")
        elseif word == "go" then
            gate:post(waiting)
            sock:send("gone\n")
        else
            return ngx.exit(444)
        end
    end
end


return _M
