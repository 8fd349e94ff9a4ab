//! `src/culprits/table.rs`: the table is bounded, and nothing that is counted is lost.

use std::sync::Arc;
use std::thread;

use crate::culprits::table::{Culprits, ENTRIES, Key};

fn key(at: &[u8]) -> Key<'_> {
    Key { at, asked: b"read", variable: b"uri", phase: b"access_by_lua*", reason: 1 }
}

#[test]
fn each_difference_makes_another_culprit() {
    let culprits = Culprits::<ENTRIES>::default();
    let first = key(b"a.lua:1");
    let all = [
        first,
        Key { at: b"a.lua:2", ..first },
        Key { asked: b"set", ..first },
        Key { variable: b"host", ..first },
        Key { phase: b"", ..first },
        Key { reason: 2, ..first },
        // The same bytes, cut elsewhere.
        Key { asked: b"readu", variable: b"ri", ..first },
    ];
    for key in all.iter().chain(&all) {
        culprits.add(key, 1);
    }
    let counts: Vec<u64> = culprits.all().map(|culprit| culprit.count()).collect();
    assert_eq!(counts, [2; 7]);
    let third = culprits.all().nth(2).unwrap();
    assert_eq!(third.at.load().bytes(), b"a.lua:1");
    assert_eq!(third.asked.load().bytes(), b"set");
    assert_eq!(third.phase.load().bytes(), b"access_by_lua*");
}

#[test]
fn a_full_table_counts_the_rest_together() {
    let culprits = Culprits::<4>::default();
    for n in 0..100 {
        culprits.add(&key(format!("a.lua:{}", n % 10).as_bytes()), n);
    }
    let all: Vec<_> = culprits.all().collect();
    let counts: Vec<u64> = all.iter().map(|culprit| culprit.count()).collect();
    assert_eq!(counts, [10, 10, 10, 10, 60]);
    assert!(all[4].is_other() && !all[3].is_other());
    assert_eq!(all[4].last(), 99);
}

#[test]
fn texts_are_cut() {
    let culprits = Culprits::<1>::default();
    let long = [b'x'; 500];
    let culprit = culprits.add(&Key { variable: &long, ..key(&long) }, 1);
    assert_eq!(culprit.at.load().bytes(), &long[..80]);
    assert_eq!(culprit.variable.load().bytes(), &long[..64]);
    assert_eq!(culprit.asked.load().bytes(), b"read");
}

#[test]
fn the_first_example_stays() {
    let culprits = Culprits::<1>::default();
    let culprit = culprits.add(&key(b"a"), 1);
    assert!(!culprit.has_example());
    culprit.exemplify(b"0/1", b"GET / HTTP/1.1");
    culprit.exemplify(b"0/3", b"GET /other HTTP/1.1");
    assert!(culprit.has_example());
    assert_eq!(culprit.request.load().bytes(), b"0/1");
    assert_eq!(culprit.request_line.load().bytes(), b"GET / HTTP/1.1");
}

#[test]
fn a_line_counts_what_was_left_out() {
    let culprits = Culprits::<1>::default();
    let culprit = culprits.add(&key(b"a"), 1);
    assert_eq!(culprit.take_line(5000, 1000), Some(1));
    assert!(!culprit.is_pending());
    for now in 5001..5999 {
        assert_eq!(culprits.add(&key(b"a"), 1).take_line(now, 1000), None);
    }
    assert!(culprit.is_pending());
    assert_eq!(culprit.take_line(6000, 1000), Some(998));
    assert_eq!(culprit.take_line(5999, 1000), None);
    // A worker that has been busy for longer than the interval.
    assert_eq!(culprit.take_line(2000, 1000), None);
}

#[test]
fn many_threads_lose_nothing() {
    let culprits = Arc::new(Culprits::<ENTRIES>::default());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let culprits = culprits.clone();
            thread::spawn(move || {
                for n in 0..20_000_u64 {
                    culprits.add(&key(format!("a.lua:{}", n % 200).as_bytes()), n);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(culprits.all().count(), ENTRIES + 1);
    let total: u64 = culprits.all().map(|culprit| culprit.count()).sum();
    assert_eq!(total, 80_000);
}
