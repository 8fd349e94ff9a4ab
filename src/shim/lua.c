/*
 * Looking up LuaJIT and the Lua module, registering the embedded Lua packages, and
 * the functions through which Rust calls the Lua module.
 */

#include "lua.h"


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


/* The Lua module, or NULL if it is not loaded into the process. */
static ngx_module_t *
lua_module(void)
{
    return dlsym(RTLD_DEFAULT, "ngx_http_lua_module");
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

    lua = lua_module();

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

    for (i = 0; i < rust->nchunks - rust->nreplacements; i++) {
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


ngx_int_t
lua_var_lua_replace(ngx_conf_t *cf, ngx_str_t *package)
{
    size_t                  i;
    const lua_var_chunk_t  *chunk;

    for (i = rust->nchunks - rust->nreplacements; i < rust->nchunks; i++) {
        chunk = &rust->chunks[i];

        if (ngx_strlen(chunk->package) != package->len
            || ngx_strncmp(chunk->package, package->data, package->len) != 0)
        {
            continue;
        }

        if (!api.is_configured) {
            return NGX_OK;
        }

        return api.ngx_http_lua_add_package_preload(cf, chunk->package,
                                                    open_package);
    }

    return NGX_DECLINED;
}


/*
 * The structures of the Lua module are not declared here.  The offset of the flag is
 * taken from the directive that sets it.
 */
ngx_uint_t
lua_var_lua_is_code_cache_off(ngx_conf_t *cf)
{
    void                 *conf;
    ngx_str_t            *name;
    ngx_module_t         *lua;
    ngx_command_t        *cmd;
    ngx_http_conf_ctx_t  *ctx;

    static ngx_str_t  code_cache = ngx_string("lua_code_cache");

    lua = api.is_configured ? lua_module() : NULL;

    for (cmd = lua ? lua->commands : NULL; cmd && cmd->name.len; cmd++) {
        name = &cmd->name;

        if (name->len == code_cache.len
            && ngx_strncmp(name->data, code_cache.data, name->len) == 0
            && (cmd->type & NGX_CONF_FLAG)
            && cmd->conf == NGX_HTTP_LOC_CONF_OFFSET)
        {
            ctx = cf->ctx;
            conf = ctx->loc_conf[lua->ctx_index];

            return *(ngx_flag_t *) ((char *) conf + cmd->offset) == 0;
        }
    }

    return 0;
}


ngx_uint_t
lua_var_lua_is_configured(void)
{
    return api.is_configured;
}


ngx_uint_t
lua_var_lua_is_running(void)
{
    return api.is_running;
}


void
lua_var_lua_commit(void)
{
    api.is_running = api.is_configured;
}


ngx_int_t
lua_var_lua_ctx_ref(ngx_http_request_t *r)
{
    return api.is_running ? api.ngx_http_lua_ffi_get_ctx_ref(r, NULL, NULL) : -1;
}


static const char  not_loaded[] = "ngx_http_lua_module is not loaded";
static const char  no_memory[] = "no memory";


ngx_int_t
lua_var_lua_get(ngx_http_request_t *r, const u_char *name, size_t len,
    int capture, ngx_str_t *value, const char **error)
{
    char       *err;
    u_char     *low;
    ngx_int_t   rc;

    if (!api.is_running) {
        *error = not_loaded;
        return NGX_ERROR;
    }

    /* the function converts the name, although that is in lower case already */
    low = ngx_alloc(len + 1, ngx_cycle->log);

    if (low == NULL) {
        *error = no_memory;
        return NGX_ERROR;
    }

    rc = api.ngx_http_lua_ffi_var_get(r, (u_char *) name, len, low, capture,
                                      &value->data, &value->len, &err);

    ngx_free(low);
    *error = err;

    return rc;
}


static ngx_int_t
write_message(const char *message, u_char *sentence, size_t *sentence_len)
{
    *sentence_len = ngx_strlen(message);
    ngx_memcpy(sentence, message, *sentence_len);

    return NGX_ERROR;
}


ngx_int_t
lua_var_lua_set(ngx_http_request_t *r, const u_char *name, size_t len,
    const u_char *value, size_t value_len, u_char *sentence,
    size_t *sentence_len)
{
    u_char     *low;
    ngx_int_t   rc;

    if (!api.is_running) {
        return write_message(not_loaded, sentence, sentence_len);
    }

    low = ngx_alloc(len + 1, ngx_cycle->log);

    if (low == NULL) {
        return write_message(no_memory, sentence, sentence_len);
    }

    rc = api.ngx_http_lua_ffi_var_set(r, (u_char *) name, len, low,
                                      (u_char *) value, value_len, sentence,
                                      sentence_len);

    ngx_free(low);

    return rc;
}
