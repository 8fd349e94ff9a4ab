-- The names in variables.txt, in the order they stand there.

local names = {}

for text in io.lines(BENCH.root .. "/t/bench/variables.txt") do
    local list = text:match("^%a+%s+(.*)")

    for name in (list or ""):gmatch("%S+") do
        names[#names + 1] = name
    end
end

return names
