-- Stands for lua-resty-ctxdump where lua_var_replace says so: the same two functions, but a
-- reference ends with its request. A request whose client left between the two does not
-- leave its table behind.

local core = ...

local ngxvar = require "resty.ngxvar"

local live = core.live
local request = ngxvar.request
local tonumber = tonumber

local _M = { _VERSION = "0.03" }

-- by reference: the table, and the handle of its request
local tables, handles = {}, {}
-- references that nobody has
local free = {}
-- how many there have been at once
local most = 0
-- how far the search for those whose request has ended has come
local at = 0


local function drop(ref)
    tables[ref], handles[ref] = nil, nil
    free[#free + 1] = ref
end


-- Looks at two references each time one is made, so that there are never many more of them
-- than live requests.
local function sweep()
    for _ = 1, 2 do
        at = at < most and at + 1 or 1

        if handles[at] and not live(handles[at]) then
            drop(at)
        end
    end
end


function _M.stash_ngx_ctx()
    local ctx = ngx.ctx
    local handle = request()

    sweep()

    local ref = free[#free]

    if ref then
        free[#free] = nil

    else
        most = most + 1
        ref = most
    end

    tables[ref], handles[ref] = ctx, handle
    return ref
end


function _M.apply_ngx_ctx(ref)
    ref = tonumber(ref)

    local ctx = ref and tables[ref]

    if not ctx then
        return nil, "bad ref value"
    end

    local is_live = live(handles[ref])

    drop(ref)

    if not is_live then
        return nil, "stale request"
    end

    return ctx
end


-- How many there are, for tests.
function _M.count()
    return most - #free
end


return _M
