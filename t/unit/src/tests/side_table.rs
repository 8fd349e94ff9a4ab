//! Slots and index, combined as in `src/registry/mod.rs`, which itself needs nginx.

use core::cell::Cell;
use std::alloc::{Layout, alloc_zeroed};

use crate::registry::by_address::{Heads, Index};
use crate::registry::slots::{Chunk, Handle, Slot, Slots};

/// Zero bytes, which are never freed, as in the module.
///
/// # Safety
/// Zero bytes must be a valid `T`, which has a size.
unsafe fn zeroed<T>() -> &'static T {
    // SAFETY: by the contract above.
    unsafe { alloc_zeroed(Layout::new::<T>()).cast::<T>().as_ref() }.expect("there is memory")
}

/// Free slots.
pub(super) fn chunk() -> Option<&'static Chunk> {
    // SAFETY: zero bytes are free slots, see the fields of `Slot`.
    Some(unsafe { zeroed() })
}

/// All slots, free or occupied.
pub(super) fn slots_of(slots: &Slots) -> impl Iterator<Item = &'static Slot> {
    (0..).map_while(|id| slots.by_id(id))
}

/// The registry of a worker whose memory can run out.
pub(super) struct SideTable {
    pub(super) slots: Box<Slots>,
    pub(super) index: Index,
    /// For how many more chunks there is memory.
    pub(super) chunks: Cell<usize>,
    /// The time in milliseconds.
    pub(super) now: Cell<u32>,
}

impl SideTable {
    /// With unlimited memory.
    pub(super) fn new() -> Self {
        // SAFETY: zero bytes are heads of empty chains.
        let heads: &'static Heads = unsafe { zeroed() };
        SideTable {
            slots: Box::new(Slots::new()),
            index: Index::new(heads),
            chunks: Cell::new(usize::MAX),
            // The clock wraps.
            now: Cell::new(u32::MAX - 100),
        }
    }

    /// `Registry::register_new`
    pub(super) fn register(&self, address: usize) -> Option<&'static Slot> {
        let slot = self.slots.acquire(address, connection_of(address), || {
            let left = self.chunks.get().checked_sub(1);
            self.chunks.set(left.unwrap_or(0));
            left.and_then(|_| chunk())
        })?;
        self.index.insert(address, slot);
        Some(slot)
    }

    /// `forget` of `src/registry/mod.rs`, a millisecond later.
    pub(super) fn forget(&self, handle: Handle) -> bool {
        let slot = self.slots.get(handle).expect("the slot is occupied");
        self.index.remove(slot);
        self.now.set(self.now.get().wrapping_add(1));
        self.slots.release(slot, self.now.get())
    }

    /// `Registry::find`
    pub(super) fn find(&self, address: usize) -> Option<&'static Slot> {
        self.index.find(address)
    }
}

/// The connection that the tests give the request at `address`.
pub(super) fn connection_of(address: usize) -> usize {
    address ^ 0xc0_0000
}

/// Addresses as nginx hands them out: pools of 4k, the request at the same
/// offset in each.
pub(super) fn request_address(n: usize) -> usize {
    0x5555_5576_0000 + n * 4096 + 0x50
}
