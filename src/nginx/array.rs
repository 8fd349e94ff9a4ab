//! nginx's arrays and lists.
//!
//! The size of an element is taken from the array or list itself, because patched builds of
//! nginx, such as Kong's, add members to the end of a structure.

use core::marker::PhantomData;
use core::ptr::NonNull;

use ngx::ffi::{ngx_list_part_t, ngx_list_t};

use super::{Foreign, ngx_array_t, ngx_table_elt_t};

/// An iterator over the elements of an array. It yields pointers, because some callers change
/// the elements; [`Elements::read`] yields references.
#[derive(Clone, Copy)]
pub(crate) struct Elements<'a, T> {
    /// The next element.
    at: *mut T,
    /// The size of an element in bytes, at least that of a `T`.
    stride: usize,
    /// How many elements are left.
    left: usize,
    of: PhantomData<&'a T>,
}

impl<'a, T> Elements<'a, T> {
    const NONE: Self = Elements {
        at: core::ptr::null_mut(),
        stride: 0,
        left: 0,
        of: PhantomData,
    };

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

    /// The elements in a part of a list.
    #[inline(always)]
    fn of_part(part: &ngx_list_part_t, stride: usize) -> Self {
        Elements {
            at: part.elts.cast(),
            stride,
            left: part.nelts,
            of: PhantomData,
        }
    }

    /// The elements, for reading.
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

/// An iterator over a list of headers. Removed headers (`hash` is 0) are included.
#[derive(Clone, Copy)]
pub(crate) struct HeaderList<'a> {
    /// The headers that are left in the current part of the list.
    here: Elements<'a, ngx_table_elt_t>,
    next: *const ngx_list_part_t,
}

impl<'a> HeaderList<'a> {
    /// The headers of a list. [`Foreign`] if the elements are smaller than headers.
    ///
    /// # Safety
    /// `list` must be a list of headers of a request that is live during `'a`, which nothing
    /// changes for as long as the result is used.
    pub(crate) unsafe fn of(list: &ngx_list_t) -> Result<Self, Foreign> {
        if list.size < size_of::<ngx_table_elt_t>() {
            return Err(Foreign);
        }
        Ok(HeaderList {
            here: Elements::of_part(&list.part, list.size),
            next: list.part.next,
        })
    }

    /// No headers.
    pub(crate) const NONE: Self = HeaderList {
        here: Elements::NONE,
        next: core::ptr::null(),
    };
}

impl<'a> Iterator for HeaderList<'a> {
    type Item = &'a ngx_table_elt_t;

    #[inline(always)]
    fn next(&mut self) -> Option<&'a ngx_table_elt_t> {
        loop {
            if let Some(header) = self.here.next() {
                // SAFETY: it is an element of the list, which lives during `'a`, see `of`.
                return Some(unsafe { header.as_ref() });
            }
            // SAFETY: `next` is null or the next part of the list, see `of`.
            let part = unsafe { self.next.as_ref() }?;
            self.here = Elements::of_part(part, self.here.stride);
            self.next = part.next;
        }
    }
}
