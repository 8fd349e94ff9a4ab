//! `src/registry/by_address.rs`: no entry is lost, and no insertion is expensive.

use core::ptr;
use std::collections::HashSet;

use super::many;
use super::side_table::{SideTable, request_address, slots_of};
use crate::registry::slots::{Slot, Slots};

const MANY: usize = many(100_000, 200);

/// Pseudo-random numbers, the same in every run (xorshift).
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

/// Patterns of request addresses.
fn addresses(shape: &str) -> Vec<usize> {
    let mut random = Random(0x9e37_79b9);
    (0..MANY)
        .map(|n| match shape {
            "pools" => request_address(n),
            // Subrequests: several in one pool, as close as they can be.
            "close" => 0x5555_5576_0000 + n * 1024,
            // Big pools, which glibc maps one by one.
            "mapped" => 0x7f00_0000_0000 + n * 0x2_1000,
            "random" => (random.below(1 << 43) << 4) | (n << 47),
            _ => unreachable!(),
        })
        .collect()
}

/// Lengths of all chains, from the slots' links alone.
fn chains(slots: &Slots) -> Vec<usize> {
    let occupied: Vec<&Slot> = slots_of(slots).filter(|slot| slot.request() != 0).collect();
    let followed: HashSet<_> =
        occupied.iter().filter_map(|slot| slot.link.get().map(ptr::from_ref)).collect();
    occupied
        .into_iter()
        .filter(|&slot| !followed.contains(&ptr::from_ref(slot)))
        .map(|first| core::iter::successors(Some(first), |slot| slot.link.get()).count())
        .collect()
}

#[test]
fn a_hundred_thousand_entries_are_all_found() {
    for shape in ["pools", "close", "mapped", "random"] {
        let table = SideTable::new();
        let addresses = addresses(shape);
        for (n, &address) in addresses.iter().enumerate() {
            let slot = table.register(address).expect("there is memory");
            assert_eq!(slot.request(), address);
            // For each that is added, an old entry is removed.
            let old = addresses[(n * 7) / 11];
            assert_eq!(table.find(old).expect("an old entry").request(), old);
        }
        assert_eq!(table.index.count(), MANY);
        for &address in &addresses {
            assert_eq!(table.find(address).expect(shape).request(), address);
        }
        let lengths = chains(&table.slots);
        assert_eq!(lengths.iter().sum::<usize>(), MANY, "every entry is in one chain");
        let longest = *lengths.iter().max().unwrap();
        assert!(longest <= 16, "{shape}: a look-up takes up to {longest} steps");
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
                    assert!(ptr::eq(table.find(slot.request()).unwrap(), slot), "{order}");
                }
            }
        }
        assert_eq!(table.index.count(), 0);
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

/// Addresses of one chain: they differ in bits that the index ignores.
fn colliding(count: usize) -> Vec<usize> {
    (0..count).map(|n| 0x5555_5576_0000 + (n & 15) * 16 + ((n >> 4) << 60)).collect()
}

#[test]
fn colliding_addresses_are_told_apart() {
    let table = SideTable::new();
    let same = colliding(64);
    let rest: Vec<_> = (1..=many(5120, 640)).map(request_address).collect();
    let every = rest.len() / same.len();
    for (n, &address) in rest.iter().enumerate() {
        table.register(address).unwrap();
        if n % every == 0 {
            table.register(same[n / every]).unwrap();
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
    assert!(
        chains(&table.slots).into_iter().max() >= Some(same.len() * 2 / 3),
        "they were in one chain"
    );
}

#[test]
fn what_is_not_in_the_index_is_not_removed_twice() {
    let table = SideTable::new();
    // In one chain, so that the second removal has an entry to look at.
    let [first, second, third] = [0, 16, 32].map(|n| table.register(request_address(1) + n));
    let second = second.unwrap();
    table.index.remove(second);
    table.index.remove(second);
    assert_eq!(table.index.count(), 2);
    for slot in [first.unwrap(), third.unwrap()] {
        assert!(ptr::eq(table.find(slot.request()).unwrap(), slot));
    }
}
