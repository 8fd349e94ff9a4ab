/* Readers of ngx_http_request_t's bitfields. */

#include "shim.h"


ngx_uint_t
lua_var_uri_changes(const ngx_http_request_t *r)
{
    return r->uri_changes;
}


ngx_uint_t
lua_var_internal(const ngx_http_request_t *r)
{
    return r->internal;
}
