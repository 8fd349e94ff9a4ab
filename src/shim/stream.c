/*
 * A module of nginx's stream subsystem that registers resty.ngxvar with
 * ngx_stream_lua_module, and does nothing else.
 *
 * The HTTP module cannot do that, because stream {} may come before http {}, and its
 * init_by_lua runs as soon as it is read.  An nginx without the stream subsystem
 * ignores this module.
 *
 * The headers of the subsystem are not used, because they are missing if nginx was
 * configured without it.
 */

/* first, because nginx's headers define _GNU_SOURCE, which RTLD_DEFAULT needs */
#include "shim.h"

#include <dlfcn.h>


#define LUA_VAR_STREAM_MODULE  0x4d525453   /* "STRM", ngx_stream.h */


typedef int (*lua_CFunction)(lua_State *L);

/* ngx_stream_module_t */
typedef struct {
    ngx_int_t  (*preconfiguration)(ngx_conf_t *cf);
    void       *unused[5];
} lua_var_stream_module_t;


/* The pointers of lua.c cannot be used: the HTTP module may not have set them yet. */
static struct {
    int   (*luaL_loadbuffer)(lua_State *L, const char *s, size_t len,
                             const char *name);
    void  (*lua_pushlstring)(lua_State *L, const char *s, size_t len);
    void  (*lua_call)(lua_State *L, int nargs, int nresults);
    int   (*lua_error)(lua_State *L);
    ngx_int_t  (*add_package_preload)(ngx_conf_t *cf, const char *package,
                                      lua_CFunction fn);
} api;


static int
open_stream(lua_State *L)
{
    const lua_var_chunk_t  *chunk;

    chunk = lua_var_rs_stream();

    if (api.luaL_loadbuffer(L, (const char *) chunk->source, chunk->len,
                            chunk->name)
        != 0)
    {
        return api.lua_error(L);
    }

    api.lua_pushlstring(L, LUA_VAR_VERSION, sizeof(LUA_VAR_VERSION) - 1);
    api.lua_call(L, 1, 1);

    return 1;
}


static ngx_int_t
preconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t     i;
    ngx_module_t  *lua;

    lua = dlsym(RTLD_DEFAULT, "ngx_stream_lua_module");

    if (lua == NULL) {
        return NGX_OK;
    }

    /* it may be loaded and not be in the configuration, see has_lua_module() */
    for (i = 0; cf->cycle->modules[i] != lua; i++) {
        if (cf->cycle->modules[i] == NULL) {
            return NGX_OK;
        }
    }

    if (lua_var_enter(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    *(void **) &api.luaL_loadbuffer = dlsym(RTLD_DEFAULT, "luaL_loadbuffer");
    *(void **) &api.lua_pushlstring = dlsym(RTLD_DEFAULT, "lua_pushlstring");
    *(void **) &api.lua_call = dlsym(RTLD_DEFAULT, "lua_call");
    *(void **) &api.lua_error = dlsym(RTLD_DEFAULT, "lua_error");
    *(void **) &api.add_package_preload =
        dlsym(RTLD_DEFAULT, "ngx_stream_lua_add_package_preload");

    if (api.luaL_loadbuffer == NULL || api.lua_pushlstring == NULL
        || api.lua_call == NULL || api.lua_error == NULL
        || api.add_package_preload == NULL)
    {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "ngx_stream_lua_module is too old for "
                           "ngx_http_lua_var_module: there is no "
                           "resty.ngxvar in its Lua");
        return NGX_OK;
    }

    return api.add_package_preload(cf, "resty.ngxvar", open_stream);
}


static lua_var_stream_module_t  ctx = { preconfiguration, { NULL } };


ngx_module_t  ngx_stream_lua_var_module = {
    NGX_MODULE_V1,
    &ctx,
    NULL,
    LUA_VAR_STREAM_MODULE,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NGX_MODULE_V1_PADDING
};
