/*
 * The boundary between the C that has to be C and the Rust of the module.
 * build.rs generates the Rust declarations from this file.
 *
 * Two things have to be C.  Request bitfields: bindgen below 0.73 misplaces
 * them on nginx >= 1.29.3 (rust-bindgen#3384), the C compiler never does.  And
 * every call that may raise a Lua error: LuaJIT unwinds the stack, which must
 * never reach a Rust frame.
 */

#ifndef NGX_HTTP_LUA_VAR_SHIM_H
#define NGX_HTTP_LUA_VAR_SHIM_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

typedef struct lua_State lua_State;

/* -- request.c: what Rust asks of C ------------------------------------- */

/* r->uri_changes: counts down with each internal redirect or rewrite. */
ngx_uint_t lua_var_uri_changes(const ngx_http_request_t *r);

/* r->internal */
ngx_uint_t lua_var_internal(const ngx_http_request_t *r);

/* Cookie header number n of the request; NULL when it has no more. */
ngx_table_elt_t *lua_var_cookie(const ngx_http_request_t *r, ngx_uint_t n);

/* Where a header has the next of its name; 0 before nginx 1.23, which has none. */
size_t lua_var_next_header(void);

/* The word of a ngx_variable_value_t that its length and its flags share. */
uint32_t lua_var_value_word(unsigned len, unsigned valid,
    unsigned no_cacheable, unsigned not_found);

/* -- lua.c: what Rust asks of C ----------------------------------------- */

/* A Lua source file embedded in the module. */
typedef struct {
    const char    *name;        /* chunk name, begins with '@' or '=' */
    const u_char  *source;
    size_t         len;
} lua_var_chunk_t;

/*
 * Looks the Lua API up in the running process and registers the embedded
 * packages with the Lua module.  Returns NGX_DECLINED when lua-nginx-module is
 * not loaded, NGX_ERROR when it lacks something; *missing then names it.
 */
ngx_int_t lua_var_lua_init(ngx_conf_t *cf, const char **missing);

/* The request whose ngx.ctx reference is asked for; < 1 when it has none. */
ngx_int_t lua_var_lua_ctx_ref(ngx_http_request_t *r);

/*
 * A variable as ngx.var reads it: ngx_http_lua_ffi_var_get().  The name has to
 * be in lower case; NULL for the capture of that number.  NGX_ERROR: *error,
 * a constant, says why.
 */
ngx_int_t lua_var_lua_get(ngx_http_request_t *r, const u_char *name,
    size_t len, int capture, ngx_str_t *value, const char **error);

/*
 * Assigns as ngx.var does: ngx_http_lua_ffi_var_set().  NGX_ERROR: *error says
 * why, until the next call.
 */
ngx_int_t lua_var_lua_set(ngx_http_request_t *r, const u_char *name,
    size_t len, const u_char *value, size_t value_len, ngx_str_t *error);

/* Whether lua_var_lua_init() found the Lua module. */
ngx_uint_t lua_var_lua_found(void);

/* Whether what runs has it. */
ngx_uint_t lua_var_lua_present(void);

/* What it found is what runs from now on: the configuration was accepted. */
void lua_var_lua_commit(void);

/* -- what C asks of Rust ------------------------------------------------ */

/* How Lua named the request a call is about. */
#define LUA_VAR_REQ_CURRENT   0     /* not at all: the current one */
#define LUA_VAR_REQ_HANDLE    1     /* value is a handle's 64 bits */
#define LUA_VAR_REQ_POINTER   2     /* value is a pointer */
#define LUA_VAR_REQ_FOREIGN   3     /* something that names no request */

typedef struct {
    uint64_t             value;
    ngx_http_request_t  *current;   /* lua-nginx-module's; NULL if none */
    uint32_t             kind;
} lua_var_req_t;

#define LUA_VAR_NIL       0
#define LUA_VAR_STRING    1
#define LUA_VAR_NUMBER    2
#define LUA_VAR_ERROR     3         /* data, len: why */
#define LUA_VAR_LOWER     4         /* ask again with the name in lower case */
#define LUA_VAR_TRUE      5
#define LUA_VAR_AGAIN     6         /* ask lua_var_rs_fetch() */
#define LUA_VAR_FIXED     7         /* len: which of LUA_VAR_FIXED_TEXTS */

/* Texts that are values so often that Lua keeps their strings. */
#define LUA_VAR_FIXED_TEXTS                                                   \
    { "http", "https", "GET", "POST", "HTTP/1.1", "HTTP/2.0", "on", "" }
#define LUA_VAR_FIXED_N   8

typedef struct {
    const u_char  *data;
    size_t         len;
    double         number;
    uint32_t       kind;
} lua_var_value_t;

#define LUA_VAR_TYPED     0         /* as lua-var-nginx-module: some are numbers */
#define LUA_VAR_TEXT      1         /* as ngx.var: strings only */
#define LUA_VAR_PLAIN     2         /* typed, through nginx's own handlers */

void lua_var_rs_fetch(const lua_var_req_t *req, const u_char *name, size_t len,
    uint32_t flavour, lua_var_value_t *out);
/* A name as it was found in the newest configuration. */
typedef struct {
    const void    *var;         /* its variable; NULL: one of a prefix */
    const u_char  *rest;        /* the part of the name behind the prefix */
    uint32_t       len;
    uint32_t       prefix;      /* which, as the configuration numbers them */
} lua_var_found_t;

/*
 * Finds a name, which has to stay where it is for as long as it is read by what
 * was found.  Returns 0 when there is no way but lua_var_rs_fetch().
 */
ngx_uint_t lua_var_rs_find(const u_char *name, size_t len,
    lua_var_found_t *found);

/*
 * The same as lua_var_rs_fetch(), typed, for a name that was found.  *kind is
 * LUA_VAR_AGAIN when what was found no longer holds.
 */
void lua_var_rs_read(uint64_t handle, const lua_var_found_t *found,
    lua_var_value_t *out);

void lua_var_rs_capture(const lua_var_req_t *req, ptrdiff_t n,
    lua_var_value_t *out);
void lua_var_rs_set(const lua_var_req_t *req, const u_char *name, size_t len,
    const u_char *value, size_t value_len, lua_var_value_t *out);
void lua_var_rs_live(const lua_var_req_t *req, lua_var_value_t *out);

/* Registers the current request; *id and *generation are its handle. */
void lua_var_rs_acquire(ngx_http_request_t *current, uint32_t *id,
    uint32_t *generation, lua_var_value_t *out);

/* 0 for a VM that serves the whole worker, else a number of its own. */
uint32_t lua_var_rs_vm(void);

/* The embedded files, by package; NULL after the last. */
const lua_var_chunk_t *lua_var_rs_chunk(size_t n);

#endif
