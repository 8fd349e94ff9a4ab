-- A patch of ngx.var as other libraries have: it serves some names itself, one of which nginx
-- does not know, and passes the others on to the functions that it replaced.

local mt = getmetatable(ngx.var)
local stock_index, stock_newindex = mt.__index, mt.__newindex

local _M = {
    stock_index = stock_index,
    read = {},          -- what it served itself, by name
    assigned = {},
    passed_on = {},     -- what it passed on
}

local served = { uri = true, own = true, host = true, http_x = true, http_none = true,
                 request_time = true, mapped = true }
local only_here = { of_another = "only here" }


local function count(where, name)
    where[name] = (where[name] or 0) + 1
end


function _M.patch()
    local previous_index, previous_newindex = mt.__index, mt.__newindex

    mt.__index = function (self, name)
        if only_here[name] then
            return only_here[name]
        end

        if served[name] then
            count(_M.read, name)
            return stock_index(self, name)
        end

        count(_M.passed_on, name)
        return previous_index(self, name)
    end

    mt.__newindex = function (self, name, value)
        if only_here[name] then
            only_here[name] = value
            return
        end

        if served[name] then
            count(_M.assigned, name)
            return stock_newindex(self, name, value)
        end

        return previous_newindex(self, name, value)
    end
end


return _M
