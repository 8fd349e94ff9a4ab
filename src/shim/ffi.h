/*
 * What Lua, C and Rust say to each other: the one declaration, read by bindgen,
 * by the C compiler and, as text, by LuaJIT's ffi.cdef.  The latter knows no
 * preprocessor, so there are no directives here.
 */

/* A request's name: the number of its slot and the generation of its occupant. */
typedef struct ngx_http_lua_var_handle_s {
    const uint32_t  id;
    const uint32_t  generation;
} ngx_http_lua_var_handle_t;

/* What kind of value a call gave. */
typedef enum {
    NGX_HTTP_LUA_VAR_NIL,
    NGX_HTTP_LUA_VAR_STRING,    /* data, len: in the request's memory */
    NGX_HTTP_LUA_VAR_NUMBER,    /* number */
    NGX_HTTP_LUA_VAR_WRITTEN,   /* text, len: written for this call */
    NGX_HTTP_LUA_VAR_FIXED,     /* len: number of a string that the caller keeps */
    NGX_HTTP_LUA_VAR_TRUE,
    NGX_HTTP_LUA_VAR_ERROR,     /* data, len: why */
    NGX_HTTP_LUA_VAR_REFUSED,   /* data, len: why the request may not be read; number: which */
    NGX_HTTP_LUA_VAR_AGAIN      /* not this way: ask the slower one */
} ngx_http_lua_var_kind_t;

/* How a value is converted for the caller. */
typedef enum {
    NGX_HTTP_LUA_VAR_TYPED,     /* as lua-var-nginx-module: some are numbers */
    NGX_HTTP_LUA_VAR_NGX_VAR    /* as ngx.var: strings, and nginx caches what it would */
} ngx_http_lua_var_flavour_t;

/*
 * A variable's value.  A finalizer may run between two reads of it in Lua, and
 * may read variables itself; so each call numbers what it wrote, and who reads
 * compares that number last.
 */
typedef struct {
    const unsigned char  *data;
    double                number;
    int32_t               len;
    int32_t               kind;
    int32_t               call;
    unsigned char         text[32];
} ngx_http_lua_var_value_t;

/* How a name was found in one configuration; what is -1 is not there. */
typedef struct {
    const unsigned char  *rest;     /* the name behind a built-in prefix */
    uint32_t              rest_len;
    uint32_t              epoch;    /* of the variable table */
    int32_t               variable; /* its number in that table */
    int32_t               prefix;   /* which built-in prefix, of a name that is no variable */
    int32_t               cached;   /* place in r->variables of a value that nginx may keep */
    int32_t               header;   /* offset in the request of a pointer to a header */
    int32_t               is_direct;    /* 1: read from the request, without a handler */
    int32_t               is_number;    /* 1: a number, where values are typed */
} ngx_http_lua_var_found_t;

/* A member of one of nginx's structures, or of the module's, that Lua reads. */
typedef struct {
    const char  *structure;
    const char  *name;
    const char  *type;
    size_t       offset;
} ngx_http_lua_var_member_t;

/* What readers in Lua need to know to read a request without a call. */
typedef struct {
    const ngx_http_lua_var_member_t  *members;
    size_t                            nmembers;
    const void                       *slots;        /* slot 0 of the registry */
    size_t                            slot_size;
    size_t                            nslots;       /* how many there can be */
    const void                       *time;         /* nginx's cached time */
    uint32_t                          signature;    /* of live requests */
    uint32_t                          core_index;   /* the core module's, in r->srv_conf */
    uint32_t                          header_next;  /* offset in a header; 0 before nginx 1.23 */
} ngx_http_lua_var_layout_t;

/* For the Lua library; each writes *out and returns out->call. */
int32_t ngx_http_lua_var_ffi_fetch(const ngx_http_lua_var_handle_t *handle,
    ngx_http_request_t *current, const unsigned char *name, size_t len,
    int32_t flavour, ngx_http_lua_var_value_t *out);
int32_t ngx_http_lua_var_ffi_read(const ngx_http_lua_var_handle_t *handle,
    ngx_http_request_t *current, const ngx_http_lua_var_found_t *found,
    int32_t flavour, ngx_http_lua_var_value_t *out);

/* For the Lua library, too. */
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
