/* AddressSanitizer's options for the nginx of .ci/asan-nginx, linked in, because nginx starts
 * another one without its environment when it is upgraded. */

const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
    return "abort_on_error=1"           /* a signal, which the master logs as an alert */
           ":detect_leaks=0"            /* neither LuaJIT nor nginx frees all at its end */
           ":handle_segv=0"             /* t/gdb.t kills workers, for their core dumps */
           ":disable_coredump=0";
}
