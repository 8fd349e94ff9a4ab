//! From a request's address to its slot.
//!
//! A hash table of a fixed number of chains, which run through the slots' own `link`
//! fields. Its heads are static memory, of which only the pages that are used exist; no
//! insertion can fail, or has to move another entry.

#![forbid(unsafe_code)]

use core::cell::Cell;

use super::slots::{Slot, Slots};

/// Chains; a power of two.
pub const HEADS: usize = 1 << 20;

/// Where chains begin: slot number + 1, 0 for an empty one.
pub type Heads = [Cell<u32>; HEADS];

/// The index of one worker.
pub struct Index {
    heads: &'static Heads,
    count: Cell<u32>,
    /// The slot found last; most look-ups ask for it again.
    last: Cell<u32>,
}

impl Index {
    /// An empty index over these heads, which are all 0.
    pub const fn new(heads: &'static Heads) -> Self {
        Index {
            heads,
            count: Cell::new(0),
            last: Cell::new(0),
        }
    }

    /// Entries in the index.
    pub fn len(&self) -> u32 {
        self.count.get()
    }

    /// Whether nothing is in the index.
    pub fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// The head of the chain for an address.
    ///
    /// Not mixed: requests are in pools of a page or more, so that neighbours in memory
    /// have neighbouring heads, and a few requests touch few pages of them. What lies in
    /// one page, as subrequests do, is spread by sixteenths of it.
    fn head(&self, address: usize) -> Option<&'static Cell<u32>> {
        let page = address >> 12;
        let sixteenth = address >> 8 & 0xf;
        self.heads
            .get((page ^ sixteenth << 16) & HEADS.wrapping_sub(1))
    }

    /// The slot of the live request at `address`.
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

    /// Adds an occupied slot under its request's address.
    pub fn insert(&self, slot: &Slot) {
        if let Some(head) = self.head(slot.request()) {
            slot.set_link(head.get());
            head.set(slot.id().wrapping_add(1));
            self.count.set(self.count.get().wrapping_add(1));
            self.last.set(slot.id());
        }
    }

    /// Removes the slot from the index; it must still carry its request's address.
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
