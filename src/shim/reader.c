/*
 * reader(): many variables of one request, which is validated once for all of them.
 */

#include "core.h"


/* Upvalues of a reader's functions, after those that all functions have. */
#define UP_PLAN             lua_upvalueindex(NUPVALUES + 1)
#define UP_PLAN_NAMES       lua_upvalueindex(NUPVALUES + 2)     /* in lower case */
#define UP_PLAN_KEYS        lua_upvalueindex(NUPVALUES + 3)     /* as the caller has them */


/* How each name was found; the names are kept by UP_PLAN_NAMES. */
typedef struct {
    uint32_t                   n;
    ngx_http_lua_var_found_t   found[LUA_VAR_READER_MAX];
} lua_var_plan_t;


static void
push_nth(lua_State *L, int list, uint32_t i)
{
    api.lua_pushnumber(L, i + 1);
    api.lua_rawget(L, list);
}


/* What a refused read gives; the first name stands for all. */
static int
refuse(lua_State *L, const lua_var_req_t *req,
    const ngx_http_lua_var_value_t *out)
{
    size_t         len;
    const u_char  *name;

    push_nth(L, UP_PLAN_NAMES, 0);
    name = (const u_char *) api.lua_tolstring(L, -1, &len);

    return give(L, "reader of", name, len, req, out);
}


/*
 * Reads all values: 0, or the number of results of a refusal.  A name that has to be
 * asked for, as after a reload, is looked up again for the next time.
 */
static int
read_all(lua_State *L, lua_var_plan_t *plan, const lua_var_req_t *req,
    ngx_http_lua_var_value_t *out)
{
    size_t         len;
    uint32_t       i;
    const u_char  *name;

    if (!rust->read_many(req, plan->found, plan->n, out)) {
        return refuse(L, req, out);
    }

    for (i = 0; i < plan->n; i++) {

        if (out[i].kind != NGX_HTTP_LUA_VAR_AGAIN) {
            continue;
        }

        push_nth(L, UP_PLAN_NAMES, i);
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


/* read(self, req?) -> values, in the order of the names | nil, err */
static int
l_values(lua_State *L)
{
    int                        refused;
    uint32_t                   i;
    lua_var_req_t              req;
    lua_var_plan_t            *plan;
    ngx_http_lua_var_value_t   out[LUA_VAR_READER_MAX];

    plan = api.lua_touserdata(L, UP_PLAN);

    request_arg(L, vm_of(L), 2, &req);

    if (req.kind == LUA_VAR_REQ_FOREIGN) {
        return refuse_argument(L, 2);
    }

    if (!api.lua_checkstack(L, plan->n + 2)) {
        return api.luaL_error(L, "no room for %d values on the Lua stack",
                              (int) plan->n);
    }

    refused = read_all(L, plan, &req, out);

    if (refused) {
        return refused;
    }

    for (i = 0; i < plan->n; i++) {
        push_value(L, &out[i]);
    }

    return plan->n;
}


/* read:table(req?, t?) -> t, with the values by name | nil, err */
static int
l_table(lua_State *L)
{
    int                        refused;
    uint32_t                   i;
    lua_var_req_t              req;
    lua_var_plan_t            *plan;
    ngx_http_lua_var_value_t   out[LUA_VAR_READER_MAX];

    plan = api.lua_touserdata(L, UP_PLAN);

    request_arg(L, vm_of(L), 2, &req);

    if (req.kind == LUA_VAR_REQ_FOREIGN) {
        return refuse_argument(L, 2);
    }

    if (api.lua_type(L, 3) > LUA_TNIL && api.lua_type(L, 3) != LUA_TTABLE) {
        return api.luaL_error(L, "bad argument to read:table(): expected a table "
                              "to fill, got %s",
                              api.lua_typename(L, api.lua_type(L, 3)));
    }

    refused = read_all(L, plan, &req, out);

    if (refused) {
        return refused;
    }

    if (api.lua_type(L, 3) == LUA_TTABLE) {
        api.lua_settop(L, 3);

    } else {
        api.lua_createtable(L, 0, plan->n);
    }

    for (i = 0; i < plan->n; i++) {
        push_nth(L, UP_PLAN_KEYS, i);
        push_value(L, &out[i]);
        api.lua_rawset(L, -3);
    }

    return 1;
}


/* A function that has the upvalues of this one, and the three at the stack's top. */
static void
push_closure(lua_State *L, lua_CFunction fn)
{
    int  up, top;

    top = api.lua_gettop(L);

    for (up = 1; up <= NUPVALUES; up++) {
        api.lua_pushvalue(L, lua_upvalueindex(up));
    }

    for (up = 2; up >= 0; up--) {
        api.lua_pushvalue(L, top - up);
    }

    api.lua_pushcclosure(L, fn, NUPVALUES + 3);
}


/*
 * reader(names, keys, n) -> values, table: the two functions of a reader, for n names,
 * which the Lua library has checked
 */
int
lua_var_new_reader(lua_State *L)
{
    size_t           len;
    uint32_t         i;
    const u_char    *name;
    lua_var_plan_t  *plan;

    plan = api.lua_newuserdata(L, sizeof(lua_var_plan_t));
    plan->n = (uint32_t) api.lua_tonumber(L, 3);

    for (i = 0; i < plan->n; i++) {
        push_nth(L, 1, i);
        name = (const u_char *) api.lua_tolstring(L, -1, &len);
        api.lua_settop(L, -2);

        /* not found while the configuration is read: the first read looks again */
        rust->find(name, len, &plan->found[i]);
    }

    /* in the order of UP_PLAN, UP_PLAN_NAMES and UP_PLAN_KEYS */
    api.lua_pushvalue(L, 1);
    api.lua_pushvalue(L, 2);

    push_closure(L, l_values);
    api.lua_pushvalue(L, -4);
    api.lua_pushvalue(L, -4);
    api.lua_pushvalue(L, -4);
    push_closure(L, l_table);

    /* l_values is below the three of l_table */
    api.lua_pushvalue(L, -5);
    api.lua_pushvalue(L, -2);

    return 2;
}
