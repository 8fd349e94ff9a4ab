//! `src/registry/by_address.rs`: nothing is ever lost, and no insertion is expensive.

use std::collections::HashMap;

use super::many;
use super::side_table::{SideTable, head_chunk, request_address, slot_chunk};
use crate::registry::by_address::{HEADS, Index};
use crate::registry::slots::{Slot, Slots};

const MANY: usize = many(100_000, 200);

/// Numbers that look random and are the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// The shapes that addresses of requests come in.
fn addresses(shape: &str) -> Vec<usize> {
    let mut random = Random(0x9e37_79b9);
    (0..MANY)
        .map(|n| match shape {
            "pools" => request_address(n),
            // Subrequests: several in one pool, as close as they can be.
            "close" => 0x5555_5576_0000 + n * 16,
            // Big pools, which glibc maps one by one.
            "mapped" => 0x7f00_0000_0000 + n * 0x2_1000,
            "random" => (random.below(1 << 43) << 4) | (n << 47),
            _ => unreachable!(),
        })
        .collect()
}

/// Lengths of all chains, from the slots' links alone.
fn chains(slots: &Slots) -> Vec<usize> {
    let occupied: Vec<&Slot> = (0..slots.capacity() as u32)
        .filter_map(|id| slots.by_id(id))
        .filter(|slot| slot.request() != 0)
        .collect();
    let followed: HashMap<u32, ()> = occupied.iter().map(|slot| (slot.link(), ())).collect();
    occupied
        .iter()
        .filter(|slot| !followed.contains_key(&(slot.id() + 1)))
        .map(|first| {
            let mut length = 1;
            let mut link = first.link();
            while link != 0 {
                length += 1;
                link = slots.by_id(link - 1).expect("a link names a slot").link();
            }
            length
        })
        .collect()
}

#[test]
fn a_hundred_thousand_entries_are_all_found_while_it_grows() {
    for shape in ["pools", "close", "mapped", "random"] {
        let table = SideTable::new();
        let addresses = addresses(shape);
        for (n, &address) in addresses.iter().enumerate() {
            let slot = table.register(address).expect("there is memory");
            assert_eq!(slot.request(), address);
            // An entry from long ago, for each that is added.
            let old = addresses[(n * 7) / 11];
            assert_eq!(table.find(old).expect("an old entry").request(), old);
        }
        assert_eq!(table.index.len() as usize, MANY);
        for &address in &addresses {
            assert_eq!(table.find(address).expect(shape).request(), address);
        }
        let lengths = chains(&table.slots);
        assert_eq!(
            lengths.iter().sum::<usize>(),
            MANY,
            "every entry is in one chain"
        );
        let longest = *lengths.iter().max().unwrap();
        assert!(
            longest <= 16,
            "{shape}: a look-up takes up to {longest} steps"
        );
    }
}

#[test]
fn removal_in_any_order_takes_one_and_leaves_the_rest() {
    for order in ["first first", "last first", "any", "interleaved"] {
        let table = SideTable::new();
        let mut random = Random(7);
        let mut entries: Vec<_> = (0..many(20_000, 200))
            .map(|n| table.register(request_address(n)).unwrap().handle())
            .collect();
        match order {
            "last first" => entries.reverse(),
            "any" => random.shuffle(&mut entries),
            "interleaved" => entries.sort_by_key(|handle| (handle.id % 7, handle.id)),
            _ => {}
        }
        for (n, &handle) in entries.iter().enumerate() {
            let address = table.slots.get(handle).unwrap().request();
            table.forget(handle);
            assert!(table.find(address).is_none(), "{order}: removed");
            for probe in [n + 1, n + 100, entries.len() - 1] {
                if let Some(&left) = entries.get(probe).filter(|_| probe > n) {
                    let slot = table.slots.get(left).unwrap();
                    assert!(
                        core::ptr::eq(table.find(slot.request()).unwrap(), slot),
                        "{order}"
                    );
                }
            }
        }
        assert!(table.index.is_empty());
        assert_eq!(table.slots.live(), 0);
    }
}

#[test]
fn the_entry_found_last_is_forgotten_with_its_request() {
    let table = SideTable::new();
    let address = request_address(1);
    let first = table.register(address).unwrap().handle();
    for _ in 0..100 {
        assert!(table.find(address).is_some());
        let slot = table.find(address).unwrap();
        table.forget(slot.handle());
        assert!(table.find(address).is_none());
        // Another request takes the slot, at another address.
        let other = table.register(request_address(2)).unwrap().handle();
        assert!(table.find(address).is_none());
        table.forget(other);
        table.register(address).unwrap();
    }
    assert!(table.slots.get(first).is_none());
}

/// Addresses that all hash alike whatever the number of buckets: they differ in
/// what the hash throws away.
fn colliding(count: usize) -> Vec<usize> {
    (0..count)
        .map(|n| 0x5555_5576_0000 + (n & 15) + ((n >> 4) << 60))
        .collect()
}

#[test]
fn colliding_addresses_are_told_apart() {
    let table = SideTable::new();
    let same = colliding(64);
    let rest: Vec<_> = (0..many(5120, 640)).map(request_address).collect();
    // Together with others, before, between and after the splits.
    for (n, &address) in rest.iter().enumerate() {
        table.register(address).unwrap();
        if n % (rest.len() / same.len()) == 0 {
            table.register(same[n * same.len() / rest.len()]).unwrap();
        }
    }
    for &address in same.iter().rev().step_by(3) {
        table.forget(table.find(address).expect("it is there").handle());
    }
    for (n, &address) in same.iter().rev().enumerate() {
        let found = table.find(address).map(|slot| slot.request());
        assert_eq!(found, (n % 3 != 0).then_some(address));
    }
    assert!(rest.iter().all(|&address| table.find(address).is_some()));
}

/// What one insertion did, counted in slots whose link it wrote. A split reads a
/// chain and writes every link in it, so this is what it costs.
fn links_written(before: &[u32], slots: &Slots) -> usize {
    before
        .iter()
        .enumerate()
        .filter(|&(id, &link)| slots.by_id(id as u32).unwrap().link() != link)
        .count()
}

#[test]
fn no_insertion_moves_more_than_one_chain() {
    // Every insertion of the first ones, then those around each doubling of the
    // buckets, where other hash tables would move everything.
    let table = SideTable::new();
    let mut worst = 0;
    for n in 0..MANY {
        let near_doubling =
            (n as u32 + 8).next_power_of_two() - n as u32 <= 8 || (n as u32).is_power_of_two();
        let watched = n < 2000 || near_doubling || n % 4999 == 0;
        let before: Vec<u32> = if watched {
            (0..n as u32)
                .map(|id| table.slots.by_id(id).unwrap().link())
                .collect()
        } else {
            Vec::new()
        };
        table.register(request_address(n)).unwrap();
        worst = worst.max(links_written(&before, &table.slots));
    }
    assert!(worst <= 16, "an insertion moved {worst} entries");

    // And nothing waits to be moved all at once: no chain is long at any time.
    assert!(*chains(&table.slots).iter().max().unwrap() <= 16);
}

fn occupied(slots: &Slots, address: usize) -> &'static Slot {
    slots.acquire(address, 1, || Some(slot_chunk())).unwrap()
}

#[test]
fn without_memory_for_its_first_buckets_it_takes_nothing() {
    let (slots, index) = (Box::new(Slots::new()), Box::new(Index::new()));
    let slot = occupied(&slots, request_address(1));
    for _ in 0..3 {
        assert!(!index.insert(&slots, slot, || None));
        assert!(index.is_empty());
        assert!(index.find(&slots, request_address(2)).is_none());
        assert!(!index.remove(&slots, slot));
    }
    assert!(index.insert(&slots, slot, || Some(head_chunk())));
    assert_eq!(index.len(), 1);
    assert!(index.find(&slots, request_address(1)).is_some());
    assert!(index.remove(&slots, slot));
    assert!(!index.remove(&slots, slot), "twice");
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn without_memory_for_more_buckets_chains_get_longer_and_nothing_is_lost() {
    let table = SideTable::new();
    table.head_chunks.set(1);
    let count = 8 * HEADS;
    let handles: Vec<_> = (0..count)
        .map(|n| {
            table
                .register(request_address(n))
                .expect("in longer chains")
                .handle()
        })
        .collect();
    assert_eq!(table.index.len() as usize, count);
    for n in 0..count {
        assert!(table.find(request_address(n)).is_some());
    }
    let longest = *chains(&table.slots).iter().max().unwrap();
    assert!((8..40).contains(&longest), "{longest}");

    // With memory again it goes on growing from where it stopped.
    table.head_chunks.set(usize::MAX);
    for n in count..4 * count {
        table.register(request_address(n)).unwrap();
    }
    for &handle in &handles {
        table.forget(handle);
    }
    for n in 0..4 * count {
        assert_eq!(table.find(request_address(n)).is_some(), n >= count);
    }
    assert!(*chains(&table.slots).iter().max().unwrap() <= 16);
}
