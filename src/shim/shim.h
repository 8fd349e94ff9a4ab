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

typedef struct lua_State lua_State;

/* -- request.c: what Rust asks of C ------------------------------------- */

/* r->uri_changes, which counts down with each internal redirect or rewrite. */
ngx_uint_t lua_var_uri_changes(const ngx_http_request_t *r);

/*
 * Whether c runs r.  What c names may be something else than a request; of that,
 * the first 16 bytes are read at most.
 */
ngx_uint_t lua_var_runs(const ngx_connection_t *c,
    const ngx_http_request_t *r);

/* The word in which a ngx_variable_value_t has its length and flags. */
uint32_t lua_var_value_word(unsigned len, unsigned valid,
    unsigned no_cacheable, unsigned not_found);

/* -- functions.c, culprits.c: what C asks of Rust ------------------------ */

/* How a call from Lua names its request. */
#define LUA_VAR_REQ_CURRENT   0     /* it does not: the current request */
#define LUA_VAR_REQ_HANDLE    1     /* value has the bits of a handle */
#define LUA_VAR_REQ_POINTER   2     /* value is a pointer */
#define LUA_VAR_REQ_FOREIGN   3     /* by something that names no request */

typedef struct {
    uint64_t             value;
    ngx_http_request_t  *current;   /* of get_request(), or NULL; it may have ended */
    uint32_t             kind;
} lua_var_req_t;

/* The kind of a value, and the members of lua_var_value_t that have it. */
typedef enum {
    LUA_VAR_NIL,
    LUA_VAR_STRING,     /* data, len: in memory that lives as long as the request */
    LUA_VAR_VOLATILE,   /* data, len: in memory that a finalizer may free */
    LUA_VAR_BODY,       /* data: the request whose body it is */
    LUA_VAR_NUMBER,     /* number */
    LUA_VAR_WRITTEN,    /* text, len: in the structure itself */
    LUA_VAR_FIXED,      /* len: index of one of LUA_VAR_FIXED_TEXTS */
    LUA_VAR_TRUE,
    LUA_VAR_ERROR,      /* data: a format of lua_pushfstring(), for the name twice */
    LUA_VAR_REFUSED,    /* data, len: the reason; number: its number */
    LUA_VAR_AGAIN       /* no value: read it in a slower way */
} lua_var_kind_t;

/* How a value is converted for the caller. */
typedef enum {
    LUA_VAR_TYPED,      /* as lua-var-nginx-module: some values are numbers */
    LUA_VAR_NGX_VAR     /* as ngx.var: strings, cached in r->variables */
} lua_var_flavour_t;

/* A value, or why there is none. */
typedef struct {
    const unsigned char  *data;
    double                number;
    int32_t               len;
    int32_t               kind;
    unsigned char         text[32];
} lua_var_value_t;

/* A resolved name: what it means in one configuration. */
typedef struct {
    uint64_t                    conf;       /* address of the configuration; 0: not resolved */
    const ngx_http_variable_t  *variable;   /* its definition, or that of its prefix */
    int32_t                     field;      /* how the module reads it directly; -1: not */
    int32_t                     kind;       /* LUA_VAR_PLAIN and so on */
} lua_var_found_t;

#define LUA_VAR_PLAIN   0
#define LUA_VAR_HEADER  1       /* a header that nginx defines by name */
#define LUA_VAR_PREFIX  2
#define LUA_VAR_REQUEST_BODY  3

/* The number of the refusal for which fetch() reads ngx.var. */
#define LUA_VAR_LAYOUT  4

/* Frequent values, of which each VM has the Lua strings (LUA_VAR_FIXED). */
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

/* Size of the buffer for the name of a series, with its labels. */
#define LUA_VAR_SERIES  512

/* A Lua source file embedded in the module. */
typedef struct {
    const char    *package;
    const char    *name;        /* chunk name, which begins with '@' */
    const u_char  *source;
    size_t         len;
} lua_var_chunk_t;

/* A call of Lua's into Rust, and its result. */
typedef struct {
    lua_var_req_t           req;
    ngx_str_t               name;       /* the variable's; data is NULL: none */
    ngx_str_t               text;       /* the value to assign or to convert; the same */
    ptrdiff_t               number;     /* of a capture */
    int32_t                 flavour;
    const lua_var_found_t  *known;      /* what the name was resolved to before */
    lua_var_found_t         found;      /* what it is resolved to now; conf is 0: not */
    lua_var_value_t         out;
} lua_var_call_t;

/* The functions of Rust that C calls; src/api has their documentation. */
typedef struct {
    /*
     * LUA_VAR_AGAIN: the name has to be in lower case, for fetch() and set(); read() does not
     * know, so that fetch() has to be called; number() gives none.
     */
    void (*fetch)(lua_var_call_t *call);
    void (*read)(lua_var_call_t *call);
    void (*capture)(lua_var_call_t *call);
    void (*set)(lua_var_call_t *call);
    void (*number)(lua_var_call_t *call);
    void (*live)(lua_var_call_t *call);
    void (*acquire)(lua_var_call_t *call);      /* writes the handle's bits to req.value */

    /* Counts the refusal in *out.  If it returns 1, it has to be logged with all frames. */
    ngx_uint_t (*refused)(const lua_var_value_t *out,
        lua_var_refusal_t *refusal);
    void (*log_refusal)(const lua_var_refusal_t *refusal);

    /* Whether r, of get_request(), is known to be live, so that it has a context. */
    ngx_uint_t (*has_context)(ngx_http_request_t *r);

    /* Logs what was left out; the timer of lua_var_flush_later() calls it. */
    void (*flush_refusals)(void);

    /* Whether made() has to be called for each new handle, with its place in Lua. */
    ngx_uint_t (*is_tracing)(void);
    void (*made)(uint64_t handle, const char *source, int32_t line);

    /* The name of series n in LUA_VAR_SERIES bytes, its length and value in *out; 0: no more */
    ngx_uint_t (*figure)(ngx_uint_t n, u_char *buf, lua_var_value_t *out);

    /*
     * For Lua, over FFI: the reference of the ngx.ctx that r lost in a redirect and gets
     * back in the VM with this number, or 0; and that it has one now.
     */
    int32_t (*ctx_lost)(ngx_http_request_t *r, uint32_t vm);
    void (*ctx_made)(ngx_http_request_t *r, uint32_t vm, int32_t was_restored);

    /* The connection of the current request, if that is known to be live; else NULL. */
    ngx_connection_t *(*connection)(ngx_http_request_t *current);

    /* Whether the ngx.ctx of the handshake shows through that of the request. */
    ngx_uint_t (*inherits_ssl_ctx)(ngx_http_request_t *current);

    /* A number for a new VM: 0 if it serves the whole worker, else one of its own. */
    uint32_t (*vm)(void);

    /* The embedded Lua files. */
    const lua_var_chunk_t  *chunks;
    size_t                  nchunks;
} lua_var_rust_t;

/* -- stream.c: what C asks of Rust --------------------------------------- */

/* resty.ngxvar for the stream subsystem. */
const lua_var_chunk_t *lua_var_rs_stream(void);

/* -- lua.c: what Rust asks of C ----------------------------------------- */

/* The file that has this copy of the module; NGX_DECLINED if it is linked into nginx. */
ngx_int_t lua_var_file(const char **file);

/*
 * Looks up the Lua API in the process and registers the embedded packages with
 * lua-nginx-module.  Returns NGX_DECLINED if that is not loaded, NGX_ERROR if it lacks
 * the function *missing.
 */
ngx_int_t lua_var_lua_init(ngx_conf_t *cf, const lua_var_rust_t *functions,
    const char **missing);

/* Whether the configuration that is being read has lua-nginx-module. */
ngx_uint_t lua_var_lua_is_configured(void);

/* Whether the running configuration has both modules; set when it was read. */
extern ngx_uint_t  lua_var_is_running;

/* The reference of the request's ngx.ctx; less than 1 if it has none. */
ngx_int_t lua_var_lua_ctx_ref(ngx_http_request_t *r);

/* -- cycles.c: what Rust asks of C --------------------------------------- */

/* To be called for each configuration that has the module, before it is used. */
ngx_int_t lua_var_enter(ngx_conf_t *cf);

/* -- culprits.c: what Rust asks of C -------------------------------------- */

/* Calls flush_refusals() after so many milliseconds, unless it is going to. */
void lua_var_flush_later(ngx_uint_t ms);

#endif
