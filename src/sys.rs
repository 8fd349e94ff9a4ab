//! The only file that names nginx's bindings, the C shim and libc.
//!
//! [`Request`] stands for a request that nginx has handed to the module, or that
//! `request.rs` has found to be live. Making one is `unsafe`; reading it is not.
//! It never reads a bitfield of `ngx_http_request_t` itself: see `shim/shim.h`.

use core::ffi::{CStr, c_char, c_void};
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use ngx::ffi::{self, NGX_LOG_DEBUG, NGX_LOG_DEBUG_HTTP, ngx_http_compile_complex_value_t};
pub(crate) use ngx::ffi::{
    NGX_CONF_1MORE, NGX_CONF_TAKE1, NGX_ERROR, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_MODULE, NGX_HTTP_SRV_CONF, NGX_HTTP_VAR_CHANGEABLE,
    NGX_HTTP_VAR_INDEXED, NGX_HTTP_VAR_NOCACHEABLE, NGX_HTTP_VAR_NOHASH, NGX_OK, ngx_array_t,
    ngx_command_t, ngx_conf_t, ngx_cycle_t, ngx_hash_elt_t, ngx_hash_key_t,
    ngx_http_complex_value_t, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_err_page_t, ngx_http_handler_pt, ngx_http_module_t, ngx_http_output_header_filter_pt,
    ngx_http_phases_NGX_HTTP_LOG_PHASE as LOG_PHASE,
    ngx_http_phases_NGX_HTTP_POST_READ_PHASE as POST_READ_PHASE,
    ngx_http_phases_NGX_HTTP_SERVER_REWRITE_PHASE as SERVER_REWRITE_PHASE, ngx_http_request_t,
    ngx_http_set_variable_pt, ngx_http_upstream_state_t, ngx_http_variable_t,
    ngx_http_variable_value_t, ngx_int_t, ngx_list_t, ngx_log_t, ngx_module_t, ngx_pool_t,
    ngx_str_t, ngx_uint_t,
};
pub(crate) use ngx::ffi::{ngx_connection_t, ngx_http_core_srv_conf_t, ngx_table_elt_t};

/// The declarations of `shim/shim.h`.
#[allow(non_camel_case_types, missing_docs, unreachable_pub, dead_code)]
#[allow(unused_imports, clippy::all, clippy::restriction)]
pub(crate) mod shim {
    include!(concat!(env!("OUT_DIR"), "/shim.rs"));
}

/// `NGX_OK` and the like, as the `ngx_int_t` that handlers return.
pub(crate) const OK: ngx_int_t = NGX_OK as ngx_int_t;
pub(crate) const ERROR: ngx_int_t = NGX_ERROR as ngx_int_t;
pub(crate) const DECLINED: ngx_int_t = ffi::NGX_DECLINED as ngx_int_t;
/// `NGX_CONF_UNSET_UINT`
pub(crate) const UNSET_UINT: ngx_uint_t = ngx_uint_t::MAX;
/// `NGX_CONF_OK`
pub(crate) const CONF_OK: *mut c_char = ptr::null_mut();
/// What `r->signature` holds in a live request (`NGX_HTTP_MODULE`, "HTTP").
pub(crate) const SIGNATURE: u32 = NGX_HTTP_MODULE;
/// `r->uri_changes` of a request that was not redirected (`NGX_HTTP_MAX_URI_CHANGES + 1`).
pub(crate) const FRESH_URI_CHANGES: usize = 11;

/// Levels of the error log.
pub(crate) use ffi::{NGX_LOG_EMERG as EMERG, NGX_LOG_ERR as ERR, NGX_LOG_INFO as INFO};

/// A variable's get handler, `ngx_http_get_variable_pt` without its `Option`.
pub(crate) type GetHandler = unsafe extern "C" fn(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t;

/// An empty `ngx_str_t`.
pub(crate) const EMPTY: ngx_str_t = ngx_str_t {
    len: 0,
    data: ptr::null_mut(),
};

/// `ngx_http_variable_value_t`, whose flags and length share one word.
///
/// bindgen's accessors go through that word bit by bit, at each variable read.
#[repr(C)]
pub(crate) struct VarValue {
    word: u32,
    pub(crate) data: *mut u8,
}

const _: () = assert!(size_of::<VarValue>() == size_of::<ngx_http_variable_value_t>());
const _: () =
    assert!(offset_of!(VarValue, data) == core::mem::offset_of!(ngx_http_variable_value_t, data));

impl VarValue {
    const LEN: u32 = (1 << 28) - 1;
    const VALID: u32 = 1 << 28;
    const NO_CACHEABLE: u32 = 1 << 29;
    const NOT_FOUND: u32 = 1 << 30;

    /// A value that nothing has filled in yet.
    pub(crate) const EMPTY: Self = VarValue {
        word: 0,
        data: ptr::null_mut(),
    };

    /// A value that is `text`, which may be kept.
    pub(crate) fn found(text: ngx_str_t) -> Self {
        VarValue {
            word: text.len as u32 & Self::LEN | Self::VALID,
            data: text.data,
        }
    }

    /// A value that says that there is none, which may be kept.
    pub(crate) const NONE: Self = VarValue {
        word: Self::NOT_FOUND,
        data: ptr::null_mut(),
    };

    /// The same, not to be kept: the handler is to be asked again.
    pub(crate) fn volatile(self) -> Self {
        VarValue {
            word: self.word | Self::NO_CACHEABLE,
            ..self
        }
    }

    /// Whether nginx would take this value instead of asking the handler.
    #[inline]
    pub(crate) fn is_kept(&self) -> bool {
        self.word & (Self::VALID | Self::NOT_FOUND) != 0 && self.word & Self::NO_CACHEABLE == 0
    }

    /// The text; `None` when it says that there is none.
    #[inline]
    pub(crate) fn text(&self) -> Option<ngx_str_t> {
        let text = ngx_str_t {
            len: (self.word & Self::LEN) as usize,
            data: self.data,
        };
        (self.word & Self::NOT_FOUND == 0).then_some(text)
    }

    /// Whether the C compiler lays the word out like this.
    pub(crate) fn layout_agrees() -> bool {
        // SAFETY: takes numbers.
        let theirs = unsafe { shim::lua_var_value_word(5, 1, 0, 1) };
        theirs == 5 | Self::VALID | Self::NOT_FOUND
    }
}

/// Gives a variable a text, for now: the handler is to be asked again.
pub(crate) fn fill(v: *mut ngx_http_variable_value_t, text: &'static [u8]) {
    // SAFETY: null, or a value that nginx passes for the handler to fill.
    if let Some(v) = unsafe { v.cast::<VarValue>().as_mut() } {
        *v = VarValue::found(self::text(text)).volatile();
    }
}

/// A `ngx_str_t` for text that nginx only reads.
pub(crate) const fn text(bytes: &'static [u8]) -> ngx_str_t {
    ngx_str_t {
        len: bytes.len(),
        data: bytes.as_ptr().cast_mut(),
    }
}

/// A `ngx_str_t` with a zero behind it, as nginx wants names of directives and of
/// their values: it compares them with `ngx_strcmp`.
pub(crate) const fn name(text: &'static CStr) -> ngx_str_t {
    ngx_str_t {
        len: text.count_bytes(),
        data: text.as_ptr().cast_mut().cast(),
    }
}

/// The bytes of a string of nginx's.
///
/// # Safety
/// `s` must be null with length 0 or valid for reads, and stay so for `'a`.
pub(crate) unsafe fn bytes<'a>(s: ngx_str_t) -> &'a [u8] {
    match NonNull::new(s.data) {
        // SAFETY: the caller vouches for the length and for `'a`.
        Some(data) => unsafe { core::slice::from_raw_parts(data.as_ptr(), s.len) },
        None => &[],
    }
}

/// Writes a line to `$log` at `$level`; the arguments are `ngx_log_error_core`'s.
macro_rules! log_error {
    ($level:expr, $log:expr, $format:literal $(, $arg:expr)* $(,)?) => {
        $crate::sys::log_at($level as usize, $log, |level, log| {
            let format = concat!($format, "\0").as_ptr().cast::<core::ffi::c_char>();
            // SAFETY: `log_at` passes a log that is not null, and each caller's
            // arguments have the types its format, a literal beside them, asks for.
            unsafe { ngx::ffi::ngx_log_error_core(level, log, 0, format $(, $arg)*) }
        })
    };
}
pub(crate) use log_error;

/// Writes a debug line for the request `$r` when `error_log … debug` asks for it.
macro_rules! log_debug {
    ($r:expr, $format:literal $(, $arg:expr)* $(,)?) => {
        $crate::sys::log_error!($crate::sys::DEBUG, $r.log(), $format $(, $arg)*)
    };
}
pub(crate) use log_debug;

/// Level of [`log_debug`]: debug messages are switched by kind, not by level.
pub(crate) const DEBUG: usize = (NGX_LOG_DEBUG | NGX_LOG_DEBUG_HTTP) as usize;

/// Calls `write` when the log takes lines of this level.
#[inline]
pub(crate) fn log_at(level: usize, log: *mut ngx_log_t, write: impl FnOnce(usize, *mut ngx_log_t)) {
    let Some(log) = NonNull::new(log) else { return };
    // SAFETY: nginx's logs outlive the cycle, connection or request they are taken from.
    let enabled = unsafe { log.as_ref() }.log_level;
    if level == DEBUG {
        if enabled & NGX_LOG_DEBUG_HTTP as usize != 0 {
            write(NGX_LOG_DEBUG as usize, log.as_ptr());
        }
    } else if enabled >= level {
        write(level, log.as_ptr());
    }
}

/// The log of the running cycle.
pub(crate) fn cycle_log() -> *mut ngx_log_t {
    let cycle = &raw const ffi::ngx_cycle;
    // SAFETY: nginx sets `ngx_cycle` before it loads a module and never unsets it.
    let cycle = unsafe { cycle.read_volatile() };
    match NonNull::new(cycle) {
        // SAFETY: as above.
        Some(cycle) => unsafe { cycle.as_ref() }.log,
        None => ptr::null_mut(),
    }
}

/// A block of zeroed memory for `T` that is never freed; `None` without memory.
///
/// # Safety
/// All-zero bytes must be a valid `T`.
pub(crate) unsafe fn zeroed_forever<T>() -> Option<&'static T> {
    #[cfg(feature = "testing")]
    if crate::faults::fails(crate::faults::CHUNK) {
        return None;
    }
    // SAFETY: calloc takes any size.
    let block = NonNull::new(unsafe { libc::calloc(1, size_of::<T>()) })?.cast::<T>();
    // SAFETY: malloc's alignment serves every type of the module, zeroes are a `T`
    // by the caller's word, and nobody else has the block's address.
    Some(unsafe { block.as_ref() })
}

/// Address space for `size` bytes that read as zero, kept for ever and inherited by
/// forked processes; 0 when there is none. It costs no memory, and as long as it is
/// not writable no share of what the system may promise (`vm.overcommit_memory`).
pub(crate) fn reserve(size: usize) -> usize {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a mapping of its own, where nothing is.
    let at = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_READ, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        0
    } else {
        at as usize
    }
}

/// Zeroed memory for `T` at an address within what [`reserve`] gave; `None` without memory.
///
/// # Safety
/// All-zero bytes must be a valid `T`; `at` is aligned for it, and nothing is there yet.
pub(crate) unsafe fn zeroed_at<T>(at: usize) -> Option<&'static T> {
    #[cfg(feature = "testing")]
    if crate::faults::fails(crate::faults::CHUNK) {
        return None;
    }
    // SAFETY: nginx reads it of the system before it loads a module.
    let page = unsafe { ffi::ngx_pagesize };
    // What shares a page with it is a neighbour that is writable already, or nothing.
    let start = at & !page.wrapping_sub(1);
    let size = at.wrapping_add(size_of::<T>()).wrapping_sub(start);
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the caller's word: the pages are the module's own.
    if unsafe { libc::mprotect(start as *mut c_void, size, rights) } != 0 {
        return None;
    }
    // SAFETY: as above, and zeroes are a `T`.
    unsafe { (at as *const T).as_ref() }
}

/// `size` bytes of the pool, or null.
pub(crate) fn palloc(pool: *mut ngx_pool_t, size: usize) -> *mut c_void {
    #[cfg(feature = "testing")]
    if crate::faults::fails(crate::faults::POOL) {
        return ptr::null_mut();
    }
    // SAFETY: every pool in the module comes from nginx: a live request's, a
    // cycle's or a `ngx_conf_t`'s.
    unsafe { ffi::ngx_palloc(pool, size) }
}

/// `len` bytes of the pool for text, which needs no alignment, or null.
pub(crate) fn pnalloc(pool: *mut ngx_pool_t, len: usize) -> *mut u8 {
    #[cfg(feature = "testing")]
    if crate::faults::fails(crate::faults::POOL) {
        return ptr::null_mut();
    }
    // SAFETY: as in `palloc`.
    unsafe { ffi::ngx_pnalloc(pool, len) }.cast()
}

/// `T` in the pool, all its bytes zero; null without memory.
pub(crate) fn pcalloc<T>(pool: *mut ngx_pool_t) -> *mut T {
    let block = palloc(pool, size_of::<T>());
    if !block.is_null() {
        // SAFETY: the block was just allocated with this size.
        unsafe { ptr::write_bytes(block.cast::<u8>(), 0, size_of::<T>()) };
    }
    block.cast()
}

/// The module context of the HTTP configuration in `cf` at `ctx_index`.
pub(crate) fn main_conf(cf: NonNull<ngx_conf_t>, ctx_index: usize) -> *mut c_void {
    // SAFETY: nginx passes a valid `cf`, whose ctx is a `ngx_http_conf_ctx_t`
    // wherever a directive or callback of a HTTP module runs.
    let ctx = unsafe { cf.as_ref() }
        .ctx
        .cast::<ffi::ngx_http_conf_ctx_t>();
    // SAFETY: as above.
    let table = unsafe { (*ctx).main_conf };
    // SAFETY: the table has an entry for every HTTP module.
    unsafe { entry(table, ctx_index) }
}

/// The location configuration of the HTTP configuration in `cf` at `ctx_index`.
pub(crate) fn loc_conf(cf: NonNull<ngx_conf_t>, ctx_index: usize) -> *mut c_void {
    // SAFETY: as in `main_conf`.
    let ctx = unsafe { cf.as_ref() }
        .ctx
        .cast::<ffi::ngx_http_conf_ctx_t>();
    // SAFETY: as in `main_conf`.
    let table = unsafe { (*ctx).loc_conf };
    // SAFETY: the table has an entry for every HTTP module.
    unsafe { entry(table, ctx_index) }
}

/// One entry of nginx's tables that have one for each module.
///
/// # Safety
/// `table` must have an entry at `at`.
unsafe fn entry<T>(table: *mut *mut T, at: usize) -> *mut T {
    // SAFETY: by the caller's word.
    let place = unsafe { table.add(at) };
    // SAFETY: as above.
    unsafe { *place }
}

/// `ctx_index` of `ngx_http_core_module`.
pub(crate) fn core_index() -> usize {
    let module = &raw const ffi::ngx_http_core_module;
    // SAFETY: nginx assigns it before any configuration is read and leaves it.
    unsafe { (*module).ctx_index }
}

/// The elements of one of nginx's arrays.
///
/// # Safety
/// `array` must be null or a valid array of `T`, not changed during `'a`.
pub(crate) unsafe fn elements<'a, T>(array: *const ngx_array_t) -> &'a mut [T] {
    let Some(array) = NonNull::new(array.cast_mut()) else {
        return &mut [];
    };
    // SAFETY: valid by the caller's word.
    let array = unsafe { array.as_ref() };
    if array.nelts == 0 {
        return &mut [];
    }
    // SAFETY: as above, `elts` holds `nelts` elements of `T`.
    unsafe { core::slice::from_raw_parts_mut(array.elts.cast::<T>(), array.nelts) }
}

/// The headers of a list that nginx made for headers, deleted ones (`hash` 0) among them.
pub(crate) fn headers(list: &ngx_list_t) -> impl Iterator<Item = &ngx_table_elt_t> {
    let mut part = Some(&list.part);
    let parts = core::iter::from_fn(move || {
        let this = part?;
        // SAFETY: null or the next part of a list in the request's pool.
        part = unsafe { this.next.as_ref() };
        Some(this)
    });
    parts.flat_map(|part| {
        let elements: &[ngx_table_elt_t] = match part.nelts {
            0 => &[],
            // SAFETY: a part of nginx's list of headers has `nelts` of them.
            n => unsafe { core::slice::from_raw_parts(part.elts.cast(), n) },
        };
        elements
    })
}

/// Offset of the pointer to the next header of a name; 0 when nginx has no such.
pub(crate) fn next_header() -> u32 {
    // SAFETY: it takes nothing.
    unsafe { shim::lua_var_next_header() as u32 }
}

/// What was read is not what its type says: nginx lays the structure out otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreign;

/// An array for `n` elements of `T` in the configuration's pool, or null.
pub(crate) fn new_array<T>(cf: NonNull<ngx_conf_t>, n: usize) -> *mut ngx_array_t {
    // SAFETY: `cf` is nginx's.
    let pool = unsafe { cf.as_ref() }.pool;
    // SAFETY: a pool of nginx's.
    unsafe { ffi::ngx_array_create(pool, n, size_of::<T>()) }
}

/// Adds an element to one of nginx's arrays; null without memory.
///
/// # Safety
/// `array` must be a valid array of `T`.
pub(crate) unsafe fn push<T>(array: *mut ngx_array_t) -> *mut T {
    // SAFETY: valid by the caller's word.
    unsafe { ffi::ngx_array_push(array) }.cast()
}

/// Defines a variable, as `ngx_http_add_variable`; null with the error logged.
pub(crate) fn add_variable(
    cf: NonNull<ngx_conf_t>,
    name: &'static [u8],
    flags: u32,
) -> *mut ngx_http_variable_t {
    let mut name = text(name);
    // SAFETY: nginx copies the name.
    unsafe { ffi::ngx_http_add_variable(cf.as_ptr(), &raw mut name, flags as ngx_uint_t) }
}

/// The index of a variable in `r->variables`, as `ngx_http_get_variable_index`.
pub(crate) fn variable_index(cf: NonNull<ngx_conf_t>, name: &'static [u8]) -> ngx_int_t {
    let mut name = text(name);
    // SAFETY: nginx copies the name.
    unsafe { ffi::ngx_http_get_variable_index(cf.as_ptr(), &raw mut name) }
}

/// Compiles `source` into `target`; false with the error logged.
pub(crate) fn compile_value(
    cf: NonNull<ngx_conf_t>,
    mut source: ngx_str_t,
    target: *mut ngx_http_complex_value_t,
) -> bool {
    // SAFETY: all-zero is what nginx's own callers start from.
    let mut ccv: ngx_http_compile_complex_value_t = unsafe { core::mem::zeroed() };
    ccv.cf = cf.as_ptr();
    ccv.value = &raw mut source;
    ccv.complex_value = target;
    // SAFETY: the members that nginx requires are set, and outlive the call.
    unsafe { ffi::ngx_http_compile_complex_value(&raw mut ccv) == OK }
}

/// Has `handler` called when nginx is done with the configuration being read,
/// whether it took it or not (`ngx_init_cycle` destroys `temp_pool` either way).
pub(crate) fn on_configured(
    cf: NonNull<ngx_conf_t>,
    handler: unsafe extern "C" fn(*mut c_void),
) -> bool {
    // SAFETY: `cf` is nginx's.
    let pool = unsafe { cf.as_ref() }.temp_pool;
    // SAFETY: a pool of nginx's.
    let cleanup = unsafe { ffi::ngx_pool_cleanup_add(pool, 0) };
    // SAFETY: null or a cleanup that was just made.
    match unsafe { cleanup.as_mut() } {
        Some(cleanup) => {
            cleanup.handler = Some(handler);
            true
        }
        None => false,
    }
}

/// A copy of a configuration's string in lower case; `None` without memory.
pub(crate) fn lower_case(cf: NonNull<ngx_conf_t>, source: &ngx_str_t) -> Option<&'static [u8]> {
    // SAFETY: `cf` is nginx's.
    let pool = unsafe { cf.as_ref() }.pool;
    let copy = NonNull::new(pnalloc(pool, source.len.max(1)))?;
    // SAFETY: both have that length.
    unsafe { ffi::ngx_strlow(copy.as_ptr(), source.data, source.len) };
    // SAFETY: written above; the pool lives as long as the configuration.
    Some(unsafe { core::slice::from_raw_parts(copy.as_ptr(), source.len) })
}

/// Whether the configuration defines a variable of this name or a prefix of it.
///
/// To be asked in postconfiguration, when directives have defined theirs and
/// nginx still has the list it will make its hash from.
pub(crate) fn is_variable(cmcf: &ngx_http_core_main_conf_t, name: &ngx_str_t) -> bool {
    // SAFETY: a configuration string.
    let name = unsafe { bytes(*name) };
    // SAFETY: nginx drops the list after postconfiguration.
    let keys = unsafe { &raw const (*cmcf.variables_keys).keys };
    // SAFETY: an array of keys.
    let keys = unsafe { elements::<ngx_hash_key_t>(keys) };
    // SAFETY: an array of variables.
    let prefixes = unsafe { elements::<ngx_http_variable_t>(&raw const cmcf.prefix_variables) };
    // SAFETY: names of variables live as long as the configuration.
    keys.iter().any(|key| unsafe { bytes(key.key) } == name)
        // SAFETY: as above.
        || prefixes.iter().any(|prefix| name.starts_with(unsafe { bytes(prefix.name) }))
}

/// Pool, core configuration and this module's main configuration of a cycle that
/// has a `http {}`.
pub(crate) fn http_of(
    cycle: *mut ngx_cycle_t,
    ctx_index: usize,
) -> Option<(
    *mut ngx_pool_t,
    &'static ngx_http_core_main_conf_t,
    *mut c_void,
)> {
    // SAFETY: nginx passes the cycle it is starting.
    let cycle = unsafe { cycle.as_ref() }?;
    let module = &raw const ffi::ngx_http_module;
    // SAFETY: nginx assigns the index before any configuration is read.
    let index = unsafe { (*module).index };
    // SAFETY: `conf_ctx` has an entry for every module.
    let ctx = unsafe { entry(cycle.conf_ctx, index) }.cast::<ffi::ngx_http_conf_ctx_t>();
    // SAFETY: null without `http {}`, else what `ngx_http_block` made.
    let main = unsafe { ctx.as_ref() }?.main_conf;
    // SAFETY: `main_conf` has an entry for every HTTP module.
    let core = unsafe { entry(main, core_index()) };
    // SAFETY: as above.
    let ours = unsafe { entry(main, ctx_index) };
    // SAFETY: the core module's; it lives as long as the cycle, see `init_module`.
    let core = unsafe { core.cast::<ngx_http_core_main_conf_t>().as_ref() }?;
    Some((cycle.pool, core, ours))
}

/// What ends a module's list of directives (`ngx_null_command`).
pub(crate) const NO_COMMAND: ngx_command_t = ngx_command_t {
    name: EMPTY,
    type_: 0,
    set: None,
    conf: 0,
    offset: 0,
    post: ptr::null_mut(),
};

/// nginx's cached time: seconds and the milliseconds above them.
pub(crate) fn time() -> (i64, i64) {
    let now = &raw const ffi::ngx_cached_time;
    // SAFETY: `ngx_cached_time` points to a valid time from `ngx_time_init` on;
    // a signal may move it, hence volatile.
    let now = unsafe { now.read_volatile() };
    // SAFETY: as above.
    let now = unsafe { &*now };
    (now.sec, now.msec as i64)
}

/// Where nginx keeps the pointer to its cached time.
pub(crate) fn time_address() -> *const c_void {
    (&raw const ffi::ngx_cached_time).cast()
}

/// Puts the module's header filter before all others; the result is the next one.
pub(crate) fn swap_header_filter(
    filter: ngx_http_output_header_filter_pt,
) -> ngx_http_output_header_filter_pt {
    let top = &raw mut ffi::ngx_http_top_header_filter;
    // SAFETY: nginx reads and writes it in this same thread only.
    unsafe { ptr::replace(top, filter) }
}

/// Reports an error in the configuration being read, with file and line.
macro_rules! conf_error {
    ($cf:expr, $format:literal $(, $arg:expr)* $(,)?) => {{
        let format = concat!($format, "\0").as_ptr().cast::<core::ffi::c_char>();
        // SAFETY: `cf` is nginx's, and the arguments have the types the format asks for.
        unsafe {
            ngx::ffi::ngx_conf_log_error(
                $crate::sys::EMERG as usize, $cf.as_ptr(), 0, format $(, $arg)*
            )
        }
    }};
}
pub(crate) use conf_error;

/// Logs where a debug build panicked, and aborts.
#[cfg(debug_assertions)]
pub(crate) fn abort_with(file: &[u8], line: usize) -> ! {
    log_error!(
        EMERG,
        cycle_log(),
        "lua_var: panic at %*s:%ui",
        file.len(),
        file.as_ptr(),
        line
    );
    // SAFETY: abort may be called anywhere.
    unsafe { libc::abort() }
}

/// Set when nginx has its members elsewhere than this module thinks: from then on
/// a request is only a pointer, which nginx's own functions are given.
pub(crate) static LAYOUT_DIFFERS: AtomicBool = AtomicBool::new(false);

/// A variable as lua-nginx-module reads it for `ngx.var`, whatever the request's layout.
///
/// `name` has to be in lower case. `Ok(None)`: not set. `Err`: nginx's sentence.
pub(crate) fn lua_variable(
    r: *mut ngx_http_request_t,
    name: &[u8],
) -> Result<Option<ngx_str_t>, &'static CStr> {
    lua_get(r, name.as_ptr(), name.len(), 0)
}

/// A capture as lua-nginx-module reads it for `ngx.var[n]`, likewise.
pub(crate) fn lua_capture(
    r: *mut ngx_http_request_t,
    n: isize,
) -> Result<Option<ngx_str_t>, &'static CStr> {
    lua_get(r, ptr::null(), 0, i32::try_from(n).unwrap_or(0))
}

/// Assigns as lua-nginx-module does for `ngx.var.name = value`, likewise.
/// `Err`: its sentence, which is good until the next one.
pub(crate) fn lua_assign(
    r: *mut ngx_http_request_t,
    name: &[u8],
    value: Option<&[u8]>,
) -> Result<(), ngx_str_t> {
    let mut error = EMPTY;
    let (data, len) = value.map_or((ptr::null(), 0), |value| (value.as_ptr(), value.len()));
    // SAFETY: the caller found `r` in the side table, or has it from lua-nginx-module.
    let rc =
        unsafe { shim::lua_var_lua_set(r, name.as_ptr(), name.len(), data, len, &raw mut error) };
    if rc == OK { Ok(()) } else { Err(error) }
}

fn lua_get(
    r: *mut ngx_http_request_t,
    name: *const u8,
    len: usize,
    capture: i32,
) -> Result<Option<ngx_str_t>, &'static CStr> {
    let mut value = EMPTY;
    let mut error = ptr::null();
    // SAFETY: the caller found `r` in the side table, or has it from lua-nginx-module.
    let rc =
        unsafe { shim::lua_var_lua_get(r, name, len, capture, &raw mut value, &raw mut error) };
    match rc {
        OK => Ok(Some(value)),
        DECLINED => Ok(None),
        // SAFETY: a constant of the Lua module's.
        _ => Err(unsafe { CStr::from_ptr(error) }),
    }
}

/// A request that is live: handed to the module by nginx, or validated.
#[derive(Clone, Copy)]
pub(crate) struct Request(NonNull<ngx_http_request_t>);

impl Request {
    /// # Safety
    /// `r` must be null or a request that outlives the result, that is, for whose
    /// handler, filter or variable nginx is calling, or that is in the side table.
    pub(crate) unsafe fn from_raw(r: *mut ngx_http_request_t) -> Option<Self> {
        NonNull::new(r).map(Request)
    }

    pub(crate) fn as_ptr(self) -> *mut ngx_http_request_t {
        self.0.as_ptr()
    }

    pub(crate) fn address(self) -> usize {
        self.0.as_ptr() as usize
    }

    /// The request's members. nginx changes them only while it runs, so what is
    /// borrowed here must not be held over a call into nginx.
    pub(crate) fn get(&self) -> &ngx_http_request_t {
        // SAFETY: `from_raw`'s contract.
        unsafe { self.0.as_ref() }
    }

    /// The request's connection, or a stream's stand-in for it.
    pub(crate) fn connection(&self) -> &ngx_connection_t {
        // SAFETY: a live request always has a connection.
        unsafe { &*self.get().connection }
    }

    /// The port that the client connected to, 0 where there is none (a unix socket);
    /// `None` when nginx has not looked yet (`ngx_connection_local_sockaddr`).
    pub(crate) fn local_port(&self) -> Option<u16> {
        let address = self.connection().local_sockaddr.cast::<u8>();
        if address.is_null() {
            return None;
        }
        let family = address.wrapping_add(offset_of!(libc::sockaddr_in, sin_family));
        // SAFETY: an address in the memory of the connection or of its listening socket.
        // Those of every family have it in the same place.
        match i32::from(unsafe { *family.cast::<libc::sa_family_t>() }) {
            libc::AF_INET | libc::AF_INET6 => {
                let port = address.wrapping_add(offset_of!(libc::sockaddr_in, sin_port));
                // SAFETY: as above; both have the port in the same place.
                Some(u16::from_be(unsafe { *port.cast::<libc::in_port_t>() }))
            }
            libc::AF_UNIX => Some(0),
            _ => None,
        }
    }

    /// Where to log what concerns the request.
    pub(crate) fn log(self) -> *mut ngx_log_t {
        if LAYOUT_DIFFERS.load(Ordering::Relaxed) {
            cycle_log()
        } else {
            self.connection().log
        }
    }

    /// The main request of a subrequest, or the request itself.
    pub(crate) fn main(&self) -> &ngx_http_request_t {
        // SAFETY: nginx sets `main` when it makes the request; the main request
        // lives as long as its subrequests.
        unsafe { &*self.get().main }
    }

    /// Makes `r->args` a string that was never set.
    pub(crate) fn unset_args(self) {
        // SAFETY: a live request, of which nothing is borrowed here.
        unsafe { (*self.as_ptr()).args = EMPTY };
    }

    /// Whether it is a main request, not a subrequest.
    pub(crate) fn is_main(self) -> bool {
        core::ptr::eq(self.get().main, self.as_ptr())
    }

    /// Whether lua-nginx-module made it up, for a handshake or a timer.
    pub(crate) fn is_fake(self) -> bool {
        self.connection().fd == -1
    }

    /// The module's context at `ctx_index`.
    pub(crate) fn ctx(self, ctx_index: usize) -> usize {
        // SAFETY: `r->ctx` has an entry for every HTTP module.
        let entry = unsafe { self.get().ctx.add(ctx_index) };
        // SAFETY: as above.
        unsafe { *entry as usize }
    }

    pub(crate) fn set_ctx(self, ctx_index: usize, value: usize) {
        // SAFETY: `r->ctx` has an entry for every HTTP module.
        let entry = unsafe { self.get().ctx.add(ctx_index) };
        // SAFETY: as above; it is this module's own entry.
        unsafe { *entry = value as *mut c_void };
    }

    /// `r->main_conf[ctx_index]`
    pub(crate) fn main_conf(self, ctx_index: usize) -> *mut c_void {
        // SAFETY: every HTTP module has an entry.
        unsafe { entry(self.get().main_conf, ctx_index) }
    }

    /// `r->loc_conf[ctx_index]`
    pub(crate) fn loc_conf(self, ctx_index: usize) -> *mut c_void {
        // SAFETY: every HTTP module has an entry.
        unsafe { entry(self.get().loc_conf, ctx_index) }
    }

    /// `server_name` of the server that serves the request.
    pub(crate) fn server_name(self) -> ngx_str_t {
        // SAFETY: every HTTP module has an entry.
        let conf = unsafe { entry(self.get().srv_conf, core_index()) };
        // SAFETY: the core module's is a `ngx_http_core_srv_conf_t`, never null.
        unsafe { (*conf.cast::<ngx_http_core_srv_conf_t>()).server_name }
    }

    /// The variable at `index`, which the caller got from this cycle's configuration.
    pub(crate) fn variable(&self, index: usize) -> &VarValue {
        // SAFETY: one of the request's variables, changed only by handlers and
        // assignments, during which nobody holds this.
        unsafe { &*self.variable_place(index) }
    }

    /// Stores a value there.
    pub(crate) fn set_variable(self, index: usize, value: VarValue) {
        // SAFETY: as in `variable`.
        unsafe { *self.variable_place(index) = value }
    }

    fn variable_place(self, index: usize) -> *mut VarValue {
        let variables = self.get().variables.cast::<VarValue>();
        // SAFETY: `r->variables` has as many elements as the configuration has
        // indexed variables, and a fake request has no configuration's indices asked of it.
        unsafe { variables.add(index) }
    }

    /// Evaluates or finds the variable at `index` (`ngx_http_get_flushed_variable`).
    pub(crate) fn flushed_variable(self, index: usize) -> *mut VarValue {
        // SAFETY: a live request and an index of its own configuration.
        unsafe { ffi::ngx_http_get_flushed_variable(self.as_ptr(), index) }.cast()
    }

    /// Evaluates the variable of this name (`ngx_http_get_variable`); null on error.
    pub(crate) fn variable_named(self, name: &[u8], hash: usize) -> *mut VarValue {
        let mut name = ngx_str_t {
            len: name.len(),
            data: name.as_ptr().cast_mut(),
        };
        // SAFETY: nginx only reads the name, and only during the call.
        unsafe { ffi::ngx_http_get_variable(self.as_ptr(), &raw mut name, hash) }.cast()
    }

    /// nginx's definition of the variable of this name, in lower case.
    pub(crate) fn definition(&self, name: &[u8], hash: usize) -> Option<&ngx_http_variable_t> {
        let cmcf = self
            .main_conf(core_index())
            .cast::<ngx_http_core_main_conf_t>();
        // SAFETY: the core module's configuration is never null.
        let variables = unsafe { &raw mut (*cmcf).variables_hash };
        let name_data = name.as_ptr().cast_mut();
        // SAFETY: nginx only reads the name.
        let found = unsafe { ffi::ngx_hash_find(variables, hash, name_data, name.len()) };
        // SAFETY: null or a variable, which lives as long as the configuration.
        unsafe { found.cast::<ngx_http_variable_t>().as_ref() }
    }

    /// Runs a variable's get handler.
    pub(crate) fn evaluate(
        self,
        handler: GetHandler,
        value: &mut VarValue,
        data: usize,
    ) -> ngx_int_t {
        let value = (&raw mut *value).cast();
        // SAFETY: handler and data are a pair from nginx's table of variables.
        unsafe { handler(self.as_ptr(), value, data) }
    }

    /// Runs a variable's set handler.
    pub(crate) fn assign(
        self,
        handler: ngx_http_set_variable_pt,
        value: *mut VarValue,
        data: usize,
    ) {
        if let Some(handler) = handler {
            // SAFETY: handler and data are a pair from nginx's table of variables;
            // the value is in the request's pool, so it may be kept.
            unsafe { handler(self.as_ptr(), value.cast(), data) }
        }
    }

    /// The attempts at upstreams so far.
    pub(crate) fn upstream_states(&self) -> &[ngx_http_upstream_state_t] {
        // SAFETY: null or an array of states that lives in the request's pool.
        unsafe { elements(self.get().upstream_states) }
    }

    /// The headers of the request.
    pub(crate) fn headers_in(&self) -> &ngx_list_t {
        &self.get().headers_in.headers
    }

    /// The headers of the response.
    pub(crate) fn headers_out(&self) -> &ngx_list_t {
        &self.get().headers_out.headers
    }

    /// The headers of the upstream's response. `Err` when what is there is no list of
    /// headers: another layout of `ngx_http_upstream_t`, which nothing else tells.
    pub(crate) fn upstream_headers(&self) -> Result<Option<&ngx_list_t>, Foreign> {
        // SAFETY: null or the request's upstream, in its pool.
        let Some(upstream) = (unsafe { self.get().upstream.as_ref() }) else {
            return Ok(None);
        };
        let headers = &upstream.headers_in.headers;
        // `ngx_http_upstream_process_header` makes both; together they tell that they
        // are where they were looked for.
        let lists = [headers, &upstream.headers_in.trailers];
        let pool = self.get().pool;
        let size = size_of::<ngx_table_elt_t>();
        if lists.iter().all(|l| l.size == size && l.pool == pool) {
            Ok(Some(headers))
        } else if lists.iter().all(|l| l.size == 0 && l.pool.is_null()) {
            Ok(None)
        } else {
            Err(Foreign)
        }
    }

    /// The `Cookie` headers of the request.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &ngx_table_elt_t> {
        let mut n = 0usize;
        core::iter::from_fn(move || {
            // SAFETY: a live request.
            let header = unsafe { shim::lua_var_cookie(self.as_ptr(), n) };
            n = n.wrapping_add(1);
            // SAFETY: null or a header in the request's pool.
            unsafe { header.as_ref() }
        })
    }

    pub(crate) fn pool(self) -> *mut ngx_pool_t {
        self.get().pool
    }

    /// `r->uri_changes`
    pub(crate) fn uri_changes(self) -> usize {
        // SAFETY: a live request.
        unsafe { shim::lua_var_uri_changes(self.as_ptr()) }
    }

    /// The reference of the request's `ngx.ctx`; below 1 when it has none.
    pub(crate) fn lua_ctx_ref(self) -> i32 {
        // SAFETY: a live request.
        unsafe { shim::lua_var_lua_ctx_ref(self.as_ptr()) as i32 }
    }

    /// Has `handler` called with `data` when the request's pool is destroyed.
    pub(crate) fn on_pool_cleanup(
        self,
        handler: unsafe extern "C" fn(*mut c_void),
        data: usize,
    ) -> bool {
        #[cfg(feature = "testing")]
        if crate::faults::fails(crate::faults::CLEANUP) {
            return false;
        }
        // SAFETY: a live request has its pool.
        let cleanup = unsafe { ffi::ngx_pool_cleanup_add(self.pool(), 0) };
        let Some(mut cleanup) = NonNull::new(cleanup) else {
            return false;
        };
        // SAFETY: just allocated from a pool that is still there.
        let cleanup = unsafe { cleanup.as_mut() };
        cleanup.data = data as *mut c_void;
        cleanup.handler = Some(handler);
        true
    }
}
