/*
 * Accessors that have to be in C: bitfields, whose layout only a C compiler knows,
 * and members that differ between the versions of nginx.
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


ngx_int_t
lua_var_header(const ngx_http_request_t *r, size_t offset, ngx_str_t *value)
{
    const ngx_table_elt_t  *h;

    h = *(ngx_table_elt_t *const *) ((const char *) r + offset);

    if (h == NULL) {
        return NGX_DECLINED;
    }

#if (nginx_version >= 1023000)
    if (h->next != NULL || h->hash == 0) {
        return NGX_ERROR;
    }
#endif

    *value = h->value;

    return NGX_OK;
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
