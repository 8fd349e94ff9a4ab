/*
 * The cache of names: what was found of a name is found again by the address of its
 * string, which is anchored in the VM.
 */

#include "core.h"


/* Lua may make names of a prefix from what a client sent: they leave room for others. */
#define PREFIXED_MAX        256


/*
 * Caches a name, if there is room, so that it is found by its address again.  Lua's
 * traces find it in the table that anchors it, by what vm->learn makes of it.
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

    /* a name whose slot another took stays anchored, and counts once */
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

        /* set by learn() */
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
 * learn(fn) -> table: fn(name) makes what traces read a name by; the table has
 * that of each name in the cache
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
