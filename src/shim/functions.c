/*
 * The functions of the Lua library that are written with Lua's C API.  The interpreter
 * calls them; compiled code uses FFI.  They may raise errors, because no Rust function
 * is on the stack then.
 */

#include "core.h"


/*
 * Raises the error for an argument that is no name.  A table or a cdata comes of a call
 * with a colon or of swapped arguments, so the error shows the right call.
 */
static int
bad_name(lua_State *L, const char *expected, const char *asked,
    const char *call, const lua_var_req_t *req)
{
    int          type;
    const char  *dot;

    type = api.lua_type(L, 1);
    dot = (type == LUA_TTABLE) ? ", with a dot" : "";

    if (type != LUA_TTABLE && type != LUA_TCDATA) {
        api.lua_pushfstring(L, "bad variable name: expected %s, got %s",
                            expected, api.lua_typename(L, type));

    } else {
        api.lua_pushfstring(L, "bad variable name: expected %s, got %s: "
                            "it is ngxvar.%s%s", expected,
                            api.lua_typename(L, type), call, dot);
    }

    count_bad_argument(L, asked, NULL, 0, req);

    return api.luaL_error(L, "%s", api.lua_tolstring(L, -1, NULL));
}


/* fetch() for a name that is not in the cache, another request, or bad arguments. */
static int
fetch_slow(lua_State *L, lua_var_vm_t *vm)
{
    int                        n;
    size_t                     len;
    const u_char              *name;
    lua_var_req_t              req;
    ngx_http_lua_var_value_t   out;

    request_arg(L, vm, 2, &req);

    name = NULL;
    len = 0;

    switch (api.lua_type(L, 1)) {

    case LUA_TSTRING:
        name = (const u_char *) api.lua_tolstring(L, 1, &len);
        break;

    case LUA_TNUMBER:
        break;

    default:
        return bad_name(L, "string or number", "read", "fetch(name, req)",
                        &req);
    }

    if (req.kind == LUA_VAR_REQ_FOREIGN) {
        n = refuse_argument(L, 2, "fetch(name, req)");
        count_bad_argument(L, "read", name, len, &req);
        return n;
    }

    if (name != NULL) {
        fetch_by_name(L, 1, &req, NGX_HTTP_LUA_VAR_TYPED, &out);

        n = give(L, "read", name, len, &req, &out);

        if (out.kind != NGX_HTTP_LUA_VAR_ERROR
            && out.kind != NGX_HTTP_LUA_VAR_REFUSED
            && out.kind != NGX_HTTP_LUA_VAR_NIL)
        {
            lua_var_remember_name(L, vm, 1);
        }

        return n;
    }

    rust->capture(&req, (ptrdiff_t) api.lua_tonumber(L, 1), &out);
    return give(L, "read a capture", NULL, 0, &req, &out);
}


/*
 * fetch(name, req?) -> value | nil | nil, err
 *
 * Most calls have a name that is in the cache and the handle that was returned last.
 * Both are recognised by their addresses alone.
 */
static int
l_fetch(lua_State *L)
{
    const void                *string;
    lua_var_vm_t              *vm;
    lua_var_name_t            *name;
    ngx_http_lua_var_value_t   out;

    vm = vm_of(L);
    string = api.lua_topointer(L, 1);
    name = known_name(vm, string);

    if (name != NULL && vm->last == api.lua_topointer(L, 2)) {
        rust->read(vm->last_handle, NULL, &name->found,
                   NGX_HTTP_LUA_VAR_TYPED, &out);

        if (out.kind != NGX_HTTP_LUA_VAR_AGAIN) {
            return push_value(L, &out);
        }
    }

    return fetch_slow(L, vm);
}


/*
 * var_index(self, name) -> value | nil | nil, true
 *
 * The __index of ngx.var after patch_ngx_var().  With true as the second result it
 * declines, and the stock function has to read the variable.
 */
static int
l_var_index(lua_State *L)
{
    int                        n;
    const void                *string;
    lua_var_vm_t              *vm;
    lua_var_req_t              req;
    lua_var_name_t            *name;
    ngx_http_lua_var_value_t   out;

    vm = vm_of(L);
    req.current = api.ngx_http_lua_get_request(L);

    string = api.lua_topointer(L, 2);
    name = known_name(vm, string);

    if (name != NULL && req.current != NULL) {
        rust->read(0, req.current, &name->found, NGX_HTTP_LUA_VAR_NGX_VAR,
                   &out);

        if (out.kind != NGX_HTTP_LUA_VAR_AGAIN) {
            return push_value(L, &out);
        }
    }

    if (api.lua_type(L, 2) == LUA_TSTRING) {
        req.value = 0;
        req.kind = LUA_VAR_REQ_CURRENT;

        fetch_by_name(L, 2, &req, NGX_HTTP_LUA_VAR_NGX_VAR, &out);

        /* the stock function raises its error for a request that is refused */
        if (out.kind != NGX_HTTP_LUA_VAR_ERROR
            && out.kind != NGX_HTTP_LUA_VAR_REFUSED)
        {
            n = push_value(L, &out);

            if (out.kind != NGX_HTTP_LUA_VAR_NIL) {
                lua_var_remember_name(L, vm, 2);
            }

            return n;
        }
    }

    api.lua_pushnil(L);
    api.lua_pushboolean(L, 1);
    return 2;
}


/* set(name, value, req?) -> true | nil, err */
static int
l_set(lua_State *L)
{
    u_char                     buf[NAME_BUF], sentence[LUA_VAR_SENTENCE];
    size_t                     len, value_len;
    const u_char              *name, *value;
    lua_var_req_t              req;
    ngx_http_lua_var_value_t   out;

    request_arg(L, vm_of(L), 3, &req);

    if (api.lua_type(L, 1) != LUA_TSTRING) {
        return bad_name(L, "string", "set", "set(name, value, req)", &req);
    }

    name = (const u_char *) api.lua_tolstring(L, 1, &len);

    if (req.kind == LUA_VAR_REQ_FOREIGN) {
        refuse_argument(L, 3, "set(name, value, req)");
        count_bad_argument(L, "set", name, len, &req);
        return 2;
    }

    value = NULL;
    value_len = 0;

    if (api.lua_type(L, 2) > 0) {
        api.lua_pushvalue(L, UP_TOSTRING);
        api.lua_pushvalue(L, 2);
        api.lua_call(L, 1, 1);

        value = (const u_char *) api.lua_tolstring(L, -1, &value_len);

        if (value == NULL) {
            return api.luaL_error(L, "bad variable value: \"tostring\" must "
                                  "return a string");
        }
    }

    rust->set(&req, name, len, value, value_len, sentence, &out);

    if (out.kind == NGX_HTTP_LUA_VAR_AGAIN) {
        name = lower_case(L, name, len, buf);
        rust->set(&req, name, len, value, value_len, sentence, &out);
    }

    return give(L, "set", name, len, &req, &out);
}


/* live(req) -> true | false, why */
static int
l_live(lua_State *L)
{
    lua_var_req_t              req;
    ngx_http_lua_var_value_t   out;

    request_arg(L, vm_of(L), 1, &req);

    /* unlike for fetch(), nil does not stand for the current request */
    if (api.lua_type(L, 1) == LUA_TNIL || req.kind == LUA_VAR_REQ_FOREIGN) {
        refuse_argument(L, 1, "live(req)");
        api.lua_pushboolean(L, 0);
        api.lua_pushvalue(L, -2);
        return 2;
    }

    rust->live(&req, &out);

    if (out.kind != NGX_HTTP_LUA_VAR_REFUSED) {
        api.lua_pushboolean(L, 1);
        return 1;
    }

    api.lua_pushboolean(L, 0);
    api.lua_pushlstring(L, (const char *) out.data, out.len);
    return 2;
}


/* acquire() -> id, generation of the current request's handle | nil, err */
static int
l_acquire(lua_State *L)
{
    uint64_t                   handle;
    lua_Debug                  caller;
    ngx_http_lua_var_value_t   out;

    rust->acquire(api.ngx_http_lua_get_request(L), &handle, &out);

    if (out.kind == NGX_HTTP_LUA_VAR_REFUSED) {
        return push_value(L, &out);
    }

    if (rust->is_tracing() && lua_var_caller(L, &caller)) {
        rust->made(handle, caller.short_src, caller.currentline);
    }

    api.lua_pushnumber(L, (uint32_t) handle);
    api.lua_pushnumber(L, (uint32_t) (handle >> 32));
    return 2;
}


/* stats() -> table: figures of all workers and refusals by culprit, by the metrics' names */
static int
l_stats(lua_State *L)
{
    u_char                     name[LUA_VAR_SERIES];
    ngx_uint_t                 n;
    ngx_http_lua_var_value_t   out;

    api.lua_createtable(L, 0, 32);

    for (n = 0; rust->figure(n, name, &out); n++) {
        api.lua_pushlstring(L, (const char *) name, out.len);
        api.lua_pushnumber(L, out.number);
        api.lua_rawset(L, -3);
    }

    return 1;
}


const lua_var_function_t  lua_var_functions[] = {
    { "fetch", l_fetch },
    { "set", l_set },
    { "live", l_live },
    { "acquire", l_acquire },
    { "var_index", l_var_index },
    { "stats", l_stats },
    { NULL, NULL }
};
