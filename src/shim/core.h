/*
 * What the C functions of the Lua library share: the state of their Lua VM, and
 * functions that read their arguments and push their results.
 */

#ifndef NGX_HTTP_LUA_VAR_CORE_H
#define NGX_HTTP_LUA_VAR_CORE_H

#include "lua.h"


/* Names up to this length are converted to lower case on the C stack. */
#define NAME_BUF            256

/* The cache of names: the most names in it, and the size of its hash table. */
#define NAMES_MAX           512
#define NAMES_SLOTS         1024

/*
 * A name in the cache.  The Lua string is anchored in the VM, so no other object
 * can have its address while it is here.
 */
typedef struct {
    const void                *string;  /* lua_topointer() of the string, or NULL */
    ngx_http_lua_var_found_t   found;
} lua_var_name_t;


/* The module's state in a Lua VM: the first upvalue of each C function. */
typedef struct {
    /*
     * The address and the bits of the handle that request() returned last.  A
     * Lua local anchors this handle, so no other object can have its address.
     */
    const void      *last;
    uint64_t         last_handle;
    uint32_t         nnames;        /* names in the cache */
    uint32_t         nprefixed;     /* names in it that have a built-in prefix */
    /* the ctype ids of cdata that names a request */
    uint16_t         handle;
    uint16_t         void_pointer;
    uint16_t         request_pointer;
    /* the offset of a cdata's ctype id from its payload, in bytes */
    int              id_offset;
    lua_var_name_t   names[NAMES_SLOTS];
} lua_var_vm_t;

/*
 * Upvalues of the C functions: the state of the VM, the table that anchors the
 * names, the original tostring(), and the strings of LUA_VAR_FIXED_TEXTS.
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


/* Reads the argument at idx, which names a request, and the current request. */
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
            ngx_memcpy(&req->value, payload, sizeof(void *));
            req->kind = req->value ? LUA_VAR_REQ_POINTER : LUA_VAR_REQ_FOREIGN;
            return;
        }

        break;

    case LUA_TLIGHTUSERDATA:
        /* get_request() of lua-resty-core returns this on a LuaJIT without exdata */
        req->value = (uintptr_t) api.lua_touserdata(L, idx);
        req->kind = req->value ? LUA_VAR_REQ_POINTER : LUA_VAR_REQ_FOREIGN;
        return;
    }

    req->kind = LUA_VAR_REQ_FOREIGN;
}


/*
 * Pushes a value, or nil and a message, and returns the number of results.
 *
 * lua_pushlstring() may run the collector before it copies the bytes, and then a
 * finalizer that calls this module.  So *v must not be a buffer that other calls
 * write to, and v->data must point to memory of the request.
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


/* Pushes nil and a message for an argument that cannot name a request. */
static ngx_inline int
refuse_argument(lua_State *L, int idx, const char *call)
{
    int          type;
    const char  *got;

    type = api.lua_type(L, idx);
    got = api.lua_typename(L, type);

    /* ngx.null is one */
    if (type == LUA_TLIGHTUSERDATA && api.lua_touserdata(L, idx) == NULL) {
        got = "a null pointer";
    }

    api.lua_pushnil(L);
    api.lua_pushfstring(L, "bad request: expected a handle from request() or "
                        "the current request's pointer, got %s: it is "
                        "ngxvar.%s", got, call);
    return 2;
}


/* Counts and logs a wrong argument, for which the sentence is on top of the stack. */
static ngx_inline void
count_bad_argument(lua_State *L, const char *asked, const u_char *name,
    size_t len, const lua_var_req_t *req)
{
    size_t                     sentence_len;
    ngx_http_lua_var_value_t   out;

    out.data = (const u_char *) api.lua_tolstring(L, -1, &sentence_len);
    out.len = (int32_t) sentence_len;
    out.number = LUA_VAR_BAD_ARGUMENT;

    lua_var_refuse(L, asked, name, len, req, &out);
}


/* Converts a name to lower case, in buf or, if it is longer, in a new userdata. */
static ngx_inline const u_char *
lower_case(lua_State *L, const u_char *name, size_t len, u_char *buf)
{
    if (len > NAME_BUF) {
        buf = api.lua_newuserdata(L, len);
    }

    ngx_strlow(buf, (u_char *) name, len);

    return buf;
}


/* Counts and logs a refusal, if the value is one, and calls push_value(). */
static ngx_inline int
give(lua_State *L, const char *asked, const u_char *name, size_t len,
    const lua_var_req_t *req, const ngx_http_lua_var_value_t *v)
{
    if (v->kind == NGX_HTTP_LUA_VAR_REFUSED) {
        lua_var_refuse(L, asked, name, len, req, v);
    }

    return push_value(L, v);
}


/* Reads the variable whose name is the string at idx. */
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


/* Pushes the upvalues of the running function, for a function that shares them. */
static ngx_inline void
push_upvalues(lua_State *L)
{
    int  up;

    for (up = 1; up <= NUPVALUES; up++) {
        api.lua_pushvalue(L, lua_upvalueindex(up));
    }
}


typedef struct {
    const char     *name;       /* NULL at the end of an array */
    lua_CFunction   fn;
} lua_var_function_t;

/* The functions that Lua code calls, by way of the Lua library; see functions.c. */
extern const lua_var_function_t  lua_var_functions[]
    __attribute__((visibility("hidden")));

/* Adds the name at idx to the cache, if there is room; see names.c. */
void lua_var_remember_name(lua_State *L, lua_var_vm_t *vm, int idx)
    __attribute__((visibility("hidden")));

/* learn(fn) -> table; see names.c */
int lua_var_learn(lua_State *L) __attribute__((visibility("hidden")));

/* reader(names, n) -> read, checked; see reader.c */
int lua_var_new_reader(lua_State *L) __attribute__((visibility("hidden")));

#endif
