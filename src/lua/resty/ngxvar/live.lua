-- Handles, and finding the request that one names without a call.
--
-- The validation is the same as fetch's, written so that a trace needs no call for
-- it: the handle's slot is read where the registry has it, its generation is
-- compared, then the request's signature and connection. Slots have their place for
-- ever, all that there can be (src/registry), so reading one is always allowed; the
-- request itself is read only once all of that agrees. Where members are, the module
-- says, and whether nginx thinks the same (src/layout.rs).

local bit = require "bit"
local ffi = require "ffi"
local lib = require("resty.ngxvar.call").lib

local band = bit.band
local bnot = bit.bnot
local tobit = bit.tobit
local format = string.format
local istype = ffi.istype
local tonumber = tonumber
local typeof = ffi.typeof

local layout = ffi.new("ngx_http_lua_var_layout_t")

lib.ngx_http_lua_var_ffi_layout(layout)

local HEADER_NEXT = layout.header_next


-- Declares a structure whose members are where they are in nginx's.
local function declare(name, members)
    table.sort(members, function (a, b) return a.offset < b.offset end)

    local text = { "typedef struct __attribute__((packed)) {" }
    local at = 0

    for i, member in ipairs(members) do
        if member.offset > at then
            text[#text + 1] = format("uint8_t pad%d[%d];", i,
                                     member.offset - at)
        end

        text[#text + 1] = member.type .. " " .. member.name .. ";"
        at = member.offset + ffi.sizeof(member.type)
    end

    text[#text + 1] = "} ngx_http_lua_var_" .. name .. "_t;"
    ffi.cdef(table.concat(text, "\n"))
end


do
    local members, structure = {}, nil

    for i = 0, tonumber(layout.nmembers) - 1 do
        local member = layout.members[i]
        local its = ffi.string(member.structure)

        if structure and its ~= structure then
            declare(structure, members)
            members = {}
        end

        structure = its
        members[#members + 1] = {
            name = ffi.string(member.name),
            type = ffi.string(member.type),
            offset = tonumber(member.offset),
        }

        -- several headers of one name: nginx before 1.23 does not link them
        if structure == "header" and #members == 1 and HEADER_NEXT ~= 0 then
            members[2] = { name = "next", type = "const void *",
                           offset = HEADER_NEXT }
        end
    end

    declare(structure, members)
end

local handle_t = ffi.metatype("ngx_http_lua_var_handle_t", {
    -- only for what a handle does not have
    __index = function (_, key)
        error("a request's handle has no \"" .. tostring(key) .. "\": use ngxvar.fetch(\""
              .. tostring(key) .. "\", req)", 2)
    end,

    __tostring = function (self)
        return format("request: %d/%d", self.id, self.generation)
    end,
})

local HANDLE = tonumber(handle_t)
-- the number of slots is a power of two
local BEYOND_SLOTS = bnot(tonumber(layout.nslots) - 1)


-- istype() alone also takes pointers and references to a handle, which may point
-- anywhere; the type itself, which passes for one of its values, is a number to
-- tonumber(), which a structure never is.
local function is_handle(value)
    return istype(handle_t, value) and tonumber(typeof(value)) == HANDLE
           and tonumber(value) == nil and band(value.id, BEYOND_SLOTS) == 0
end


local slot_p = typeof("const ngx_http_lua_var_slot_t *")
local slots = ffi.cast("const char *", layout.slots)
local SLOT_SIZE = tonumber(layout.slot_size)
local SIGNATURE = tobit(layout.signature)


-- The slot of this number, which there has to be.
local function slot_at(id)
    return (ffi.cast(slot_p, slots + id * SLOT_SIZE))
end


local function generation_in(id)
    return slot_at(id).generation % 2^32
end


-- The request that a handle names, to be read directly; nil if it is not to be.
local function live(handle)
    if not is_handle(handle) then
        return nil
    end

    -- is_handle() has seen to it that there is such a slot
    local slot = slot_at(handle.id)
    local r = slot.readable

    -- compared as integers: as uint32_t, LuaJIT makes numbers of both first
    if r == nil or slot.generation ~= tobit(handle.generation)
       or r.signature ~= SIGNATURE or r.connection ~= slot.connection
    then
        return nil
    end

    return r
end


return {
    generation_in = generation_in,
    handle_t = handle_t,
    is_handle = is_handle,
    live = live,
    layout = layout,
    -- several headers of one name: nginx before 1.23 does not link them
    is_linked = HEADER_NEXT ~= 0,
}
