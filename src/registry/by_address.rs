//! The index that finds a request's slot by the request's address.
//!
//! It is a hash table with a fixed number of chains, which are linked through the `link`
//! fields of the slots. So an insertion cannot fail and moves no other entry. The heads are
//! zeroed static memory, of which only the pages that are used become resident.

#![forbid(unsafe_code)]

use core::cell::Cell;
use core::ptr;

use super::slots::Slot;

/// Number of chains; a power of two.
pub(crate) const HEADS: usize = 1 << 20;

pub(crate) type Heads = [Cell<Option<&'static Slot>>; HEADS];

pub(crate) struct Index {
    heads: &'static Heads,
}

impl Index {
    /// An empty index that uses these heads, all of which must be `None`.
    pub(crate) const fn new(heads: &'static Heads) -> Self {
        Index { heads }
    }

    /// The head of the chain for an address.
    ///
    /// The hash is the address's page number, without mixing, because most requests begin
    /// a pool of a page or more. Requests that are neighbours in memory then have
    /// neighbouring heads, so that a few requests touch few pages of heads. The few requests
    /// within one page, a main request and its subrequests, share a chain.
    #[inline(always)]
    fn head(&self, address: usize) -> Option<&'static Cell<Option<&'static Slot>>> {
        self.heads.get(address >> 12 & HEADS.wrapping_sub(1))
    }

    /// The slot of the live request at `address`, which is only compared.
    #[inline(always)]
    pub(crate) fn find(&self, address: usize) -> Option<&'static Slot> {
        let mut link = self.head(address)?.get();
        while let Some(slot) = link {
            if slot.request() == address {
                break;
            }
            link = slot.link.get();
        }
        link
    }

    /// Adds an occupied slot under `address`, which is that of its request.
    #[inline(always)]
    pub(crate) fn insert(&self, address: usize, slot: &'static Slot) {
        if let Some(head) = self.head(address) {
            slot.link.set(head.get());
            head.set(Some(slot));
        }
    }

    /// Removes a slot, which must still have its request's address.
    #[inline(always)]
    pub(crate) fn remove(&self, slot: &'static Slot) {
        let mut place = self.head(slot.request());
        while let Some((link, other)) = place.and_then(|link| Some((link, link.get()?))) {
            if ptr::eq(other, slot) {
                link.set(slot.link.get());
                return;
            }
            place = Some(&other.link);
        }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn count(&self) -> usize {
        let next = |slot: &&'static Slot| slot.link.get();
        self.heads.iter().map(|head| core::iter::successors(head.get(), next).count()).sum()
    }
}
