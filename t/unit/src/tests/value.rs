//! `src/variable/number.rs`, compared with simple implementations.

use proptest::prelude::*;

use super::many;
use crate::text::{Part, Seconds, put, written};
use crate::variable::number::{Attempt, elapsed, parse_sum, sum};

/// What `lua_var_value_t` has room for, and the buffers of lua-var-nginx-module's Lua file.
const ROOM: usize = 32;

fn text(part: impl Part) -> String {
    let mut room = [0; ROOM];
    String::from_utf8(written(&mut room, |w| put!(w; part)).to_vec()).unwrap()
}

#[test]
fn seconds_have_three_decimals() {
    for (ms, wanted) in [
        (0, "0.000"),
        (1, "0.001"),
        (99, "0.099"),
        (1000, "1.000"),
        (59_999, "59.999"),
        (-1, "0.000"),
        (i64::MIN, "0.000"),
        (i64::MAX, "9223372036854775.807"),
    ] {
        assert_eq!(text(Seconds(ms)), wanted);
    }
}

#[test]
fn the_longest_numbers_fit() {
    assert_eq!(text(u64::MAX), "18446744073709551615");
    assert!(text(Seconds(i64::MAX)).len() < ROOM);
}

#[test]
fn a_clock_that_was_set_back_gives_zero() {
    assert_eq!(elapsed(100, 0, 100, 1), 0);
    assert_eq!(elapsed(99, 999, 100, 0), 0);
    assert_eq!(elapsed(101, 1, 100, 999), 2);
    assert_eq!(elapsed(i64::MIN, 0, i64::MAX, 999), elapsed(1, 0, 0, 999));
}

/// nginx's loop over `r->upstream_states`, by index, as lua-var-nginx-module sums it.
fn reference_sum(attempts: &[Attempt]) -> Option<i64> {
    let mut total = 0;
    let mut i = 0;
    if attempts.is_empty() {
        return None;
    }
    loop {
        total += attempts[i].ms.max(0);
        i += 1;
        if i == attempts.len() {
            return Some(total);
        }
        if !attempts[i].has_peer {
            i += 1;
            if i == attempts.len() {
                return Some(total);
            }
        }
    }
}

fn attempt(ms: i64) -> Attempt {
    Attempt { ms, has_peer: true }
}

const NO_PEER: Attempt = Attempt { ms: 1_000_000, has_peer: false };

#[test]
fn an_entry_without_a_peer_only_separates() {
    assert_eq!(sum([]), None);
    assert_eq!(sum([attempt(5)]), Some(5));
    assert_eq!(sum([attempt(5), attempt(-1), attempt(7)]), Some(12));
    assert_eq!(sum([attempt(5), NO_PEER, attempt(7)]), Some(12));
    assert_eq!(sum([attempt(5), NO_PEER]), Some(5));
    // The first attempt counts in any case, and so does one after a separator.
    assert_eq!(sum([NO_PEER, attempt(7)]), Some(1_000_007));
    assert_eq!(sum([attempt(5), NO_PEER, NO_PEER]), Some(1_000_005));
}

/// Text as nginx writes `$upstream_response_time`, with `-` for what was not reached.
fn upstream_text(attempts: &[Attempt]) -> String {
    let mut out = String::new();
    let mut i = 0;
    while let Some(attempt) = attempts.get(i) {
        match attempt.ms {
            -1 => out.push('-'),
            ms => out.push_str(&format!("{}.{:03}", ms.max(0) / 1000, ms.max(0) % 1000)),
        }
        i += 1;
        match attempts.get(i) {
            None => break,
            Some(next) if next.has_peer => out.push_str(", "),
            Some(_) => {
                out.push_str(" : ");
                i += 1;
            }
        }
    }
    out
}

#[test]
fn sums_of_lists_as_nginx_writes_them() {
    for (list, wanted) in [
        ("0.010", Some(0.01)),
        ("0.010, 0.020", Some(0.03)),
        ("0.010, 0.020 : -", Some(0.03)),
        ("0.010, - : 1.500", Some(1.51)),
        ("-", None),
        ("-, -", None),
        ("", None),
        ("200", Some(200.0)),
        ("502, 200", Some(702.0)),
        ("12.5", Some(12.5)),
        ("0.1, 0.2", Some(0.3)),
    ] {
        assert_eq!(parse_sum(list.as_bytes()), wanted, "{list:?}");
    }
}

#[test]
fn what_is_no_number_is_not_read_as_one() {
    for list in [
        "x", "1x", "x1", ".5", "1.2.3", "-1", "+1", "1e3", "0x10", "1.2345", "\0", "1\0", "\u{661}",
    ] {
        assert_eq!(parse_sum(list.as_bytes()), None, "{list:?}");
    }
    // Between others it does not count.
    assert_eq!(parse_sum(b"x, 1.5, 1e3"), Some(1.5));
}

#[test]
fn too_many_digits_stop_at_the_end_of_the_range() {
    let many = [b'9'; 400];
    assert_eq!(parse_sum(&many), Some(i64::MAX as f64 / 1000.0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(many(256, 5) as u32) })]

    #[test]
    fn seconds_are_what_format_writes(ms in any::<i64>()) {
        let wanted = format!("{}.{:03}", ms.max(0) / 1000, ms.max(0) % 1000);
        prop_assert_eq!(text(Seconds(ms)), wanted);
    }

    #[test]
    fn decimals_are_what_format_writes(number in any::<u64>()) {
        prop_assert_eq!(text(number), number.to_string());
    }

    #[test]
    fn elapsed_is_the_difference(
        start in 0i64..4_000_000_000_000, length in -5_000i64..100_000_000,
    ) {
        let now = (start + length).max(0);
        let wanted = (now - start).max(0);
        prop_assert_eq!(elapsed(now / 1000, now % 1000, start / 1000, start % 1000), wanted);
    }

    #[test]
    fn elapsed_takes_anything(times in any::<[i64; 4]>()) {
        let [now_sec, now_msec, start_sec, start_msec] = times;
        prop_assert!(elapsed(now_sec, now_msec, start_sec, start_msec) >= 0);
    }

    #[test]
    fn sums_are_those_of_nginxs_loop(
        attempts in prop::collection::vec((-1i64..100_000, any::<bool>()), 0..12),
    ) {
        let attempts: Vec<_> = attempts
            .into_iter()
            .map(|(ms, has_peer)| Attempt { ms, has_peer })
            .collect();
        let wanted = reference_sum(&attempts);
        prop_assert_eq!(sum(attempts.iter().copied()), wanted);

        // The text of the same attempts has the same sum, unless it is all dashes.
        let list = upstream_text(&attempts);
        match parse_sum(list.as_bytes()) {
            Some(seconds) => prop_assert_eq!(Some(seconds), wanted.map(|ms| ms as f64 / 1000.0)),
            None => prop_assert!(!list.bytes().any(|b| b.is_ascii_digit())),
        }
    }

    #[test]
    fn numbers_written_are_read_again(ms in 0i64..1 << 50) {
        prop_assert_eq!(parse_sum(text(Seconds(ms)).as_bytes()), Some(ms as f64 / 1000.0));
        prop_assert_eq!(parse_sum(text(ms as u64).as_bytes()), Some(ms as f64));
    }

    #[test]
    fn any_text_is_read_without_harm(list in prop::collection::vec(any::<u8>(), 0..200)) {
        let digits = list.iter().any(u8::is_ascii_digit);
        prop_assert!(digits || parse_sum(&list).is_none());
    }
}
