//! The index that finds a request's slot by the request's address.
//!
//! It is a hash table with a fixed number of chains, which are linked through the `link`
//! fields of the slots. So an insertion cannot fail and moves no other entry. The heads are
//! zeroed static memory, of which only the pages that are used become resident.

#![forbid(unsafe_code)]

use core::cell::Cell;

use super::slots::{Slot, Slots};

/// Number of chains; a power of two.
pub const HEADS: usize = 1 << 20;

/// The heads of the chains: slot number + 1, or 0 for an empty chain.
pub type Heads = [Cell<u32>; HEADS];

/// The index of a worker process.
pub struct Index {
    heads: &'static Heads,
    count: Cell<u32>,
    /// Number of the slot found or inserted last, because most look-ups ask for it again.
    last: Cell<u32>,
}

impl Index {
    /// An empty index that uses these heads, all of which must be 0.
    pub const fn new(heads: &'static Heads) -> Self {
        Index {
            heads,
            count: Cell::new(0),
            last: Cell::new(0),
        }
    }

    /// Number of entries.
    pub fn len(&self) -> u32 {
        self.count.get()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// The head of the chain for an address.
    ///
    /// The hash is the address's page number, without mixing, because most requests begin
    /// a pool of a page or more. Requests that are neighbours in memory then have
    /// neighbouring heads, so that a few requests touch few pages of heads. Requests within
    /// one page, such as subrequests, are told apart by the sixteenth of the page.
    fn head(&self, address: usize) -> Option<&'static Cell<u32>> {
        let page = address >> 12;
        let sixteenth = address >> 8 & 0xf;
        self.heads
            .get((page ^ sixteenth << 16) & HEADS.wrapping_sub(1))
    }

    /// The slot of the live request at `address`, which is only compared.
    pub fn find(&self, slots: &Slots, address: usize) -> Option<&'static Slot> {
        if let Some(slot) = slots.by_id(self.last.get()) {
            if slot.request() == address && address != 0 {
                return Some(slot);
            }
        }
        let mut link = self.head(address)?.get();
        while link != 0 {
            let slot = slots.by_id(link.wrapping_sub(1))?;
            if slot.request() == address {
                self.last.set(slot.id());
                return Some(slot);
            }
            link = slot.link();
        }
        None
    }

    /// Adds an occupied slot under the address of its request.
    pub fn insert(&self, slot: &Slot) {
        if let Some(head) = self.head(slot.request()) {
            slot.set_link(head.get());
            head.set(slot.id().wrapping_add(1));
            self.count.set(self.count.get().wrapping_add(1));
            self.last.set(slot.id());
        }
    }

    /// Removes a slot, which must still have its request's address. Returns false if it is
    /// not in the index.
    pub fn remove(&self, slots: &Slots, slot: &Slot) -> bool {
        let wanted = slot.id().wrapping_add(1);
        let Some(head) = self.head(slot.request()) else {
            return false;
        };
        let mut link = head.get();
        if link == wanted {
            head.set(slot.link());
            self.count.set(self.count.get().wrapping_sub(1));
            return true;
        }
        while let Some(before) = slots.by_id(link.wrapping_sub(1)).filter(|_| link != 0) {
            link = before.link();
            if link == wanted {
                before.set_link(slot.link());
                self.count.set(self.count.get().wrapping_sub(1));
                return true;
            }
        }
        false
    }
}
