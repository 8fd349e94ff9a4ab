/*
 * The functions of Lua's C API that the Lua library has: those that are called
 * where LuaJIT interprets.  Only C is on the stack when one of them raises an error.
 */

#include "lua.h"


/* Names up to this length are made lower case on the stack. */
#define NAME_BUF            256

#define CORE_KEY            "ngx_http_lua_var.core"


/* A cache of names: how many there may be, and places they are found in again. */
#define NAMES_MAX           512
#define NAMES_SLOTS         1024
/* code may make names of a prefix of what a client sent: those leave room */
#define PREFIXED_MAX        256

/*
 * A name that was looked up before.  The string is anchored in the VM, so its
 * address is that of no other object.
 */
typedef struct {
    const void                *string;  /* lua_topointer() of it; NULL: none */
    ngx_http_lua_var_found_t   found;
} lua_var_name_t;


/* What the C functions know of the VM they run in; their first upvalue. */
typedef struct {
    /*
     * The handle that request() gave last; it is kept in a Lua local, so its
     * address is that of no other object either.
     */
    const void      *last;
    uint64_t         last_handle;
    uint32_t         nnames;
    uint32_t         nprefixed;
    /* ctype ids; cdata of any other type names no request */
    uint16_t         handle;
    uint16_t         void_pointer;
    uint16_t         request_pointer;
    /* where a cdata's ctype id is, relative to its payload */
    int              id_offset;
    lua_var_name_t   names[NAMES_SLOTS];
} lua_var_vm_t;

/*
 * Upvalues of the C functions: the VM, the anchor of the names, tostring() as it
 * was when the VM was new, fixed texts.
 */
#define UP_VM               lua_upvalueindex(1)
#define UP_NAMES            lua_upvalueindex(2)
#define UP_TOSTRING         lua_upvalueindex(3)
#define UP_FIXED(n)         lua_upvalueindex(4 + (int) (n))
#define NUPVALUES           (3 + LUA_VAR_FIXED_N)


static lua_var_vm_t *
vm_of(lua_State *L)
{
    return api.lua_touserdata(L, UP_VM);
}


static ngx_inline lua_var_name_t *
name_slot(lua_var_vm_t *vm, const void *string)
{
    uintptr_t  p = (uintptr_t) string;

    return &vm->names[((p >> 4) ^ (p >> 14)) % NAMES_SLOTS];
}


static uint16_t
ctype_id(const void *payload, int offset)
{
    uint16_t  id;

    ngx_memcpy(&id, (const u_char *) payload + offset, sizeof(id));

    return id;
}


/* Reads the argument at idx as the request that a call is about. */
static void
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
            req->kind = LUA_VAR_REQ_POINTER;
            ngx_memcpy(&req->value, payload, sizeof(void *));
            return;
        }

        break;

    case LUA_TLIGHTUSERDATA:
        /* what get_request() gives on a LuaJIT without exdata */
        req->kind = LUA_VAR_REQ_POINTER;
        req->value = (uintptr_t) api.lua_touserdata(L, idx);
        return;
    }

    req->kind = LUA_VAR_REQ_FOREIGN;
}


/*
 * A string is copied only after the collector had its turn, which may run a
 * finalizer, and that may call this module: so *v is the caller's own, and what
 * it points to is the request's.
 */
static int
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


/* nil and a sentence for something that names no request */
static int
refuse_argument(lua_State *L, int idx)
{
    api.lua_pushnil(L);
    api.lua_pushfstring(L, "bad request: expected a handle from request() or "
                        "the current request's pointer, got %s",
                        api.lua_typename(L, api.lua_type(L, idx)));
    return 2;
}


static const u_char *
lower_case(lua_State *L, const u_char *name, size_t len, u_char *buf)
{
    if (len > NAME_BUF) {
        buf = api.lua_newuserdata(L, len);
    }

    ngx_strlow(buf, (u_char *) name, len);

    return buf;
}


/* What push_value() does; a refusal is counted, and logged. */
static int
give(lua_State *L, const char *asked, const u_char *name, size_t len,
    const lua_var_req_t *req, const ngx_http_lua_var_value_t *v)
{
    if (v->kind == NGX_HTTP_LUA_VAR_REFUSED) {
        lua_var_refuse(L, asked, name, len, req, v);
    }

    return push_value(L, v);
}


static void
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
    slot = name_slot(vm, string);

    if (slot->string == string) {
        return;
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
        return api.luaL_error(L, "bad variable name");
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
    size_t                     len;
    const void                *string;
    const u_char              *data;
    lua_var_vm_t              *vm;
    lua_var_req_t              req;
    lua_var_name_t            *name;
    ngx_http_lua_var_value_t   out;

    vm = vm_of(L);
    string = api.lua_topointer(L, 1);
    name = name_slot(vm, string);

    if (name->string == string && string != NULL
        && vm->last == api.lua_topointer(L, 2))
    {
        rust->read(vm->last_handle, NULL, &name->found,
                   NGX_HTTP_LUA_VAR_TYPED, &out);

        if (out.kind == NGX_HTTP_LUA_VAR_REFUSED) {
            req.kind = LUA_VAR_REQ_HANDLE;
            req.value = vm->last_handle;
            req.current = api.ngx_http_lua_get_request(L);
            data = (const u_char *) api.lua_tolstring(L, 1, &len);

            return give(L, "fetch", data, len, &req, &out);
        }

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
    name = name_slot(vm, string);

    if (name->string == string && string != NULL && req.current != NULL) {
        rust->read(0, req.current, &name->found, NGX_HTTP_LUA_VAR_NGX_VAR,
                   &out);

        if (out.kind != NGX_HTTP_LUA_VAR_AGAIN
            && out.kind != NGX_HTTP_LUA_VAR_ERROR
            && out.kind != NGX_HTTP_LUA_VAR_REFUSED)
        {
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
        return api.luaL_error(L, "bad variable name");
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
