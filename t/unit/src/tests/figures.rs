//! `src/figures/rows.rs`: totals keep what ended processes counted, gauges do not.

use crate::figures::rows::{Figure, Rows};

const GONE: u64 = 1;

fn is_alive(pid: u64) -> bool {
    pid != GONE
}

#[test]
fn a_slot_goes_on_with_its_counters_and_not_with_its_gauges() {
    let rows = Rows::<4>::default();
    let row = rows.of(2).unwrap();
    row.hand_to(10);
    row.count(Figure::Registered);
    row.set(Figure::Live, 5);
    assert_eq!(rows.sum(Figure::Live, is_alive), 5);

    // With the id of the one that crashed.
    row.hand_to(10);
    assert_eq!(rows.sum(Figure::Live, is_alive), 0);
    row.count(Figure::Registered);
    row.hand_to(0);
    assert_eq!(rows.sum(Figure::Registered, is_alive), 2);
    assert_eq!(rows.running(is_alive).count(), 0);
}

#[test]
fn a_process_that_does_not_exist_is_not_running() {
    let rows = Rows::<4>::default();
    for (slot, pid) in [(0, GONE), (3, 12)] {
        let row = rows.of(slot).unwrap();
        row.hand_to(pid);
        row.count(Figure::Registered);
        row.set(Figure::Live, 7);
    }
    assert_eq!(rows.sum(Figure::Live, is_alive), 7);
    assert_eq!(rows.sum(Figure::Registered, is_alive), 2);
    let running: Vec<u64> = rows.running(is_alive).map(|row| row.pid()).collect();
    assert_eq!(running, [12]);
}

#[test]
fn a_slot_that_does_not_exist_has_no_row() {
    assert!(Rows::<4>::default().of(4).is_none());
}

/// The names become metrics, in which the labels of one metric stand together.
#[test]
fn the_names_are_metrics() {
    let metric = |figure: &Figure| figure.name().split('{').next().unwrap();
    let metrics: Vec<&str> = Figure::ALL.iter().map(metric).collect();
    for (n, figure) in Figure::ALL.iter().enumerate() {
        assert_eq!(metrics[n].ends_with("_total"), figure.is_counter());
        let is_first = !metrics[..n].contains(&metrics[n]);
        assert_eq!(figure.help().is_empty(), !is_first, "{figure:?}");
        assert!(is_first || metrics[n - 1] == metrics[n], "{figure:?}");
    }
}
