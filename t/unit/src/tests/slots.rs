//! `src/registry/slots.rs`: edge cases, which `model.rs` seldom reaches.

use super::many;
use super::side_table::free_slots;
use crate::registry::slots::{CHUNK, Handle, MAX_LIVE, Slot, Slots};

fn slots_of(count: usize) -> Box<Slots> {
    let slots = Box::new(Slots::new());
    slots.place(free_slots(count));
    slots
}

fn slots() -> Box<Slots> {
    slots_of(16 * CHUNK)
}

fn acquire(slots: &Slots, address: usize) -> Option<&'static Slot> {
    slots.acquire(address, address + 1, |_| true)
}

#[test]
fn an_empty_table_knows_no_handle() {
    let slots = slots();
    for bits in [0, 1, 1 << 32, u64::MAX, 0xdead_beef_0000_0000] {
        assert!(slots.get(Handle::from_bits(bits)).is_none());
    }
    assert_eq!((slots.live(), slots.capacity()), (0, 0));
    assert!(slots.get(slots.by_id(0).unwrap().handle()).is_none());

    let nowhere = Slots::new();
    assert!(nowhere.by_id(0).is_none());
    assert!(nowhere.acquire(0x1000, 1, |_| true).is_none());
}

#[test]
fn handles_are_laid_out_as_luas_cdata() {
    let handle = Handle::from_bits(0x0000_0007_0000_0401);
    assert_eq!((handle.id, handle.generation), (0x401, 7));
}

#[test]
fn a_slot_takes_no_more_memory_than_promised() {
    // 96 bytes for a live request, of which the index takes four for a bucket.
    assert!(size_of::<Slot>() + 4 <= 96, "{}", size_of::<Slot>());
}

#[test]
fn zeroed_memory_matches_no_handle() {
    let slots = slots();
    acquire(&slots, 0x1000).unwrap();
    // The chunk has 1023 more slots that were never used.
    for id in 1..CHUNK as u32 {
        for generation in [0, 1, 2, u32::MAX] {
            assert!(slots.get(Handle { id, generation }).is_none());
        }
    }
}

#[test]
fn the_slot_freed_last_is_used_first_under_another_generation() {
    let slots = slots();
    let first = acquire(&slots, 0x1000).unwrap();
    let handle = first.handle();
    assert!(slots.release(handle));
    assert!(!slots.release(handle), "twice");
    let second = acquire(&slots, 0x1000).unwrap();
    assert!(core::ptr::eq(first, second));
    assert_eq!(second.handle().generation, handle.generation + 2);
    assert!(slots.get(handle).is_none());
    assert!(!slots.release(handle), "of another");
    assert_eq!(slots.live(), 1);
}

#[test]
fn a_free_slot_keeps_nothing_of_its_occupant() {
    let slots = slots();
    let slot = slots.acquire(0x1000, 0x2000, |_| true).unwrap();
    slot.set_ctx(7, 1);
    slot.set_hooked(5);
    slot.raise(Slot::FROM_ERROR_PAGE);
    assert!(slot.has(Slot::FROM_ERROR_PAGE | Slot::HOOKED));

    let handle = slot.handle();
    slots.release(handle);
    let even = Handle {
        generation: handle.generation + 1,
        ..handle
    };
    assert!(
        slots.get(even).is_none(),
        "a free slot's generation is no handle's"
    );
    assert_eq!(
        (slot.request(), slot.connection(), slot.ctx()),
        (0, 0, None)
    );
    for flag in [Slot::FROM_ERROR_PAGE, Slot::HOOKED] {
        assert!(!slot.has(flag));
    }
}

#[test]
fn the_last_generation_retires_the_slot() {
    let slots = slots();
    let old = acquire(&slots, 0x1000).unwrap();
    let neighbour = acquire(&slots, 0x2000).unwrap();
    let id = old.id();
    old.age();
    let last = old.handle();
    assert_eq!(last.generation, u32::MAX);
    assert!(slots.get(last).is_some(), "its last occupant is served");

    assert!(slots.release(last));
    assert_eq!((slots.retired(), slots.live()), (1, 1));
    for generation in [0, 1, 3, u32::MAX] {
        assert!(slots.get(Handle { id, generation }).is_none());
    }
    slots.release(neighbour.handle());
    for n in 0..2 * CHUNK {
        assert_ne!(acquire(&slots, 0x1000 + n).unwrap().id(), id);
    }
    assert_eq!(slots.retired(), 1);
}

#[test]
fn the_note_of_an_error_page_is_the_last_one() {
    let slot = Slot::new();
    assert_eq!(slot.hook_changes(), None);
    for uri_changes in (0..=11).rev().chain([11]) {
        slot.set_hooked(uri_changes);
        assert_eq!(slot.hook_changes(), Some(uri_changes));
        assert!(!slot.has(Slot::FROM_ERROR_PAGE));
    }
    slot.raise(Slot::FROM_ERROR_PAGE);
    slot.set_hooked(3);
    assert!(
        slot.has(Slot::FROM_ERROR_PAGE),
        "what was known stays known"
    );
}

#[test]
fn references_below_one_are_none() {
    let slot = Slot::new();
    for reference in [0, -1, -2, i32::MIN] {
        slot.set_ctx(reference, 0);
        assert_eq!(slot.ctx(), None);
    }
    slot.set_ctx(i32::MAX, u32::MAX);
    assert_eq!(slot.ctx(), Some((i32::MAX, u32::MAX)));
}

#[test]
fn without_memory_nothing_changes() {
    let slots = slots();
    assert!(slots.acquire(0x1000, 1, |_| false).is_none());
    assert_eq!((slots.live(), slots.capacity()), (0, 0));

    let held: Vec<_> = (0..CHUNK)
        .map(|n| acquire(&slots, 0x1000 + n).unwrap())
        .collect();
    for _ in 0..3 {
        assert!(
            slots.acquire(0x9000, 1, |_| false).is_none(),
            "the chunk is full"
        );
    }
    assert_eq!((slots.live() as usize, slots.capacity()), (CHUNK, CHUNK));
    assert!(
        held.iter()
            .enumerate()
            .all(|(n, slot)| slot.request() == 0x1000 + n)
    );

    // A slot that comes free needs no memory, and later there is memory again.
    slots.release(held[17].handle());
    assert_eq!(slots.acquire(0x9000, 1, |_| false).unwrap().id(), 17);
    assert_eq!(acquire(&slots, 0xa000).unwrap().id() as usize, CHUNK);
}

#[test]
fn growing_moves_nothing() {
    let slots = slots();
    let before: Vec<_> = (0..100)
        .map(|n| acquire(&slots, 0x1000 + n).unwrap())
        .collect();
    for n in 0..many(10, 2) * CHUNK {
        acquire(&slots, 0x10_0000 + n).unwrap();
    }
    for (n, slot) in before.iter().enumerate() {
        assert!(core::ptr::eq(*slot, slots.get(slot.handle()).unwrap()));
        assert_eq!(slot.request(), 0x1000 + n);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn a_full_registry_refuses_and_recovers() {
    let all = MAX_LIVE;
    let slots = slots_of(all);
    for n in 0..all {
        assert_eq!(acquire(&slots, n + 1).unwrap().id() as usize, n);
    }
    assert!(acquire(&slots, all + 1).is_none());
    assert_eq!((slots.live() as usize, slots.capacity()), (all, all));
    assert!(slots.by_id(all as u32).is_none());
    assert!(slots.by_id(u32::MAX).is_none());

    let last = slots.by_id(all as u32 - 1).unwrap().handle();
    assert!(slots.release(last));
    let again = acquire(&slots, 0x77).unwrap();
    assert_eq!(again.id(), last.id);
    assert!(slots.get(last).is_none());
}
