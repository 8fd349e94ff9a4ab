-- Returns the worker's resident memory, in bytes, once Lua's garbage is collected.

return function ()
    collectgarbage()
    collectgarbage()
    local file = io.open("/proc/self/statm")
    local _, pages = file:read("*n", "*n")
    file:close()
    return pages * 4096
end
