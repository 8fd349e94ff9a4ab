//! Looks up a variable with a built-in prefix, such as `$http_cookie` or `$arg_id`, in a
//! request, with the results of nginx's handlers. Where nginx's versions differ, the look-up
//! leaves it to nginx.

use super::scan::{self, Cookie, Prefix};
use crate::nginx::header::Headers;
use crate::nginx::request::Request;

/// The result of a look-up: a text, no text, or "nginx has to look". It is two words, which
/// are returned in registers; a larger value would be written to memory as words and read
/// back as one vector, which stalls the processor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    text: Option<&'a [u8]>,
}

/// A text with this address means that nginx has to look.
static UNSURE: u8 = 0;

impl<'a> Found<'a> {
    /// There is nothing with that name.
    const NIL: Self = Found { text: None };

    /// nginx has to look, because its versions differ or its layout is another.
    fn unsure() -> Self {
        Self::text(core::slice::from_ref(&UNSURE))
    }

    #[inline(always)]
    fn text(text: &'a [u8]) -> Self {
        Found { text: Some(text) }
    }

    /// `Some(text)`, `Some(None)` if there is none, or `None` if nginx has to look.
    #[inline(always)]
    pub(crate) fn sure(self) -> Option<Option<&'a [u8]>> {
        match self.text {
            Some(text) if core::ptr::eq(text.as_ptr(), &raw const UNSURE) => None,
            text => Some(text),
        }
    }
}

/// Looks up `name`, which is the part of a variable's name behind `prefix`, in lower case.
#[inline(never)]
pub(crate) fn look_up<'a>(r: Request<'a>, prefix: Prefix, name: &[u8]) -> Found<'a> {
    match prefix {
        Prefix::Arg => {
            let args = r.args().unwrap_or_default();
            scan::arg(args, name).map_or(Found::NIL, Found::text)
        }
        Prefix::Header => header(r, Headers::Request, name),
        Prefix::SentHeader => header(r, Headers::Response, name),
        Prefix::UpstreamHeader => header(r, Headers::Upstream, name),
        Prefix::Cookie => cookie(r, name),
    }
}

/// The value of the header with this name. If there are several, nginx has to look, because
/// its versions differ in how they combine them.
#[inline(never)]
fn header<'a>(r: Request<'a>, whose: Headers, name: &[u8]) -> Found<'a> {
    let Ok(headers) = r.headers(whose) else {
        return Found::unsure();
    };
    let mut found = Found::NIL;
    for header in headers {
        // The length is compared first, because most names differ in it.
        if header.name_len() != name.len() || header.is_removed() {
            continue;
        }
        if scan::is_header(header.name(), name) {
            if found != Found::NIL {
                return Found::unsure();
            }
            found = Found::text(header.value());
        }
    }
    found
}

/// The value of the first cookie with this name.
fn cookie<'a>(r: Request<'a>, name: &[u8]) -> Found<'a> {
    for header in r.cookies() {
        match scan::cookie(header.value(), name) {
            Cookie::Value(value) => return Found::text(value),
            Cookie::Unsure => return Found::unsure(),
            Cookie::None => {}
        }
    }
    Found::NIL
}
