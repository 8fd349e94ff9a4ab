//! From a request's address to its slot.
//!
//! A linear hash table whose chains run through the slots' own `link` fields. It
//! grows by one bucket at a time, by splitting one chain, so no insertion ever
//! waits for a rehash, and it needs four bytes for a live request.

#![forbid(unsafe_code)]

use core::cell::Cell;

use super::slots::{CHUNK, MAX_CHUNKS, Slot, Slots};

/// Bucket heads in one chunk.
pub const HEADS: usize = CHUNK;
/// Buckets the table starts with and never goes below; a power of two.
const FIRST: u32 = 64;
const MAX_BUCKETS: u32 = (HEADS as u32).saturating_mul(MAX_CHUNKS as u32);

/// A block of bucket heads: slot number + 1, 0 for an empty bucket.
pub type HeadChunk = [Cell<u32>; HEADS];

/// The index of one worker. Valid when zeroed, apart from `buckets`.
pub struct Index {
    heads: [Cell<Option<&'static HeadChunk>>; MAX_CHUNKS],
    /// Buckets in use: `FIRST` or more once anything was inserted.
    buckets: Cell<u32>,
    count: Cell<u32>,
    /// The slot found last; most look-ups ask for it again.
    last: Cell<u32>,
}

impl Index {
    /// An empty index without memory of its own yet.
    pub const fn new() -> Self {
        Index {
            heads: [const { Cell::new(None) }; MAX_CHUNKS],
            buckets: Cell::new(0),
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

    /// Mixes an address. Requests are 16-byte aligned, so the low bits say nothing.
    fn hash(address: usize) -> u32 {
        ((address as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }

    /// The bucket of `hash` when there are `buckets` of them (Litwin's linear hashing).
    fn bucket(hash: u32, buckets: u32) -> u32 {
        let mask = buckets
            .checked_next_power_of_two()
            .unwrap_or(MAX_BUCKETS)
            .wrapping_sub(1);
        let wide = hash & mask;
        if wide < buckets {
            wide
        } else {
            wide & mask >> 1
        }
    }

    fn head(&self, bucket: u32) -> Option<&'static Cell<u32>> {
        let bucket = bucket as usize;
        self.heads.get(bucket / HEADS)?.get()?.get(bucket % HEADS)
    }

    /// The slot of the live request at `address`.
    pub fn find(&self, slots: &Slots, address: usize) -> Option<&'static Slot> {
        let last = slots.by_id(self.last.get());
        if address != 0 && last.is_some_and(|slot| slot.request() == address) {
            return last;
        }
        let slot = self.walk(slots, address)?;
        self.last.set(slot.id());
        Some(slot)
    }

    fn walk(&self, slots: &Slots, address: usize) -> Option<&'static Slot> {
        if self.buckets.get() == 0 {
            return None;
        }
        let mut link = self
            .head(Self::bucket(Self::hash(address), self.buckets.get()))?
            .get();
        while link != 0 {
            let slot = slots.by_id(link.wrapping_sub(1))?;
            if slot.request() == address {
                return Some(slot);
            }
            link = slot.link();
        }
        None
    }

    /// Adds an occupied slot under its request's address.
    ///
    /// `more` supplies zeroed chunks of heads. False when the first of them cannot
    /// be had: the slot is then not in the index. Later ones may fail, chains
    /// merely get longer.
    pub fn insert(
        &self,
        slots: &Slots,
        slot: &Slot,
        mut more: impl FnMut() -> Option<&'static HeadChunk>,
    ) -> bool {
        if self.buckets.get() == 0 {
            let Some(first) = self.heads.first() else {
                return false;
            };
            first.set(more());
            if first.get().is_none() {
                return false;
            }
            self.buckets.set(FIRST);
        }
        self.push(slot);
        self.count.set(self.count.get().wrapping_add(1));
        self.last.set(slot.id());
        if self.count.get() > self.buckets.get() {
            self.split(slots, more);
        }
        true
    }

    fn push(&self, slot: &Slot) {
        let bucket = Self::bucket(Self::hash(slot.request()), self.buckets.get());
        if let Some(head) = self.head(bucket) {
            slot.set_link(head.get());
            head.set(slot.id().wrapping_add(1));
        }
    }

    /// Adds one bucket and moves what belongs there out of the one it splits from.
    fn split(&self, slots: &Slots, mut more: impl FnMut() -> Option<&'static HeadChunk>) {
        let added = self.buckets.get();
        let Some(directory) = self.heads.get(added as usize / HEADS) else {
            return;
        };
        if directory.get().is_none() {
            directory.set(more());
        }
        // The bucket whose entries may now hash to `added` is `added` without its top bit.
        let top = 1u32.wrapping_shl(31u32.wrapping_sub(added.leading_zeros()));
        let (Some(_), Some(from)) = (self.head(added), self.head(added ^ top)) else {
            return;
        };
        self.buckets.set(added.wrapping_add(1));
        let mut link = from.replace(0);
        while let Some(slot) = slots.by_id(link.wrapping_sub(1)) {
            if link == 0 {
                break;
            }
            link = slot.link();
            self.push(slot);
        }
    }

    /// Removes the slot from the index; it must still carry its request's address.
    pub fn remove(&self, slots: &Slots, slot: &Slot) -> bool {
        if self.buckets.get() == 0 {
            return false;
        }
        let wanted = slot.id().wrapping_add(1);
        let bucket = Self::bucket(Self::hash(slot.request()), self.buckets.get());
        let Some(head) = self.head(bucket) else {
            return false;
        };
        if head.get() == wanted {
            head.set(slot.link());
            self.count.set(self.count.get().wrapping_sub(1));
            return true;
        }
        let mut link = head.get();
        while link != 0 {
            let Some(before) = slots.by_id(link.wrapping_sub(1)) else {
                return false;
            };
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

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}
