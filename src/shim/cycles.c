/*
 * Whether nginx still has the modules of this file.
 *
 * The file stays mapped when nginx has closed it (see build.rs), and so its modules would keep
 * their indices, which nginx then gives to others.  They are taken away when no cycle has the
 * modules any more, as if nginx were to load the file for the first time.
 */

#include "shim.h"


extern ngx_module_t  ngx_http_lua_var_module;
extern ngx_module_t  ngx_stream_lua_var_module;

/* the cycles that have the modules, with the one that is being read */
static ngx_uint_t  cycles;


static void
unset(ngx_module_t *module)
{
    module->index = NGX_MODULE_UNSET_INDEX;
    module->ctx_index = NGX_MODULE_UNSET_INDEX;
}


static void
leave(void *data)
{
    if (--cycles == 0) {
        lua_var_is_running = 0;
        unset(&ngx_http_lua_var_module);
        unset(&ngx_stream_lua_var_module);
    }
}


ngx_int_t
lua_var_enter(ngx_conf_t *cf)
{
    const char          *file;
    ngx_pool_cleanup_t  *cln;

    if (lua_var_file(&file) == NGX_DECLINED) {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(cf->cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = leave;
    cycles++;

    return NGX_OK;
}
