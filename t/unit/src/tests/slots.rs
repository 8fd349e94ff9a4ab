//! `src/registry/slots.rs`: edge cases, which `model.rs` seldom reaches.

use super::many;
use super::side_table::{chunk, slots_of};
use crate::registry::slots::{CHUNK, Ended, Handle, MAX_LIVE, Slot, Slots};

fn acquire(slots: &Slots, address: usize) -> Option<&'static Slot> {
    slots.acquire(address, address + 1, chunk)
}

/// A slot that belongs to no `Slots`.
fn free_slot() -> &'static Slot {
    &chunk().unwrap()[0]
}

#[test]
fn an_empty_table_knows_no_handle() {
    let slots = Slots::new();
    assert!(slots.by_id(0).is_none());
    for bits in [0, 1, 1 << 32, u64::MAX, 0xdead_beef_0000_0000] {
        let handle = Handle::from_bits(bits);
        assert!(slots.get(handle).is_none());
        assert_eq!(slots.ended(handle, 1), Ended::Never);
    }
    assert_eq!((slots.live(), slots.retired()), (0, 0));
}

#[test]
fn handles_are_laid_out_as_luas_cdata() {
    let bits = 0x0000_0007_0000_0401;
    let handle = Handle::from_bits(bits);
    assert_eq!((handle.id, handle.generation), (0x401, 7));
    assert_eq!(handle.to_bits(), bits);
}

#[test]
fn a_fake_handle_names_no_request() {
    let slots = Slots::new();
    assert!(!acquire(&slots, 0x1000).unwrap().handle().is_fake());
    for is_handshake in [false, true] {
        let fake = Handle::fake(is_handshake, 7);
        assert!(fake.is_fake());
        assert_eq!(fake.is_of_handshake(), is_handshake);
        assert_eq!(Handle::from_bits(fake.to_bits()), fake);
        assert!(slots.get(fake).is_none());
        assert_eq!(slots.ended(fake, 1), Ended::Never);
    }
    // The id tells, and the last slot has another one.
    let last = Handle { id: MAX_LIVE as u32 - 1, generation: 1 };
    assert!(!last.is_fake() && !last.is_of_handshake());
}

#[test]
fn a_slot_takes_no_more_memory_than_promised() {
    // README.md promises 80 bytes for a slot.
    assert!(size_of::<Slot>() <= 80, "{}", size_of::<Slot>());
}

#[test]
fn zeroed_memory_matches_no_handle() {
    let slots = Slots::new();
    acquire(&slots, 0x1000).unwrap();
    // The rest of the chunk was never used.
    for id in 1..CHUNK as u32 {
        for generation in [0, 1, 2, u32::MAX] {
            let handle = Handle { id, generation };
            assert!(slots.get(handle).is_none());
            assert_eq!(slots.ended(handle, 1), Ended::Never);
        }
    }
}

#[test]
fn the_slot_freed_last_is_used_first_under_another_generation() {
    let slots = Slots::new();
    let [_, first] = [0x1000, 0x2000].map(|address| acquire(&slots, address).unwrap());
    let handle = first.handle();
    assert!(!slots.release(first, 0), "it is not retired");
    let second = acquire(&slots, 0x2000).unwrap();
    assert!(core::ptr::eq(first, second));
    assert_eq!(second.handle().generation, handle.generation + 2);
    assert!(slots.get(handle).is_none());
    assert_eq!(slots.live(), 2);
}

#[test]
fn a_free_slot_keeps_nothing_of_its_occupant() {
    let slots = Slots::new();
    let slot = acquire(&slots, 0x1000).unwrap();
    slot.set_ctx(7, 1);
    slot.set_original(0x3000);
    slot.raise(Slot::FROM_ERROR_PAGE);
    slot.count_refused();
    assert!(slot.has(Slot::FROM_ERROR_PAGE));

    let handle = slot.handle();
    slots.release(slot, 0);
    let even = Handle { generation: handle.generation + 1, ..handle };
    assert!(slots.get(even).is_none(), "a free slot's generation is no handle's");
    assert_eq!((slot.request(), slot.connection(), slot.original()), (0, 0, 0));
    assert_eq!((slot.ctx(), slot.refused()), (None, 0));
    assert!(!slot.has(Slot::FROM_ERROR_PAGE));
}

#[test]
fn the_last_generation_retires_the_slot() {
    let slots = Slots::new();
    let old = acquire(&slots, 0x1000).unwrap();
    let neighbour = acquire(&slots, 0x2000).unwrap();
    let id = old.handle().id;
    old.age();
    let last = old.handle();
    assert_eq!(last.generation, u32::MAX);
    assert!(slots.get(last).is_some(), "its last occupant is served");

    assert!(slots.release(old, 0));
    assert_eq!((slots.retired(), slots.live()), (1, 1));
    for generation in [0, 1, 3, u32::MAX] {
        assert!(slots.get(Handle { id, generation }).is_none());
    }
    assert!(!slots.release(neighbour, 0));
    for n in 0..2 * CHUNK {
        assert_ne!(acquire(&slots, 0x1000 + n).unwrap().handle().id, id);
    }
    assert_eq!(slots.retired(), 1);

    // A free slot that is aged has one more occupant.
    slots.release(neighbour, 0);
    neighbour.age();
    let last = acquire(&slots, 0x1000).unwrap();
    assert_eq!(last.handle().generation, u32::MAX);
    assert!(slots.release(neighbour, 0));
}

#[test]
fn a_slot_remembers_when_its_last_occupant_ended() {
    let slots = Slots::new();
    let slot = acquire(&slots, 0x1000).unwrap();
    let first = slot.handle();
    let later = |n: u32| Handle { generation: first.generation + 2 * n, ..first };
    let ended = |now| [0, 1, 2].map(|n| slots.ended(later(n), now));
    assert_eq!(ended(9), [Ended::Never; 3]);

    // The clock wraps between the end and the question.
    slots.release(slot, u32::MAX - 1);
    let only_first = [Ended::Ago(5), Ended::Never, Ended::Never];
    assert_eq!(ended(3), only_first);
    acquire(&slots, 0x1000).unwrap();
    assert_eq!(ended(3), only_first, "the next occupant has not ended");

    slots.release(slot, 8);
    let both = [Ended::Before(2), Ended::Ago(2), Ended::Never];
    assert_eq!(ended(10), both);
    acquire(&slots, 0x1000).unwrap();
    assert_eq!(ended(10), both);

    for generation in [0, first.generation + 1] {
        let even = Handle { generation, ..first };
        assert_eq!(slots.ended(even, 10), Ended::Never);
    }
}

#[test]
fn refusals_are_counted_beside_the_flags() {
    let slot = free_slot();
    slot.raise(Slot::FROM_ERROR_PAGE);
    slot.outcome.set(5);
    for n in 0..0x1_0010 {
        assert_eq!(slot.refused(), n.min(0xffff));
        slot.count_refused();
    }
    assert!(slot.has(Slot::FROM_ERROR_PAGE));
    assert_eq!(slot.outcome.get(), 5);
    assert_eq!(slot.refused(), 0xffff);
}

#[test]
fn references_below_one_are_none() {
    let slot = free_slot();
    for reference in [0, -1, -2, i32::MIN] {
        slot.set_ctx(reference, 0);
        assert_eq!(slot.ctx(), None);
    }
    slot.set_ctx(i32::MAX, u32::MAX);
    assert_eq!(slot.ctx(), Some((i32::MAX, u32::MAX)));
}

#[test]
fn without_memory_nothing_changes() {
    let slots = Slots::new();
    assert!(slots.acquire(0x1000, 1, || None).is_none());
    assert_eq!((slots.live(), slots_of(&slots).count()), (0, 0));

    let held: Vec<_> = (0..CHUNK).map(|n| acquire(&slots, 0x1000 + n).unwrap()).collect();
    for _ in 0..3 {
        assert!(slots.acquire(0x9000, 1, || None).is_none(), "the chunk is full");
    }
    assert_eq!(slots.live() as usize, CHUNK);
    assert_eq!(slots_of(&slots).count(), CHUNK);
    assert!(held.iter().enumerate().all(|(n, slot)| slot.request() == 0x1000 + n));

    // A slot that comes free needs no memory, and later there is memory again.
    slots.release(held[17], 0);
    assert_eq!(slots.acquire(0x9000, 1, || None).unwrap().handle().id, 17);
    assert_eq!(acquire(&slots, 0xa000).unwrap().handle().id as usize, CHUNK);
}

#[test]
fn growing_moves_nothing() {
    let slots = Slots::new();
    let before: Vec<_> = (0..100).map(|n| acquire(&slots, 0x1000 + n).unwrap()).collect();
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
    let slots = Slots::new();
    for n in 0..MAX_LIVE {
        assert_eq!(acquire(&slots, n + 1).unwrap().handle().id as usize, n);
    }
    assert!(acquire(&slots, MAX_LIVE + 1).is_none());
    assert_eq!(slots.live() as usize, MAX_LIVE);
    assert!(slots.by_id(MAX_LIVE as u32).is_none());
    assert!(slots.by_id(u32::MAX).is_none());

    let slot = slots.by_id(MAX_LIVE as u32 - 1).unwrap();
    let last = slot.handle();
    assert!(!slots.release(slot, 0));
    let again = acquire(&slots, 0x77).unwrap();
    assert_eq!(again.handle().id, last.id);
    assert!(slots.get(last).is_none());
}
