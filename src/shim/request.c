/* Accessors that have to be in C: bitfields, whose layout only a C compiler knows. */

#include "shim.h"


ngx_uint_t
lua_var_uri_changes(const ngx_http_request_t *r)
{
    return r->uri_changes;
}


ngx_uint_t
lua_var_runs(const ngx_connection_t *c, const ngx_http_request_t *r)
{
    return c->data == r && !c->destroyed
           && r->signature == NGX_HTTP_MODULE && r->connection == c;
}


uint32_t
lua_var_value_word(unsigned len, unsigned valid, unsigned no_cacheable,
    unsigned not_found)
{
    uint32_t              word;
    ngx_variable_value_t  v;

    ngx_memzero(&v, sizeof(v));
    v.len = len;
    v.valid = valid;
    v.no_cacheable = no_cacheable;
    v.not_found = not_found;

    ngx_memcpy(&word, &v, sizeof(word));

    return word;
}
