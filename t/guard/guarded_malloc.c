/*
 * malloc with guard pages, for an nginx that dies of a stale read (make test-guard).
 *
 * Every block gets pages of its own, ends where they end, and is followed by a
 * page that cannot be accessed; free() makes its pages inaccessible too, and no
 * address is handed out twice.  So a read of a freed block, or beyond a live one,
 * in C, Rust or code of LuaJIT, raises SIGSEGV at that very instruction.  With
 * NGX_DEBUG_PALLOC each allocation from a pool is such a block, the request itself
 * among them.
 *
 * nginx is linked with --wrap for the allocating functions, so that only its blocks
 * are guarded; free() and realloc() are replaced for all, because modules call them
 * with nginx's blocks.
 *
 * The memory of freed blocks is returned to the kernel.  Virtual memory is used up,
 * of which there is plenty, and mappings: two for a block with its guard page, of
 * 65530 for a process by default.  So when very many blocks are live, the guard page
 * is left out, and later blocks come from the real malloc.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE    ((size_t) 4096)
#define PAGES   ((size_t) 1 << 28)      /* for all blocks of a process */
#define ALIGN   ((size_t) 16)
#define FREED   SIZE_MAX

/* how many blocks may be live for the next to have a page behind it, or pages at all */
#define WITH_PAGE_BEHIND   8192
#define WITH_PAGES         100000

void *__real_malloc(size_t size);
int   __real_posix_memalign(void **p, size_t align, size_t size);

/* glibc's own, under the names that stay when free() and realloc() are replaced */
void  __libc_free(void *p);
void *__libc_realloc(void *p, size_t size);

static char    *region;
static size_t   used;                   /* pages */
static size_t   live;                   /* blocks */
static size_t  *sizes;                  /* of a block, at the number of its first page */


static size_t *
size_of(const void *p)
{
    uintptr_t  offset = (uintptr_t) p - (uintptr_t) region;

    return region != NULL && offset < used * PAGE ? &sizes[offset / PAGE] : NULL;
}


static void
say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        /* standard error is closed */
    }
}


/* Reports the address and the instruction to stderr, which is nginx's error log. */
static void
on_fault(int signo, siginfo_t *info, void *context)
{
    int      n;
    char     line[128];
    void    *frames[32];
    size_t  *size = size_of(info->si_addr);

    (void) context;

    /* only a block's first page has its size */
    while (size != NULL && *size == 0 && size > sizes) {
        size--;
    }

    snprintf(line, sizeof(line), "guarded_malloc: %s at %p, by:\n",
             size == NULL    ? "access to no block"
             : *size == FREED ? "access to a freed block"
                              : "access beyond a block",
             info->si_addr);
    say(line);

    n = backtrace(frames, sizeof(frames) / sizeof(frames[0]));
    backtrace_symbols_fd(frames, n, STDERR_FILENO);

    /* SA_RESETHAND: the instruction runs again and ends the process */
    (void) signo;
}


__attribute__((constructor)) static void
init(void)
{
    void              *warm_up[1];
    struct sigaction   action = { .sa_sigaction = on_fault };

    region = mmap(NULL, PAGES * PAGE, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    sizes = mmap(NULL, PAGES * sizeof(size_t), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (region == MAP_FAILED || sizes == MAP_FAILED) {
        say("guarded_malloc: no address space\n");
        abort();
    }

    /* its first call loads a library, which must not happen in the handler */
    backtrace(warm_up, 1);

    action.sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}


static void *
guarded_alloc(size_t size, size_t align)
{
    char    *pages;
    size_t   n;

    align = align < ALIGN ? ALIGN : align;

    if (region == NULL || align > PAGE || size > PAGES / 2 || live >= WITH_PAGES) {
        return NULL;
    }

    size = size == 0 ? align : (size + align - 1) & ~(align - 1);
    n = (size + PAGE - 1) / PAGE;
    pages = region + used * PAGE;

    if (used + n + 1 > PAGES
        || mprotect(pages, n * PAGE, PROT_READ | PROT_WRITE) != 0)
    {
        return NULL;
    }

    sizes[used] = size;
    used += live < WITH_PAGE_BEHIND ? n + 1 : n;
    live++;
    pages += n * PAGE - size;

    /* so that uninitialised memory is not zero */
    return memset(pages, 0xa5, size);
}


void *
__wrap_malloc(size_t size)
{
    void  *p = guarded_alloc(size, ALIGN);

    return p ? p : __real_malloc(size);
}


void
free(void *p)
{
    size_t  *size = size_of(p);
    char    *pages;

    if (size == NULL) {
        __libc_free(p);
        return;
    }

    if (*size == FREED || *size == 0) {
        say("guarded_malloc: free() of what is no live block\n");
        abort();
    }

    pages = (char *) ((uintptr_t) p & ~(PAGE - 1));

    /* maps new pages there, which returns the old ones to the kernel */
    mmap(pages, (*size + PAGE - 1) & ~(PAGE - 1), PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    *size = FREED;
    live--;
}


void *
__wrap_calloc(size_t n, size_t size)
{
    void  *p;

    if (size != 0 && n > SIZE_MAX / size) {
        return NULL;
    }

    p = __wrap_malloc(n * size);

    return p ? memset(p, 0, n * size) : NULL;
}


void *
realloc(void *p, size_t size)
{
    void    *to;
    size_t  *old = p ? size_of(p) : NULL;

    if (p != NULL && old == NULL) {
        return __libc_realloc(p, size);
    }

    to = __wrap_malloc(size);

    if (to != NULL && old != NULL) {
        memcpy(to, p, *old < size ? *old : size);
        free(p);
    }

    return to;
}


int
__wrap_posix_memalign(void **p, size_t align, size_t size)
{
    *p = guarded_alloc(size, align);

    return *p ? 0 : __real_posix_memalign(p, align, size);
}


void *
__wrap_memalign(size_t align, size_t size)
{
    void  *p;

    return __wrap_posix_memalign(&p, align, size) == 0 ? p : NULL;
}
