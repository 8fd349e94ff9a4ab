/* fetch(), and ngx.var after patch_ngx_var(). */

#include "arguments.h"


/* Reads the variable whose name is the string at idx, and caches the name. */
static void
fetch_by_name(lua_State *L, lua_var_vm_t *vm, int idx, int32_t flavour,
    lua_var_call_t *call)
{
    u_char  buf[NAME_BUF];

    call->name = string_at(L, idx);
    call->text.data = NULL;
    call->flavour = flavour;

    rust->fetch(call);

    if (call->out.kind == LUA_VAR_AGAIN) {
        call->name.data = lua_var_lower_case(L, &call->name, buf);
        rust->fetch(call);
        call->name = string_at(L, idx);

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

    call->name = string_at(L, 1);
    call->text = string_at(L, -1);

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

    return current.out.kind == LUA_VAR_TRUE
           && (req->kind == LUA_VAR_REQ_CURRENT
               || req->value == (req->kind == LUA_VAR_REQ_POINTER
                                 ? (uintptr_t) req->current
                                 : current.req.value));
}


/* fetch() for a name that is not in the cache, a refused request, or bad arguments. */
static int
fetch_slow(lua_State *L, lua_var_vm_t *vm)
{
    lua_var_call_t  call;

    ngx_memzero(&call, sizeof(call));
    lua_var_request_arg(L, vm, 2, &call.req);

    if (api.lua_type(L, 1) != LUA_TSTRING && api.lua_type(L, 1) != LUA_TNUMBER) {
        return lua_var_bad_name(L, "string or number", "read", FETCH_USAGE, &call);
    }

    if (call.req.kind == LUA_VAR_REQ_FOREIGN) {
        if (api.lua_type(L, 1) == LUA_TSTRING) {
            call.name = string_at(L, 1);
        }

        return lua_var_bad_request(L, 2, "read", FETCH_USAGE, &call);
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

    return give(L, call.name.data ? "read" : "read a capture", &call);
}


/* Reads a variable whose name is in the cache. */
static ngx_inline void
read_known(lua_var_call_t *call, const lua_var_name_t *name, int32_t flavour)
{
    call->name = name->name;
    call->text.data = NULL;
    call->known = &name->found;
    call->flavour = flavour;

    rust->read(call);
}


/* Reads the argument at idx, if it is a handle or if there is none. */
static ngx_inline ngx_uint_t
usual_request(lua_State *L, lua_var_vm_t *vm, int idx, lua_var_req_t *req)
{
    const void              *p;
    const lua_var_handle_t  *handle;

    p = api.lua_topointer(L, idx);

    req->kind = LUA_VAR_REQ_HANDLE;
    req->current = NULL;

    if (p == vm->last) {
        req->value = vm->last_bits;
        return 1;
    }

    if (p == NULL && api.lua_type(L, idx) <= LUA_TNIL) {
        req->kind = LUA_VAR_REQ_CURRENT;
        req->current = api.ngx_http_lua_get_request(L);
        return 1;
    }

    handle = handle_at(L, vm, idx);

    if (handle == NULL) {
        return 0;
    }

    req->value = handle->bits;
    return 1;
}


/*
 * fetch(name, req?) -> value | nil | nil, err
 *
 * Most calls have a name that is in the cache, which is recognised by its address alone.
 */
int
lua_var_fetch(lua_State *L)
{
    lua_var_vm_t    *vm;
    lua_var_call_t   call;
    lua_var_name_t  *name;

    vm = vm_of(L);
    name = known_name(vm, api.lua_topointer(L, 1));

    if (name != NULL && !vm->reads_ngx_var && usual_request(L, vm, 2, &call.req)) {
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
int
lua_var_index(lua_State *L)
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
