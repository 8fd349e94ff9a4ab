/* Looking up LuaJIT and the Lua module, and registering the embedded Lua packages. */

#include "lua.h"


ngx_uint_t             lua_var_is_running;
lua_var_api_t          lua_var_api;
const lua_var_rust_t  *lua_var_rust;


static const lua_var_chunk_t *
find_chunk(const char *package)
{
    size_t  i;

    for (i = 0; package != NULL && i < rust->nchunks; i++) {
        if (ngx_strcmp(rust->chunks[i].package, package) == 0) {
            return &rust->chunks[i];
        }
    }

    return NULL;
}


ngx_int_t
lua_var_file(const char **file)
{
    Dl_info  info, nginx;

    if (dladdr((const void *) &lua_var_push_core, &info) == 0
        || dladdr((const void *) &ngx_create_pool, &nginx) == 0)
    {
        return NGX_ERROR;
    }

    *file = info.dli_fname;

    return info.dli_fbase == nginx.dli_fbase ? NGX_DECLINED : NGX_OK;
}


/* The loader of a package: runs its file with the table of C functions as argument. */
static int
open_package(lua_State *L)
{
    const lua_var_chunk_t  *chunk;

    /* require() passes the name of the package */
    chunk = find_chunk(api.lua_tolstring(L, 1, NULL));

    if (chunk == NULL) {
        return api.luaL_error(L, "resty.ngxvar: require() of a package that "
                              "the module does not have");
    }

    if (api.luaL_loadbuffer(L, (const char *) chunk->source, chunk->len,
                            chunk->name)
        != 0)
    {
        return api.lua_error(L);
    }

    lua_var_push_core(L);
    api.lua_call(L, 1, 1);

    return 1;
}


/*
 * Whether the configuration being read has the Lua module.  It may be loaded and
 * not be in the configuration, if a reload has removed its load_module.
 */
static ngx_uint_t
has_lua_module(ngx_conf_t *cf)
{
    ngx_uint_t     i;
    ngx_module_t  *lua;

    lua = dlsym(RTLD_DEFAULT, "ngx_http_lua_module");

    for (i = 0; lua != NULL && cf->cycle->modules[i] != NULL; i++) {
        if (cf->cycle->modules[i] == lua) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
lua_var_lua_init(ngx_conf_t *cf, const lua_var_rust_t *functions,
    const char **missing)
{
    size_t  i;

    rust = functions;
    api.is_configured = 0;
    *missing = NULL;

    if (!has_lua_module(cf)) {
        return NGX_DECLINED;
    }

#define X(result, name, parameters)                                           \
    *(void **) &api.name = dlsym(RTLD_DEFAULT, #name);                        \
    if (api.name == NULL) {                                                   \
        *missing = #name;                                                     \
        return NGX_ERROR;                                                     \
    }
    LUA_VAR_API(X)
#undef X

    /*
     * masked as by ngx_http_lua_lightudata_mask(); NULL if there is no such symbol,
     * and then a refusal is logged without the caller of its coroutine
     */
    api.threads_key = (void *) ((uintptr_t) dlsym(RTLD_DEFAULT,
                                                  "ngx_http_lua_coroutines_key")
                                & (((uintptr_t) 1 << 47) - 1));

    api.SSL_get_ex_data = dlsym(RTLD_DEFAULT, "SSL_get_ex_data");
    api.ssl_connection_index = dlsym(RTLD_DEFAULT, "ngx_ssl_connection_index");

    if (api.ssl_connection_index == NULL) {
        api.SSL_get_ex_data = NULL;
    }

    for (i = 0; i < rust->nchunks; i++) {
        if (api.ngx_http_lua_add_package_preload(cf, rust->chunks[i].package,
                                                 open_package)
            != NGX_OK)
        {
            *missing = rust->chunks[i].package;
            return NGX_ERROR;
        }
    }

    api.is_configured = 1;

    return NGX_OK;
}


ngx_uint_t
lua_var_lua_is_configured(void)
{
    return api.is_configured;
}


ngx_int_t
lua_var_lua_ctx_ref(ngx_http_request_t *r)
{
    return lua_var_is_running ? api.ngx_http_lua_ffi_get_ctx_ref(r, NULL, NULL) : -1;
}
