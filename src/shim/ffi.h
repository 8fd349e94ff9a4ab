/*
 * The types and functions that Lua, C and Rust share.  bindgen, the C compiler
 * and, as text, LuaJIT's ffi.cdef read this file, so that a type or signature is
 * declared only once.  It contains no preprocessor directives, because ffi.cdef
 * does not support them.
 */

/* A handle, which names one request: a slot and the generation of its occupant. */
typedef struct ngx_http_lua_var_handle_s {
    const uint32_t  id;
    const uint32_t  generation;
} ngx_http_lua_var_handle_t;

/* The kind of a value, and the members of ngx_http_lua_var_value_t that have it. */
typedef enum {
    NGX_HTTP_LUA_VAR_NIL,
    NGX_HTTP_LUA_VAR_STRING,    /* data, len: in the request's memory */
    NGX_HTTP_LUA_VAR_NUMBER,    /* number */
    NGX_HTTP_LUA_VAR_WRITTEN,   /* text, len: in the structure itself */
    NGX_HTTP_LUA_VAR_FIXED,     /* len: index of one of LUA_VAR_FIXED_TEXTS */
    NGX_HTTP_LUA_VAR_TRUE,
    NGX_HTTP_LUA_VAR_ERROR,     /* data, len: the error message */
    NGX_HTTP_LUA_VAR_REFUSED,   /* data, len: the reason; number: its number */
    NGX_HTTP_LUA_VAR_AGAIN      /* no value: read it in a slower way */
} ngx_http_lua_var_kind_t;

/* How a value is converted for the caller. */
typedef enum {
    NGX_HTTP_LUA_VAR_TYPED,     /* as lua-var-nginx-module: some values are numbers */
    NGX_HTTP_LUA_VAR_NGX_VAR    /* as ngx.var: strings, cached in r->variables */
} ngx_http_lua_var_flavour_t;

/*
 * The value that a call wrote.  While Lua reads the members, a finalizer may run
 * and read a variable into the same structure.  So each call writes another
 * number to `call`, and Lua compares it after it has read the other members.
 */
typedef struct {
    const unsigned char  *data;
    double                number;
    int32_t               len;
    int32_t               kind;
    int32_t               call;
    unsigned char         text[32];
} ngx_http_lua_var_value_t;

/* A resolved name: what it means in one configuration.  -1 stands for none. */
typedef struct {
    const unsigned char  *rest;     /* the part of the name behind `prefix` */
    uint32_t              rest_len;
    uint32_t              epoch;    /* of the variable table; 0: not resolved */
    int32_t               variable; /* number in the variable table */
    int32_t               prefix;   /* number of the built-in prefix, if not a variable */
    int32_t               cached;   /* index in r->variables, if it is cacheable */
    int32_t               header;   /* offset in the request of a pointer to a header */
    int32_t               is_direct;    /* 1: read directly from the request */
    int32_t               is_number;    /* 1: a number with NGX_HTTP_LUA_VAR_TYPED */
} ngx_http_lua_var_found_t;

/* A member of a structure of nginx's or the module's, which Lua reads. */
typedef struct {
    const char  *structure;
    const char  *name;
    const char  *type;              /* for ffi.cdef */
    size_t       offset;
} ngx_http_lua_var_member_t;

/* What Lua needs to know to read a request without a call. */
typedef struct {
    const ngx_http_lua_var_member_t  *members;
    size_t                            nmembers;
    const void                       *slots;        /* slot 0 of the registry */
    size_t                            slot_size;
    size_t                            nslots;       /* a power of two */
    const void                       *time;         /* address of ngx_cached_time */
    uint32_t                          signature;    /* r->signature of a live request */
    uint32_t                          core_index;   /* ctx_index of ngx_http_core_module */
    uint32_t                          header_next;  /* offset in a header; 0 before nginx 1.23 */
} ngx_http_lua_var_layout_t;

/*
 * Functions for the Lua library.  A request is given by a handle or, if that is
 * NULL, as the current request.  These two write *out and return out->call.
 */
int32_t ngx_http_lua_var_ffi_fetch(const ngx_http_lua_var_handle_t *handle,
    ngx_http_request_t *current, const unsigned char *name, size_t len,
    int32_t flavour, ngx_http_lua_var_value_t *out);
int32_t ngx_http_lua_var_ffi_read(const ngx_http_lua_var_handle_t *handle,
    ngx_http_request_t *current, const ngx_http_lua_var_found_t *found,
    int32_t flavour, ngx_http_lua_var_value_t *out);

/* What these return is described in src/api/ffi.rs. */
int32_t ngx_http_lua_var_ffi_slot(ngx_http_request_t *r);
void ngx_http_lua_var_ffi_resolve(const ngx_http_lua_var_handle_t *handle,
    const unsigned char *name, size_t len, ngx_http_lua_var_found_t *found);
int32_t ngx_http_lua_var_ffi_assign(const ngx_http_lua_var_handle_t *handle,
    const ngx_http_lua_var_found_t *found, const unsigned char *value, size_t len);
void ngx_http_lua_var_ffi_layout(ngx_http_lua_var_layout_t *out);
int32_t ngx_http_lua_var_ffi_handshake(ngx_http_request_t *r,
    const void **connection);
int32_t ngx_http_lua_var_ffi_ctx_lost(ngx_http_request_t *r, uint32_t vm);
void ngx_http_lua_var_ffi_ctx_made(ngx_http_request_t *r, int32_t reference,
    uint32_t vm, int32_t was_restored);
