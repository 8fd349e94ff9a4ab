//! Variables of a built-in prefix, looked up in a request as nginx's handlers for them do.

use super::scan::{self, Cookie, Prefix};
use crate::nginx::header::Headers;
use crate::nginx::request::Request;

/// What a look-up found: two words, which are returned in registers. A larger value
/// would be written to memory as words and read as one vector, which stalls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    text: Option<&'a [u8]>,
}

/// Marks that nginx has to look; told from a text by its address.
static UNSURE: u8 = 0;

impl<'a> Found<'a> {
    /// Nothing of that name.
    const NIL: Self = Found { text: None };

    /// nginx has to look.
    fn unsure() -> Self {
        Self::text(core::slice::from_ref(&UNSURE))
    }

    #[inline(always)]
    fn text(text: &'a [u8]) -> Self {
        Found { text: Some(text) }
    }

    /// The text, or nothing; `None` when nginx has to look.
    #[inline(always)]
    pub(crate) fn sure(self) -> Option<Option<&'a [u8]>> {
        match self.text {
            Some(text) if core::ptr::eq(text.as_ptr(), &raw const UNSURE) => None,
            text => Some(text),
        }
    }
}

/// What the request has under this name, from which the prefix was taken off.
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

/// The header of this name. Versions of nginx differ in what several of one name give.
#[inline(never)]
fn header<'a>(r: Request<'a>, whose: Headers, name: &[u8]) -> Found<'a> {
    let Ok(headers) = r.headers(whose) else {
        return Found::unsure();
    };
    let mut found = Found::NIL;
    for header in headers {
        // Before its name is looked at: most have another length.
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
