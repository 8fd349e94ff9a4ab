//! Slots and index, combined as in `src/registry/mod.rs`, which itself needs nginx.

use core::cell::Cell;

use super::many;
use crate::registry::by_address::{HEADS, Heads, Index};
use crate::registry::slots::{CHUNK, Handle, Slot, Slots};

/// Free slots, whose memory is never freed, as in the module.
pub(super) fn free_slots(count: usize) -> &'static [Slot] {
    let slots: Vec<Slot> = (0..count).map(|_| Slot::new()).collect();
    Box::leak(slots.into_boxed_slice())
}

/// Heads of empty chains, whose memory is never freed either.
fn heads() -> &'static Heads {
    let zeros: &'static mut [u32] = Box::leak(vec![0; HEADS].into_boxed_slice());
    let heads: &'static [Cell<u32>] = Cell::from_mut(zeros).as_slice_of_cells();
    heads.try_into().expect("HEADS heads")
}

/// The registry of a worker whose memory can run out.
pub(super) struct SideTable {
    pub(super) slots: Box<Slots>,
    pub(super) index: Box<Index>,
    /// For how many more chunks there is memory.
    pub(super) chunks: Cell<usize>,
}

impl SideTable {
    /// With unlimited memory.
    pub(super) fn new() -> Self {
        let table = SideTable {
            slots: Box::new(Slots::new()),
            index: Box::new(Index::new(heads())),
            chunks: Cell::new(usize::MAX),
        };
        table.slots.place(free_slots(many(200 * CHUNK, 4 * CHUNK)));
        table
    }

    /// `Registry::register`, of a request that is not in the table.
    pub(super) fn register(&self, address: usize) -> Option<&'static Slot> {
        let slot = self.slots.acquire(address, connection_of(address), |_| {
            let left = self.chunks.get().checked_sub(1);
            self.chunks.set(left.unwrap_or(0));
            left.is_some()
        })?;
        self.index.insert(slot);
        Some(slot)
    }

    /// `Registry::forget`
    pub(super) fn forget(&self, handle: Handle) {
        let slot = self.slots.get(handle).expect("the slot is occupied");
        assert!(self.index.remove(&self.slots, slot));
        assert!(self.slots.release(handle));
    }

    /// `Registry::find`
    pub(super) fn find(&self, address: usize) -> Option<&'static Slot> {
        self.index.find(&self.slots, address)
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
