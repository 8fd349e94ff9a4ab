//! `ngx_str_t`.

use core::ffi::CStr;
use core::ptr::{self, NonNull};

use super::ngx_str_t;

/// An empty `ngx_str_t`.
pub(crate) const EMPTY: ngx_str_t = ngx_str_t {
    len: 0,
    data: ptr::null_mut(),
};

/// A `ngx_str_t` of bytes that nginx only reads.
pub(crate) const fn str_of(bytes: &[u8]) -> ngx_str_t {
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
    // SAFETY: the caller vouches for the length and for `'a`.
    unsafe { bytes_or_null(s) }.unwrap_or(&[])
}

/// The bytes of a string of nginx's; `None` when it was never set, that is, null.
///
/// # Safety
/// As [`bytes`].
#[inline(always)]
pub(crate) unsafe fn bytes_or_null<'a>(s: ngx_str_t) -> Option<&'a [u8]> {
    let data = NonNull::new(s.data)?;
    // SAFETY: the caller vouches for the length and for `'a`.
    Some(unsafe { core::slice::from_raw_parts(data.as_ptr(), s.len) })
}
