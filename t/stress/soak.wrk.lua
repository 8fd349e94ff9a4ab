-- For wrk: requests of every kind in a random order, each with an id of its own.

local uris = {}

for line in io.lines(os.getenv("SOAK_URIS")) do
    uris[#uris + 1] = line
end

local threads = 0
local sent = 0

function setup(thread)
    threads = threads + 1
    thread:set("number", threads)
end


function init()
    math.randomseed(os.time() + number)
end


function request()
    sent = sent + 1

    return wrk.format("GET", uris[math.random(#uris)] .. "?id=" .. sent,
                      { ["X-Id"] = "wrk-" .. number .. "-" .. sent })
end
