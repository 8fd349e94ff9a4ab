/*
 * The core: the table of C functions and constants that each Lua file of the library gets
 * as its argument.  A VM has one.
 */

#include "core.h"


#define CORE_KEY            "ngx_http_lua_var.core"


/* remember(handle): stores its address; the caller keeps it alive from now on */
static int
l_remember(lua_State *L)
{
    lua_var_vm_t  *vm;

    vm = vm_of(L);
    vm->last = api.lua_topointer(L, 1);
    ngx_memcpy(&vm->last_handle, vm->last, sizeof(vm->last_handle));

    return 0;
}


/*
 * ctypes(handle, handle_id, pointer, pointer_id, request_id) -> bool
 *
 * Tells the C functions which cdata are handles and pointers.  The place of a cdata's
 * ctype id is not part of LuaJIT's API, so it is found with two cdata of known types.
 * Returns false if it is in none of the places where LuaJIT ever had it.
 */
static int
l_ctypes(lua_State *L)
{
    size_t            i;
    uint16_t          handle, pointer;
    const void       *h, *p;
    lua_var_vm_t     *vm;

    /* from the end of GCcdata, with 64-bit and with 32-bit GC references */
    static const int  offsets[] = { -6, -2 };

    vm = vm_of(L);
    h = api.lua_topointer(L, 1);
    handle = (uint16_t) api.lua_tonumber(L, 2);
    p = api.lua_topointer(L, 3);
    pointer = (uint16_t) api.lua_tonumber(L, 4);

    for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        if (ctype_id(h, offsets[i]) == handle
            && ctype_id(p, offsets[i]) == pointer)
        {
            vm->handle = handle;
            vm->void_pointer = pointer;
            vm->request_pointer = (uint16_t) api.lua_tonumber(L, 5);
            vm->id_offset = offsets[i];

            api.lua_pushboolean(L, 1);
            return 1;
        }
    }

    api.lua_pushboolean(L, 0);
    return 1;
}


/* The functions that only the Lua library itself calls. */
static const lua_var_function_t  core_functions[] = {
    { "ctypes", l_ctypes },
    { "remember", l_remember },
    { "learn", lua_var_learn },
    { "reader", lua_var_new_reader },
    { NULL, NULL }
};


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


/* Adds functions, with the upvalues of the running one, to the table on the stack. */
static void
add_functions(lua_State *L, const lua_var_function_t *function)
{
    for ( /* void */ ; function->name != NULL; function++) {
        push_upvalues(L);
        api.lua_pushcclosure(L, function->fn, NUPVALUES);
        api.lua_setfield(L, -2, function->name);
    }
}


/* Creates the core. */
static int
new_core(lua_State *L)
{
    ngx_int_t    rc;
    const char  *file;

    api.lua_createtable(L, 0, 16);

    add_functions(L, lua_var_functions);
    add_functions(L, core_functions);

    api.lua_pushlstring(L, LUA_VAR_VERSION, sizeof(LUA_VAR_VERSION) - 1);
    api.lua_setfield(L, -2, "version");

    api.lua_pushnumber(L, rust->vm());
    api.lua_setfield(L, -2, "vm");

    api.lua_pushnumber(L, LUA_VAR_READER_MAX);
    api.lua_setfield(L, -2, "reader_max");

    api.lua_pushlstring(L, (const char *) rust->cdef, rust->cdef_len);
    api.lua_setfield(L, -2, "cdef");

    /* the file that lua/resty/ngxvar/call.lua loads */
    rc = lua_var_file(&file);

    if (rc == NGX_ERROR) {
        return api.luaL_error(L, "resty.ngxvar: the module does not find the "
                              "file that it was loaded from");
    }

    if (rc == NGX_OK) {
        api.lua_pushlstring(L, file, ngx_strlen(file));
        api.lua_setfield(L, -2, "file");
    }

    return 1;
}


void
lua_var_push_core(lua_State *L)
{
    size_t         i;
    lua_var_vm_t  *vm;

    static const char  *fixed[LUA_VAR_FIXED_N] = LUA_VAR_FIXED_TEXTS;

    api.lua_getfield(L, LUA_REGISTRYINDEX, CORE_KEY);

    if (api.lua_type(L, -1) > 0) {
        return;
    }

    api.lua_settop(L, -2);

    vm = api.lua_newuserdata(L, sizeof(lua_var_vm_t));
    ngx_memzero(vm, sizeof(lua_var_vm_t));
    /* no Lua object has this address; NULL would be that of nil */
    vm->last = vm;

    api.lua_createtable(L, 0, 0);
    api.lua_getfield(L, LUA_GLOBALSINDEX, "tostring");

    for (i = 0; i < LUA_VAR_FIXED_N; i++) {
        api.lua_pushlstring(L, fixed[i], ngx_strlen(fixed[i]));
    }

    api.lua_pushcclosure(L, new_core, NUPVALUES);
    api.lua_call(L, 0, 1);

    api.lua_pushvalue(L, -1);
    api.lua_setfield(L, LUA_REGISTRYINDEX, CORE_KEY);
}
