-- What require "resty.ngxvar" finds where the library of ngx_http_lua_var_module is not: a sentence
-- instead of Lua's list of files. Where the library is, require finds that first. To use this file,
-- put it into a directory of lua_package_path, as resty/ngxvar.lua.

if not ngx.var then
    error("resty.ngxvar: no request is current in ngx.run_worker_thread: read the variables before,"
          .. " and pass the values", 0)
end

error("resty.ngxvar: ngx_http_lua_var_module is not loaded: add its load_module line to nginx.conf", 0)
