/*
 * Who was refused: the Lua call stack and the phase, which only the C APIs tell, and the timer
 * for refusals that wait for their line.
 *
 * Nothing here allocates Lua objects, so that no finalizer runs in between.
 */

#include "lua.h"

#include <ngx_event.h>


/* What the Lua module runs for a request (NGX_HTTP_LUA_CONTEXT_*); 0 if that is not known. */
static int
context_of(ngx_http_request_t *r)
{
    int    context;
    char  *err;

    if (!lua_var_is_running || !rust->has_context(r)) {
        return 0;
    }

    context = api.ngx_http_lua_ffi_get_phase(r, &err);

    return context > 0 ? context : 0;
}


/* Whether a function is in C or of the library, whose chunks are named in lua_files.rs. */
static int
is_of_library(const lua_Debug *ar)
{
    size_t  len;

    static const char  library[] = "@resty/ngxvar", mark[] = " (lua_var)";

    if (ar->what[0] == 'C'
        || ngx_strncmp(ar->source, library, sizeof(library) - 1) == 0)
    {
        return 1;
    }

    len = ngx_strlen(ar->source);

    return len > sizeof(mark)
           && ngx_strcmp(ar->source + len - (sizeof(mark) - 1), mark) == 0;
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


/* Fills at most n frames, the innermost first.  Returns how many. */
static uint32_t
fill_frames(lua_State *L, lua_var_frame_t *frames, uint32_t n)
{
    int        level;
    uint32_t   i;
    lua_Debug  ar;

    level = -1;

    for (i = 0; i < n; i++) {

        level = next_caller(L, level + 1, &ar);

        if (level < 0) {
            break;
        }

        ngx_cpystrn(frames[i].source, (u_char *) ar.short_src,
                    sizeof(frames[i].source));
        frames[i].line = ar.currentline;

        if (api.lua_getinfo(L, "n", &ar) && ar.name != NULL) {
            ngx_cpystrn(frames[i].function, (u_char *) ar.name,
                        sizeof(frames[i].function));
        }
    }

    return i;
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


void
lua_var_refuse(lua_State *L, const char *asked, const ngx_str_t *name,
    const lua_var_req_t *req, const lua_var_value_t *out)
{
    lua_State          *resumer;
    lua_var_refusal_t   refusal;

    ngx_memzero(&refusal, sizeof(lua_var_refusal_t));

    refusal.current = req->current;
    refusal.given = req->value;
    refusal.kind = req->kind;
    refusal.context = context_of(req->current);

    ngx_cpystrn(refusal.asked, (u_char *) asked, sizeof(refusal.asked));
    ngx_memcpy(refusal.name, name->data,
               ngx_min(name->len, sizeof(refusal.name)));
    ngx_memcpy(refusal.why, out->data,
               ngx_min((size_t) out->len, sizeof(refusal.why)));

    refusal.nframes = fill_frames(L, refusal.frames, 1);

    if (!rust->refused(out, &refusal)) {
        return;
    }

    refusal.nframes = fill_frames(L, refusal.frames, LUA_VAR_FRAMES);

    resumer = resumed_in(L, req->current);

    if (resumer != NULL) {
        refusal.nresumer = fill_frames(resumer, refusal.resumer,
                                       LUA_VAR_FRAMES);
    }

    rust->log_refusal(&refusal);
}


static void
flush_handler(ngx_event_t *ev)
{
    rust->flush_refusals();
}


void
lua_var_flush_later(ngx_uint_t ms)
{
    static ngx_event_t       flush;
    static ngx_connection_t  dumb;      /* for nginx's debug messages */

    if (flush.timer_set) {
        return;
    }

    dumb.fd = (ngx_socket_t) -1;

    flush.handler = flush_handler;
    flush.data = &dumb;
    flush.log = ngx_cycle->log;
    flush.cancelable = 1;

    ngx_add_timer(&flush, ms);
}
