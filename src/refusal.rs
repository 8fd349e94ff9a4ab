//! Why a request is refused, and the sentences that say so to Lua.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Refusal {
    /// There is no current request, as in `init_by_lua*`.
    NoRequest,
    /// The request has ended, or it is not the current one.
    Stale,
    /// lua-nginx-module made the request up, for code that runs without one.
    Fake,
    /// There was no memory to register the request.
    NoMemory,
    /// The layout of nginx's structures is not the one that the module was built for.
    Layout,
    /// The call had a wrong argument.
    BadArgument,
}

impl Refusal {
    pub(crate) const ALL: [Refusal; 6] = [
        Refusal::NoRequest,
        Refusal::Stale,
        Refusal::Fake,
        Refusal::NoMemory,
        Refusal::Layout,
        Refusal::BadArgument,
    ];

    /// The reason with this number; `Layout` if there is none.
    pub(crate) fn numbered(number: u32) -> Self {
        let refusal = Self::ALL.get(number as usize);
        refusal.copied().unwrap_or(Refusal::Layout)
    }

    /// The sentence that Lua gets as its second result.
    pub(crate) const fn reason(self) -> &'static [u8] {
        match self {
            Refusal::NoRequest => b"no request found",
            Refusal::Stale => b"stale request",
            Refusal::Fake => b"no variables in this context (TLS handshake, timer or worker start)",
            Refusal::NoMemory => b"no memory for the request",
            Refusal::Layout => b"the module was built for another nginx, see the error log",
            Refusal::BadArgument => b"bad argument",
        }
    }

    /// The name in metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Refusal::NoRequest => "no_request",
            Refusal::Stale => "stale",
            Refusal::Fake => "no_variables",
            Refusal::NoMemory => "no_memory",
            Refusal::Layout => "layout",
            Refusal::BadArgument => "bad_argument",
        }
    }
}
