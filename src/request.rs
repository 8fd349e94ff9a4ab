//! Live requests: how one is validated, and how its variables are read.

use crate::names::{self, Field};
use crate::prefix;
use crate::scan::Own;
use crate::slots::{Handle, Slot};
use crate::sys::{self, Request, VarValue, ngx_http_request_t, ngx_str_t};
use crate::table::{Table, Var};
use crate::value;
use crate::worker::{Mode, worker};

/// Why a request was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no current request, as in `init_by_lua`.
    NoRequest,
    /// It has ended, or it is not the current one.
    Stale,
    /// lua-nginx-module made it up for code that runs without a request.
    Fake,
    /// It could not be put into the table.
    NoMemory,
    /// The module was built for a request of another layout.
    Layout,
}

impl Refusal {
    /// The sentence that Lua gets.
    pub const fn reason(self) -> &'static [u8] {
        match self {
            Refusal::NoRequest => b"no request found",
            Refusal::Stale => b"stale request",
            Refusal::Fake => b"no variables in this context (TLS handshake, timer or worker start)",
            Refusal::NoMemory => b"no memory for the request",
            Refusal::Layout => b"the module was built for another nginx, see the error log",
        }
    }
}

/// A variable's value. Text belongs to the request, or to the module for ever; that of
/// a [`Field::is_written`] one until the next of them is read.
#[derive(Clone, Copy)]
pub enum Value {
    /// Not set.
    Nil,
    /// Text.
    Text(ngx_str_t),
    /// A number.
    Number(f64),
}

/// Whether numbers are given as numbers, and by whom.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// As lua-var-nginx-module types them.
    Typed,
    /// As `ngx.var`: text.
    Text,
    /// Typed, but every value through nginx's handlers.
    Plain,
}

/// A request that is known to be live, and stays so while Lua or nginx waits for
/// the call in which it was validated.
#[derive(Clone, Copy)]
pub struct LiveRequest {
    r: Request,
    slot: &'static Slot,
}

impl LiveRequest {
    /// The request that a slot stands for, unless something is wrong with it.
    #[inline]
    fn of(slot: &'static Slot) -> Result<Self, Refusal> {
        let raw = slot.request() as *mut ngx_http_request_t;
        // SAFETY: an occupied slot's request lives until its pool cleanup, which
        // `Worker::register` makes sure of, frees the slot.
        let Some(r) = (unsafe { Request::from_raw(raw) }) else {
            return Err(Refusal::Stale);
        };
        let members = r.get();
        if members.signature != sys::SIGNATURE || members.connection as usize != slot.connection() {
            return Err(Refusal::Stale);
        }
        Ok(LiveRequest { r, slot })
    }

    /// The request that a handle names.
    #[inline]
    pub fn by_handle(handle: Handle) -> Result<Self, Refusal> {
        match worker().slots.get(handle) {
            Some(slot) => Self::of(slot),
            None => Err(Refusal::Stale),
        }
    }

    /// The live request at an address, which is only dereferenced if it is one.
    ///
    /// An address carries no generation: a request that ended and another that
    /// now lives there cannot be told apart.
    #[inline]
    pub fn by_address(address: usize) -> Result<Self, Refusal> {
        match worker().find(address) {
            Some(slot) => Self::of(slot),
            None => Err(Refusal::Stale),
        }
    }

    /// The request that lua-nginx-module says is running, for a call that needs no
    /// handle: served even if no memory can be had to register it.
    #[inline]
    pub(crate) fn running(current: *mut ngx_http_request_t) -> Result<Self, Refusal> {
        let registered = Self::current(current);
        if let Err(Refusal::NoMemory) = registered {
            // SAFETY: as in `current`.
            if let Some(r) = unsafe { Request::from_raw(current) }.filter(|r| !r.is_fake()) {
                return Ok(LiveRequest {
                    r,
                    slot: &worker().outside,
                });
            }
        }
        registered
    }

    /// The request that lua-nginx-module says is running, registered if it was not.
    #[inline]
    pub(crate) fn current(current: *mut ngx_http_request_t) -> Result<Self, Refusal> {
        if let Some(slot) = worker().find(current as usize) {
            return Self::of(slot);
        }
        // SAFETY: lua-nginx-module vouches for the request it is running Lua for;
        // real ones were registered before Lua could run, so this is a fake one.
        match unsafe { Request::from_raw(current) } {
            Some(r) => Self::register(r),
            None => Err(Refusal::NoRequest),
        }
    }

    /// Puts a request that nginx or the Lua module is running into the table.
    pub(crate) fn register(r: Request) -> Result<Self, Refusal> {
        if r.get().signature != sys::SIGNATURE {
            return Err(Refusal::Stale);
        }
        match worker().register(r) {
            Some(slot) => Ok(LiveRequest { r, slot }),
            None if worker().mode.get() == Mode::Handlers => Err(Refusal::Layout),
            None => {
                sys::log_error!(
                    sys::ERR,
                    r.log(),
                    "lua_var: no memory to register the request, its handle and its \
                     ngx.ctx after a redirect are not available"
                );
                Err(Refusal::NoMemory)
            }
        }
    }

    /// The slot that holds the request.
    pub fn slot(&self) -> &'static Slot {
        self.slot
    }

    /// The request, for what is not a variable.
    pub(crate) fn request(&self) -> Request {
        self.r
    }

    /// The request again, if it is one that has variables.
    #[inline]
    pub fn with_variables(self) -> Result<Self, Refusal> {
        if self.slot.has(Slot::FAKE) {
            Err(Refusal::Fake)
        } else {
            Ok(self)
        }
    }

    /// The table of the configuration the request is served with, if that is the newest.
    #[inline]
    fn table(&self) -> Option<&'static Table> {
        let table = worker().table.get()?;
        (table.cmcf == self.r.main_conf(sys::core_index()) as usize).then_some(table)
    }

    /// `var`, if it is an entry of the table that the request is served with.
    #[inline(always)]
    pub(crate) fn entry(&self, var: *const Var) -> Option<&'static Var> {
        self.table()?.entry(var)
    }

    /// The variable of this number, as getters name it.
    #[inline]
    pub fn numbered(&self, number: u32) -> Option<&'static Var> {
        if worker().mode.get() != Mode::Direct {
            return None;
        }
        self.table()?.numbered(number)
    }

    /// What getters are to know of the variable of this name, in lower case.
    pub fn resolve(&self, name: &[u8]) -> Option<Resolved> {
        let table = self.table()?;
        let var = table.find(name);
        let own = match var {
            Some(Var { own, .. }) => *own,
            None => table.own(name).map(|(own, _)| own),
        };
        Some(Resolved {
            var,
            number: var.and_then(|var| table.number(var)),
            own: own.and_then(|own| table.own_number(own)),
            header: var.and_then(|var| table.header_offset(var)),
        })
    }

    /// What a prefix has under this name (without the prefix). `None` when `fetch`
    /// has to be asked; `number` is of a [`Resolved`].
    #[inline(always)]
    pub fn of_own(&self, number: u32, name: &[u8]) -> Option<Value> {
        if worker().mode.get() != Mode::Direct {
            return None;
        }
        self.look_up(self.table()?.own_numbered(number)?, name)
    }

    /// The variable of this name, in lower case. `Err` when the name has to be made so.
    #[inline(always)]
    pub fn fetch(&self, name: &[u8], flavour: Flavour) -> Result<Value, NotLower> {
        let direct = worker().mode.get() == Mode::Direct && flavour != Flavour::Plain;
        if let Some(table) = self.table().filter(|_| direct) {
            if let Some(var) = table.find(name) {
                return Ok(self.read(var, flavour));
            }
            if names::has_upper(name) {
                return Err(NotLower);
            }
            if let Some((own, rest)) = table.own(name) {
                if let Some(value) = self.look_up(own, rest) {
                    return Ok(value);
                }
            }
            return Ok(match table.prefix(name) {
                Some(prefix) if names::is_safe(name) => self.prefixed(prefix, name),
                _ => Value::Nil,
            });
        }
        if names::has_upper(name) {
            return Err(NotLower);
        }
        Ok(by_nginx(self.r.as_ptr(), name, flavour).unwrap_or(Value::Nil))
    }

    /// What a prefix has under this name; `None` when nginx has to look.
    #[inline(always)]
    fn look_up(&self, own: Own, name: &[u8]) -> Option<Value> {
        let text = prefix::look_up(self.r, own, name).sure()?;
        Some(text.map_or(Value::Nil, Value::Text))
    }

    fn prefixed(&self, prefix: &sys::ngx_http_variable_t, name: &[u8]) -> Value {
        let name = ngx_str_t {
            len: name.len(),
            data: name.as_ptr().cast_mut(),
        };
        match prefix.get_handler {
            Some(handler) => self.evaluate(handler, (&raw const name) as usize),
            None => Value::Nil,
        }
    }

    /// The value of a variable of the newest configuration.
    // Inlined, with what it is made of, so that a value stays in registers: written
    // to memory as words and copied as one vector, it stalls the reader.
    #[inline(always)]
    pub fn read(&self, var: &Var, flavour: Flavour) -> Value {
        if let Some(index) = var.index.filter(|_| var.cacheable) {
            let cached = self.r.variable(index as usize);
            if cached.is_kept() {
                return typed(text_of(cached), var.field, flavour);
            }
        }
        let readable = |field: &Field| flavour == Flavour::Typed || !field.is_number();
        if let Some(field) = var.field.filter(readable) {
            if !field.is_written() {
                return self.field(field);
            }
            if let Some(text) = self.written(field) {
                return Value::Text(text);
            }
        }
        if let Some(index) = var.index {
            // SAFETY: null or a variable value in `r->variables`.
            return match unsafe { self.r.flushed_variable(index as usize).as_ref() } {
                Some(value) => text_of(value),
                None => Value::Nil,
            };
        }
        if let Some(own) = var.own {
            // SAFETY: the name lives as long as the configuration.
            let name = unsafe { sys::bytes(var.name) };
            if let Some(rest) = name.get(own.prefix().len()..) {
                if let Some(value) = self.look_up(own, rest) {
                    return value;
                }
            }
        }
        match var.handler {
            Some(handler) => typed(self.evaluate(handler, var.data), var.field, flavour),
            None => Value::Nil,
        }
    }

    /// Runs a get handler, with the value on the stack (`ngx_http_get_variable`
    /// takes it from the request's pool, at each call).
    #[inline(always)]
    fn evaluate(&self, handler: sys::GetHandler, data: usize) -> Value {
        let mut value = VarValue::EMPTY;
        match self.r.evaluate(handler, &mut value, data) {
            sys::OK => text_of(&value),
            _ => Value::Nil,
        }
    }

    /// The text of capture `n` of the last regular expression (`ngx.var[n]`).
    pub fn capture(&self, n: isize) -> Value {
        let members = self.r.get();
        let Some(at) = usize::try_from(n).ok().filter(|n| *n > 0) else {
            return Value::Nil;
        };
        let Some(at) = at.checked_mul(2).filter(|at| *at < members.ncaptures) else {
            return Value::Nil;
        };
        if members.captures.is_null() || members.captures_data.is_null() {
            return Value::Nil;
        }
        // SAFETY: nginx keeps `ncaptures` offsets, an even number, and `at` is below it and even.
        let offsets = unsafe { members.captures.add(at) };
        // SAFETY: as above.
        let [start, end] = unsafe { offsets.cast::<[i32; 2]>().read() };
        // A group that took no part in the match has -1 for both: an empty text.
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else {
            return Value::Text(sys::text(b""));
        };
        // SAFETY: the offsets lie in the text that was matched.
        let data = unsafe { members.captures_data.add(start) };
        Value::Text(ngx_str_t {
            len: end.saturating_sub(start),
            data,
        })
    }

    /// A variable that is read straight from the request.
    ///
    /// Each arm gives what the handler of that name in nginx's
    /// `ngx_http_variables.c` (`ngx_http_upstream.c` for the upstream times)
    /// gives; numbers where lua-var-nginx-module gives numbers.
    #[inline]
    pub fn field(&self, field: Field) -> Value {
        let members = self.r.get();
        match field {
            Field::Uri => text_or_nil(members.uri),
            Field::RequestUri => text_or_nil(members.unparsed_uri),
            Field::Args => text_or_nil(members.args),
            Field::ServerProtocol => text_or_nil(members.http_protocol),
            Field::Host => Value::Text(self.host()),
            Field::ServerName => Value::Text(self.r.server_name()),
            Field::RemoteAddr => Value::Text(self.remote_addr()),
            Field::Scheme => Value::Text(self.scheme()),
            Field::Https => {
                let on: &[u8] = if self.is_tls() { b"on" } else { b"" };
                Value::Text(sys::text(on))
            }
            Field::RequestMethod => text_or_nil(self.r.main().method_name),
            Field::Status => Value::Number(self.status() as f64),
            Field::RequestTime => Value::Number(self.request_time() as f64 / 1000.0),
            Field::RequestLength => Value::Number(members.request_length as f64),
            Field::BytesSent => Value::Number(self.r.connection().sent as f64),
            Field::UpstreamResponseTime => self.upstream_seconds(UpstreamTime::Response),
            Field::UpstreamHeaderTime => self.upstream_seconds(UpstreamTime::Header),
            Field::UpstreamConnectTime => self.upstream_seconds(UpstreamTime::Connect),
            Field::Connection | Field::ConnectionRequests | Field::ServerPort | Field::Msec => {
                self.written(field).map_or(Value::Nil, Value::Text)
            }
        }
    }

    /// A variable whose text has to be written out; `None` when nginx has to do it.
    #[inline(never)]
    fn written(&self, field: Field) -> Option<ngx_str_t> {
        let connection = self.r.connection();
        let text = match field {
            Field::Connection => value::decimal(connection.number),
            Field::ConnectionRequests => value::decimal(connection.requests as u64),
            Field::Msec => {
                let (sec, msec) = sys::time();
                value::seconds(sec.wrapping_mul(1000).wrapping_add(msec))
            }
            Field::ServerPort => match self.r.local_port()? {
                0 => return Some(sys::text(b"")),
                port => value::decimal(port.into()),
            },
            _ => return None,
        };
        Some(worker().keep_written(text.as_bytes()))
    }

    /// `$host` (`ngx_http_variable_host`)
    pub fn host(&self) -> ngx_str_t {
        let server = self.r.get().headers_in.server;
        if server.len != 0 {
            server
        } else {
            self.r.server_name()
        }
    }

    /// `$remote_addr` (`ngx_http_variable_remote_addr`)
    pub fn remote_addr(&self) -> ngx_str_t {
        self.r.connection().addr_text
    }

    /// `$uri`
    pub fn uri(&self) -> ngx_str_t {
        self.r.get().uri
    }

    fn is_tls(&self) -> bool {
        !self.r.connection().ssl.is_null()
    }

    /// `$scheme` (`ngx_http_variable_scheme`)
    pub fn scheme(&self) -> ngx_str_t {
        sys::text(if self.is_tls() { b"https" } else { b"http" })
    }

    /// `$status` as a number (`ngx_http_variable_status`)
    pub fn status(&self) -> usize {
        let members = self.r.get();
        match (members.err_status, members.headers_out.status) {
            (0, 0) if members.http_version == 9 => 9,
            (0, status) => status,
            (status, _) => status,
        }
    }

    /// Milliseconds since the request began (`ngx_http_variable_request_time`)
    pub fn request_time(&self) -> i64 {
        let (sec, msec) = sys::time();
        let members = self.r.get();
        value::elapsed(sec, msec, members.start_sec, members.start_msec as i64)
    }

    /// Milliseconds at upstreams, summed over all attempts; `None` without one.
    pub fn upstream_time(&self, time: UpstreamTime) -> Option<i64> {
        value::sum(self.r.upstream_states().iter().map(|state| value::Attempt {
            ms: match time {
                UpstreamTime::Response => state.response_time,
                UpstreamTime::Header => state.header_time,
                UpstreamTime::Connect => state.connect_time,
            } as i64,
            has_peer: !state.peer.is_null(),
        }))
    }

    fn upstream_seconds(&self, time: UpstreamTime) -> Value {
        match self.upstream_time(time) {
            Some(ms) => Value::Number(ms as f64 / 1000.0),
            None => Value::Nil,
        }
    }
}

/// The variable as lua-nginx-module and nginx find and read it, whatever this
/// module knows of requests. The name has to be in lower case.
pub(crate) fn by_nginx(
    r: *mut ngx_http_request_t,
    name: &[u8],
    flavour: Flavour,
) -> Result<Value, &'static core::ffi::CStr> {
    if !names::is_safe(name) {
        return Ok(Value::Nil);
    }
    Ok(match sys::lua_variable(r, name)? {
        Some(text) => typed(Value::Text(text), Field::named(name), flavour),
        None => Value::Nil,
    })
}

/// How getters find a variable in the newest configuration.
pub struct Resolved {
    /// The variable, unless the name is only one of a prefix.
    pub var: Option<&'static Var>,
    /// Its number.
    pub number: Option<u32>,
    /// The number of the prefix, if it is one that the module looks up itself.
    pub own: Option<u32>,
    /// Where the request has the pointer to the header that it shows.
    pub header: Option<u32>,
}

/// A name has upper-case letters; variables have none.
#[derive(Clone, Copy, Debug)]
pub struct NotLower;

/// Which of the upstream times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpstreamTime {
    /// `$upstream_response_time`
    Response,
    /// `$upstream_header_time`
    Header,
    /// `$upstream_connect_time`
    Connect,
}

/// A string of the request's; nil when it was never set (`ngx_http_variable_request`).
#[inline]
fn text_or_nil(s: ngx_str_t) -> Value {
    if s.data.is_null() {
        Value::Nil
    } else {
        Value::Text(s)
    }
}

#[inline(always)]
fn text_of(value: &VarValue) -> Value {
    value.text().map_or(Value::Nil, Value::Text)
}

/// Makes text of nginx's a number, where the flavour and the variable ask for it.
#[inline(always)]
fn typed(value: Value, field: Option<Field>, flavour: Flavour) -> Value {
    match value {
        Value::Text(text) if flavour != Flavour::Text && field.is_some_and(Field::is_number) => {
            number_in(text)
        }
        _ => value,
    }
}

#[cold]
fn number_in(text: ngx_str_t) -> Value {
    // SAFETY: a variable's text lives as long as the request.
    value::parse_sum(unsafe { sys::bytes(text) }).map_or(Value::Nil, Value::Number)
}
