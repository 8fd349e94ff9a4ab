---@meta resty.ngxvar

-- resty.ngxvar for LuaLS, the language server for Lua: not run by nginx, and no part of the
-- module. Name the directory above resty/ in `workspace.library`. README.md says what the
-- functions do; t/meta.t compares both and the module with this file.

---@class resty.ngxvar
---@field _VERSION string the module's version
local _M = { _VERSION = "" }

---Names one request and no other, also when that has ended. Opaque.
---@class resty.ngxvar.handle

---What the values of variables are.
---@alias resty.ngxvar.value string|number|nil

---A handle of the current request. `nil, "no request found"` in `init_by_lua*`.
---@return resty.ngxvar.handle? req
---@return string? err
function _M.request() end

---The variable of a request, of the current one without `req`; nil when it is not found.
---@param name string|integer the variable, without `$`; a number for a capture
---@param req? resty.ngxvar.handle|ffi.cdata*
---@return resty.ngxvar.value value
---@return string? err
function _M.fetch(name, req) end

---Assigns to a variable; a nil value unsets it.
---@param name string
---@param value string|number|nil
---@param req? resty.ngxvar.handle|ffi.cdata*
---@return true? ok
---@return string? err
function _M.set(name, value, req) end

---Whether the request is there, else the reason.
---@param req resty.ngxvar.handle|ffi.cdata*
---@return boolean ok
---@return string? err
function _M.live(req) end

---A function that fetches one variable, for loops that LuaJIT compiles.
---@param name string
---@return fun(req: resty.ngxvar.handle|ffi.cdata*): value: resty.ngxvar.value, err: string? get
function _M.getter(name) end

---Reads many variables of one request: its values, in the order of the names.
---@class resty.ngxvar.reader
---@overload fun(req?: resty.ngxvar.handle|ffi.cdata*): ...: resty.ngxvar.value
local reader = {}

---The same by name, in `t` if that is given; nil and why where the request is refused.
---@type fun(self: resty.ngxvar.reader, req?: resty.ngxvar.handle|ffi.cdata*, t?: table): table<string, resty.ngxvar.value>?, string?
reader.table = nil

---Makes a reader of 1 to 64 variables.
---@param names string[]
---@return resty.ngxvar.reader read
function _M.reader(names) end

---A function that sets one variable, for loops that LuaJIT compiles.
---@param name string
---@return fun(value: string|number|nil, req: resty.ngxvar.handle|ffi.cdata*): ok: true?, err: string? set
function _M.setter(name) end

---A copy of what Lua left in the `ngx.ctx` of this connection's TLS handshake, or nil.
---@return table? left
function _M.ssl_ctx() end

---What all workers counted: a number by name.
---@return table<string, number> figures
function _M.stats() end

---Lets `ngx.var.name` be read as `fetch` reads. For `init_by_lua*`.
function _M.patch_ngx_var() end

---With `false`, `fetch` of the current request asks `ngx.var[name]`.
---@param state boolean
function _M.enable_patch(state) end

return _M
