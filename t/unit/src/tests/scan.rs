//! `src/variable/scan.rs`, compared with nginx's look-up of arguments and headers.

use proptest::prelude::*;

use super::many;
use crate::variable::scan::{Cookie, Prefix, arg, cookie, is_header};

/// `ngx_http_arg`, for names without a `&`: the first occurrence of the name, at the beginning
/// or after a `&`, followed by a `=`.
fn reference_arg<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    for at in 0..args.len() {
        let end = at + name.len();
        let is_begin = at == 0 || args[at - 1] == b'&';
        if name.is_empty() || !is_begin || args.get(end) != Some(&b'=') {
            continue;
        }
        if args[at..end].eq_ignore_ascii_case(name) {
            let value = &args[end + 1..];
            return value.split(|b| *b == b'&').next();
        }
    }
    None
}

#[test]
fn arguments_by_name() {
    let args = b"a=1&b=&c&A=2&dd=x=y&=z&e=%20&last=0";
    for (name, wanted) in [
        ("a", Some("1")),
        ("A", Some("1")),
        ("b", Some("")),
        ("c", None),
        ("d", None),
        ("dd", Some("x=y")),
        ("DD", Some("x=y")),
        ("", None),
        ("e", Some("%20")),
        ("last", Some("0")),
        ("las", None),
        ("last=0", None),
        ("none", None),
    ] {
        let found = arg(args, name.as_bytes());
        assert_eq!(found, wanted.map(str::as_bytes), "{name:?}");
    }
}

#[test]
fn names_of_every_length() {
    let long = "abcdefghijklmnopqrstuvwxyz";
    for len in 1..=long.len() {
        let name = &long[..len];
        let args = format!("{name}x=0&{}=1&{name}=2", name.to_uppercase());
        assert_eq!(
            arg(args.as_bytes(), name.as_bytes()),
            Some(&b"1"[..]),
            "{name}"
        );
        for at in 0..len {
            let mut other = name.as_bytes().to_vec();
            other[at] ^= 1;
            assert_eq!(arg(args.as_bytes(), &other), None, "{name}, byte {at}");
        }
        let cookies = format!("{name}x=0; {}=1; {name}=2", name.to_uppercase());
        assert_eq!(
            cookie(cookies.as_bytes(), name.as_bytes()),
            Cookie::Value(b"1"),
            "{name}"
        );
    }
}

#[test]
fn arguments_that_are_hardly_any() {
    for args in ["", "&", "&&&", "=", "a", "=&=", "&a"] {
        for name in ["", "a", "=", "&", "a="] {
            assert_eq!(
                arg(args.as_bytes(), name.as_bytes()),
                None,
                "{args:?} {name:?}"
            );
        }
    }
    assert_eq!(arg(b"&a=&", b"a"), Some(&b""[..]));
}

#[test]
fn no_argument_has_an_ampersand_in_its_name() {
    // nginx reads beyond the arguments here.
    assert_eq!(arg(b"a&b=1", b"a&b"), None);
    assert_eq!(arg(b"x=0&a&b=1&c=2", b"a&b"), None);
}

#[test]
fn headers_by_name() {
    for (key, name, wanted) in [
        ("X-Id", "x_id", true),
        ("x-id", "x_id", true),
        ("X_Id", "x_id", true),
        ("X-ID", "x_id", true),
        ("X-Id", "x-id", false),
        ("X-Id", "X_ID", false),
        ("X-Id", "x_i", false),
        ("X-Id", "x_idd", false),
        ("X-Id", "", false),
        ("", "", true),
        ("X\0Id", "x\0id", true),
    ] {
        let is = is_header(key.as_bytes(), name.as_bytes());
        assert_eq!(is, wanted, "{key:?} {name:?}");
    }
}

/// nginx's look-up, step by step: in older versions a comma separates cookies, too.
fn reference_cookie<'a>(header: &'a [u8], name: &[u8], separators: &[u8]) -> Option<&'a [u8]> {
    let byte = |at: usize| header.get(at).copied();
    let mut at = 0;
    if name.len() > header.len() {
        return None;
    }
    while at < header.len() {
        let here = header.get(at..at + name.len());
        if here.is_some_and(|here| here.eq_ignore_ascii_case(name)) {
            at += name.len();
            while byte(at) == Some(b' ') {
                at += 1;
            }
            if at < header.len() {
                at += 1;
                if byte(at - 1) == Some(b'=') {
                    while byte(at) == Some(b' ') {
                        at += 1;
                    }
                    return header[at..].split(|b| *b == b';').next();
                }
            }
        }
        while at < header.len() {
            at += 1;
            if separators.contains(&header[at - 1]) {
                break;
            }
        }
        while byte(at) == Some(b' ') {
            at += 1;
        }
    }
    None
}

#[test]
fn cookies_by_name() {
    let header = b"a=1; b=\"two words\";c=3=3; A=4;d; e=5; empty=; spaced =  six ; last=7";
    for (name, wanted) in [
        ("a", Some("1")),
        ("A", Some("1")),
        ("b", Some("\"two words\"")),
        ("c", Some("3=3")),
        ("d", None),
        ("e", Some("5")),
        ("empty", Some("")),
        ("spaced", Some("six ")),
        ("last", Some("7")),
        ("las", None),
        ("", None),
    ] {
        let wanted = wanted.map_or(Cookie::None, |value| Cookie::Value(value.as_bytes()));
        assert_eq!(cookie(header, name.as_bytes()), wanted, "{name:?}");
    }
}

#[test]
fn cookies_behind_a_comma_are_for_nginx_to_find() {
    assert_eq!(cookie(b"a=1, b=2", b"a"), Cookie::Value(b"1, b=2"));
    assert_eq!(cookie(b"a=1, b=2; c=3", b"b"), Cookie::Unsure);
    assert_eq!(cookie(b"a=1, b=2; c=3", b"c"), Cookie::Unsure);
    assert_eq!(cookie(b"c=3; a=1, b=2", b"c"), Cookie::Value(b"3"));
}

#[test]
fn prefixes_are_nginxs() {
    let prefixes: Vec<_> = Prefix::ALL.iter().map(|prefix| prefix.text()).collect();
    assert_eq!(
        prefixes,
        [
            &b"http_"[..],
            b"arg_",
            b"cookie_",
            b"sent_http_",
            b"upstream_http_"
        ]
    );
}

/// Cookies, more or less.
fn cookies(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b"aAb=; ,"[..]), 0..=max)
}

/// Texts of few letters, so that names occur.
fn text(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'a'), Just(b'A'), Just(b'='), Just(b'&'), any::<u8>()];
    prop::collection::vec(byte, 0..=max)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(many(5000, 4) as u32) })]

    #[test]
    fn arguments_are_those_that_nginx_finds(args in text(40), name in text(3)) {
        let name: Vec<u8> = name.into_iter().filter(|b| *b != b'&').collect();
        prop_assert_eq!(arg(&args, &name), reference_arg(&args, &name));
    }

    #[test]
    fn cookies_are_those_that_nginx_finds(header in cookies(40), name in cookies(2)) {
        let either = reference_cookie(&header, &name, b";,");
        let newer = reference_cookie(&header, &name, b";");
        match cookie(&header, &name) {
            Cookie::Value(value) => {
                prop_assert_eq!(either, Some(value));
                prop_assert_eq!(newer, Some(value));
            }
            Cookie::None => {
                prop_assert_eq!(either, None);
                prop_assert_eq!(newer, None);
            }
            Cookie::Unsure => prop_assert!(header.contains(&b',')),
        }
    }

    #[test]
    fn headers_are_those_that_nginx_finds(key in prop::collection::vec(any::<u8>(), 0..36)) {
        // The variable's name is the header's in lower case, with `_` for `-`.
        let name: Vec<u8> = key
            .iter()
            .map(|b| if *b == b'-' { b'_' } else { b.to_ascii_lowercase() })
            .collect();
        prop_assert!(is_header(&key, &name));
        let mut other = name.clone();
        for at in 0..name.len() {
            for bit in 0..8 {
                other[at] = name[at] ^ (1 << bit);
                prop_assert!(!is_header(&key, &other));
            }
            other[at] = name[at];
        }
    }
}
