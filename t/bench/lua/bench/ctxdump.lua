-- What applications do without this module, as lua-resty-ctxdump does: the number of the ngx.ctx
-- is in a variable, which a redirect leaves unchanged, and the table itself is kept here.

local FREE = 0      -- head of the list of free numbers

local kept = { [FREE] = 0 }

local _M = {}


function _M.stash()
    local number = kept[FREE]

    if number == 0 then
        number = #kept + 1
    else
        kept[FREE] = kept[number]
    end

    kept[number] = ngx.ctx
    ngx.var.ctx_ref = number
end


function _M.apply()
    local number = tonumber(ngx.var.ctx_ref)

    ngx.ctx = kept[number]
    kept[number] = kept[FREE]
    kept[FREE] = number
end


return _M
