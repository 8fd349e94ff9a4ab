/* What Lua code passes to the functions of the library, and what it gets. */

#ifndef NGX_HTTP_LUA_VAR_ARGUMENTS_H
#define NGX_HTTP_LUA_VAR_ARGUMENTS_H

#include "vm.h"

#pragma GCC visibility push(hidden)


/* Names below this length are converted to lower case on the C stack. */
#define NAME_BUF            256

/* The calls that errors show. */
#define FETCH_USAGE         "fetch(name, req)"
#define SET_USAGE           "set(name, value, req)"
#define LIVE_USAGE          "live(req)"

/* Pushes what tostring() gives for the value at idx; data is NULL if it is no string. */
ngx_str_t lua_var_push_text(lua_State *L, int idx);

/* Reads the argument at idx, which names a request, and the current request. */
void lua_var_request_arg(lua_State *L, lua_var_vm_t *vm, int idx,
    lua_var_req_t *req);

/* Converts a name to lower case, with a zero behind it, in buf or in a new userdata. */
u_char *lua_var_lower_case(lua_State *L, const ngx_str_t *name, u_char *buf);

/*
 * Pushes nil and a message for an argument that cannot name a request, and counts it, unless
 * asked is NULL.  Returns the number of results.
 */
int lua_var_bad_request(lua_State *L, int idx, const char *asked,
    const char *usage, const lua_var_call_t *call);

/* The end of the error of a call with a colon, which passes the library as first argument. */
const char *lua_var_with_a_dot(lua_State *L);

/*
 * Raises the error for an argument that is no name, and counts it.  A table may come of a call
 * with a colon, a userdata of swapped arguments, so the error shows the right call.
 */
int lua_var_bad_name(lua_State *L, const char *expected, const char *asked,
    const char *usage, const lua_var_call_t *call);

/* Pushes the body of a live request as $request_body gives it, or nil. */
void lua_var_push_body(lua_State *L, const ngx_http_request_t *r);

/* Pushes a string whose bytes a finalizer may free. */
void lua_var_push_volatile(lua_State *L, const u_char *data, size_t len);


/* Pushes a value, or nil and a message, and returns the number of results. */
static ngx_inline int
push_value(lua_State *L, const lua_var_value_t *v)
{
    switch (v->kind) {

    case LUA_VAR_STRING:
        api.lua_pushlstring(L, (const char *) v->data, v->len);
        return 1;

    case LUA_VAR_VOLATILE:
        lua_var_push_volatile(L, v->data, v->len);
        return 1;

    case LUA_VAR_BODY:
        lua_var_push_body(L, (const ngx_http_request_t *) v->data);
        return 1;

    case LUA_VAR_NUMBER:
        api.lua_pushnumber(L, v->number);
        return 1;

    case LUA_VAR_WRITTEN:
        api.lua_pushlstring(L, (const char *) v->text, v->len);
        return 1;

    case LUA_VAR_FIXED:
        api.lua_pushvalue(L, UP_FIXED(v->len));
        return 1;

    case LUA_VAR_TRUE:
        api.lua_pushboolean(L, 1);
        return 1;

    case LUA_VAR_REFUSED:
        api.lua_pushnil(L);
        lua_var_push_volatile(L, v->data, v->len);
        return 2;

    default:
        api.lua_pushnil(L);
        return 1;
    }
}


/* Counts and logs a refusal, if the value is one, and calls push_value(). */
static ngx_inline int
give(lua_State *L, const char *asked, const lua_var_call_t *call)
{
    if (call->out.kind == LUA_VAR_REFUSED) {
        lua_var_refuse(L, asked, &call->name, &call->req, &call->out);
    }

    return push_value(L, &call->out);
}

#pragma GCC visibility pop

#endif
