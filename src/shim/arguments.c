#include "arguments.h"


/* Values up to this length are copied on the C stack. */
#define VALUE_BUF           1024


ngx_str_t
lua_var_push_text(lua_State *L, int idx)
{
    api.lua_pushvalue(L, UP_TOSTRING);
    api.lua_pushvalue(L, idx);
    api.lua_call(L, 1, 1);

    return string_at(L, -1);
}


/*
 * The address in a cdata that is a pointer to anything or to a request; 0 in any other.
 * LuaJIT has no function for it in C, but tostring() writes the type and the address.
 */
static uint64_t
pointer_at(lua_State *L, int idx)
{
    size_t      i, len;
    uint64_t    address;
    ngx_str_t   text;

    static const char  *types[] = {
        "cdata<struct ngx_http_request_s *>: 0x",
        "cdata<void *>: 0x"
    };

    text = lua_var_push_text(L, idx);
    address = 0;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        len = ngx_strlen(types[i]);

        if (text.data != NULL && ngx_strncmp(text.data, types[i], len) == 0) {
            address = strtoull((char *) text.data + len, NULL, 16);
        }
    }

    api.lua_settop(L, -2);

    return address;
}


void
lua_var_request_arg(lua_State *L, lua_var_vm_t *vm, int idx, lua_var_req_t *req)
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
void
lua_var_push_volatile(lua_State *L, const u_char *data, size_t len)
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


/*
 * As ngx_http_variable_request_body(), but of several buffers that makes a copy in the
 * request's pool, at each read.
 */
void
lua_var_push_body(lua_State *L, const ngx_http_request_t *r)
{
    size_t        len;
    u_char       *copy, *end;
    ngx_chain_t  *cl;

    if (r->request_body == NULL || r->request_body->bufs == NULL
        || r->request_body->temp_file != NULL)
    {
        api.lua_pushnil(L);
        return;
    }

    len = 0;

    for (cl = r->request_body->bufs; cl != NULL; cl = cl->next) {
        len += cl->buf->last - cl->buf->pos;
    }

    copy = ngx_alloc(len + 1, ngx_cycle->log);

    if (copy == NULL) {
        api.luaL_error(L, "no memory");
        return;
    }

    end = copy;

    for (cl = r->request_body->bufs; cl != NULL; cl = cl->next) {
        end = ngx_cpymem(end, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    api.lua_pushlstring(L, (const char *) copy, len);
    ngx_free(copy);
}


/* Counts and logs a wrong argument, for which the sentence is on top of the stack. */
static void
count_bad_argument(lua_State *L, const char *asked, const lua_var_call_t *call)
{
    ngx_str_t         sentence;
    lua_var_value_t   out;

    sentence = string_at(L, -1);
    out.data = sentence.data;
    out.len = (int32_t) sentence.len;
    out.number = LUA_VAR_BAD_ARGUMENT;

    lua_var_refuse(L, asked, &call->name, &call->req, &out);
}


const char *
lua_var_with_a_dot(lua_State *L)
{
    int  is_library;

    if (api.lua_type(L, 1) != LUA_TTABLE) {
        return "";
    }

    api.lua_pushlstring(L, "patch_ngx_var", sizeof("patch_ngx_var") - 1);
    api.lua_rawget(L, 1);
    is_library = api.lua_type(L, -1) == LUA_TFUNCTION;
    api.lua_settop(L, -2);

    return is_library ? ", with a dot" : "";
}


int
lua_var_bad_request(lua_State *L, int idx, const char *asked,
    const char *usage, const lua_var_call_t *call)
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
                        "the current request's pointer, got %s: call "
                        "ngxvar.%s%s", got, usage, lua_var_with_a_dot(L));

    if (asked != NULL) {
        count_bad_argument(L, asked, call);
    }

    return 2;
}


int
lua_var_bad_name(lua_State *L, const char *expected, const char *asked,
    const char *usage, const lua_var_call_t *call)
{
    api.lua_pushfstring(L, "bad variable name: expected %s, got %s: call "
                        "ngxvar.%s%s", expected,
                        api.lua_typename(L, api.lua_type(L, 1)), usage,
                        lua_var_with_a_dot(L));

    count_bad_argument(L, asked, call);

    return api.luaL_error(L, "%s", api.lua_tolstring(L, -1, NULL));
}


u_char *
lua_var_lower_case(lua_State *L, const ngx_str_t *name, u_char *buf)
{
    if (name->len >= NAME_BUF) {
        buf = api.lua_newuserdata(L, name->len + 1);
    }

    ngx_strlow(buf, name->data, name->len);
    buf[name->len] = '\0';

    return buf;
}
