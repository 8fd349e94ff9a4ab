/*
 * What the C functions of the Lua library share: what they know of their VM, the
 * arguments that they read and the values that they give.
 */

#ifndef NGX_HTTP_LUA_VAR_CORE_H
#define NGX_HTTP_LUA_VAR_CORE_H

#include "lua.h"


/* Names up to this length are made lower case on the stack. */
#define NAME_BUF            256

/* A cache of names: how many there may be, and places they are found in again. */
#define NAMES_MAX           512
#define NAMES_SLOTS         1024

/*
 * A name that was looked up before.  The string is anchored in the VM, so its
 * address is that of no other object.
 */
typedef struct {
    const void                *string;  /* lua_topointer() of it; NULL: none */
    ngx_http_lua_var_found_t   found;
} lua_var_name_t;


/* What the C functions know of the VM they run in; their first upvalue. */
typedef struct {
    /*
     * The handle that request() gave last; it is kept in a Lua local, so its
     * address is that of no other object either.
     */
    const void      *last;
    uint64_t         last_handle;
    uint32_t         nnames;
    uint32_t         nprefixed;
    /* ctype ids; cdata of any other type names no request */
    uint16_t         handle;
    uint16_t         void_pointer;
    uint16_t         request_pointer;
    /* where a cdata's ctype id is, relative to its payload */
    int              id_offset;
    lua_var_name_t   names[NAMES_SLOTS];
} lua_var_vm_t;

/*
 * Upvalues of the C functions: the VM, the anchor of the names, tostring() as it
 * was when the VM was new, fixed texts.
 */
#define UP_VM               lua_upvalueindex(1)
#define UP_NAMES            lua_upvalueindex(2)
#define UP_TOSTRING         lua_upvalueindex(3)
#define UP_FIXED(n)         lua_upvalueindex(4 + (int) (n))
#define NUPVALUES           (3 + LUA_VAR_FIXED_N)


static ngx_inline lua_var_vm_t *
vm_of(lua_State *L)
{
    return api.lua_touserdata(L, UP_VM);
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


static ngx_inline uint16_t
ctype_id(const void *payload, int offset)
{
    uint16_t  id;

    ngx_memcpy(&id, (const u_char *) payload + offset, sizeof(id));

    return id;
}


/* Reads the argument at idx as the request that a call is about. */
static ngx_inline void
request_arg(lua_State *L, lua_var_vm_t *vm, int idx, lua_var_req_t *req)
{
    uint16_t     id;
    const void  *payload;

    req->current = api.ngx_http_lua_get_request(L);
    req->value = 0;

    switch (api.lua_type(L, idx)) {

    case LUA_TNONE:
    case LUA_TNIL:
        req->kind = LUA_VAR_REQ_CURRENT;
        return;

    case LUA_TCDATA:
        payload = api.lua_topointer(L, idx);
        id = ctype_id(payload, vm->id_offset);

        if (id == vm->handle) {
            req->kind = LUA_VAR_REQ_HANDLE;
            ngx_memcpy(&req->value, payload, sizeof(uint64_t));
            return;
        }

        if (id == vm->void_pointer || id == vm->request_pointer) {
            req->kind = LUA_VAR_REQ_POINTER;
            ngx_memcpy(&req->value, payload, sizeof(void *));
            return;
        }

        break;

    case LUA_TLIGHTUSERDATA:
        /* what get_request() gives on a LuaJIT without exdata */
        req->kind = LUA_VAR_REQ_POINTER;
        req->value = (uintptr_t) api.lua_touserdata(L, idx);
        return;
    }

    req->kind = LUA_VAR_REQ_FOREIGN;
}


/*
 * A string is copied only after the collector had its turn, which may run a
 * finalizer, and that may call this module: so *v is the caller's own, and what
 * it points to is the request's.
 */
static ngx_inline int
push_value(lua_State *L, const ngx_http_lua_var_value_t *v)
{
    switch (v->kind) {

    case NGX_HTTP_LUA_VAR_STRING:
        api.lua_pushlstring(L, (const char *) v->data, v->len);
        return 1;

    case NGX_HTTP_LUA_VAR_NUMBER:
        api.lua_pushnumber(L, v->number);
        return 1;

    case NGX_HTTP_LUA_VAR_WRITTEN:
        api.lua_pushlstring(L, (const char *) v->text, v->len);
        return 1;

    case NGX_HTTP_LUA_VAR_FIXED:
        api.lua_pushvalue(L, UP_FIXED(v->len));
        return 1;

    case NGX_HTTP_LUA_VAR_TRUE:
        api.lua_pushboolean(L, 1);
        return 1;

    case NGX_HTTP_LUA_VAR_ERROR:
    case NGX_HTTP_LUA_VAR_REFUSED:
        api.lua_pushnil(L);
        api.lua_pushlstring(L, (const char *) v->data, v->len);
        return 2;

    default:
        api.lua_pushnil(L);
        return 1;
    }
}


/* nil and a sentence for something that names no request */
static ngx_inline int
refuse_argument(lua_State *L, int idx)
{
    api.lua_pushnil(L);
    api.lua_pushfstring(L, "bad request: expected a handle from request() or "
                        "the current request's pointer, got %s",
                        api.lua_typename(L, api.lua_type(L, idx)));
    return 2;
}


static ngx_inline const u_char *
lower_case(lua_State *L, const u_char *name, size_t len, u_char *buf)
{
    if (len > NAME_BUF) {
        buf = api.lua_newuserdata(L, len);
    }

    ngx_strlow(buf, (u_char *) name, len);

    return buf;
}


/* What push_value() does; a refusal is counted, and logged. */
static ngx_inline int
give(lua_State *L, const char *asked, const u_char *name, size_t len,
    const lua_var_req_t *req, const ngx_http_lua_var_value_t *v)
{
    if (v->kind == NGX_HTTP_LUA_VAR_REFUSED) {
        lua_var_refuse(L, asked, name, len, req, v);
    }

    return push_value(L, v);
}


static ngx_inline void
fetch_by_name(lua_State *L, int idx, const lua_var_req_t *req,
    int32_t flavour, ngx_http_lua_var_value_t *out)
{
    u_char         buf[NAME_BUF];
    size_t         len;
    const u_char  *name;

    name = (const u_char *) api.lua_tolstring(L, idx, &len);

    rust->fetch(req, name, len, flavour, out);

    if (out->kind == NGX_HTTP_LUA_VAR_AGAIN) {
        name = lower_case(L, name, len, buf);
        rust->fetch(req, name, len, flavour, out);
    }
}


/* Pushes the upvalues of the running function, for another one. */
static ngx_inline void
push_upvalues(lua_State *L)
{
    int  up;

    for (up = 1; up <= NUPVALUES; up++) {
        api.lua_pushvalue(L, lua_upvalueindex(up));
    }
}


typedef struct {
    const char     *name;       /* NULL ends a list of them */
    lua_CFunction   fn;
} lua_var_function_t;

/* functions.c: those that Lua code's calls end in */
extern const lua_var_function_t  lua_var_functions[]
    __attribute__((visibility("hidden")));

/* names.c: caches the name at idx, if there is room */
void lua_var_remember_name(lua_State *L, lua_var_vm_t *vm, int idx)
    __attribute__((visibility("hidden")));

/* names.c: learn(fn) -> table */
int lua_var_learn(lua_State *L) __attribute__((visibility("hidden")));

/* reader.c: reader(names, n) -> read, checked */
int lua_var_new_reader(lua_State *L) __attribute__((visibility("hidden")));

#endif
