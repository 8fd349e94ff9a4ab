//! Headers of a request, of its response and of the upstream's.

use super::array::HeaderList;
use super::request::Request;
use super::string::{EMPTY, bytes};
use super::{DECLINED, Foreign, OK, ngx_table_elt_t, shim};

/// A header of a list or of a chain.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a>(&'a ngx_table_elt_t);

impl<'a> Header<'a> {
    /// Length of its name: what most headers differ in.
    #[inline(always)]
    pub(crate) fn name_len(self) -> usize {
        self.0.key.len
    }

    /// Whether it was removed.
    #[inline(always)]
    pub(crate) fn is_removed(self) -> bool {
        self.0.hash == 0
    }

    #[inline(always)]
    pub(crate) fn name(self) -> &'a [u8] {
        // SAFETY: a header's name lives as long as the request.
        unsafe { bytes(self.0.key) }
    }

    #[inline(always)]
    pub(crate) fn value(self) -> &'a [u8] {
        // SAFETY: a header's value lives as long as the request.
        unsafe { bytes(self.0.value) }
    }
}

/// Whose headers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Headers {
    /// The request's.
    Request,
    /// The response's.
    Response,
    /// Those of the upstream's response.
    Upstream,
}

impl<'a> Request<'a> {
    /// A list of headers. [`Foreign`] when what is there is no list of headers: another
    /// layout of `ngx_http_upstream_t`, which nothing else tells.
    #[inline(always)]
    pub(crate) fn headers(
        self,
        whose: Headers,
    ) -> Result<impl Iterator<Item = Header<'a>>, Foreign> {
        // SAFETY: `from_raw`'s contract; for `'a`, since the members of a list that are
        // borrowed, its parts, are only added to.
        let members = unsafe { &*self.as_ptr() };
        let list = match whose {
            Headers::Request => Some(&members.headers_in.headers),
            Headers::Response => Some(&members.headers_out.headers),
            // SAFETY: null or the request's upstream, in its pool.
            Headers::Upstream => match unsafe { members.upstream.as_ref() } {
                Some(upstream) => {
                    let headers = &upstream.headers_in.headers;
                    // `ngx_http_upstream_process_header` makes both; together they tell
                    // that they are where they were looked for.
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
            // SAFETY: a list of the request's; nothing runs that adds to it while it is read.
            Some(list) => unsafe { HeaderList::of(list) }?,
            None => HeaderList::NONE,
        };
        Ok(headers.map(Header))
    }

    /// The header whose pointer is at this offset in the request, as
    /// `ngx_http_variable_header` gives it; [`Foreign`] when nginx has to put several together.
    ///
    /// # Safety
    /// There is such a pointer at `offset`.
    pub(crate) unsafe fn header_at(self, offset: u32) -> Result<Option<&'a [u8]>, Foreign> {
        let mut value = EMPTY;
        // SAFETY: a live request, with such a pointer by the contract above.
        match unsafe { shim::lua_var_header(self.as_ptr(), offset as usize, &raw mut value) } {
            // SAFETY: a header's value lives as long as the request.
            OK => Ok(Some(unsafe { bytes(value) })),
            DECLINED => Ok(None),
            _ => Err(Foreign),
        }
    }

    /// The `Cookie` headers of the request.
    pub(crate) fn cookies(self) -> impl Iterator<Item = Header<'a>> {
        let mut n = 0usize;
        core::iter::from_fn(move || {
            // SAFETY: a live request, of which a C function reads the headers.
            let header = unsafe { shim::lua_var_cookie(self.as_ptr(), n) };
            n = n.wrapping_add(1);
            // SAFETY: null or a header in the request's pool.
            unsafe { header.as_ref() }.map(Header)
        })
    }
}

/// Where a header has the pointer to the next of its name; 0 when nginx has no such.
pub(crate) fn next_header() -> usize {
    // SAFETY: a C function that gives a constant.
    unsafe { shim::lua_var_next_header() }
}
