-- Replaces lua-resty-ctxdump if lua_var_replace names it. It has the same two functions, but
-- a reference is valid only until its request ends. So a request that ends between the two
-- calls, because its client left, does not leak its table.

local core = ...

local ngxvar = require "resty.ngxvar"

local live = core.live
local request = ngxvar.request
local tonumber = tonumber

local _M = { _VERSION = "0.03" }

-- the ngx.ctx tables and the handles of their requests, by reference
local tables, handles = {}, {}
-- a stack of references that are free again
local free = {}
-- the highest reference so far
local most = 0
-- the reference that sweep() looked at last
local at = 0


local function drop(ref)
    tables[ref], handles[ref] = nil, nil
    free[#free + 1] = ref
end


-- Checks the next two references, and drops those whose requests have ended. As it is called
-- whenever a reference is made, there are never many more of them than live requests.
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


-- The number of references in use, for tests.
function _M.count()
    return most - #free
end


return _M
