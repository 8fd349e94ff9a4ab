/*
 * The CPU time and the heap of a worker, and requests to callgrind. Compiled by t/bin/bench into
 * target/bench/probe.so.
 */

#include <malloc.h>
#include <time.h>

#include <valgrind/callgrind.h>


/* Nanoseconds of this process' CPU time. */
double
probe_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec * 1e9 + ts.tv_nsec;
}


/* Bytes that malloc() has given out and not taken back. */
double
probe_heap(void)
{
    struct mallinfo2  info = mallinfo2();

    return (double) info.uordblks + (double) info.hblkhd;
}


/* Counts from here on. */
void
probe_count(void)
{
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}


/* Writes the counts since the last call. */
void
probe_dump(void)
{
    CALLGRIND_DUMP_STATS;
}
