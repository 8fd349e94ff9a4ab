/*
 * The functions of the Lua library.  They may raise errors, because no Rust function is on
 * the stack then.
 */

#include "vm.h"


/* Names up to this length are converted to lower case on the C stack. */
#define NAME_BUF            256

/* Values up to this length are copied on the C stack. */
#define VALUE_BUF           1024


/* Pushes what tostring() gives for the value at idx, and returns it; NULL if it is no string. */
static const char *
push_text(lua_State *L, int idx, size_t *len)
{
    api.lua_pushvalue(L, UP_TOSTRING);
    api.lua_pushvalue(L, idx);
    api.lua_call(L, 1, 1);

    return api.lua_tolstring(L, -1, len);
}


/*
 * The address in a cdata that is a pointer to anything or to a request; 0 in any other.
 * LuaJIT has no function for it in C, but tostring() writes the type and the address.
 */
static uint64_t
pointer_at(lua_State *L, int idx)
{
    size_t       i, len;
    uint64_t     address;
    const char  *text;

    static const char  *types[] = {
        "cdata<struct ngx_http_request_s *>: 0x",
        "cdata<void *>: 0x"
    };

    text = push_text(L, idx, NULL);
    address = 0;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        len = ngx_strlen(types[i]);

        if (text != NULL && ngx_strncmp(text, types[i], len) == 0) {
            address = strtoull(text + len, NULL, 16);
        }
    }

    api.lua_settop(L, -2);

    return address;
}


/* Reads the argument at idx, which names a request, and the current request. */
static void
request_arg(lua_State *L, lua_var_vm_t *vm, int idx, lua_var_req_t *req)
{
    const lua_var_handle_t  *handle;

    req->current = api.ngx_http_lua_get_request(L);
    req->value = 0;
    req->kind = LUA_VAR_REQ_FOREIGN;

    switch (api.lua_type(L, idx)) {

    case LUA_TNONE:
    case LUA_TNIL:
        req->kind = LUA_VAR_REQ_CURRENT;
        return;

    case LUA_TUSERDATA:
        handle = handle_at(L, vm, idx);

        if (handle != NULL) {
            req->kind = LUA_VAR_REQ_HANDLE;
            req->value = handle->bits;
        }

        return;

    case LUA_TCDATA:
        req->value = pointer_at(L, idx);
        break;

    case LUA_TLIGHTUSERDATA:
        /* get_request() of lua-resty-core returns this on a LuaJIT without exdata */
        req->value = (uintptr_t) api.lua_touserdata(L, idx);
        break;
    }

    if (req->value != 0) {
        req->kind = LUA_VAR_REQ_POINTER;
    }
}


/*
 * lua_pushlstring() may run the collector before it copies the bytes, and then a
 * finalizer that frees them.
 */
static void
push_volatile(lua_State *L, const u_char *data, size_t len)
{
    u_char  *copy, buf[VALUE_BUF];

    copy = (len <= VALUE_BUF) ? buf : ngx_alloc(len, ngx_cycle->log);

    if (copy == NULL) {
        api.luaL_error(L, "no memory");
        return;
    }

    ngx_memcpy(copy, data, len);
    api.lua_pushlstring(L, (const char *) copy, len);

    if (copy != buf) {
        ngx_free(copy);
    }
}


/* Pushes a value, or nil and a message, and returns the number of results. */
static ngx_inline int
push_value(lua_State *L, const lua_var_value_t *v)
{
    switch (v->kind) {

    case LUA_VAR_STRING:
        api.lua_pushlstring(L, (const char *) v->data, v->len);
        return 1;

    case LUA_VAR_VOLATILE:
        push_volatile(L, v->data, v->len);
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

    case LUA_VAR_ERROR:
    case LUA_VAR_REFUSED:
        api.lua_pushnil(L);
        push_volatile(L, v->data, v->len);
        return 2;

    default:
        api.lua_pushnil(L);
        return 1;
    }
}


/* Pushes nil and a message for an argument that cannot name a request. */
static int
refuse_argument(lua_State *L, int idx, const char *usage)
{
    int          type;
    const char  *got;

    type = api.lua_type(L, idx);
    got = api.lua_typename(L, ngx_max(type, LUA_TNIL));

    /* ngx.null is one */
    if (type == LUA_TLIGHTUSERDATA && api.lua_touserdata(L, idx) == NULL) {
        got = "a null pointer";
    }

    api.lua_pushnil(L);
    api.lua_pushfstring(L, "bad request: expected a handle from request() or "
                        "the current request's pointer, got %s: it is "
                        "ngxvar.%s", got, usage);
    return 2;
}


/* Counts and logs a wrong argument, for which the sentence is on top of the stack. */
static void
count_bad_argument(lua_State *L, const char *asked, const lua_var_call_t *call)
{
    size_t            len;
    lua_var_value_t   out;

    out.data = (const u_char *) api.lua_tolstring(L, -1, &len);
    out.len = (int32_t) len;
    out.number = LUA_VAR_BAD_ARGUMENT;

    lua_var_refuse(L, asked, call->name, call->name_len, &call->req, &out);
}


/*
 * Raises the error for an argument that is no name.  A table comes of a call with a colon,
 * a userdata of swapped arguments, so the error shows the right call.
 */
static int
bad_name(lua_State *L, const char *expected, const char *asked,
    const char *usage, const lua_var_call_t *call)
{
    int  type;

    type = api.lua_type(L, 1);

    api.lua_pushfstring(L, "bad variable name: expected %s, got %s: it is "
                        "ngxvar.%s%s", expected, api.lua_typename(L, type),
                        usage, (type == LUA_TTABLE) ? ", with a dot" : "");

    count_bad_argument(L, asked, call);

    return api.luaL_error(L, "%s", api.lua_tolstring(L, -1, NULL));
}


/* Converts a name to lower case, in buf or, if it is longer, in a new userdata. */
static const u_char *
lower_case(lua_State *L, const u_char *name, size_t len, u_char *buf)
{
    if (len > NAME_BUF) {
        buf = api.lua_newuserdata(L, len);
    }

    ngx_strlow(buf, (u_char *) name, len);

    return buf;
}


/* Counts and logs a refusal, if the value is one, and calls push_value(). */
static int
give(lua_State *L, const char *asked, const lua_var_call_t *call)
{
    if (call->out.kind == LUA_VAR_REFUSED) {
        lua_var_refuse(L, asked, call->name, call->name_len, &call->req, &call->out);
    }

    return push_value(L, &call->out);
}


/* Reads the variable whose name is the string at idx, and caches the name. */
static void
fetch_by_name(lua_State *L, lua_var_vm_t *vm, int idx, int32_t flavour,
    lua_var_call_t *call)
{
    u_char         buf[NAME_BUF];
    const u_char  *name;

    name = (const u_char *) api.lua_tolstring(L, idx, &call->name_len);

    call->name = name;
    call->text = NULL;
    call->flavour = flavour;

    rust->fetch(call);

    if (call->out.kind == LUA_VAR_AGAIN) {
        call->name = lower_case(L, name, call->name_len, buf);
        rust->fetch(call);
        call->name = name;

    } else if (call->found.conf != 0) {
        /* this does not run the collector, and so nothing that may free the value */
        lua_var_remember_name(L, vm, idx, &call->found);
    }
}


/* ngx_var(name) -> ngx.var[name], an error where that raises one, as in a timer */
static int
l_ngx_var(lua_State *L)
{
    api.lua_getfield(L, LUA_GLOBALSINDEX, "ngx");
    api.lua_getfield(L, -1, "var");
    api.lua_pushvalue(L, 1);
    api.lua_gettable(L, -2);

    return 1;
}


/* fetch() after enable_patch(false): ngx.var[name], in which numbers are numbers. */
static int
fetch_by_ngx_var(lua_State *L, lua_var_call_t *call)
{
    (void) l_ngx_var(L);

    if (api.lua_type(L, 1) != LUA_TSTRING || api.lua_type(L, -1) != LUA_TSTRING) {
        return 1;
    }

    call->name = (const u_char *) api.lua_tolstring(L, 1, &call->name_len);
    call->text = (const u_char *) api.lua_tolstring(L, -1, &call->text_len);

    rust->number(call);

    return call->out.kind == LUA_VAR_AGAIN ? 1 : push_value(L, &call->out);
}


/* Whether the request that is asked for is the current one. */
static ngx_uint_t
is_current(const lua_var_req_t *req)
{
    lua_var_call_t  current;

    ngx_memzero(&current, sizeof(current));
    current.req.current = req->current;

    rust->acquire(&current);

    if (current.out.kind != LUA_VAR_TRUE) {
        return 0;
    }

    switch (req->kind) {

    case LUA_VAR_REQ_CURRENT:
        return 1;

    case LUA_VAR_REQ_POINTER:
        return req->value == (uintptr_t) req->current;

    default:
        return req->value == current.req.value;
    }
}


/* fetch() for a name that is not in the cache, a refused request, or bad arguments. */
static int
fetch_slow(lua_State *L, lua_var_vm_t *vm)
{
    lua_var_call_t  call;

    ngx_memzero(&call, sizeof(call));
    request_arg(L, vm, 2, &call.req);

    if (api.lua_type(L, 1) != LUA_TSTRING && api.lua_type(L, 1) != LUA_TNUMBER) {
        return bad_name(L, "string or number", "read", "fetch(name, req)", &call);
    }

    if (call.req.kind == LUA_VAR_REQ_FOREIGN) {
        if (api.lua_type(L, 1) == LUA_TSTRING) {
            call.name = (const u_char *) api.lua_tolstring(L, 1, &call.name_len);
        }

        refuse_argument(L, 2, "fetch(name, req)");
        count_bad_argument(L, "read", &call);
        return 2;
    }

    if (vm->reads_ngx_var && is_current(&call.req)) {
        return fetch_by_ngx_var(L, &call);
    }

    if (api.lua_type(L, 1) == LUA_TSTRING) {
        fetch_by_name(L, vm, 1, LUA_VAR_TYPED, &call);

    } else {
        call.number = (ptrdiff_t) api.lua_tonumber(L, 1);
        rust->capture(&call);
    }

    if (call.out.kind == LUA_VAR_REFUSED && call.out.number == LUA_VAR_LAYOUT
        && call.req.kind != LUA_VAR_REQ_HANDLE)
    {
        api.lua_pushcclosure(L, l_ngx_var, 0);
        api.lua_pushvalue(L, 1);

        if (api.lua_pcall(L, 1, 1, 0) == 0) {
            return 1;
        }
    }

    return give(L, call.name ? "read" : "read a capture", &call);
}


/* Reads a variable whose name is in the cache. */
static ngx_inline void
read_known(lua_var_call_t *call, const lua_var_name_t *name, int32_t flavour)
{
    call->name = name->data;
    call->name_len = name->len;
    call->text = NULL;
    call->known = &name->found;
    call->flavour = flavour;

    rust->read(call);
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
    const void      *req;
    lua_var_vm_t    *vm;
    lua_var_call_t   call;
    lua_var_name_t  *name;

    vm = vm_of(L);
    name = known_name(vm, api.lua_topointer(L, 1));
    req = api.lua_topointer(L, 2);

    if (name != NULL && !vm->reads_ngx_var
        && (req == vm->last || api.lua_type(L, 2) <= LUA_TNIL))
    {
        call.req.current = NULL;

        if (req == vm->last) {
            call.req.kind = LUA_VAR_REQ_HANDLE;
            call.req.value = vm->last_bits;

        } else {
            call.req.kind = LUA_VAR_REQ_CURRENT;
            call.req.current = api.ngx_http_lua_get_request(L);
        }

        read_known(&call, name, LUA_VAR_TYPED);

        if (call.out.kind != LUA_VAR_AGAIN) {
            return push_value(L, &call.out);
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
    lua_var_vm_t    *vm;
    lua_var_call_t   call;
    lua_var_name_t  *name;

    vm = vm_of(L);
    call.req.kind = LUA_VAR_REQ_CURRENT;
    call.req.current = api.ngx_http_lua_get_request(L);

    name = known_name(vm, api.lua_topointer(L, 2));

    if (name != NULL) {
        read_known(&call, name, LUA_VAR_NGX_VAR);

        if (call.out.kind != LUA_VAR_AGAIN) {
            return push_value(L, &call.out);
        }
    }

    if (api.lua_type(L, 2) == LUA_TSTRING) {
        fetch_by_name(L, vm, 2, LUA_VAR_NGX_VAR, &call);

        /* the stock function raises its error for a request that is refused */
        if (call.out.kind != LUA_VAR_REFUSED) {
            return push_value(L, &call.out);
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
    u_char           buf[NAME_BUF];
    const u_char    *name;
    lua_var_call_t   call;

    ngx_memzero(&call, sizeof(call));
    request_arg(L, vm_of(L), 3, &call.req);

    if (api.lua_type(L, 1) != LUA_TSTRING) {
        return bad_name(L, "string", "set", "set(name, value, req)", &call);
    }

    name = (const u_char *) api.lua_tolstring(L, 1, &call.name_len);
    call.name = name;

    if (call.req.kind == LUA_VAR_REQ_FOREIGN) {
        refuse_argument(L, 3, "set(name, value, req)");
        count_bad_argument(L, "set", &call);
        return 2;
    }

    if (api.lua_type(L, 2) > LUA_TNIL) {
        call.text = (const u_char *) push_text(L, 2, &call.text_len);

        if (call.text == NULL) {
            return api.luaL_error(L, "bad variable value: \"tostring\" must "
                                  "return a string");
        }
    }

    rust->set(&call);

    if (call.out.kind == LUA_VAR_AGAIN) {
        call.name = lower_case(L, name, call.name_len, buf);
        rust->set(&call);
    }

    return give(L, "set", &call);
}


/* live(req) -> true | false, why */
static int
l_live(lua_State *L)
{
    lua_var_call_t  call;

    ngx_memzero(&call, sizeof(call));
    request_arg(L, vm_of(L), 1, &call.req);

    /* unlike in fetch(), nil does not mean the current request */
    if (call.req.kind == LUA_VAR_REQ_CURRENT
        || call.req.kind == LUA_VAR_REQ_FOREIGN)
    {
        refuse_argument(L, 1, "live(req)");

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
    const char  *key, *use;

    use = (api.lua_gettop(L) < 3) ? "fetch(\"%s\", req)"
                                  : "set(\"%s\", value, req)";
    key = push_text(L, 2, NULL);
    use = api.lua_pushfstring(L, use, key);

    return api.luaL_error(L, "a request's handle has no \"%s\": use ngxvar.%s",
                          key, use);
}


/* enable_patch(state) */
static int
l_enable_patch(lua_State *L)
{
    if (api.lua_type(L, 1) != LUA_TBOOLEAN) {
        api.lua_settop(L, 1);
        return api.luaL_error(L, "bad argument to enable_patch(): expected true or "
                              "false, got %s",
                              api.lua_typename(L, api.lua_type(L, 1)));
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
    { "fetch", l_fetch },
    { "set", l_set },
    { "live", l_live },
    { "request", l_request },
    { "var_index", l_var_index },
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
