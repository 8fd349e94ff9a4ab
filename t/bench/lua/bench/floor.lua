-- target/bench/floor.so, see floor.c.

local ffi = require "ffi"
require "resty.core.base"       -- declares ngx_str_t

ffi.cdef[[
int floor_str(void *r, ngx_str_t *out);
int floor_int(void *r);
double floor_now(void);
double floor_heap(void);
void floor_count(void);
void floor_dump(void);
]]

return ffi.load(BENCH.target .. "/floor.so")
