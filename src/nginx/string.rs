//! Conversions from and to `ngx_str_t`.

use core::ffi::CStr;
use core::ptr::{self, NonNull};

use super::ngx_str_t;

pub(crate) const EMPTY: ngx_str_t = ngx_str_t { len: 0, data: ptr::null_mut() };

/// An `ngx_str_t` that points to these bytes, for functions of nginx's that only read them.
pub(crate) const fn str_of(bytes: &[u8]) -> ngx_str_t {
    ngx_str_t { len: bytes.len(), data: bytes.as_ptr().cast_mut() }
}

/// An `ngx_str_t` with a zero byte behind it. nginx needs this for the names of directives,
/// because it compares them with `ngx_strcmp`.
pub(crate) const fn name(text: &'static CStr) -> ngx_str_t {
    ngx_str_t { len: text.count_bytes(), data: text.as_ptr().cast_mut().cast() }
}

/// The bytes of an `ngx_str_t`; none if its `data` is null.
///
/// # Safety
/// The `data` of `s` must be null or valid for reads of `len` bytes during `'a`.
pub(crate) unsafe fn bytes<'a>(s: ngx_str_t) -> &'a [u8] {
    // SAFETY: the contract is the same.
    unsafe { bytes_or_null(s) }.unwrap_or(&[])
}

/// The bytes of an `ngx_str_t`; `None` if its `data` is null, which means that it was never
/// set.
///
/// # Safety
/// The `data` of `s` must be null or valid for reads of `len` bytes during `'a`.
#[inline(always)]
pub(crate) unsafe fn bytes_or_null<'a>(s: ngx_str_t) -> Option<&'a [u8]> {
    let data = NonNull::new(s.data)?;
    // SAFETY: `data` is valid for `len` bytes during `'a`, by the contract above.
    Some(unsafe { core::slice::from_raw_parts(data.as_ptr(), s.len) })
}
