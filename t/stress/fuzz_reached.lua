-- The fuzzer's cases for functions that the library does not export, but that Lua code can
-- reach: through the registry, package.loaded, upvalues, environments and metatables. Whatever
-- they are called with, the worker lives, and the library goes on working.

local ffi = require "ffi"
local arguments = require "fuzz_arguments"
local ngxvar = require "resty.ngxvar"
local outcome = require "fuzz_outcome"
local requests = require "fuzz_requests"

local below = arguments.below
local funcinfo = require("jit.util").funcinfo

local _M = {}


ffi.cdef[[
typedef struct {
    const char *file;
    void *base;
    const char *symbol;
    void *address;
} fuzz_dl_info_t;
int dladdr(const void *address, fuzz_dl_info_t *info);
]]

local dl_info = ffi.new("fuzz_dl_info_t")


-- Whether a function is the module's: written in Lua, in a file that the module carries, which has
-- a name like "@resty/ngxvar.lua", where those of others have a path; or in C, in the module's file.
-- In an nginx that has the module linked in, C functions cannot be told from nginx's.
local function is_ours(f)
    local info = debug.getinfo(f, "S")

    if info.what ~= "C" then
        return info.source:find("^[=@]resty/") ~= nil
    end

    local address = funcinfo(f).addr

    return address ~= nil
           and ffi.C.dladdr(ffi.cast("const void *", address), dl_info) ~= 0
           and ffi.string(dl_info.file):find("lua_var_module[^/]*%.so$") ~= nil
end


-- For C, the offset in the module's file.
local function name_of(f)
    local info = debug.getinfo(f, "S")

    if info.what ~= "C" then
        return info.short_src .. ":" .. info.linedefined
    end

    local address = ffi.cast("const char *", funcinfo(f).addr)
    assert(ffi.C.dladdr(address, dl_info) ~= 0)

    return ("C function at 0x%x"):format(tonumber(address - ffi.cast("const char *", dl_info.base)))
end


-- Everything that can be reached from a list of values, as a set.
local function reach(roots)
    local seen, todo = {}, {}

    local function add(value)
        local kind = type(value)

        if (kind == "table" or kind == "function" or kind == "userdata" or kind == "thread")
           and not seen[value]
        then
            seen[value] = true
            todo[#todo + 1] = value
        end
    end

    for _, root in ipairs(roots) do
        add(root)
    end

    while #todo > 0 do
        local value = table.remove(todo)
        local kind = type(value)

        add(debug.getmetatable(value))

        if kind == "table" then
            for key, item in next, value do
                add(key)
                add(item)
            end

        elseif kind == "function" then
            local i = 0

            add(debug.getfenv(value))

            repeat
                i = i + 1
                local name, item = debug.getupvalue(value, i)
                add(item)
            until not name

        elseif kind == "userdata" then
            add(debug.getfenv(value))
        end
    end

    return seen
end


-- { name =, f = }, sorted by name
local functions = {}

-- Finds them, in a request, in which there are a handle, a reader and the like.
local function find()
    local roots = {
        debug.getregistry(), package.loaded, requests.current.handle, ngxvar.reader{ "uri" },
        ngxvar.getter("uri"), ngxvar.setter("fuzz_set"),
    }

    local is_exported = {}

    -- these have cases of their own
    for _, f in pairs(ngxvar) do
        is_exported[f] = true
    end

    for f in pairs(reach(roots)) do
        if type(f) == "function" and not is_exported[f] and is_ours(f) then
            functions[#functions + 1] = { f = f, name = name_of(f) }
        end
    end

    table.sort(functions, function (a, b) return a.name < b.name end)
end


-- names that no case may set, because others expect something of them
local settable = { args = true, limit_rate = true, from_error_page = true, fuzz_id = true }

local lists = { {}, { "uri" }, { "uri", "host", "none" }, { 1, 2 }, { { "uri" } }, { [0] = "uri" } }

local function argument()
    local kind = below(12)

    if kind < 3 then
        return arguments.odd()
    end

    if kind == 3 then
        return requests.current.handle
    end

    if kind == 4 then
        return requests.known[below(#requests.known) + 1].handle
    end

    if kind < 7 then
        local name = arguments.name(requests.names)

        return not settable[name:lower()] and name or "uri"
    end

    if kind == 7 then
        return arguments.capture()
    end

    if kind == 8 then
        return lists[below(#lists) + 1]
    end

    if kind == 9 then
        return functions[below(#functions) + 1].f
    end

    return arguments.value()
end


local function call()
    local reached = functions[below(#functions) + 1]
    local list = {}
    local n = below(7)

    for i = 1, n do
        list[i] = argument()
    end

    -- those of ngx.ctx may change it
    local ctx = ngx.ctx

    ffi.copy(outcome.trace + 4, reached.name:sub(1, 90))
    pcall(reached.f, unpack(list, 1, n))

    if not rawequal(ngx.ctx, ctx) then
        ngx.ctx = ctx
    end

    return reached.name
end


-- Calls one and looks whether the library still works.
function _M.case()
    local entry = requests.current

    if #functions == 0 then
        find()
    end

    local name = call()
    local value, err = ngxvar.fetch("uri", entry.handle)

    if entry.fake then
        outcome.check_refused("after " .. name, value, err)
    else
        outcome.check_served("after " .. name, "uri", entry, value)
    end
end


-- The names of those that were found.
function _M.names()
    local names = {}

    for i, reached in ipairs(functions) do
        names[i] = reached.name
    end

    return names
end


return _M
