//! Slots and index put together as `src/worker.rs` does, which itself needs nginx.

use core::cell::Cell;

use crate::index::{HEADS, HeadChunk, Index};
use crate::slots::{CHUNK, Chunk, Handle, Slot, Slots};

/// A chunk of free slots that is never freed, as the module's are.
pub(super) fn slot_chunk() -> &'static Chunk {
    let slots: Vec<Slot> = (0..CHUNK).map(|_| Slot::new()).collect();
    let slots: &[Slot] = Box::leak(slots.into_boxed_slice());
    slots.try_into().expect("CHUNK slots")
}

/// A chunk of empty buckets, likewise.
pub(super) fn head_chunk() -> &'static HeadChunk {
    let heads = vec![Cell::new(0); HEADS];
    let heads: &[Cell<u32>] = Box::leak(heads.into_boxed_slice());
    heads.try_into().expect("HEADS heads")
}

/// The side table of a worker whose memory can run out.
pub(super) struct SideTable {
    pub(super) slots: Box<Slots>,
    pub(super) index: Box<Index>,
    /// How many more chunks of slots can be had.
    pub(super) slot_chunks: Cell<usize>,
    /// How many more chunks of bucket heads can be had.
    pub(super) head_chunks: Cell<usize>,
}

impl SideTable {
    /// With memory for everything.
    pub(super) fn new() -> Self {
        SideTable {
            slots: Box::new(Slots::new()),
            index: Box::new(Index::new()),
            slot_chunks: Cell::new(usize::MAX),
            head_chunks: Cell::new(usize::MAX),
        }
    }

    fn take(left: &Cell<usize>) -> Option<()> {
        left.set(left.get().checked_sub(1)?);
        Some(())
    }

    /// `Worker::register`, of a request that is not in the table.
    pub(super) fn register(&self, address: usize) -> Option<&'static Slot> {
        let slot = self.slots.acquire(address, connection_of(address), 0, || {
            Self::take(&self.slot_chunks).map(|()| slot_chunk())
        })?;
        let more = || Self::take(&self.head_chunks).map(|()| head_chunk());
        if self.index.insert(&self.slots, slot, more) {
            return Some(slot);
        }
        assert!(self.slots.release(slot.handle()));
        None
    }

    /// `Worker::forget`
    pub(super) fn forget(&self, handle: Handle) {
        let slot = self.slots.get(handle).expect("the slot is occupied");
        assert!(self.index.remove(&self.slots, slot));
        assert!(self.slots.release(handle));
    }

    /// `Worker::find`
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
