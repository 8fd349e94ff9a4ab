//! nginx's arrays and lists.
//!
//! Each says how large its elements are, and that is what is stepped by: builds of
//! nginx with patches, as Kong's, add members to the end of a structure.

use core::marker::PhantomData;
use core::ptr::NonNull;

use ngx::ffi::{ngx_list_part_t, ngx_list_t};

use super::{Foreign, ngx_array_t, ngx_table_elt_t};

/// Elements of an array, as pointers: some of them are to be changed.
#[derive(Clone, Copy)]
pub(crate) struct Elements<'a, T> {
    at: *mut T,
    stride: usize,
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

    /// The elements of an array; of null there are none. [`Foreign`] when they are
    /// smaller than a `T`.
    ///
    /// # Safety
    /// `array` must be null or an array of nginx's whose elements begin with a `T`, and
    /// which is neither freed nor extended during `'a`.
    pub(crate) unsafe fn of(array: *const ngx_array_t) -> Result<Self, Foreign> {
        // SAFETY: null or an array of nginx's, by the contract above.
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

    /// Those of a part of a list.
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
        // SAFETY: an element of an array that is not changed during `'a`, by the contract of
        // `of`.
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

/// Adds an element to one of nginx's arrays; false without memory.
///
/// # Safety
/// `array` must be null or a valid array of `T`.
pub(crate) unsafe fn push<T>(array: *mut ngx_array_t, element: T) -> bool {
    if array.is_null() {
        return false;
    }
    // SAFETY: valid by the caller's word.
    let place = unsafe { ngx::ffi::ngx_array_push(array) }.cast::<T>();
    if place.is_null() {
        return false;
    }
    // SAFETY: the element that was just added.
    unsafe { place.write(element) };
    true
}

/// The headers of a list that nginx made for headers, those removed (`hash` 0) among them.
#[derive(Clone, Copy)]
pub(crate) struct HeaderList<'a> {
    here: Elements<'a, ngx_table_elt_t>,
    next: *const ngx_list_part_t,
}

impl<'a> HeaderList<'a> {
    /// [`Foreign`] when the list's elements are smaller than headers.
    ///
    /// # Safety
    /// The list is in the memory of a request that lives during `'a`, in which nothing of it
    /// is freed; and is not changed for as long as the result is used.
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
                // SAFETY: an element of a list in the request's memory, see `of`.
                return Some(unsafe { header.as_ref() });
            }
            // SAFETY: null or the next part of the list, see `of`.
            let part = unsafe { self.next.as_ref() }?;
            self.here = Elements::of_part(part, self.here.stride);
            self.next = part.next;
        }
    }
}
