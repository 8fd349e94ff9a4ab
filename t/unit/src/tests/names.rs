//! `src/variable/name.rs`

use std::collections::HashSet;

use proptest::prelude::*;

use super::many;
use crate::variable::name::{Key, has_upper, is_safe, nginx_hash};

/// Names of variables, short and long.
const NAMES: [&str; 23] = [
    "uri",
    "document_uri",
    "request_uri",
    "args",
    "query_string",
    "host",
    "server_name",
    "remote_addr",
    "scheme",
    "https",
    "request_method",
    "server_protocol",
    "status",
    "request_time",
    "request_length",
    "bytes_sent",
    "upstream_response_time",
    "upstream_header_time",
    "upstream_connect_time",
    "connection",
    "connection_requests",
    "server_port",
    "msec",
];

#[test]
fn nginx_hashes() {
    // nginx's ngx_hash() is h * 31 + c, as Java's String.hashCode(), whose values are known.
    for (name, hash) in [
        ("", 0),
        ("a", 97),
        ("uri", 116_076),
        ("args", 3_002_589),
        ("host", 3_208_616),
        ("date", 3_076_014),
    ] {
        assert_eq!(nginx_hash(name.as_bytes()), hash, "{name}");
    }
    // Bytes above 127 are unsigned.
    assert_eq!(nginx_hash(b"\xff"), 255);
}

#[test]
fn names_that_nginx_would_misread() {
    for name in ["", "uri", "arg_a-b", "cookie_a;b", "http_\u{fc}", "arg_a=b"] {
        assert!(is_safe(name.as_bytes()), "{name:?}");
    }
    for name in ["&", "arg_a&b", "\0", "uri\0", "cookie_\0a"] {
        assert!(!is_safe(name.as_bytes()), "{name:?}");
    }
}

#[test]
fn the_empty_name_has_the_empty_key() {
    assert_eq!(Key::new(b""), Key::EMPTY);
    assert_ne!(Key::new(b"\0"), Key::EMPTY);
}

#[test]
fn keys_of_names_that_differ_in_one_byte() {
    // Every length up to 16, every position, every bit.
    for len in 1..=16 {
        let name = vec![b'a'; len];
        let key = Key::new(&name);
        assert!(key.is_exact());
        for at in 0..len {
            for bit in 0..8 {
                let mut other = name.clone();
                other[at] ^= 1 << bit;
                assert_ne!(key, Key::new(&other), "{other:?}");
            }
        }
    }
    assert!(!Key::new(&[b'a'; 17]).is_exact());
}

#[test]
fn hashes_spread_the_names_that_nginx_has() {
    let mut seen = HashSet::new();
    for name in NAMES {
        seen.insert(Key::new(name.as_bytes()).hash() % 64);
    }
    assert!(
        seen.len() > NAMES.len() / 2,
        "{} of {}",
        seen.len(),
        NAMES.len()
    );
}

/// Names that are equal often.
fn name(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..=max),
        prop::collection::vec(prop_oneof![Just(0u8), Just(b'a')], 0..=max),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(many(2000, 5) as u32) })]

    #[test]
    fn up_to_sixteen_bytes_equal_keys_are_equal_names(a in name(16), b in name(16)) {
        let (key_a, key_b) = (Key::new(&a), Key::new(&b));
        prop_assert!(key_a.is_exact() && key_b.is_exact());
        prop_assert_eq!(key_a == key_b, a == b);
    }

    #[test]
    fn equal_names_have_equal_keys_and_hashes(a in name(64)) {
        let copy = a.clone();
        prop_assert_eq!(Key::new(&a), Key::new(&copy));
        prop_assert_eq!(Key::new(&a).hash(), Key::new(&copy).hash());
        prop_assert_eq!(Key::new(&a).is_exact(), a.len() <= 16);
    }

    #[test]
    fn longer_names_differ_when_an_end_or_the_length_does(
        a in prop::collection::vec(any::<u8>(), 17..80), at in 0usize..16, bit in 0u32..8,
    ) {
        let mut other = a.clone();
        let at = if at < 8 { at } else { a.len() - 1 - (at - 8) };
        other[at] ^= 1 << bit;
        prop_assert_ne!(Key::new(&a), Key::new(&other));
        other.push(0);
        prop_assert_ne!(Key::new(&a), Key::new(&other));
    }

    #[test]
    fn nginx_hash_is_nginxs(a in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut wanted = 0usize;
        for byte in &a {
            wanted = wanted.overflowing_mul(31).0.overflowing_add(usize::from(*byte)).0;
        }
        prop_assert_eq!(nginx_hash(&a), wanted);
    }

    #[test]
    fn upper_case_is_what_c_says(a in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(has_upper(&a), a.iter().any(|b| b.to_ascii_lowercase() != *b));
    }
}
