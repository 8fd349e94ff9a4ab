/*
 * The functions of the Lua library; fetch.c has those that read.  They may raise errors,
 * because no Rust function is on the stack then.
 */

#include "arguments.h"


/* set(name, value, req?) -> true | nil, err */
static int
l_set(lua_State *L)
{
    u_char           buf[NAME_BUF];
    lua_var_call_t   call;

    ngx_memzero(&call, sizeof(call));
    lua_var_request_arg(L, vm_of(L), 3, &call.req);

    if (api.lua_type(L, 1) != LUA_TSTRING) {
        return lua_var_bad_name(L, "string", "set", SET_USAGE, &call);
    }

    call.name = string_at(L, 1);

    if (call.req.kind == LUA_VAR_REQ_FOREIGN) {
        return lua_var_bad_request(L, 3, "set", SET_USAGE, &call);
    }

    if (api.lua_type(L, 2) > LUA_TNIL) {
        call.text = lua_var_push_text(L, 2);

        if (call.text.data == NULL) {
            return api.luaL_error(L, "bad variable value: \"tostring\" must "
                                  "return a string");
        }
    }

    rust->set(&call);

    if (call.out.kind == LUA_VAR_AGAIN) {
        call.name.data = lua_var_lower_case(L, &call.name, buf);
        rust->set(&call);
    }

    if (call.out.kind == LUA_VAR_ERROR) {
        api.lua_pushnil(L);
        api.lua_pushfstring(L, (const char *) call.out.data, call.name.data,
                            call.name.data);
        return 2;
    }

    return give(L, "set", &call);
}


/* live(req) -> true | false, why */
static int
l_live(lua_State *L)
{
    lua_var_call_t  call;

    ngx_memzero(&call, sizeof(call));
    lua_var_request_arg(L, vm_of(L), 1, &call.req);

    /* unlike in fetch(), nil does not mean the current request */
    if (call.req.kind == LUA_VAR_REQ_CURRENT
        || call.req.kind == LUA_VAR_REQ_FOREIGN)
    {
        lua_var_bad_request(L, 1, NULL, LIVE_USAGE, &call);

    } else {
        rust->live(&call);

        if (push_value(L, &call.out) == 1) {
            return 1;
        }
    }

    api.lua_pushboolean(L, 0);
    api.lua_pushvalue(L, -2);
    return 2;
}


/* request() -> handle | nil, err */
static int
l_request(lua_State *L)
{
    uint64_t           bits;
    lua_Debug          caller;
    lua_var_vm_t      *vm;
    lua_var_call_t     call;
    lua_var_handle_t  *handle;

    vm = vm_of(L);
    call.req.current = api.ngx_http_lua_get_request(L);

    rust->acquire(&call);

    if (call.out.kind != LUA_VAR_TRUE) {
        return push_value(L, &call.out);
    }

    bits = call.req.value;

    if (rust->is_tracing() && lua_var_caller(L, &caller)) {
        rust->made(bits, caller.short_src, caller.currentline);
    }

    if (bits == vm->last_bits) {
        api.lua_pushvalue(L, UP_LAST);
        return 1;
    }

    handle = api.lua_newuserdata(L, sizeof(lua_var_handle_t));
    handle->mark = vm->mark;
    handle->bits = bits;

    api.lua_pushvalue(L, UP_METATABLE);
    api.lua_setmetatable(L, -2);

    api.lua_pushvalue(L, -1);
    api.lua_replace(L, UP_LAST);
    vm->last = handle;
    vm->last_bits = bits;

    return 1;
}


/* __tostring of a handle */
static int
l_tostring(lua_State *L)
{
    u_char                  *end, text[64];
    const lua_var_handle_t  *handle;

    handle = handle_at(L, vm_of(L), 1);

    if (handle == NULL) {
        return api.luaL_error(L, "bad argument: expected a request's handle");
    }

    if ((uint32_t) handle->bits == NGX_MAX_UINT32_VALUE) {
        end = ngx_snprintf(text, sizeof(text), "request: none");

    } else {
        end = ngx_snprintf(text, sizeof(text), "request: %uD/%uD", (uint32_t) handle->bits,
                           (uint32_t) (handle->bits >> 32));
    }

    api.lua_pushlstring(L, (const char *) text, end - text);

    return 1;
}


/* __index and __newindex of a handle */
static int
l_no_member(lua_State *L)
{
    size_t       i, len;
    ngx_str_t    key;
    const char  *use;

    static const char  *usages[] = { FETCH_USAGE, SET_USAGE, LIVE_USAGE };

    use = (api.lua_gettop(L) < 3) ? "fetch(\"%s\", req)"
                                  : "set(\"%s\", value, req)";
    key = lua_var_push_text(L, 2);
    use = api.lua_pushfstring(L, use, key.data);

    /* req:fetch(name) */
    for (i = 0; i < sizeof(usages) / sizeof(usages[0]); i++) {
        len = strcspn(usages[i], "(");

        if (key.len == len && ngx_strncmp(usages[i], key.data, len) == 0) {
            use = usages[i];
        }
    }

    return api.luaL_error(L, "a request's handle has no \"%s\": call ngxvar.%s",
                          key.data, use);
}


/* enable_patch(state) */
static int
l_enable_patch(lua_State *L)
{
    if (api.lua_type(L, 1) != LUA_TBOOLEAN) {
        api.lua_settop(L, 1);
        return api.luaL_error(L, "bad argument to enable_patch(): expected true or "
                              "false, got %s: call ngxvar.enable_patch(state)%s",
                              api.lua_typename(L, api.lua_type(L, 1)),
                              lua_var_with_a_dot(L));
    }

    vm_of(L)->reads_ngx_var = !api.lua_toboolean(L, 1);

    return 0;
}


/* stats() -> table: figures of all workers and refusals by culprit, by the metrics' names */
static int
l_stats(lua_State *L)
{
    u_char            name[LUA_VAR_SERIES];
    ngx_uint_t        n;
    lua_var_value_t   out;

    api.lua_createtable(L, 0, 32);

    for (n = 0; rust->figure(n, name, &out); n++) {
        api.lua_pushlstring(L, (const char *) name, out.len);
        api.lua_pushnumber(L, out.number);
        api.lua_rawset(L, -3);
    }

    return 1;
}


/*
 * connection() -> the number of the current request's TLS connection, or nil
 *
 * A fake request for a TLS handshake has the same as the requests that follow, and so
 * have all streams of HTTP/2 and HTTP/3.
 */
static int
l_connection(lua_State *L)
{
#if (NGX_SSL)
    ngx_connection_t  *c;

    c = rust->connection(api.ngx_http_lua_get_request(L));

    if (c == NULL || c->ssl == NULL || api.SSL_get_ex_data == NULL) {
        return 0;
    }

    c = api.SSL_get_ex_data(c->ssl->connection, *api.ssl_connection_index);
    if (c == NULL) {
        return 0;
    }

    api.lua_pushnumber(L, c->number);
    return 1;
#else
    return 0;
#endif
}


/* inherits() -> whether lua_var_ssl_ctx lets the handshake's ngx.ctx show through */
static int
l_inherits(lua_State *L)
{
    api.lua_pushboolean(L, rust->inherits_ssl_ctx(api.ngx_http_lua_get_request(L)));
    return 1;
}


const lua_var_function_t  lua_var_functions[] = {
    { "fetch", lua_var_fetch },
    { "set", l_set },
    { "live", l_live },
    { "request", l_request },
    { "var_index", lua_var_index },
    { "enable_patch", l_enable_patch },
    { "stats", l_stats },
    { "connection", l_connection },
    { "inherits", l_inherits },
    { NULL, NULL }
};


const lua_var_function_t  lua_var_handle_functions[] = {
    { "__tostring", l_tostring },
    { "__index", l_no_member },
    { "__newindex", l_no_member },
    { NULL, NULL }
};
