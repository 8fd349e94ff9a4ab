-- The names in variables.txt, in the order they stand there; the twenty of the handlers as a
-- list of their own.

local names, twenty = {}, {}

for text in io.lines(BENCH.root .. "/t/bench/variables.txt") do
    local line, list = text:match("^(%a+)%s+(.*)")
    local to = line == "twenty" and twenty or names

    for name in (list or ""):gmatch("%S+") do
        to[#to + 1] = name
    end
end

names.twenty = twenty

return names
