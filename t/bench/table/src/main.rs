//! What the registry costs, in nanoseconds, with 1 to 1 000 000 requests
//! live, and how long the longest insertion takes while it grows that far.
//!
//! Prints lines of `what`, `live`, `ns`, separated by tabs.

#![allow(dead_code)]

#[path = "../../../../src/text.rs"]
pub mod text;

#[path = "../../../../src/registry"]
mod registry {
    pub mod by_address;
    pub mod slots;
}

use std::hint::black_box;
use std::time::Instant;

use registry::by_address::{Heads, Index};
use registry::slots::{Chunk, Handle, Slot, Slots};

const LIVE: [usize; 4] = [1, 1_000, 100_000, 1_000_000];
const GROWTH: usize = 100_000;
/// Times each figure is taken; the median counts.
const ROUNDS: usize = 15;
const CALLS: usize = 100_000;

struct Table {
    slots: Box<Slots>,
    index: Box<Index>,
}

/// A value of zero bytes that is never freed.
///
/// # Safety
/// Zero bytes must be a valid `T`.
unsafe fn zeroed<T>() -> &'static T {
    let layout = std::alloc::Layout::new::<T>();
    let place = unsafe { std::alloc::alloc_zeroed(layout) };
    unsafe { place.cast::<T>().as_ref() }.expect("no memory")
}

impl Table {
    fn new() -> Self {
        Table {
            slots: Box::new(Slots::new()),
            // A head of zero bytes is an empty chain.
            index: Box::new(Index::new(unsafe { zeroed::<Heads>() })),
        }
    }

    /// As `Registry::register_new`.
    fn register(&self, address: usize) -> &'static Slot {
        // A slot of zero bytes is free.
        let more = || Some(unsafe { zeroed::<Chunk>() });
        let slot = self.slots.acquire(address, address, more);
        let slot = slot.expect("no memory");
        self.index.insert(address, slot);
        slot
    }

    /// As the cleanup of a request's pool.
    fn forget(&self, slot: &'static Slot) {
        self.index.remove(slot);
        self.slots.release(slot, 0);
    }
}

/// Addresses like those of requests: in blocks of 4k.
fn address(n: usize) -> usize {
    0x5555_0000_0000 + n * 4096 + 80
}

/// Numbers below `n` in an order that no cache foresees.
struct Shuffled {
    state: u64,
    n: usize,
}

impl Iterator for Shuffled {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        Some(((self.state >> 32) as usize * self.n) >> 32)
    }
}

/// Median nanoseconds of one call of `call`, which is given one of `of`.
fn time(of: &[usize], mut call: impl FnMut(usize)) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for &which in of {
                call(which);
            }
            start.elapsed().as_nanos() as f64 / of.len() as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn measure(live: usize) {
    let table = Table::new();
    let handles: Vec<Handle> = (0..live).map(|n| table.register(address(n)).handle()).collect();

    // A handler asks for one request again and again; a worker has others between.
    let same = vec![live / 2; CALLS];
    let any: Vec<usize> = Shuffled { state: 88172645463325252, n: live }.take(CALLS).collect();

    for (order, of) in [("one request", &same), ("any request", &any)] {
        let fetch = time(of, |which| {
            let slot = table.slots.get(black_box(handles[which]));
            assert!(black_box(slot).is_some(), "a live handle was refused");
        });
        println!("validate a handle, {order}\t{live}\t{fetch:.2}");

        let restore = time(of, |which| {
            let slot = table.index.find(black_box(address(which)));
            let slot = slot.expect("a live request was not found");
            slot.set_ctx(which as i32 + 1, 0);
            assert_eq!(black_box(slot.ctx()), Some((which as i32 + 1, 0)));
        });
        println!("stash and restore, {order}\t{live}\t{restore:.2}");
    }

    let register = time(&any, |which| {
        let slot = table.register(black_box(address(live + which)));
        table.forget(slot);
    });
    println!("register and forget\t{live}\t{register:.2}");
}

/// The longest insertion of `GROWTH`, in nanoseconds: of one run, and of what no
/// run did faster. The first has in it what else the machine did meanwhile.
fn worst() -> (u128, u128) {
    let mut best = vec![u128::MAX; GROWTH];
    let mut once = u128::MAX;
    for _ in 0..ROUNDS {
        let table = Table::new();
        let mut longest = 0;
        for (n, best) in best.iter_mut().enumerate() {
            let start = Instant::now();
            black_box(table.register(address(n)));
            let took = start.elapsed().as_nanos();
            *best = took.min(*best);
            longest = took.max(longest);
        }
        once = longest.min(once);
    }
    (once, best.into_iter().max().unwrap_or(0))
}

fn main() {
    LIVE.into_iter().for_each(measure);
    let (once, always) = worst();
    println!("worst_once\t{GROWTH}\t{once}");
    println!("worst\t{GROWTH}\t{always}");
}
