//! What the processes share, in every order of their operations that the memory model of C11
//! allows, with at most so many switches where no thread has to wait: two writers and a reader
//! (`make loom`). Threads stand for processes.

use std::sync::Arc;

use loom::thread;

use crate::culprits::table::{Culprits, Key};
use crate::figures::rows::{Figure, Rows};

fn with_switches(count: usize, run: fn()) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(count);
    model.check(run);
}

const FIRST: u64 = 100;
const SECOND: u64 = 200;

fn every_process_exists(_pid: u64) -> bool {
    true
}

/// Two workers count in rows of their own, and the first is replaced: a reader never sees a
/// total fall, nor the live requests of the first under the id of the second.
#[test]
fn figures() {
    with_switches(3, || {
        let rows = Arc::new(Rows::<2>::default());
        let replaced = thread::spawn({
            let rows = rows.clone();
            move || {
                let first = rows.of(0).unwrap();
                first.hand_to(FIRST);
                first.count(Figure::Registered);
                first.set(Figure::Live, 1);
                // It is killed and reaped, and the next process of the slot begins.
                first.hand_to(SECOND);
                first.count(Figure::Registered);
            }
        });
        let other = thread::spawn({
            let rows = rows.clone();
            move || rows.of(1).unwrap().count(Figure::Registered)
        });
        let mut before = 0;
        for _ in 0..2 {
            let total = rows.sum(Figure::Registered, every_process_exists);
            assert!(total >= before);
            before = total;
        }
        if let Some(row) = rows.running(|pid| pid == SECOND).next() {
            assert_eq!(row.get(Figure::Live), 0);
        }
        replaced.join().unwrap();
        other.join().unwrap();
        assert_eq!(rows.sum(Figure::Registered, every_process_exists), 3);
    });
}

fn key(at: &[u8]) -> Key<'_> {
    Key { at, asked: b"read", variable: b"uri", phase: b"", reason: 1 }
}

/// Two workers meet the same culprit at the same time: it has one entry, whose texts are whole
/// whenever it can be read, and no refusal and no line is counted twice.
#[test]
fn culprits() {
    with_switches(2, || {
        let culprits = Arc::new(Culprits::<2>::default());
        let workers = [2005, 2006].map(|now| {
            let culprits = culprits.clone();
            thread::spawn(move || {
                let culprit = culprits.add(&key(b"a.lua:1"), now);
                culprit.take_line(now, 1000).unwrap_or(0)
            })
        });
        for culprit in culprits.all() {
            assert_eq!(culprit.at.load().bytes(), b"a.lua:1");
            assert_eq!(culprit.variable.load().bytes(), b"uri");
        }
        let logged: u64 = workers.map(|worker| worker.join().unwrap()).iter().sum();
        let found: Vec<u64> = culprits.all().map(|culprit| culprit.count()).collect();
        assert_eq!(found, [2]);
        let later = culprits.all().next().and_then(|culprit| culprit.take_line(5000, 1000));
        assert_eq!(logged + later.unwrap(), 2);
    });
}
