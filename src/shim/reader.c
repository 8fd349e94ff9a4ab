/*
 * reader(): reads several variables of one request, which is validated only once.
 */

#include "core.h"


/* The upvalues of a reader's functions that follow those of all C functions. */
#define UP_PLAN             lua_upvalueindex(NUPVALUES + 1)
#define UP_PLAN_NAMES       lua_upvalueindex(NUPVALUES + 2)


/* The resolved names.  UP_PLAN_NAMES anchors the names, in lower case. */
typedef struct {
    uint32_t                   n;
    ngx_http_lua_var_found_t   found[LUA_VAR_READER_MAX];
} lua_var_plan_t;


/* Returns the results of a refused read.  The first name is logged for all. */
static int
refuse(lua_State *L, const lua_var_req_t *req,
    const ngx_http_lua_var_value_t *out)
{
    size_t         len;
    const u_char  *name;

    api.lua_rawgeti(L, UP_PLAN_NAMES, 1);
    name = (const u_char *) api.lua_tolstring(L, -1, &len);

    return give(L, "read", name, len, req, out);
}


/*
 * Reads all values.  Returns 0, or the number of results if the read is refused.  A
 * name that cannot be read as it was resolved, as after a reload, is resolved again.
 */
static int
read_all(lua_State *L, lua_var_plan_t *plan, const lua_var_req_t *req,
    ngx_http_lua_var_value_t *out)
{
    size_t         len;
    uint32_t       i;
    const u_char  *name;

    switch (rust->read_many(req, plan->found, plan->n, out)) {

    case NGX_OK:
        return 0;

    case NGX_ERROR:
        return refuse(L, req, out);
    }

    for (i = 0; i < plan->n; i++) {

        if (out[i].kind != NGX_HTTP_LUA_VAR_AGAIN) {
            continue;
        }

        api.lua_rawgeti(L, UP_PLAN_NAMES, i + 1);
        name = (const u_char *) api.lua_tolstring(L, -1, &len);
        api.lua_settop(L, -2);

        rust->find(name, len, &plan->found[i]);
        rust->fetch(req, name, len, NGX_HTTP_LUA_VAR_TYPED, &out[i]);

        if (out[i].kind == NGX_HTTP_LUA_VAR_REFUSED) {
            return refuse(L, req, &out[i]);
        }
    }

    return 0;
}


/*
 * Pushes the values of the request at index 2, in the order of the names.  The checked
 * function returns true before them, because the first value may be nil, too.
 */
static int
values(lua_State *L, int is_checked)
{
    int                        n;
    uint32_t                   i;
    lua_var_req_t              req;
    lua_var_plan_t            *plan;
    ngx_http_lua_var_value_t   out[LUA_VAR_READER_MAX];

    plan = api.lua_touserdata(L, UP_PLAN);

    request_arg(L, vm_of(L), 2, &req);

    if (!api.lua_checkstack(L, plan->n + 3)) {
        return api.luaL_error(L, "no room for %d values on the Lua stack",
                              (int) plan->n);
    }

    n = (req.kind == LUA_VAR_REQ_FOREIGN) ? refuse_argument(L, 2, "reader(names)(req)")
                                          : read_all(L, plan, &req, out);

    if (n != 0) {
        /* nil and a message */
        return n;
    }

    if (is_checked) {
        api.lua_pushboolean(L, 1);
    }

    for (i = 0; i < plan->n; i++) {
        push_value(L, &out[i]);
    }

    return plan->n + is_checked;
}


/* read(self, req?) -> values | nil, err */
static int
l_values(lua_State *L)
{
    return values(L, 0);
}


/* checked(self, req?) -> true, values | nil, err */
static int
l_checked(lua_State *L)
{
    return values(L, 1);
}


/* Pushes a function with the upvalues of this one, the plan at idx and the names. */
static void
push_closure(lua_State *L, lua_CFunction fn, int idx)
{
    push_upvalues(L);
    api.lua_pushvalue(L, idx);
    api.lua_pushvalue(L, idx + 1);

    api.lua_pushcclosure(L, fn, NUPVALUES + 2);
}


/*
 * reader(names, n) -> read, checked: the two functions of a reader.  The Lua library has
 * checked that names has n strings, and converted them to lower case.
 */
int
lua_var_new_reader(lua_State *L)
{
    int              top;
    size_t           len;
    uint32_t         i, n;
    const u_char    *name;
    lua_var_plan_t  *plan;

    n = (uint32_t) api.lua_tonumber(L, 2);
    top = api.lua_gettop(L);

    plan = api.lua_newuserdata(L, sizeof(lua_var_plan_t));
    plan->n = n;

    for (i = 0; i < n; i++) {
        api.lua_rawgeti(L, 1, i + 1);
        name = (const u_char *) api.lua_tolstring(L, -1, &len);
        api.lua_settop(L, -2);

        /* while the configuration is read nothing is found, and the first read resolves */
        rust->find(name, len, &plan->found[i]);
    }

    api.lua_pushvalue(L, 1);

    push_closure(L, l_values, top + 1);
    push_closure(L, l_checked, top + 1);

    return 2;
}
