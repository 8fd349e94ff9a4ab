/*
 * The core: the table of C functions and constants that each Lua file of the library gets
 * as its argument, made once for each VM.  And the cache of resolved names.
 */

#include "vm.h"


#define CORE_KEY            "ngx_http_lua_var.core"

/*
 * The most names with a prefix.  Lua code may make such names from what clients
 * send, so they do not get all of the room.
 */
#define PREFIXED_MAX        256


void
lua_var_remember_name(lua_State *L, lua_var_vm_t *vm, int idx,
    const lua_var_found_t *found)
{
    int              top;
    const void      *string;
    ngx_uint_t       is_prefixed;
    lua_var_name_t  *slot;

    string = api.lua_topointer(L, idx);
    slot = known_name(vm, string);

    if (slot == NULL) {
        slot = &vm->names[name_place(string)];

        if (slot->string != NULL
            && vm->names[name_place(string) ^ 1].string == NULL)
        {
            slot = &vm->names[name_place(string) ^ 1];
        }

        top = api.lua_gettop(L);

        /* a name whose slot was given to another one is still anchored, and counted */
        api.lua_pushvalue(L, idx);
        api.lua_rawget(L, UP_NAMES);

        if (api.lua_type(L, -1) <= LUA_TNIL) {
            is_prefixed = found->kind == LUA_VAR_PREFIX;

            if (vm->nnames == NAMES_MAX
                || (is_prefixed && vm->nprefixed == PREFIXED_MAX))
            {
                api.lua_settop(L, top);
                return;
            }

            vm->nnames++;
            vm->nprefixed += is_prefixed;

            api.lua_pushvalue(L, idx);
            api.lua_pushboolean(L, 1);
            api.lua_rawset(L, UP_NAMES);
        }

        api.lua_settop(L, top);
    }

    slot->name = string_at(L, idx);
    slot->found = *found;
    slot->string = string;
}


/* Adds functions, with the upvalues of the running one, to the table on the stack. */
static void
add_functions(lua_State *L, const lua_var_function_t *function)
{
    int  up;

    for ( /* void */ ; function->name != NULL; function++) {
        for (up = 1; up <= NUPVALUES; up++) {
            api.lua_pushvalue(L, lua_upvalueindex(up));
        }

        api.lua_pushcclosure(L, function->fn, NUPVALUES);
        api.lua_setfield(L, -2, function->name);
    }
}


static int
new_core(lua_State *L)
{
    api.lua_pushvalue(L, UP_METATABLE);
    add_functions(L, lua_var_handle_functions);
    api.lua_pushboolean(L, 0);
    api.lua_setfield(L, -2, "__metatable");

    api.lua_createtable(L, 0, 24);
    add_functions(L, lua_var_functions);

    api.lua_pushlstring(L, LUA_VAR_VERSION, sizeof(LUA_VAR_VERSION) - 1);
    api.lua_setfield(L, -2, "version");
    api.lua_pushlstring(L, LUA_VAR_BUILD, sizeof(LUA_VAR_BUILD) - 1);
    api.lua_setfield(L, -2, "build");

    /* Lua calls these over FFI, which it compiles */
    api.lua_pushlightuserdata(L, (void *) (uintptr_t) rust->ctx_lost);
    api.lua_setfield(L, -2, "ctx_lost");
    api.lua_pushlightuserdata(L, (void *) (uintptr_t) rust->ctx_made);
    api.lua_setfield(L, -2, "ctx_made");

    api.lua_pushnumber(L, vm_of(L)->number);
    api.lua_setfield(L, -2, "vm");

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
    vm->mark = (uint64_t) ngx_random() << 32 ^ (uint64_t) ngx_random()
               ^ (uintptr_t) vm;
    vm->number = rust->vm();
    /* no Lua object has this address; NULL would be that of nil */
    vm->last = vm;

    api.lua_createtable(L, 0, 0);
    api.lua_createtable(L, 0, 3);
    api.lua_pushnil(L);
    api.lua_getfield(L, LUA_GLOBALSINDEX, "tostring");

    for (i = 0; i < LUA_VAR_FIXED_N; i++) {
        api.lua_pushlstring(L, fixed[i], ngx_strlen(fixed[i]));
    }

    api.lua_pushcclosure(L, new_core, NUPVALUES);
    api.lua_call(L, 0, 1);

    api.lua_pushvalue(L, -1);
    api.lua_setfield(L, LUA_REGISTRYINDEX, CORE_KEY);
}
