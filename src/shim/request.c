/*
 * Bitfields: those of ngx_http_request_t, and how the compiler lays them out.
 * And what is not the same in all versions of nginx.
 */

#include "shim.h"


ngx_uint_t
lua_var_uri_changes(const ngx_http_request_t *r)
{
    return r->uri_changes;
}


const ngx_http_request_t  lua_var_uri_changes_probe = { .uri_changes = 15 };


ngx_table_elt_t *
lua_var_cookie(const ngx_http_request_t *r, ngx_uint_t n)
{
#if (nginx_version >= 1023000)

    ngx_table_elt_t  *h;

    for (h = r->headers_in.cookie; h != NULL && n > 0; n--) {
        h = h->next;
    }

    return h;

#else

    ngx_table_elt_t  **h;

    if (n >= r->headers_in.cookies.nelts) {
        return NULL;
    }

    h = r->headers_in.cookies.elts;

    return h[n];

#endif
}


size_t
lua_var_next_header(void)
{
#if (nginx_version >= 1023000)
    return offsetof(ngx_table_elt_t, next);
#else
    return 0;
#endif
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
