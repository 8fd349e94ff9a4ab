//! nginx's arrays.
//!
//! The size of an element is taken from the array itself, because patched builds of
//! nginx, such as Kong's, add members to the end of a structure.

use core::marker::PhantomData;
use core::ptr::NonNull;

use super::{Foreign, ngx_array_t};

/// An iterator over the elements of an array. It yields pointers, because some callers change
/// the elements; [`Elements::read`] yields references.
#[derive(Clone, Copy)]
pub(crate) struct Elements<'a, T> {
    at: *mut T,
    /// The size of an element in bytes, at least that of a `T`.
    stride: usize,
    left: usize,
    of: PhantomData<&'a T>,
}

impl<'a, T> Elements<'a, T> {
    const NONE: Self = Elements { at: core::ptr::null_mut(), stride: 0, left: 0, of: PhantomData };

    /// The elements of an array; none if it is null. [`Foreign`] if they are smaller than a
    /// `T`.
    ///
    /// # Safety
    /// `array` must be null or an array of nginx's. Its elements must begin with a `T`, and it
    /// must be neither freed nor extended during `'a`.
    pub(crate) unsafe fn of(array: *const ngx_array_t) -> Result<Self, Foreign> {
        // SAFETY: `array` is null or an array of nginx's, by the contract above.
        match unsafe { array.as_ref() } {
            Some(array) if array.size < size_of::<T>() && array.nelts != 0 => Err(Foreign),
            Some(array) => Ok(Elements {
                at: array.elts.cast(),
                stride: array.size,
                left: array.nelts,
                of: PhantomData,
            }),
            None => Ok(Self::NONE),
        }
    }

    pub(crate) fn read(self) -> impl Iterator<Item = &'a T> {
        // SAFETY: the array is neither freed nor extended during `'a`, by the contract of `of`,
        // and nothing writes to its elements meanwhile.
        self.map(|element| unsafe { element.as_ref() })
    }
}

impl<T> Iterator for Elements<'_, T> {
    type Item = NonNull<T>;

    #[inline]
    fn next(&mut self) -> Option<NonNull<T>> {
        self.left = self.left.checked_sub(1)?;
        let element = NonNull::new(self.at)?;
        self.at = self.at.wrapping_byte_add(self.stride);
        Some(element)
    }
}

/// Adds an element to an array of nginx's. Returns false if there is no memory, or if the
/// array is null.
///
/// # Safety
/// `array` must be null or a valid array of `T`.
pub(crate) unsafe fn push<T>(array: *mut ngx_array_t, element: T) -> bool {
    if array.is_null() {
        return false;
    }
    // SAFETY: `array` is a valid array, by the contract above.
    let place = unsafe { ngx::ffi::ngx_array_push(array) }.cast::<T>();
    if place.is_null() {
        return false;
    }
    // SAFETY: `ngx_array_push` has just added this element, which is uninitialised.
    unsafe { place.write(element) };
    true
}
