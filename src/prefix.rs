//! Variables of a prefix, looked up in a request as nginx's handlers for them do.

use crate::scan::{self, Cookie, Own};
use crate::sys::{self, Request, ngx_list_t, ngx_str_t};

/// What a look-up found: two words, which are returned in registers. A larger value
/// would be written to memory as words and read as one vector, which stalls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    data: *const u8,
    len: usize,
}

impl Found {
    /// Nothing of that name.
    const NIL: Self = Found {
        data: core::ptr::null(),
        len: 0,
    };
    /// nginx has to look.
    const UNSURE: Self = Found {
        data: core::ptr::null(),
        len: 1,
    };

    #[inline(always)]
    fn text(text: &[u8]) -> Self {
        Found {
            data: text.as_ptr(),
            len: text.len(),
        }
    }

    /// The text, a part of the request's memory, or nothing; `None` when nginx has to look.
    #[inline(always)]
    pub(crate) fn sure(self) -> Option<Option<ngx_str_t>> {
        if !self.data.is_null() {
            return Some(Some(ngx_str_t {
                len: self.len,
                data: self.data.cast_mut(),
            }));
        }
        (self == Self::NIL).then_some(None)
    }
}

/// What the request has under this name, from which the prefix was taken off.
#[inline(never)]
pub(crate) fn look_up(r: Request, own: Own, name: &[u8]) -> Found {
    match own {
        Own::Arg => {
            // SAFETY: the arguments live as long as the request.
            let args = unsafe { sys::bytes(r.get().args) };
            scan::arg(args, name).map_or(Found::NIL, Found::text)
        }
        Own::Header => header(r.headers_in(), name),
        Own::SentHeader => header(r.headers_out(), name),
        Own::UpstreamHeader => match r.upstream_headers() {
            Ok(Some(headers)) => header(headers, name),
            Ok(None) => Found::NIL,
            Err(sys::Foreign) => Found::UNSURE,
        },
        Own::Cookie => cookie(r, name),
    }
}

/// The header of this name. Versions of nginx differ in what several of one name give.
#[inline(never)]
fn header(headers: &ngx_list_t, name: &[u8]) -> Found {
    let mut found = Found::NIL;
    for header in sys::headers(headers) {
        // Before its name is looked at: most have another length.
        if header.key.len != name.len() || header.hash == 0 {
            continue;
        }
        // SAFETY: a header's name lives as long as the request.
        if scan::is_header(unsafe { sys::bytes(header.key) }, name) {
            if found != Found::NIL {
                return Found::UNSURE;
            }
            // SAFETY: as its name.
            found = Found::text(unsafe { sys::bytes(header.value) });
        }
    }
    found
}

fn cookie(r: Request, name: &[u8]) -> Found {
    for header in r.cookies() {
        // SAFETY: a header's value lives as long as the request.
        let cookies = unsafe { sys::bytes(header.value) };
        match scan::cookie(cookies, name) {
            Cookie::Value(value) => return Found::text(value),
            Cookie::Unsure => return Found::UNSURE,
            Cookie::None => {}
        }
    }
    Found::NIL
}
