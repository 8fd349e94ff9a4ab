/*
 * The floors that the loops are compared with, and requests to callgrind.
 *
 * A floor is the least that a function called over FFI can do: return an existing
 * string, or a number. Compiled by t/bin/bench into
 * target/bench/floor.so.
 */

#include <malloc.h>
#include <stddef.h>
#include <time.h>

#include <valgrind/callgrind.h>


typedef struct {
    size_t          len;
    unsigned char  *data;
} floor_str_t;


int
floor_str(void *r, floor_str_t *out)
{
    out->data = (unsigned char *) "/bench/loop";
    out->len = sizeof("/bench/loop") - 1;

    return 0;
}


int
floor_int(void *r)
{
    return 200;
}


/* Nanoseconds of this process' CPU time. */
double
floor_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec * 1e9 + ts.tv_nsec;
}


/* Bytes that malloc() has given out and not taken back. */
double
floor_heap(void)
{
    struct mallinfo2  info = mallinfo2();

    return (double) info.uordblks + (double) info.hblkhd;
}


/* Counts from here on. */
void
floor_count(void)
{
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}


/* Writes the counts since the last call. */
void
floor_dump(void)
{
    CALLGRIND_DUMP_STATS;
}
