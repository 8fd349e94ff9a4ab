-- The results of the fuzzer's cases: counts, and reports of wrong ones.

local ffi = require "ffi"
local requests = require "fuzz_requests"

local C = ffi.C

ffi.cdef[[
void *mmap(void *addr, size_t length, int prot, int flags, int fd, long offset);
int open(const char *path, int flags, int mode);
]]

local totals = { cases = 0, served = 0, refused = 0, wrong = 0, ended = 0, reports = {} }

local _M = {
    totals = totals,
    -- number of the case that is run
    case = nil,
}


function _M.served()
    totals.served = totals.served + 1
end


function _M.refused()
    totals.refused = totals.refused + 1
end


function _M.served_if(condition)
    if condition then
        _M.served()
    else
        _M.refused()
    end
end


-- A mapped file, which survives a crash of the worker: the batch's seed, the numbers of the
-- case and of the function, and the address.
_M.trace = nil

function _M.open_trace(file)
    local fd = C.open(file, 0x42, 384)      -- O_RDWR | O_CREAT
    local io_file = assert(io.open(file, "w"))

    io_file:write(("\0"):rep(4096))
    io_file:close()

    _M.trace = ffi.cast("uint64_t *", C.mmap(nil, 4096, 3, 1, fd, 0))
end


function _M.wrong(what, ...)
    local current = requests.current
    local parts = {}

    for i = 1, select("#", ...) do
        parts[i] = tostring((select(i, ...))):sub(1, 200)
    end

    totals.wrong = totals.wrong + 1

    if #totals.reports < 10 then
        totals.reports[#totals.reports + 1] =
            ("case %d of %s, %s: %s"):format(_M.case, current and current.marker or "no request",
                                             what, table.concat(parts, ", "))
    end
end


-- No value may be another request's: all values of a request contain its marker.
function _M.check_marker(what, text, entry)
    local marker = text:match("id%-%d+")

    if marker and marker ~= entry.marker then
        _M.wrong(what .. ": another request's text", text, entry.marker)
    end
end


-- nil and why
function _M.check_refused(what, value, err)
    if value ~= nil or type(err) ~= "string" or err == "" then
        return _M.wrong(what .. ": not refused", value, err)
    end

    _M.refused()
end


function _M.check_served(what, name, entry, value)
    local wanted = entry.expected[name]
    local kind = type(value)

    if wanted and value ~= wanted then
        return _M.wrong(what .. ": " .. name, value, wanted)
    end

    if kind == "string" then
        _M.check_marker(what, value, entry)
    elseif kind ~= "nil" and kind ~= "number" then
        _M.wrong(what .. ": type", kind)
    end

    _M.served()
end


return _M
