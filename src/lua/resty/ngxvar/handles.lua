-- The type of handles, and live(), which finds a handle's request without a call.
--
-- live() validates as fetch does: it compares the generation of the handle's slot, then the
-- request's signature and connection. Reading a slot is always allowed, because all slots
-- are mapped and never move (src/registry). The request is read only if the generation
-- agrees. The offsets of the members come from src/layout.rs, which compares them with
-- nginx's; if they differ, no slot is readable.

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


-- Declares a structure with the given members at their offsets, and padding between them.
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

        -- the link to the next header of the same name, since nginx 1.23
        if structure == "header" and #members == 1 and HEADER_NEXT ~= 0 then
            members[2] = { name = "next", type = "const void *",
                           offset = HEADER_NEXT }
        end
    end

    declare(structure, members)
end

local handle_t = ffi.metatype("ngx_http_lua_var_handle_t", {
    -- called only for keys that are not members
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


-- Whether a value is a handle with a slot number in range. istype() alone would also accept a
-- pointer or a reference to a handle, which may point anywhere, and the ctype itself. The
-- ctype is recognised by tonumber(), which returns nil for a structure.
local function is_handle(value)
    return istype(handle_t, value) and tonumber(typeof(value)) == HANDLE
           and tonumber(value) == nil and band(value.id, BEYOND_SLOTS) == 0
end


local slot_p = typeof("const ngx_http_lua_var_slot_t *")
local slots = ffi.cast("const char *", layout.slots)
local SLOT_SIZE = tonumber(layout.slot_size)
local SIGNATURE = tobit(layout.signature)


-- The slot with this number, which must be in range.
local function slot_at(id)
    return (ffi.cast(slot_p, slots + id * SLOT_SIZE))
end


-- The generation of a slot, as an unsigned number.
local function generation_in(id)
    return slot_at(id).generation % 2^32
end


-- Returns the request that a handle names; nil if it is not live or may not be read directly.
local function live(handle)
    if not is_handle(handle) then
        return nil
    end

    -- is_handle() has checked that the number is in range
    local slot = slot_at(handle.id)
    local r = slot.readable

    -- compared as int32_t, because LuaJIT would convert uint32_t to double first
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
    -- whether nginx links several headers of one name, as it does since 1.23
    is_linked = HEADER_NEXT ~= 0,
}
