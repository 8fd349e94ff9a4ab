/* The module's state in a Lua VM: the cache of names, and what its handles are made of. */

#ifndef NGX_HTTP_LUA_VAR_VM_H
#define NGX_HTTP_LUA_VAR_VM_H

#include "lua.h"

#pragma GCC visibility push(hidden)


/* The cache of names: the most names in it, and the size of its hash table. */
#define NAMES_MAX           512
#define NAMES_SLOTS         1024

/*
 * A name in the cache.  The Lua string is anchored in the VM, so no other object
 * can have its address, and its bytes stay where they are.
 */
typedef struct {
    const void       *string;   /* lua_topointer() of the string, or NULL */
    ngx_str_t         name;
    lua_var_found_t   found;
} lua_var_name_t;


/* A handle is a full userdata with this payload, which no other userdata has. */
typedef struct {
    uint64_t  mark;             /* the VM's */
    uint64_t  bits;
} lua_var_handle_t;


/* The first upvalue of each C function. */
typedef struct {
    uint64_t         mark;
    /* the handle that request() returned last, which UP_LAST of l_request() anchors */
    const void      *last;
    uint64_t         last_bits;
    uint32_t         number;        /* 0 if the VM serves the whole worker */
    uint32_t         nnames;        /* names in the cache */
    uint32_t         nprefixed;     /* names in it that have a prefix */
    unsigned         reads_ngx_var:1;   /* enable_patch(false) was called */
    lua_var_name_t   names[NAMES_SLOTS];
} lua_var_vm_t;

/*
 * Upvalues of the C functions: the state of the VM, the table that anchors the
 * names, the metatable of handles, the last handle (in l_request() only), the original
 * tostring(), and the strings of LUA_VAR_FIXED_TEXTS.
 */
#define UP_VM               lua_upvalueindex(1)
#define UP_NAMES            lua_upvalueindex(2)
#define UP_METATABLE        lua_upvalueindex(3)
#define UP_LAST             lua_upvalueindex(4)
#define UP_TOSTRING         lua_upvalueindex(5)
#define UP_FIXED(n)         lua_upvalueindex(6 + (int) (n))
#define NUPVALUES           (5 + LUA_VAR_FIXED_N)


static ngx_inline lua_var_vm_t *
vm_of(lua_State *L)
{
    return api.lua_touserdata(L, UP_VM);
}


/* The bytes of the Lua string at idx; data is NULL if it is none. */
static ngx_inline ngx_str_t
string_at(lua_State *L, int idx)
{
    ngx_str_t  s;

    s.data = (u_char *) api.lua_tolstring(L, idx, &s.len);

    return s;
}


/* Where a name may be: here, or in the place that differs in the lowest bit. */
static ngx_inline size_t
name_place(const void *string)
{
    uintptr_t  p = (uintptr_t) string;

    return ((p >> 4) ^ (p >> 14)) % NAMES_SLOTS;
}


/* What is cached of a name; NULL: nothing, or it is no string. */
static ngx_inline lua_var_name_t *
known_name(lua_var_vm_t *vm, const void *string)
{
    size_t  place;

    place = name_place(string);

    if (vm->names[place].string == string && string != NULL) {
        return &vm->names[place];
    }

    if (vm->names[place ^ 1].string == string && string != NULL) {
        return &vm->names[place ^ 1];
    }

    return NULL;
}


/* The handle at idx; NULL if there is something else. */
static ngx_inline const lua_var_handle_t *
handle_at(lua_State *L, lua_var_vm_t *vm, int idx)
{
    const lua_var_handle_t  *handle;

    handle = api.lua_touserdata(L, idx);

    /* the length of a light userdata is 0 */
    if (handle == NULL || api.lua_objlen(L, idx) != sizeof(lua_var_handle_t)
        || handle->mark != vm->mark)
    {
        return NULL;
    }

    return handle;
}


/* Adds the name at idx, which was resolved, to the cache, if there is room. */
void lua_var_remember_name(lua_State *L, lua_var_vm_t *vm, int idx,
    const lua_var_found_t *found);


typedef struct {
    const char     *name;       /* NULL at the end of an array */
    lua_CFunction   fn;
} lua_var_function_t;

/* The functions that Lua code calls, by way of the Lua library; see functions.c. */
extern const lua_var_function_t  lua_var_functions[];

/* Those of them in fetch.c. */
int lua_var_fetch(lua_State *L);
int lua_var_index(lua_State *L);

/* Those of the metatable of handles. */
extern const lua_var_function_t  lua_var_handle_functions[];

#pragma GCC visibility pop

#endif
