/*
 * The functions of Lua's C API that the Lua library has: those that are called
 * where LuaJIT interprets.  Only C is on the stack when one of them raises an error.
 */

#include "core.h"


#define CORE_KEY            "ngx_http_lua_var.core"

/* code may make names of a prefix of what a client sent: those leave room */
#define PREFIXED_MAX        256


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


/*
 * Caches a name, if there is room, so that it is found by its address again.  Lua's
 * traces find it in the table that anchors it, by what vm->learn makes of it.
 */
static void
remember_name(lua_State *L, lua_var_vm_t *vm, int idx)
{
    int                        top;
    size_t                     len;
    const void                *string;
    const u_char              *data;
    lua_var_name_t            *slot;
    ngx_http_lua_var_found_t   found;

    string = api.lua_topointer(L, idx);

    if (known_name(vm, string) != NULL) {
        return;
    }

    slot = &vm->names[name_place(string)];

    if (slot->string != NULL && vm->names[name_place(string) ^ 1].string == NULL) {
        slot = &vm->names[name_place(string) ^ 1];
    }

    data = (const u_char *) api.lua_tolstring(L, idx, &len);

    if (!rust->find(data, len, &found)) {
        return;
    }

    top = api.lua_gettop(L);

    /* a name whose slot another took stays anchored, and counts once */
    api.lua_pushvalue(L, idx);
    api.lua_rawget(L, UP_NAMES);

    if (api.lua_type(L, -1) <= LUA_TNIL) {
        if (vm->nnames == NAMES_MAX
            || (found.variable < 0 && vm->nprefixed == PREFIXED_MAX))
        {
            api.lua_settop(L, top);
            return;
        }

        vm->nnames++;
        vm->nprefixed += found.variable < 0;

        api.lua_pushvalue(L, idx);

        /* set by learn() */
        api.lua_pushboolean(L, 1);
        api.lua_rawget(L, UP_NAMES);
        api.lua_pushvalue(L, idx);
        api.lua_call(L, 1, 1);

        api.lua_rawset(L, UP_NAMES);
    }

    api.lua_settop(L, top);

    slot->string = string;
    slot->found = found;
}


/*
 * Raises the error for what is no name, and says how the call has to be written: who
 * calls with a colon passes the library first, who swaps the arguments a request.
 */
static int
bad_name(lua_State *L, const char *expected, const char *call)
{
    int          type;
    const char  *dot;

    type = api.lua_type(L, 1);
    dot = (type == LUA_TTABLE) ? ", with a dot" : "";

    if (type != LUA_TTABLE && type != LUA_TCDATA) {
        return api.luaL_error(L, "bad variable name: expected %s, got %s",
                              expected, api.lua_typename(L, type));
    }

    return api.luaL_error(L, "bad variable name: expected %s, got %s: "
                          "it is ngxvar.%s%s", expected,
                          api.lua_typename(L, type), call, dot);
}


/* fetch() for what is out of the ordinary, or seen for the first time */
static int
fetch_slow(lua_State *L, lua_var_vm_t *vm)
{
    int                        n;
    size_t                     len;
    const u_char              *name;
    lua_var_req_t              req;
    ngx_http_lua_var_value_t   out;

    request_arg(L, vm, 2, &req);

    if (req.kind == LUA_VAR_REQ_FOREIGN) {
        return refuse_argument(L, 2);
    }

    switch (api.lua_type(L, 1)) {

    case LUA_TSTRING:
        fetch_by_name(L, 1, &req, NGX_HTTP_LUA_VAR_TYPED, &out);

        name = (const u_char *) api.lua_tolstring(L, 1, &len);
        n = give(L, "fetch", name, len, &req, &out);

        if (out.kind != NGX_HTTP_LUA_VAR_ERROR
            && out.kind != NGX_HTTP_LUA_VAR_REFUSED
            && out.kind != NGX_HTTP_LUA_VAR_NIL)
        {
            remember_name(L, vm, 1);
        }

        return n;

    case LUA_TNUMBER:
        rust->capture(&req, (ptrdiff_t) api.lua_tonumber(L, 1), &out);
        return give(L, "fetch of a capture", NULL, 0, &req, &out);

    default:
        return bad_name(L, "string or number", "fetch(name, req)");
    }
}


/*
 * fetch(name, req?) -> value | nil | nil, err
 *
 * A known name and the newest handle, both told by their address, are most of
 * all calls: those ask Lua for nothing else.
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
 * var_index(self, name) -> value | nil | nil, true: ngx.var's __index after
 * patch_ngx_var(), which has the stock one serve what this one declines
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

        /* what is refused here is refused by the stock function, with an error */
        if (out.kind != NGX_HTTP_LUA_VAR_ERROR
            && out.kind != NGX_HTTP_LUA_VAR_REFUSED)
        {
            n = push_value(L, &out);

            if (out.kind != NGX_HTTP_LUA_VAR_NIL) {
                remember_name(L, vm, 2);
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

    if (req.kind == LUA_VAR_REQ_FOREIGN) {
        return refuse_argument(L, 3);
    }

    if (api.lua_type(L, 1) != LUA_TSTRING) {
        return bad_name(L, "string", "set(name, value, req)");
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

    name = (const u_char *) api.lua_tolstring(L, 1, &len);

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

    /* a request that got lost is not the current one */
    if (api.lua_type(L, 1) == LUA_TNIL || req.kind == LUA_VAR_REQ_FOREIGN) {
        refuse_argument(L, 1);
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
    uint32_t                   id, generation;
    lua_Debug                  caller;
    ngx_http_lua_var_value_t   out;

    rust->acquire(api.ngx_http_lua_get_request(L), &id, &generation,
                       &out);

    if (out.kind == NGX_HTTP_LUA_VAR_REFUSED) {
        return push_value(L, &out);
    }

    if (rust->is_tracing() && lua_var_caller(L, &caller)) {
        rust->made(id, generation, caller.short_src, caller.currentline);
    }

    api.lua_pushnumber(L, id);
    api.lua_pushnumber(L, generation);
    return 2;
}


/* stats() -> table: what all workers counted */
static int
l_stats(lua_State *L)
{
    size_t         len;
    double         value;
    ngx_uint_t     n;
    const u_char  *name;

    api.lua_createtable(L, 0, 16);

    for (n = 0; (name = rust->figure(n, &len, &value)) != NULL; n++) {
        api.lua_pushlstring(L, (const char *) name, len);
        api.lua_pushnumber(L, value);
        api.lua_rawset(L, -3);
    }

    return 1;
}


/* remember(handle): the one that the caller keeps from now on */
static int
l_remember(lua_State *L)
{
    lua_var_vm_t  *vm;

    vm = vm_of(L);
    vm->last = api.lua_topointer(L, 1);
    ngx_memcpy(&vm->last_handle, vm->last, sizeof(vm->last_handle));

    return 0;
}


/*
 * learn(fn) -> table: fn(name) makes what traces read a name by; the table has
 * that of each name in the cache
 */
static int
l_learn(lua_State *L)
{
    api.lua_pushboolean(L, 1);
    api.lua_pushvalue(L, 1);
    api.lua_rawset(L, UP_NAMES);

    api.lua_pushvalue(L, UP_NAMES);
    return 1;
}


/*
 * ctypes(handle, handle_id, pointer, pointer_id, request_id) -> bool
 *
 * Tells the C functions which cdata are handles and pointers.  Where LuaJIT
 * keeps the ctype id is not part of its API, so it is looked for, on two cdata
 * of known types; false when it is in neither of the places it has ever been.
 */
static int
l_ctypes(lua_State *L)
{
    size_t            i;
    uint16_t          handle, pointer;
    const void       *h, *p;
    lua_var_vm_t     *vm;

    /* GCcdata's header, with 64-bit and with 32-bit GC references */
    static const int  offsets[] = { -6, -2 };

    vm = vm_of(L);
    h = api.lua_topointer(L, 1);
    handle = (uint16_t) api.lua_tonumber(L, 2);
    p = api.lua_topointer(L, 3);
    pointer = (uint16_t) api.lua_tonumber(L, 4);

    for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        if (ctype_id(h, offsets[i]) == handle
            && ctype_id(p, offsets[i]) == pointer)
        {
            vm->handle = handle;
            vm->void_pointer = pointer;
            vm->request_pointer = (uint16_t) api.lua_tonumber(L, 5);
            vm->id_offset = offsets[i];

            api.lua_pushboolean(L, 1);
            return 1;
        }
    }

    api.lua_pushboolean(L, 0);
    return 1;
}


static const struct {
    const char     *name;
    lua_CFunction   fn;
} core_functions[] = {
    { "fetch", l_fetch },
    { "set", l_set },
    { "live", l_live },
    { "acquire", l_acquire },
    { "var_index", l_var_index },
    { "stats", l_stats },
    { "reader", lua_var_new_reader },
    { "ctypes", l_ctypes },
    { "remember", l_remember },
    { "learn", l_learn },
};


ngx_int_t
lua_var_file(const char **file)
{
    Dl_info  info, nginx;

    if (dladdr((const void *) &lua_var_push_core, &info) == 0
        || dladdr((const void *) &ngx_create_pool, &nginx) == 0)
    {
        return NGX_ERROR;
    }

    *file = info.dli_fname;

    return info.dli_fbase == nginx.dli_fbase ? NGX_DECLINED : NGX_OK;
}


/* Makes the table of the C functions; their upvalues are this one's. */
static int
new_core(lua_State *L)
{
    int          up;
    size_t       i;
    ngx_int_t    rc;
    const char  *file;

    api.lua_createtable(L, 0, 16);

    for (i = 0; i < sizeof(core_functions) / sizeof(core_functions[0]); i++) {
        for (up = 1; up <= NUPVALUES; up++) {
            api.lua_pushvalue(L, lua_upvalueindex(up));
        }

        api.lua_pushcclosure(L, core_functions[i].fn, NUPVALUES);
        api.lua_setfield(L, -2, core_functions[i].name);
    }

    api.lua_pushlstring(L, LUA_VAR_VERSION, sizeof(LUA_VAR_VERSION) - 1);
    api.lua_setfield(L, -2, "version");

    api.lua_pushnumber(L, rust->vm());
    api.lua_setfield(L, -2, "vm");

    api.lua_pushnumber(L, LUA_VAR_READER_MAX);
    api.lua_setfield(L, -2, "reader_max");

    api.lua_pushlstring(L, (const char *) rust->cdef, rust->cdef_len);
    api.lua_setfield(L, -2, "cdef");

    /* for lua/resty/ngxvar/call.lua */
    rc = lua_var_file(&file);

    if (rc == NGX_ERROR) {
        return api.luaL_error(L, "resty.ngxvar: the module does not find the "
                              "file that it was loaded from");
    }

    if (rc == NGX_OK) {
        api.lua_pushlstring(L, file, ngx_strlen(file));
        api.lua_setfield(L, -2, "file");
    }

    return 1;
}


void
lua_var_push_core(lua_State *L)
{
    size_t         i;
    lua_var_vm_t  *vm;

    static const char  *fixed[LUA_VAR_FIXED_N] = LUA_VAR_FIXED_TEXTS;

    api.lua_getfield(L, LUA_REGISTRYINDEX, CORE_KEY);

    if (api.lua_type(L, -1) > 0) {
        return;
    }

    api.lua_settop(L, -2);

    vm = api.lua_newuserdata(L, sizeof(lua_var_vm_t));
    ngx_memzero(vm, sizeof(lua_var_vm_t));
    /* no object has this address, NULL is that of a nil */
    vm->last = vm;

    api.lua_createtable(L, 0, 0);
    api.lua_getfield(L, LUA_GLOBALSINDEX, "tostring");

    for (i = 0; i < LUA_VAR_FIXED_N; i++) {
        api.lua_pushlstring(L, fixed[i], ngx_strlen(fixed[i]));
    }

    api.lua_pushcclosure(L, new_core, NUPVALUES);
    api.lua_call(L, 0, 1);

    api.lua_pushvalue(L, -1);
    api.lua_setfield(L, LUA_REGISTRYINDEX, CORE_KEY);
}
