-- target/bench/probe.so, see probe.c.

local ffi = require "ffi"

ffi.cdef[[
double probe_now(void);
double probe_heap(void);
void probe_count(void);
void probe_dump(void);
]]

return ffi.load(BENCH.target .. "/probe.so")
