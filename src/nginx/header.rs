//! The headers of a request, of its response and of the upstream's response.

use super::array::HeaderList;
use super::request::Request;
use super::string::{EMPTY, bytes};
use super::{DECLINED, Foreign, OK, ngx_table_elt_t, shim};

/// A header in one of nginx's lists.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a>(&'a ngx_table_elt_t);

impl<'a> Header<'a> {
    /// The length of the name. To compare it first saves reading most names.
    #[inline(always)]
    pub(crate) fn name_len(self) -> usize {
        self.0.key.len
    }

    /// Whether the header was removed: nginx then sets its `hash` to 0.
    #[inline(always)]
    pub(crate) fn is_removed(self) -> bool {
        self.0.hash == 0
    }

    /// The name, in the case in which it was sent.
    #[inline(always)]
    pub(crate) fn name(self) -> &'a [u8] {
        // SAFETY: the name is in the request's memory, which lives during `'a`.
        unsafe { bytes(self.0.key) }
    }

    #[inline(always)]
    pub(crate) fn value(self) -> &'a [u8] {
        // SAFETY: the value is in the request's memory, which lives during `'a`.
        unsafe { bytes(self.0.value) }
    }
}

/// One of a request's lists of headers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Headers {
    /// The headers of the request.
    Request,
    /// The headers of the response.
    Response,
    /// The headers of the upstream's response.
    Upstream,
}

impl<'a> Request<'a> {
    /// The headers in a list, removed ones included; none without an upstream. [`Foreign`] if
    /// the list is not where the module expects it. That checks the layout of
    /// `ngx_http_upstream_t`, which `layout.rs` cannot compare.
    #[inline(always)]
    pub(crate) fn headers(
        self,
        whose: Headers,
    ) -> Result<impl Iterator<Item = Header<'a>>, Foreign> {
        // SAFETY: the request lives during `'a`, by the contract of `from_raw`. Only the lists
        // in it are borrowed, and nginx does not add to them while they are read.
        let members = unsafe { &*self.as_ptr() };
        let list = match whose {
            Headers::Request => Some(&members.headers_in.headers),
            Headers::Response => Some(&members.headers_out.headers),
            // SAFETY: `upstream` is null or in the request's pool.
            Headers::Upstream => match unsafe { members.upstream.as_ref() } {
                Some(upstream) => {
                    let headers = &upstream.headers_in.headers;
                    // `ngx_http_upstream_process_header` initialises both lists, with the same
                    // pool and element size. If both have them, the offsets are right.
                    let lists = [headers, &upstream.headers_in.trailers];
                    let size = headers.size;
                    let is_made = |size| {
                        lists
                            .iter()
                            .all(|l| l.size == size && l.pool == members.pool)
                    };
                    if size >= size_of::<ngx_table_elt_t>() && is_made(size) {
                        Some(headers)
                    } else if lists.iter().all(|l| l.size == 0 && l.pool.is_null()) {
                        None
                    } else {
                        return Err(Foreign);
                    }
                }
                None => None,
            },
        };
        let headers = match list {
            // SAFETY: it is a list of the live request, and nginx does not run while it is read.
            Some(list) => unsafe { HeaderList::of(list) }?,
            None => HeaderList::NONE,
        };
        Ok(headers.map(Header))
    }

    /// The value of the header whose pointer is at this offset in `ngx_http_request_t`, as
    /// `ngx_http_variable_header` returns it. `None` if there is no such header. [`Foreign`] if
    /// there are several, which nginx has to join.
    ///
    /// # Safety
    /// The request must have a pointer to a `ngx_table_elt_t`, or null, at `offset`.
    pub(crate) unsafe fn header_at(self, offset: u32) -> Result<Option<&'a [u8]>, Foreign> {
        let mut value = EMPTY;
        // SAFETY: the request is live, and has such a pointer by the contract above.
        match unsafe { shim::lua_var_header(self.as_ptr(), offset as usize, &raw mut value) } {
            // SAFETY: the header's value is in the request's memory, which lives during `'a`.
            OK => Ok(Some(unsafe { bytes(value) })),
            DECLINED => Ok(None),
            _ => Err(Foreign),
        }
    }

    /// The `Cookie` headers of the request.
    pub(crate) fn cookies(self) -> impl Iterator<Item = Header<'a>> {
        let mut n = 0usize;
        core::iter::from_fn(move || {
            // SAFETY: the request is live, and the C function only reads its list of cookies.
            let header = unsafe { shim::lua_var_cookie(self.as_ptr(), n) };
            n = n.wrapping_add(1);
            // SAFETY: `header` is null or in the request's pool.
            unsafe { header.as_ref() }.map(Header)
        })
    }
}

/// The offset in `ngx_table_elt_t` of the pointer to the next header of the same name; 0
/// before nginx 1.23, which has no such pointer.
pub(crate) fn next_header() -> usize {
    // SAFETY: the function takes nothing and returns a constant.
    unsafe { shim::lua_var_next_header() }
}
