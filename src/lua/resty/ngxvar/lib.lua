-- The module's C functions, for FFI.

local core = ...

local ffi = require "ffi"

-- While a reload takes the module from another file, both files are mapped, and ffi.C
-- finds the functions of the older one: so the file is named. Linked into nginx, the
-- module has no file (core.file is nil) and nothing to be mistaken for; LuaJIT cannot
-- load an executable, and ffi.C has its functions.
return core.file and ffi.load(core.file) or ffi.C
