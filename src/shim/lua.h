/*
 * The functions of LuaJIT and of the Lua module that this module calls.
 *
 * They are declared here and looked up with dlsym(), so that the module needs no
 * headers of LuaJIT to build, and loads into an nginx without Lua.
 */

#ifndef NGX_HTTP_LUA_VAR_LUA_H
#define NGX_HTTP_LUA_VAR_LUA_H

/* first, because nginx's headers define _GNU_SOURCE, which RTLD_DEFAULT needs */
#include "shim.h"

#include <dlfcn.h>


#define LUA_REGISTRYINDEX   (-10000)
#define LUA_GLOBALSINDEX    (-10002)
#define lua_upvalueindex(i) (LUA_GLOBALSINDEX - (i))

#define LUA_TNONE           (-1)
#define LUA_TNIL            0
#define LUA_TBOOLEAN        1
#define LUA_TLIGHTUSERDATA  2
#define LUA_TNUMBER         3
#define LUA_TSTRING         4
#define LUA_TTABLE          5
#define LUA_TFUNCTION       6
#define LUA_TUSERDATA       7
#define LUA_TCDATA          10

#define LUA_YIELD           1


typedef int (*lua_CFunction)(lua_State *L);

/* as in lua.h of Lua 5.1, with which every LuaJIT is compatible */
typedef struct {
    int          event;
    const char  *name;
    const char  *namewhat;
    const char  *what;
    const char  *source;
    int          currentline;
    int          nups;
    int          linedefined;
    int          lastlinedefined;
    char         short_src[60];
    int          i_ci;
} lua_Debug;


/*
 * X(result, name, parameters) for each function.  The module refuses to start
 * with a Lua module that lacks one of them.
 */
#define LUA_VAR_API(X)                                                        \
    X(int, lua_gettop, (lua_State *L))                                        \
    X(void, lua_settop, (lua_State *L, int n))                                \
    X(int, lua_checkstack, (lua_State *L, int n))                             \
    X(int, lua_type, (lua_State *L, int i))                                   \
    X(const char *, lua_typename, (lua_State *L, int type))                   \
    X(const char *, lua_tolstring, (lua_State *L, int i, size_t *len))        \
    X(double, lua_tonumber, (lua_State *L, int i))                            \
    X(size_t, lua_objlen, (lua_State *L, int i))                              \
    X(int, lua_toboolean, (lua_State *L, int i))                              \
    X(void *, lua_touserdata, (lua_State *L, int i))                          \
    X(const void *, lua_topointer, (lua_State *L, int i))                     \
    X(void, lua_pushnil, (lua_State *L))                                      \
    X(void, lua_pushnumber, (lua_State *L, double n))                         \
    X(void, lua_pushboolean, (lua_State *L, int b))                           \
    X(void, lua_pushlstring, (lua_State *L, const char *s, size_t len))       \
    X(const char *, lua_pushfstring, (lua_State *L, const char *fmt, ...))    \
    X(void, lua_pushvalue, (lua_State *L, int i))                             \
    X(int, lua_pcall, (lua_State *L, int nargs, int nresults, int handler))   \
    X(void, lua_pushcclosure, (lua_State *L, lua_CFunction fn, int n))        \
    X(void, lua_createtable, (lua_State *L, int narr, int nrec))              \
    X(void, lua_getfield, (lua_State *L, int i, const char *k))               \
    X(void, lua_setfield, (lua_State *L, int i, const char *k))               \
    X(void, lua_gettable, (lua_State *L, int i))                              \
    X(void, lua_rawset, (lua_State *L, int i))                                \
    X(void, lua_rawget, (lua_State *L, int i))                                \
    X(void, lua_replace, (lua_State *L, int i))                               \
    X(int, lua_setmetatable, (lua_State *L, int i))                           \
    X(void *, lua_newuserdata, (lua_State *L, size_t size))                   \
    X(void, lua_pushlightuserdata, (lua_State *L, void *p))                   \
    X(int, lua_next, (lua_State *L, int i))                                   \
    X(lua_State *, lua_tothread, (lua_State *L, int i))                       \
    X(int, lua_status, (lua_State *L))                                        \
    X(void, lua_call, (lua_State *L, int nargs, int nresults))                \
    X(int, lua_error, (lua_State *L))                                         \
    X(int, lua_getstack, (lua_State *L, int level, lua_Debug *ar))            \
    X(int, lua_getinfo, (lua_State *L, const char *what, lua_Debug *ar))      \
    X(int, luaL_loadbuffer,                                                   \
      (lua_State *L, const char *s, size_t len, const char *name))            \
    X(int, luaL_error, (lua_State *L, const char *fmt, ...))                  \
    X(ngx_http_request_t *, ngx_http_lua_get_request, (lua_State *L))         \
    X(ngx_int_t, ngx_http_lua_add_package_preload,                            \
      (ngx_conf_t *cf, const char *package, lua_CFunction fn))                \
    X(int, ngx_http_lua_ffi_get_phase, (ngx_http_request_t *r, char **err))   \
    X(int, ngx_http_lua_ffi_get_ctx_ref,                                      \
      (ngx_http_request_t *r, int *in_ssl_phase, int *ssl_ctx_ref))


typedef struct {
#define X(result, name, parameters)  result (*name) parameters;
    LUA_VAR_API(X)
#undef X
    void     *threads_key;      /* key of the Lua module's threads in the registry */
    void   *(*SSL_get_ex_data)(const void *ssl, int index);     /* NULL without TLS */
    int      *ssl_connection_index;
    unsigned  is_configured:1;  /* the configuration being read has the Lua module */
} lua_var_api_t;


#pragma GCC visibility push(hidden)

/* lua_var_lua_init() fills both.  The macros below are their short names. */
extern lua_var_api_t          lua_var_api;
extern const lua_var_rust_t  *lua_var_rust;

#define api   lua_var_api
#define rust  lua_var_rust


/* Counts a refusal, and logs it with the Lua call stack. */
void lua_var_refuse(lua_State *L, const char *asked, const ngx_str_t *name,
    const lua_var_req_t *req, const lua_var_value_t *out);

/* The innermost Lua function outside of the library; returns 0 if there is none. */
int lua_var_caller(lua_State *L, lua_Debug *ar);

/* Pushes the table of the VM's C functions, which the first call creates. */
void lua_var_push_core(lua_State *L);

#pragma GCC visibility pop

#endif
