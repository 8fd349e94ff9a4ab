/*
 * The error log line for a refusal: which function was called, why the access was
 * refused, and the Lua call stack.
 *
 * Nothing here allocates Lua objects, so that no finalizer runs in between.
 */

#include "lua.h"


/* The most callers in one line. */
#define CALLERS_MAX  12


/* The contexts of the Lua module (NGX_HTTP_LUA_CONTEXT_*). */
static const struct {
    int          flag;
    const char  *name;
} phases[] = {
    { 0x0001, "set_by_lua*" },
    { 0x0002, "rewrite_by_lua*" },
    { 0x0004, "access_by_lua*" },
    { 0x0008, "content_by_lua*" },
    { 0x0010, "log_by_lua*" },
    { 0x0020, "header_filter_by_lua*" },
    { 0x0040, "body_filter_by_lua*" },
    { 0x0080, "a timer" },
    { 0x0100, "init_worker_by_lua*" },
    { 0x0200, "balancer_by_lua*" },
    { 0x0400, "ssl_certificate_by_lua*" },
    { 0x0800, "ssl_session_store_by_lua*" },
    { 0x1000, "ssl_session_fetch_by_lua*" },
    { 0x2000, "exit_worker_by_lua*" },
    { 0x4000, "ssl_client_hello_by_lua*" },
    { 0x8000, "server_rewrite_by_lua*" },
};


/* The phase that the Lua module runs for a request, or NULL. */
static const char *
phase_of(ngx_http_request_t *r)
{
    int      flag;
    char    *err;
    size_t   i;

    if (r == NULL || !api.is_running) {
        return NULL;
    }

    flag = api.ngx_http_lua_ffi_get_phase(r, &err);

    for (i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        if (phases[i].flag == flag) {
            return phases[i].name;
        }
    }

    return NULL;
}


static int
is_of_library(const lua_Debug *ar)
{
    static const char  library[] = "@resty/ngxvar";

    return ar->what[0] == 'C'
           || ngx_strncmp(ar->source, library, sizeof(library) - 1) == 0;
}


/* The first level, from this one on, outside of the library; -1 if there is none. */
static int
next_caller(lua_State *L, int level, lua_Debug *ar)
{
    while (api.lua_getstack(L, level, ar)) {

        if (api.lua_getinfo(L, "Sl", ar) && !is_of_library(ar)) {
            return level;
        }

        level++;
    }

    return -1;
}


int
lua_var_caller(lua_State *L, lua_Debug *ar)
{
    return next_caller(L, 0, ar) >= 0;
}


/*
 * The thread in which the coroutine L was resumed, directly or through other
 * coroutines.  Lua's API does not tell which, but lua-nginx-module anchors the threads that
 * it runs, and no coroutines.  If exactly one of them belongs to the request and waits
 * for a coroutine, it is that one.  NULL if L is such a thread, or if it is not certain.
 */
static lua_State *
resumed_in(lua_State *L, ngx_http_request_t *r)
{
    int         top, n;
    lua_State  *thread, *found;

    if (api.threads_key == NULL || r == NULL || !api.lua_checkstack(L, 4)) {
        return NULL;
    }

    top = api.lua_gettop(L);
    found = NULL;
    n = 0;

    api.lua_pushlightuserdata(L, api.threads_key);
    api.lua_rawget(L, LUA_REGISTRYINDEX);

    if (api.lua_type(L, -1) == LUA_TTABLE) {
        api.lua_pushnil(L);

        while (api.lua_next(L, -2)) {
            thread = api.lua_tothread(L, -1);
            api.lua_settop(L, -2);

            if (thread == L) {
                n = 0;
                break;
            }

            if (thread != NULL && api.lua_status(thread) == LUA_YIELD
                && api.ngx_http_lua_get_request(thread) == r)
            {
                found = thread;
                n++;
            }
        }
    }

    api.lua_settop(L, top);

    return n == 1 ? found : NULL;
}


/* Writes the functions that called, the innermost one after the text `first`. */
static u_char *
write_callers(lua_State *L, const char *first, u_char *p, u_char *last)
{
    int        level, n;
    lua_Debug  ar;

    level = -1;

    for (n = 0; n < CALLERS_MAX; n++) {

        level = next_caller(L, level + 1, &ar);

        if (level < 0) {
            return p;
        }

        p = ngx_slprintf(p, last, "%s%s:%d", n == 0 ? first : ", called at ",
                         ar.short_src, ar.currentline);

        if (api.lua_getinfo(L, "n", &ar) && ar.name != NULL) {
            p = ngx_slprintf(p, last, " in %s()", ar.name);
        }
    }

    return ngx_slprintf(p, last, ", ...");
}


/* Writes a text from Lua or a client, escaped as in nginx's access log. */
static u_char *
write_escaped(u_char *p, u_char *last, const u_char *text, size_t len)
{
    size_t  i;

    for (i = 0; i < len && p < last; i++) {

        if (text[i] < 0x20 || text[i] == '"' || text[i] == '\\'
            || text[i] > 0x7e)
        {
            p = ngx_slprintf(p, last, "\\x%02Xd", (int) text[i]);

        } else {
            *p++ = text[i];
        }
    }

    return p;
}


/* Writes the part of the line that is not the Lua call stack. */
static u_char *
write_facts(const lua_var_refusal_t *refusal, const u_char *why, size_t len,
    u_char *p, u_char *last)
{
    const char  *phase;

    p = ngx_slprintf(p, last, "%s", refusal->asked);

    if (refusal->name != NULL) {
        p = ngx_slprintf(p, last, " \"");
        p = write_escaped(p, last, refusal->name,
                          ngx_min(refusal->name_len, 64));
        p = ngx_slprintf(p, last, "\"");
    }

    p = ngx_slprintf(p, last, " refused: %*s", len, why);

    switch (refusal->kind) {

    case LUA_VAR_REQ_HANDLE:
        p = ngx_slprintf(p, last, ", handle %uD/%uD", refusal->id,
                         refusal->generation);

        if (refusal->ended == LUA_VAR_ENDED_AGO) {
            p = ngx_slprintf(p, last, ", whose request ended %uD.%03uDs ago",
                             refusal->ended_ms / 1000,
                             refusal->ended_ms % 1000);

        } else if (refusal->ended == LUA_VAR_ENDED_BEFORE) {
            p = ngx_slprintf(p, last, ", whose request ended more than "
                             "%uD.%03uDs ago", refusal->ended_ms / 1000,
                             refusal->ended_ms % 1000);
        }

        if (refusal->made_source[0] != '\0') {
            p = ngx_slprintf(p, last, ", made %Ls ago at %s:%d",
                             refusal->made_ago, refusal->made_source,
                             refusal->made_line);

            if (refusal->made_request[0] != '\0') {
                p = ngx_slprintf(p, last, " for \"");
                p = write_escaped(p, last, refusal->made_request,
                                  ngx_strlen(refusal->made_request));
                p = ngx_slprintf(p, last, "\"");
            }
        }

        break;

    case LUA_VAR_REQ_POINTER:
        p = ngx_slprintf(p, last, ", pointer %p",
                         (void *) (uintptr_t) refusal->given);
        break;
    }

    if (refusal->running_generation != 0) {
        p = ngx_slprintf(p, last, ", while request %uD/%uD was running",
                         refusal->running_id, refusal->running_generation);
    }

    phase = phase_of(refusal->current);

    if (phase != NULL) {
        p = ngx_slprintf(p, last, ", in %s", phase);
    }

    return p;
}


/* Logs the line, with the number of refusals before it that were not logged. */
static void
write_line(const lua_var_refusal_t *refusal, const u_char *text, u_char *end)
{
    if (refusal->left_out != 0) {
        ngx_log_error(refusal->level, refusal->log, 0,
                      "lua_var: %*s (%uL more were not logged)",
                      (size_t) (end - text), text, refusal->left_out);
        return;
    }

    ngx_log_error(refusal->level, refusal->log, 0, "lua_var: %*s",
                  (size_t) (end - text), text);
}


void
lua_var_log_refusal(const lua_var_refusal_t *refusal, const u_char *why,
    size_t len)
{
    u_char  *end, text[NGX_MAX_ERROR_STR / 2];

    end = write_facts(refusal, why, len, text, text + sizeof(text));
    end = ngx_slprintf(end, text + sizeof(text), ", called over FFI, so that "
                       "the calling Lua code is not known");

    write_line(refusal, text, end);
}


void
lua_var_refuse(lua_State *L, const char *asked, const u_char *name,
    size_t len, const lua_var_req_t *req, const lua_var_value_t *out)
{
    u_char             *end, text[NGX_MAX_ERROR_STR / 2];
    lua_Debug           caller;
    lua_State          *resumer;
    lua_var_refusal_t   refusal;

    if (!rust->refused(out, req->current)) {
        return;
    }

    ngx_memzero(&refusal, sizeof(lua_var_refusal_t));

    refusal.asked = asked;
    refusal.name = name;
    refusal.name_len = len;
    refusal.kind = req->kind;
    refusal.given = req->value;
    refusal.current = req->current;

    if (lua_var_caller(L, &caller)) {
        refusal.source = caller.short_src;
        refusal.line = caller.currentline;
    }

    if (!rust->describe(out, &refusal)) {
        return;
    }

    end = write_facts(&refusal, out->data, out->len, text,
                      text + sizeof(text));
    end = write_callers(L, ", at ", end, text + sizeof(text));

    resumer = resumed_in(L, req->current);

    if (resumer != NULL) {
        end = write_callers(resumer, ", in a coroutine resumed at ", end,
                            text + sizeof(text));
    }

    write_line(&refusal, text, end);
}
