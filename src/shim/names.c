/*
 * The cache of resolved names.  A name is found by the address of its Lua string, which
 * is anchored in the VM.
 */

#include "core.h"


/*
 * The most names with a built-in prefix.  Lua code may make such names from what clients
 * send, so they do not get all of the room.
 */
#define PREFIXED_MAX        256


/*
 * Adds a name to the cache.  The table that anchors it has the value that the function
 * of learn() returned for it, with which compiled code reads the variable.
 */
void
lua_var_remember_name(lua_State *L, lua_var_vm_t *vm, int idx)
{
    int                        top;
    size_t                     len;
    const void                *string;
    const u_char              *data;
    lua_var_name_t            *slot;
    ngx_http_lua_var_found_t   found;

    string = api.lua_topointer(L, idx);

    if (known_name(vm, string) != NULL) {
        return;
    }

    slot = &vm->names[name_place(string)];

    if (slot->string != NULL && vm->names[name_place(string) ^ 1].string == NULL) {
        slot = &vm->names[name_place(string) ^ 1];
    }

    data = (const u_char *) api.lua_tolstring(L, idx, &len);

    if (!rust->find(data, len, &found)) {
        return;
    }

    top = api.lua_gettop(L);

    /* a name whose slot was given to another one is still anchored, and counted */
    api.lua_pushvalue(L, idx);
    api.lua_rawget(L, UP_NAMES);

    if (api.lua_type(L, -1) <= LUA_TNIL) {
        if (vm->nnames == NAMES_MAX
            || (found.variable < 0 && vm->nprefixed == PREFIXED_MAX))
        {
            api.lua_settop(L, top);
            return;
        }

        vm->nnames++;
        vm->nprefixed += found.variable < 0;

        api.lua_pushvalue(L, idx);

        /* the function of learn() */
        api.lua_pushboolean(L, 1);
        api.lua_rawget(L, UP_NAMES);
        api.lua_pushvalue(L, idx);
        api.lua_call(L, 1, 1);

        api.lua_rawset(L, UP_NAMES);
    }

    api.lua_settop(L, top);

    slot->string = string;
    slot->found = found;
}


/*
 * learn(fn) -> table
 *
 * Sets the function that is called for each name that the cache gets.  The table maps
 * each name to what the function returned.
 */
int
lua_var_learn(lua_State *L)
{
    api.lua_pushboolean(L, 1);
    api.lua_pushvalue(L, 1);
    api.lua_rawset(L, UP_NAMES);

    api.lua_pushvalue(L, UP_NAMES);
    return 1;
}
