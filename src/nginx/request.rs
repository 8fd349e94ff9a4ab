//! Requests.
//!
//! An [`Unproved`] request may have ended. An [`AnyRequest`] is live, but it may be a fake request,
//! which lua-nginx-module makes for code that runs without one; it has no variables and no
//! configuration. A [`Request`] is one that nginx serves.

use core::marker::PhantomData;
use core::mem::offset_of;
use core::num::NonZeroUsize;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::slice;

use ngx::ffi;

use super::array::Elements;
use super::log::Log;
use super::mem;
use super::module_conf::{ModuleConf, Tables};
use super::pool::Pool;
use super::string::{bytes_or_null, str_of};
use super::{
    Foreign, cycle_address, ngx_connection_t, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_core_srv_conf_t, ngx_http_request_t, ngx_http_upstream_state_t, ngx_int_t, ngx_str_t,
    shim,
};

/// What `ngx_http_lua_get_request` returned, which is an address and no more. The request has ended
/// if a coroutine outlived it, or if a finalizer runs in the Lua VM between two requests.
#[derive(Clone, Copy)]
pub(crate) struct Unproved(NonZeroUsize);

impl Unproved {
    /// `None` if Lua runs for no request.
    #[inline(always)]
    pub(crate) fn from_lua(address: usize) -> Option<Self> {
        NonZeroUsize::new(address).map(Unproved)
    }

    #[inline(always)]
    pub(crate) fn address(self) -> usize {
        self.0.get()
    }

    /// The request.
    ///
    /// # Safety
    /// It must be live during `'a`.
    pub(crate) unsafe fn assume_live<'a>(self) -> AnyRequest<'a> {
        // SAFETY: a `NonZeroUsize` is not 0.
        let raw = unsafe { NonNull::new_unchecked(self.address() as *mut ngx_http_request_t) };
        let of = PhantomData;
        AnyRequest { raw, of }
    }

    /// Whether a connection of the cycle runs the request, which then is live: `data` of the
    /// connection is the request, and the request names the connection. This is so for a fake
    /// request (`ngx_http_lua_create_fake_request`) and for a request of HTTP/1, but for no stream
    /// of HTTP/2 or HTTP/3.
    pub(crate) fn has_connection(self) -> bool {
        // SAFETY: `ngx_cycle` is a static of nginx's, which this thread alone writes.
        let cycle = unsafe { cycle_address().read() };
        // SAFETY: nginx sets `ngx_cycle` to a valid cycle before it loads a module.
        let cycle = unsafe { &*cycle };
        if cycle.connections.is_null() || cycle.connection_n < 2 {
            return false;
        }
        // SAFETY: there are at least two connections.
        let event = unsafe { (*cycle.connections.wrapping_add(1)).read };
        // The read event of a connection has the same index (`ngx_event_process_init`). So this
        // shows whether connections have the size that they had when the module was built.
        if event != cycle.read_events.wrapping_add(1) {
            return false;
        }
        // SAFETY: the array of a worker's connections has this length, and lasts as long as the
        // worker (`ngx_event_process_init`).
        let connections = unsafe { slice::from_raw_parts(cycle.connections, cycle.connection_n) };
        let raw = self.address() as *mut ngx_http_request_t;
        // SAFETY: the C function reads nothing of the request unless `data` of `c`, which is not
        // marked as destroyed, points there. Then something is there, as nginx replaces `data` when
        // that ends, or marks the connection (`ngx_http_free_request`).
        let runs = |c: &ngx_connection_t| unsafe { shim::lua_var_runs(c, raw) } != 0;
        let member = offset_of!(ngx_http_request_t, connection);
        match mem::peek(self.address().wrapping_add(member)) {
            Ok(named) => {
                let offset = named.wrapping_sub(cycle.connections as usize);
                let index = offset.checked_div(size_of::<ngx_connection_t>());
                let c = index.and_then(|index| connections.get(index));
                c.is_some_and(|c| ptr::from_ref(c) as usize == named && runs(c))
            }
            Err(libc::EFAULT) => false,
            Err(_) => connections.iter().any(runs),
        }
    }
}

/// A request that is live during `'a`. It may be a fake request.
#[derive(Clone, Copy)]
pub(crate) struct AnyRequest<'a> {
    raw: NonNull<ngx_http_request_t>,
    of: PhantomData<&'a ngx_http_request_t>,
}

impl<'a> AnyRequest<'a> {
    pub(crate) fn as_ptr(self) -> *mut ngx_http_request_t {
        self.raw.as_ptr()
    }

    #[inline(always)]
    pub(crate) fn address(self) -> usize {
        self.raw.as_ptr() as usize
    }

    /// The members. nginx may change any of them while it runs, so drop the borrow before
    /// calling it.
    #[inline(always)]
    pub(super) fn members(&self) -> &ngx_http_request_t {
        // SAFETY: the request is live, by the contracts of `assume_live` and `from_nginx`.
        unsafe { self.raw.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn signature(self) -> u32 {
        self.members().signature
    }

    /// `r->connection`, which is not dereferenced.
    #[inline(always)]
    pub(crate) fn connection_address(self) -> usize {
        self.connection_ptr() as usize
    }

    pub(crate) fn connection_ptr(self) -> *mut ngx_connection_t {
        self.members().connection
    }

    /// The request's connection. Over HTTP/2 and HTTP/3 that is one of the stream.
    fn connection(&self) -> &ngx_connection_t {
        // SAFETY: a live request always has a connection.
        unsafe { &*self.members().connection }
    }

    /// The request, if nginx serves it. The connection of a fake request has no socket
    /// (`ngx_http_lua_create_fake_connection`).
    #[inline(always)]
    pub(crate) fn served(self) -> Option<Request<'a>> {
        (self.connection().fd != -1).then_some(Request(self))
    }

    /// Whether the connection uses TLS. A fake request for a TLS handshake has the client's
    /// (`ngx_http_lua_ssl_cert_handler`).
    pub(crate) fn is_tls(self) -> bool {
        !self.connection().ssl.is_null()
    }

    pub(crate) fn log(self) -> Log {
        // SAFETY: the log of a connection lives as long as the connection.
        unsafe { Log::from_raw(self.connection().log) }
    }
}

/// A request that nginx serves: it has variables and a configuration.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a>(AnyRequest<'a>);

impl<'a> Deref for Request<'a> {
    type Target = AnyRequest<'a>;

    fn deref(&self) -> &AnyRequest<'a> {
        &self.0
    }
}

/// One attempt at an upstream (`ngx_http_upstream_state_t`).
#[derive(Clone, Copy)]
pub(crate) struct UpstreamState<'a>(&'a ngx_http_upstream_state_t);

impl UpstreamState<'_> {
    /// Milliseconds until the response was complete; negative if it never was.
    pub(crate) fn response_time(self) -> i64 {
        self.0.response_time as i64
    }

    /// Milliseconds until the response header was complete; negative if it never was.
    pub(crate) fn header_time(self) -> i64 {
        self.0.header_time as i64
    }

    /// Milliseconds until the connection was made; negative if it never was.
    pub(crate) fn connect_time(self) -> i64 {
        self.0.connect_time as i64
    }

    /// Whether there was a peer. An entry without one separates two groups of servers.
    pub(crate) fn has_peer(self) -> bool {
        !self.0.peer.is_null()
    }
}

/// Makes functions with the names of members of `ngx_http_request_t`.
macro_rules! members {
    (|$self:ident, $member:ident| -> $type:ty { $value:expr } $($name:ident)+) => {$(
        pub(crate) fn $name($self) -> $type {
            let $member = $self.members().$name;
            $value
        }
    )+};
}

impl<'a> Request<'a> {
    /// # Safety
    /// `r` must be a request that nginx is serving during `'a`, such as the one for whose phase, filter
    /// or variable it calls the module.
    pub(crate) unsafe fn from_nginx(r: *mut ngx_http_request_t) -> Self {
        // SAFETY: a request is somewhere, by the contract above.
        Request(AnyRequest { raw: unsafe { NonNull::new_unchecked(r) }, of: PhantomData })
    }

    /// The main request of a subrequest, or the request itself.
    fn main(&self) -> &ngx_http_request_t {
        // SAFETY: nginx sets `main` when it creates the request, and a main request lives as
        // long as its subrequests.
        unsafe { &*self.members().main }
    }

    /// Whether the main request is where `r->main` points to: at the request itself, unless it is
    /// a subrequest.
    pub(crate) fn is_main(self) -> bool {
        self.members().main.cast_const() == self.raw.as_ptr()
    }

    /// The pool of the request and of its subrequests. `None` once nginx destroys it: it sets
    /// `r->pool` of the main request to null first (`ngx_http_free_request`), and the pool's
    /// cleanups may still run Lua.
    #[inline(always)]
    pub(crate) fn pool(self) -> Option<Pool> {
        // SAFETY: nginx destroys the pool together with the request, which is live.
        unsafe { Pool::from_raw(self.main().pool) }
    }

    /// `r->pool`, which is before the members whose offsets nginx tells: it can be read in any layout
    /// that nginx accepts.
    pub(crate) fn own_pool(self) -> Option<Pool> {
        // SAFETY: nginx is serving the request, by the contract of `from_nginx`.
        unsafe { Pool::from_raw(self.members().pool) }
    }

    // ---- Strings. `None` is one that was never set, which nginx's handlers call not found. ----

    #[inline(always)]
    fn string(self, of: impl FnOnce(&ngx_http_request_t) -> ngx_str_t) -> Option<&'a [u8]> {
        // SAFETY: these strings are null, or live as long as the request or longer.
        unsafe { bytes_or_null(of(self.members())) }
    }

    members! {
        |self, member| -> Option<&'a [u8]> { self.string(|_| member) }
        uri unparsed_uri args request_line http_protocol
    }

    /// `r->main->method_name`
    pub(crate) fn method_name(self) -> Option<&'a [u8]> {
        self.string(|_| self.main().method_name)
    }

    /// `r->headers_in.server`
    pub(crate) fn host(self) -> &'a [u8] {
        self.string(|r| r.headers_in.server).unwrap_or_default()
    }

    /// `r->connection->addr_text`
    pub(crate) fn remote_addr(self) -> &'a [u8] {
        self.string(|_| self.connection().addr_text).unwrap_or_default()
    }

    pub(crate) fn server_name(self) -> &'a [u8] {
        let conf = self.conf::<ngx_http_core_srv_conf_t>();
        conf.and_then(|conf| self.string(|_| conf.server_name)).unwrap_or_default()
    }

    pub(crate) fn location_name(self) -> &'a [u8] {
        let conf = self.conf::<ngx_http_core_loc_conf_t>();
        conf.and_then(|conf| self.string(|_| conf.name)).unwrap_or_default()
    }

    members! { |self, member| -> usize { member } err_status http_version }
    members! { |self, member| -> i64 { member } request_length }

    /// `r->headers_out.status`
    pub(crate) fn out_status(self) -> usize {
        self.members().headers_out.status
    }

    /// When the request began: seconds, and the milliseconds above them.
    pub(crate) fn start(self) -> (i64, i64) {
        let members = self.members();
        (members.start_sec, members.start_msec as i64)
    }

    /// `r->connection->sent`
    pub(crate) fn bytes_sent(self) -> i64 {
        self.connection().sent
    }

    /// `r->connection->number`
    pub(crate) fn connection_number(self) -> u64 {
        self.connection().number
    }

    /// `r->connection->requests`
    pub(crate) fn connection_requests(self) -> u64 {
        self.connection().requests as u64
    }

    /// The port that the client connected to; 0 for a unix socket, which has none. `None` if
    /// nginx has not asked the system yet (`ngx_connection_local_sockaddr`).
    pub(crate) fn local_port(self) -> Option<u16> {
        let address = self.connection().local_sockaddr;
        // SAFETY: it is an address in the memory of the connection or of its listening socket.
        (!address.is_null()).then(|| unsafe { ffi::ngx_inet_get_port(address) })
    }

    /// `r->uri_changes`, which counts down with each internal redirect.
    pub(crate) fn uri_changes(self) -> usize {
        // SAFETY: the C function reads a bitfield of the request, which is live.
        unsafe { shim::lua_var_uri_changes(self.as_ptr()) }
    }

    #[inline(always)]
    pub(crate) fn conf<T: ModuleConf>(self) -> Option<&'a T> {
        // SAFETY: null or a `T`. It lives longer than the request, whose connection or
        // listening socket belongs to its cycle, and does not change after it was read.
        unsafe { Tables::of_request(self.members()).get::<T>().as_ref() }
    }

    /// Address of the core module's main configuration, which tells configurations apart.
    #[inline(always)]
    pub(crate) fn core_main_conf(self) -> usize {
        Tables::of_request(self.members()).get::<ngx_http_core_main_conf_t>() as usize
    }

    /// The attempts at upstreams so far. [`Foreign`] if nginx's layout differs.
    pub(crate) fn upstream_states(
        self,
    ) -> Result<impl Iterator<Item = UpstreamState<'a>>, Foreign> {
        // SAFETY: it is null or an array of states in the request's pool, which only nginx
        // extends, and nginx does not run while they are read.
        let states = unsafe { Elements::of(self.members().upstream_states) }?;
        Ok(states.read().map(UpstreamState))
    }

    /// Answers a GET or HEAD with this text, any other method with a 405. The result is that
    /// of a content handler (`ngx_http_send_response`).
    pub(crate) fn respond(self, content_type: &'static [u8], text: &'a [u8]) -> ngx_int_t {
        if self.members().method & (ffi::NGX_HTTP_GET | ffi::NGX_HTTP_HEAD) as usize == 0 {
            return ffi::NGX_HTTP_NOT_ALLOWED as ngx_int_t;
        }
        let mut content_type = str_of(content_type);
        // SAFETY: a complex value without variables is all zero.
        let mut value: ffi::ngx_http_complex_value_t = unsafe { core::mem::zeroed() };
        value.value = str_of(text);
        // SAFETY: nginx is serving the request, and copies both structures.
        unsafe {
            ffi::ngx_http_send_response(
                self.as_ptr(),
                ffi::NGX_HTTP_OK as usize,
                &raw mut content_type,
                &raw mut value,
            )
        }
    }

    /// The reference of the request's `ngx.ctx`; below 1 if it has none.
    pub(crate) fn lua_ctx_ref(self) -> i32 {
        // SAFETY: the request is live, so lua-nginx-module may read its context.
        unsafe { shim::lua_var_lua_ctx_ref(self.as_ptr()) as i32 }
    }
}
