---@meta resty.ngxvar

-- Annotations of resty.ngxvar for LuaLS, the language server for Lua. nginx does not run this
-- file. To use it, name the directory above resty/ in `workspace.library`. docs/REFERENCE.md
-- describes the functions; t/meta.t compares this file with it and with the module.

---@class resty.ngxvar
---@field _VERSION string the module's version
---@field _BUILD string the version and, unless it is a release, the commit that was built
local _M = { _VERSION = "", _BUILD = "" }

---A userdata that names one request, and never another one.
---@class resty.ngxvar.handle

---The value of a variable.
---@alias resty.ngxvar.value string|number|nil

---Returns a handle for the current request, or `nil, "no request found"` in `init_by_lua*`.
---In timers, the TLS handshake and at the start of a worker it names no request.
---@return resty.ngxvar.handle? req
---@return string? err
function _M.request() end

---Returns a variable of a request, by default of the current one; nil if it is not found.
---@param name string|integer the variable's name without `$`, or the number of a capture
---@param req? resty.ngxvar.handle|ffi.cdata*
---@return resty.ngxvar.value value
---@return string? err
function _M.fetch(name, req) end

---Assigns to a variable of a request, by default of the current one; nil unsets it.
---@param name string
---@param value string|number|nil
---@param req? resty.ngxvar.handle|ffi.cdata*
---@return true? ok
---@return string? err
function _M.set(name, value, req) end

---Returns whether a request is live, and otherwise the reason. nil is not the current request.
---@param req resty.ngxvar.handle|ffi.cdata*
---@return boolean ok
---@return string? err
function _M.live(req) end

---Returns `fetch` with a name, for code that has it: it is no faster.
---@param name string
---@return fun(req?: resty.ngxvar.handle|ffi.cdata*): value: resty.ngxvar.value, err: string? get
function _M.getter(name) end

---Reads several variables of one request, and returns the values in the order of the names.
---@class resty.ngxvar.reader
---@overload fun(req?: resty.ngxvar.handle|ffi.cdata*): ...: resty.ngxvar.value
local reader = {}

---Returns a table of the values by name: `t`, if it is given. nil and the reason if refused.
---@type fun(self: resty.ngxvar.reader, req?: resty.ngxvar.handle|ffi.cdata*, t?: table): table<string, resty.ngxvar.value>?, string?
reader.table = nil

---Returns a reader of 1 to 64 variables.
---@param names string[]
---@return resty.ngxvar.reader read
function _M.reader(names) end

---Returns `set` with a name, for code that has it: it is no faster.
---@param name string
---@return fun(value: string|number|nil, req?: resty.ngxvar.handle|ffi.cdata*): ok: true?, err: string? set
function _M.setter(name) end

---Returns a copy of what Lua left in `ngx.ctx` during this connection's TLS handshake, or nil.
---@return table? left
function _M.ssl_ctx() end

---Returns the figures of all workers, by the names of the metrics without `nginx_lua_var_`.
---@return table<string, number> figures
function _M.stats() end

---Makes `ngx.var.name` about as fast as `fetch` and `set`. To be called in `init_by_lua*`.
function _M.patch_ngx_var() end

---With `false`, `fetch` of the current request returns `ngx.var[name]`.
---@param state boolean
function _M.enable_patch(state) end

return _M
