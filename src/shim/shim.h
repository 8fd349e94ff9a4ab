/*
 * The boundary between the C that has to be C and the Rust of the module.
 * build.rs makes the Rust declarations from this file.
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

#include "ffi.h"

typedef struct lua_State lua_State;

/* -- lua-var-nginx-module's functions, under their names there ----------- */

ngx_int_t ngx_http_lua_var_ffi_uri(ngx_http_request_t *r, ngx_str_t *uri);
ngx_int_t ngx_http_lua_var_ffi_host(ngx_http_request_t *r, ngx_str_t *host);
ngx_int_t ngx_http_lua_var_ffi_remote_addr(ngx_http_request_t *r,
    ngx_str_t *remote_addr);
ngx_int_t ngx_http_lua_var_ffi_scheme(ngx_http_request_t *r,
    ngx_str_t *scheme);
ngx_int_t ngx_http_lua_var_ffi_request_time(ngx_http_request_t *r,
    u_char *buf);
ngx_int_t ngx_http_lua_var_ffi_upstream_response_time(ngx_http_request_t *r,
    u_char *buf, int kind);

/* -- request.c: what Rust asks of C ------------------------------------- */

/* r->uri_changes: counts down with each internal redirect or rewrite. */
ngx_uint_t lua_var_uri_changes(const ngx_http_request_t *r);

/* A request of which only this member is set, to all ones, for debuggers. */
extern const ngx_http_request_t  lua_var_uri_changes_probe;

/* Cookie header number n of the request; NULL when it has no more. */
ngx_table_elt_t *lua_var_cookie(const ngx_http_request_t *r, ngx_uint_t n);

/*
 * The value of the header whose pointer is at this offset in the request.  Returns
 * NGX_DECLINED when there is none, NGX_ERROR when there are several.
 */
ngx_int_t lua_var_header(const ngx_http_request_t *r, size_t offset,
    ngx_str_t *value);

/* Where a header has the next of its name; 0 before nginx 1.23, which has none. */
size_t lua_var_next_header(void);

/* The word of a ngx_variable_value_t that its length and its flags share. */
uint32_t lua_var_value_word(unsigned len, unsigned valid,
    unsigned no_cacheable, unsigned not_found);

/* -- core.h, functions.c, reader.c, refusal.c: what C asks of Rust ------ */

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

/* Strings that are values so often that Lua keeps them: NGX_HTTP_LUA_VAR_FIXED. */
#define LUA_VAR_FIXED_TEXTS                                                   \
    { "http", "https", "GET", "POST", "HTTP/1.1", "HTTP/2.0", "on", "" }
#define LUA_VAR_FIXED_N   8

/* Sizes of texts that are copied, with their zero. */
#define LUA_VAR_SOURCE        60
#define LUA_VAR_REQUEST_LINE  128

#define LUA_VAR_ENDED_AGO     1     /* as long ago as ended_ms says */
#define LUA_VAR_ENDED_BEFORE  2     /* longer ago */

/* A refusal: what was asked, and what its line in the log says besides. */
typedef struct {
    /* of the caller */
    const char          *asked;     /* the function */
    const u_char        *name;      /* of the variable; NULL: of none */
    size_t               name_len;
    const char          *source;    /* the Lua that asked; NULL: not known */
    int32_t              line;
    uint32_t             kind;      /* LUA_VAR_REQ_HANDLE and so on */
    uint64_t             given;     /* lua_var_req_t's value */
    ngx_http_request_t  *current;

    /* of Rust, when there is to be a line */
    ngx_log_t           *log;
    ngx_uint_t           level;
    uint64_t             left_out;  /* how many had no line since the last one */
    uint32_t             id;        /* of the handle */
    uint32_t             generation;
    uint32_t             ended;     /* LUA_VAR_ENDED_AGO and so on; 0: it never was */
    uint32_t             ended_ms;
    uint32_t             running_id;            /* of the current request's handle */
    uint32_t             running_generation;    /* 0: it has none */
    int64_t              made_ago;  /* seconds */
    int32_t              made_line;
    u_char               made_source[LUA_VAR_SOURCE];   /* empty: not known */
    u_char               made_request[LUA_VAR_REQUEST_LINE];
} lua_var_refusal_t;

/* Variables that one reader() reads. */
#define LUA_VAR_READER_MAX  64

/* Room for a sentence of lua-nginx-module's. */
#define LUA_VAR_SENTENCE  256

/* A Lua source file embedded in the module. */
typedef struct {
    const char    *package;
    const char    *name;        /* chunk name, begins with '@' or '=' */
    const u_char  *source;
    size_t         len;
} lua_var_chunk_t;

/* What Rust does for the files of C; where there is an out, it is filled. */
typedef struct {
    /* The variable name; NGX_HTTP_LUA_VAR_AGAIN: with the name in lower case. */
    void (*fetch)(const lua_var_req_t *req, const u_char *name, size_t len,
        int32_t flavour, ngx_http_lua_var_value_t *out);

    /*
     * The same by what was found of a name, which is still where it was: of the
     * request that the handle names, or of the current one if that is not NULL.
     * NGX_HTTP_LUA_VAR_AGAIN when fetch() has to be asked, which also says why a
     * request is refused.
     */
    void (*read)(uint64_t handle, ngx_http_request_t *current,
        const ngx_http_lua_var_found_t *found, int32_t flavour,
        ngx_http_lua_var_value_t *out);

    /*
     * The same for n names at once.  NGX_OK: all are read.  NGX_AGAIN: a name whose
     * value is NGX_HTTP_LUA_VAR_AGAIN has to be asked for with fetch().  NGX_ERROR: the
     * request is refused, which out[0] says.
     */
    ngx_int_t (*read_many)(const lua_var_req_t *req,
        const ngx_http_lua_var_found_t *found, size_t n,
        ngx_http_lua_var_value_t *out);

    /*
     * Finds a name in the newest configuration.  It has to stay where it is for
     * as long as it is read by what was found.  Returns 0 when there is no way
     * but fetch().
     */
    ngx_uint_t (*find)(const u_char *name, size_t len,
        ngx_http_lua_var_found_t *found);

    /* Capture n of the last regular expression. */
    void (*capture)(const lua_var_req_t *req, ptrdiff_t n,
        ngx_http_lua_var_value_t *out);

    /* Assigns; a NULL value unsets.  sentence has LUA_VAR_SENTENCE bytes. */
    void (*set)(const lua_var_req_t *req, const u_char *name, size_t len,
        const u_char *value, size_t value_len, u_char *sentence,
        ngx_http_lua_var_value_t *out);

    /* Whether the request is one that handles and pointers may name now. */
    void (*live)(const lua_var_req_t *req, ngx_http_lua_var_value_t *out);

    /* Registers the current request and writes its handle's 64 bits. */
    void (*acquire)(ngx_http_request_t *current, uint64_t *handle,
        ngx_http_lua_var_value_t *out);

    /*
     * Counts a refusal, which out says, while current is running.  0 when that is
     * all; else describe() keeps it, and fills the rest of it for the log.  It is
     * to be logged when that gives 1.
     */
    ngx_uint_t (*refused)(const ngx_http_lua_var_value_t *out,
        ngx_http_request_t *current);
    ngx_uint_t (*describe)(const ngx_http_lua_var_value_t *out,
        lua_var_refusal_t *refusal);

    /* Whether request() says where it is called, and that. */
    ngx_uint_t (*is_tracing)(void);
    void (*made)(uint64_t handle, const char *source, int32_t line);

    /* Figure n: its name in data and len, its value in number.  0 beyond the last. */
    ngx_uint_t (*figure)(ngx_uint_t n, ngx_http_lua_var_value_t *out);

    /* 0 for a VM that serves the whole worker, else a number of its own. */
    uint32_t (*vm)(void);

    /* The embedded files, and shim/ffi.h for ffi.cdef. */
    const lua_var_chunk_t  *chunks;
    size_t                  nchunks;
    size_t                  nreplacements;  /* the last of them: for lua_var_replace */
    const u_char           *cdef;
    size_t                  cdef_len;
} lua_var_rust_t;

/* -- core.c: what Rust asks of C ----------------------------------------- */

/*
 * The file that this copy of the module was loaded from.  Returns NGX_DECLINED
 * when it is where nginx is, that is linked into it.
 */
ngx_int_t lua_var_file(const char **file);

/* -- stream.c: what C asks of Rust --------------------------------------- */

/* resty.ngxvar of the stream subsystem, which may be read before http {}. */
const lua_var_chunk_t *lua_var_rs_stream(void);

/* -- lua.c: what Rust asks of C ----------------------------------------- */

/*
 * Looks the Lua API up in the running process and registers the embedded
 * packages with the Lua module.  Returns NGX_DECLINED when lua-nginx-module is
 * not loaded, NGX_ERROR when it lacks something; *missing then names it.
 */
ngx_int_t lua_var_lua_init(ngx_conf_t *cf, const lua_var_rust_t *functions,
    const char **missing);

/*
 * Registers an embedded package in place of the library of that name, for
 * lua_var_replace.  NGX_DECLINED: there is none of that name.
 */
ngx_int_t lua_var_lua_replace(ngx_conf_t *cf, ngx_str_t *package);

/*
 * Whether "lua_code_cache off" holds in the server or location that is being merged, as
 * far as the Lua module has merged it by now.
 */
ngx_uint_t lua_var_lua_is_code_cache_off(ngx_conf_t *cf);

/* Whether the configuration being read has the Lua module. */
ngx_uint_t lua_var_lua_is_configured(void);

/* Whether the configuration that runs has it. */
ngx_uint_t lua_var_lua_is_running(void);

/* The configuration that was read is the one that runs from now on. */
void lua_var_lua_commit(void);

/* The reference of the request's ngx.ctx; < 1 when it has none. */
ngx_int_t lua_var_lua_ctx_ref(ngx_http_request_t *r);

/* Writes the line of a refusal that no Lua can be asked about. */
void lua_var_log_refusal(const lua_var_refusal_t *refusal, const u_char *why,
    size_t len);

/*
 * A variable as ngx.var reads it: ngx_http_lua_ffi_var_get().  The name has to
 * be in lower case; NULL for the capture of that number.  NGX_ERROR: *error,
 * a constant, says why.
 */
ngx_int_t lua_var_lua_get(ngx_http_request_t *r, const u_char *name,
    size_t len, int capture, ngx_str_t *value, const char **error);

/*
 * Assigns as ngx.var does: ngx_http_lua_ffi_var_set().  NGX_ERROR: why is
 * written to sentence, which has room for *sentence_len bytes.
 */
ngx_int_t lua_var_lua_set(ngx_http_request_t *r, const u_char *name,
    size_t len, const u_char *value, size_t value_len, u_char *sentence,
    size_t *sentence_len);

#endif
