/*
 * The boundary between the C and the Rust of the module.  build.rs makes the Rust
 * declarations from this file.
 *
 * Two things have to be C: access to bitfields of requests, because bindgen before
 * 0.73 misplaces them on nginx >= 1.29.3 (rust-bindgen#3384); and every call that
 * may raise a Lua error, because LuaJIT then unwinds the stack, which must not
 * have a Rust frame.
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

/* r->uri_changes, which counts down with each internal redirect or rewrite. */
ngx_uint_t lua_var_uri_changes(const ngx_http_request_t *r);

/* A request in which only the bits of uri_changes are set, for debuggers. */
extern const ngx_http_request_t  lua_var_uri_changes_probe;

/* The request's Cookie header number n, or NULL. */
ngx_table_elt_t *lua_var_cookie(const ngx_http_request_t *r, ngx_uint_t n);

/*
 * The value of the header whose pointer is at this offset in the request.  Returns
 * NGX_DECLINED if there is no such header, NGX_ERROR if there are several.
 */
ngx_int_t lua_var_header(const ngx_http_request_t *r, size_t offset,
    ngx_str_t *value);

/* Offset of the next header of the same name; 0 before nginx 1.23, which has none. */
size_t lua_var_next_header(void);

/* The word in which a ngx_variable_value_t has its length and flags. */
uint32_t lua_var_value_word(unsigned len, unsigned valid,
    unsigned no_cacheable, unsigned not_found);

/* -- core.h, functions.c, reader.c, culprits.c: what C asks of Rust ----- */

/* How a call from Lua names its request. */
#define LUA_VAR_REQ_CURRENT   0     /* it does not: the current request */
#define LUA_VAR_REQ_HANDLE    1     /* value has the bits of a handle */
#define LUA_VAR_REQ_POINTER   2     /* value is a pointer */
#define LUA_VAR_REQ_FOREIGN   3     /* by something that names no request */

typedef struct {
    uint64_t             value;
    ngx_http_request_t  *current;   /* the request that Lua runs for, or NULL */
    uint32_t             kind;
} lua_var_req_t;

/* Frequent values, of which each VM has the Lua strings (NGX_HTTP_LUA_VAR_FIXED). */
#define LUA_VAR_FIXED_TEXTS                                                   \
    { "http", "https", "GET", "POST", "HTTP/1.1", "HTTP/2.0", "on", "" }
#define LUA_VAR_FIXED_N   8

/* A function of the Lua call stack.  Texts end at a zero or where the array ends. */
typedef struct {
    u_char               source[60];    /* short_src of a lua_Debug */
    u_char               function[32];  /* its name, if that is known */
    int32_t              line;
} lua_var_frame_t;

/* The most functions of a call stack that are logged. */
#define LUA_VAR_FRAMES  12

/* A refusal, by which texts are copied so that it has no pointers but the request's. */
typedef struct {
    ngx_http_request_t  *current;
    uint64_t             given;         /* the value of the lua_var_req_t */
    uint32_t             kind;          /* LUA_VAR_REQ_HANDLE and so on */
    int32_t              context;       /* NGX_HTTP_LUA_CONTEXT_*, 0 if not known */
    uint64_t             since;         /* refusals since the last line, set by Rust */
    u_char               asked[48];     /* what was asked: "read", "set" */
    u_char               name[64];      /* the variable; empty: none */
    u_char               why[192];      /* the sentence that Lua gets */
    uint32_t             nframes;       /* the first is the culprit; 0: not known */
    uint32_t             nresumer;      /* of the thread that resumed the coroutine */
    lua_var_frame_t      frames[LUA_VAR_FRAMES];
    lua_var_frame_t      resumer[LUA_VAR_FRAMES];
} lua_var_refusal_t;

/* The reason, beside those of Rust, of a wrong argument (Refusal::BadArgument). */
#define LUA_VAR_BAD_ARGUMENT  5

/* The most variables that a reader can read. */
#define LUA_VAR_READER_MAX  64

/* Size of the buffer for the name of a series, with its labels. */
#define LUA_VAR_SERIES  512

/* Size of the buffer for an error message of lua-nginx-module. */
#define LUA_VAR_SENTENCE  256

/* A Lua source file embedded in the module. */
typedef struct {
    const char    *package;
    const char    *name;        /* chunk name, which begins with '@' */
    const u_char  *source;
    size_t         len;
} lua_var_chunk_t;

/* The functions of Rust that C calls.  Those that have an `out` fill it. */
typedef struct {
    /* Reads a variable.  NGX_HTTP_LUA_VAR_AGAIN: convert the name to lower case. */
    void (*fetch)(const lua_var_req_t *req, const u_char *name, size_t len,
        int32_t flavour, ngx_http_lua_var_value_t *out);

    /*
     * Reads a variable by a resolved name, which has to be where it was when find()
     * resolved it.  The request is the current one, or the handle's if current is
     * NULL.  NGX_HTTP_LUA_VAR_AGAIN: call fetch(), also for the reason of a refusal.
     */
    void (*read)(uint64_t handle, ngx_http_request_t *current,
        const ngx_http_lua_var_found_t *found, int32_t flavour,
        ngx_http_lua_var_value_t *out);

    /*
     * Reads n variables by their resolved names.  NGX_AGAIN: call fetch() for those
     * whose value is NGX_HTTP_LUA_VAR_AGAIN.  NGX_ERROR: the request is refused, and
     * out[0] has the reason.
     */
    ngx_int_t (*read_many)(const lua_var_req_t *req,
        const ngx_http_lua_var_found_t *found, size_t n,
        ngx_http_lua_var_value_t *out);

    /*
     * Resolves a name in the newest configuration.  The name has to stay where it is
     * for as long as *found is used.  Returns 0 if only fetch() can read the variable.
     */
    ngx_uint_t (*find)(const u_char *name, size_t len,
        ngx_http_lua_var_found_t *found);

    /* Reads capture n of the last regular expression. */
    void (*capture)(const lua_var_req_t *req, ptrdiff_t n,
        ngx_http_lua_var_value_t *out);

    /* Assigns, or unsets with a NULL value.  sentence has LUA_VAR_SENTENCE bytes. */
    void (*set)(const lua_var_req_t *req, const u_char *name, size_t len,
        const u_char *value, size_t value_len, u_char *sentence,
        ngx_http_lua_var_value_t *out);

    /* Whether the request is live. */
    void (*live)(const lua_var_req_t *req, ngx_http_lua_var_value_t *out);

    /* Registers the current request and writes the bits of its handle. */
    void (*acquire)(ngx_http_request_t *current, uint64_t *handle,
        ngx_http_lua_var_value_t *out);

    /* Counts the refusal in *out.  If it returns 1, it has to be logged with all frames. */
    ngx_uint_t (*refused)(const ngx_http_lua_var_value_t *out,
        lua_var_refusal_t *refusal);
    void (*log_refusal)(const lua_var_refusal_t *refusal);

    /* Logs what was left out; the timer of lua_var_flush_later() calls it. */
    void (*flush_refusals)(void);

    /* Whether made() has to be called for each new handle, with its place in Lua. */
    ngx_uint_t (*is_tracing)(void);
    void (*made)(uint64_t handle, const char *source, int32_t line);

    /*
     * Series n: its name in the LUA_VAR_SERIES bytes at buf, with its length in out->len, and
     * its value in out->number.  Returns 0 after the last.
     */
    ngx_uint_t (*figure)(ngx_uint_t n, u_char *buf,
        ngx_http_lua_var_value_t *out);

    /* A number for a new VM: 0 if it serves the whole worker, else one of its own. */
    uint32_t (*vm)(void);

    /* The embedded Lua files, and the text of ffi.h for ffi.cdef. */
    const lua_var_chunk_t  *chunks;
    size_t                  nchunks;
    size_t                  nreplacements;  /* how many, at the end, lua_var_replace names */
    const u_char           *cdef;
    size_t                  cdef_len;
} lua_var_rust_t;

/* -- core.c: what Rust asks of C ----------------------------------------- */

/*
 * The file that this copy of the module was loaded from.  Returns NGX_DECLINED if it
 * is linked into nginx.
 */
ngx_int_t lua_var_file(const char **file);

/* -- stream.c: what C asks of Rust --------------------------------------- */

/* resty.ngxvar for the stream subsystem. */
const lua_var_chunk_t *lua_var_rs_stream(void);

/* -- lua.c: what Rust asks of C ----------------------------------------- */

/*
 * Looks up the Lua API in the process and registers the embedded packages with
 * lua-nginx-module.  Returns NGX_DECLINED if that is not loaded, NGX_ERROR if it lacks
 * the function *missing.
 */
ngx_int_t lua_var_lua_init(ngx_conf_t *cf, const lua_var_rust_t *functions,
    const char **missing);

/*
 * Registers an embedded package in place of the library of this name, for
 * lua_var_replace.  Returns NGX_DECLINED if there is no such package.
 */
ngx_int_t lua_var_lua_replace(ngx_conf_t *cf, ngx_str_t *package);

/*
 * Whether lua_code_cache is off in the server or location that is being merged.  As long
 * as lua-nginx-module has not merged it, an inherited value does not count.
 */
ngx_uint_t lua_var_lua_is_code_cache_off(ngx_conf_t *cf);

/* Whether the configuration that is being read has lua-nginx-module. */
ngx_uint_t lua_var_lua_is_configured(void);

/* Whether the running configuration has lua-nginx-module. */
ngx_uint_t lua_var_lua_is_running(void);

/* Makes the configuration that was read the running one. */
void lua_var_lua_commit(void);

/* The reference of the request's ngx.ctx; less than 1 if it has none. */
ngx_int_t lua_var_lua_ctx_ref(ngx_http_request_t *r);

/* -- culprits.c: what Rust asks of C -------------------------------------- */

/* Calls flush_refusals() after so many milliseconds, unless it is going to. */
void lua_var_flush_later(ngx_uint_t ms);

/*
 * Reads a variable as ngx.var does (ngx_http_lua_ffi_var_get()), or a capture if name
 * is NULL.  The name has to be in lower case.  Returns NGX_DECLINED if the variable is
 * not found, NGX_ERROR with a message, which is a constant, in *error.
 */
ngx_int_t lua_var_lua_get(ngx_http_request_t *r, const u_char *name,
    size_t len, int capture, ngx_str_t *value, const char **error);

/*
 * Assigns as ngx.var does (ngx_http_lua_ffi_var_set()).  Returns NGX_ERROR with a message
 * in sentence, which has room for *sentence_len bytes.
 */
ngx_int_t lua_var_lua_set(ngx_http_request_t *r, const u_char *name,
    size_t len, const u_char *value, size_t value_len, u_char *sentence,
    size_t *sentence_len);

#endif
