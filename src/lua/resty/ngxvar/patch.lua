-- patch_ngx_var(): makes ngx.var.name read as fetch does, and assign as set does.
--
-- Other code may patch ngx.var in init_by_lua*, too, before or after this. So the functions
-- installed here wait for the first access, when all patches are in place, and then put
-- var_index and var_newindex in front of them.

local core = ...

local core_index = core.var_index
local core_set = core.set
local type = type

-- The functions behind this patch of ngx.var, for what the module declines: those of
-- lua-resty-core, or of another patch.
local next_index, next_newindex
-- Whether it is another patch, which may serve names that nginx does not know.
local is_over_another


local function var_index(self, name)
    local value, declined = core_index(self, name)

    -- the next function serves what is declined, or raises its error
    if declined or value == nil and is_over_another then
        return next_index(self, name)
    end

    return value
end


local function var_newindex(self, name, value)
    if type(name) ~= "string" or not core_set(name, value) then
        -- the next function raises its error for what cannot be set
        return next_newindex(self, name, value)
    end
end


-- Whether a function is lua-resty-core's.
local function is_stock(func)
    return debug.getinfo(func, "S").source:find("resty[/.]core[/.]var") ~= nil
end


return function ()
    if next_index then
        return
    end

    local mt = getmetatable(ngx.var)
    local stock_index, stock_newindex = mt.__index, mt.__newindex
    local is_in_front = false
    local first_index, first_newindex

    local function to_front()
        is_in_front = true

        if mt.__index ~= first_index then
            next_index = mt.__index
        end

        if mt.__newindex ~= first_newindex then
            next_newindex = mt.__newindex
        end

        is_over_another = not is_stock(next_index)
        mt.__index, mt.__newindex = var_index, var_newindex
    end

    -- Once the module is in front, only a patch that was installed after these functions calls
    -- them, for what the module has declined.
    function first_index(self, name)
        if is_in_front then
            return stock_index(self, name)
        end

        -- if other code has removed this patch, it stays removed
        if mt.__index ~= stock_index then
            to_front()
        end

        return var_index(self, name)
    end

    function first_newindex(self, name, value)
        if is_in_front then
            return stock_newindex(self, name, value)
        end

        if mt.__newindex ~= stock_newindex then
            to_front()
        end

        return var_newindex(self, name, value)
    end

    next_index, next_newindex = stock_index, stock_newindex
    mt.__index, mt.__newindex = first_index, first_newindex
end
