//! The comparisons behind `$arg_…`, `$cookie_…` and the headers' variables: finding a name
//! among a request's arguments, in a `Cookie` header, and comparing it with a header's name.
//!
//! The functions have the results of nginx's, which each names. They are written to compare
//! eight bytes at a time, because names are short and most of them do not match.

#![forbid(unsafe_code)]

/// A built-in prefix: the module looks up variables whose names begin with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prefix {
    /// `$http_name`
    Header,
    /// `$arg_name`
    Arg,
    /// `$cookie_name`
    Cookie,
    /// `$sent_http_name`
    SentHeader,
    /// `$upstream_http_name`
    UpstreamHeader,
}

impl Prefix {
    /// All built-in prefixes. nginx defines them in `ngx_http_core_variables` and
    /// `ngx_http_upstream_vars`.
    pub const ALL: [Prefix; 5] = [
        Prefix::Header,
        Prefix::Arg,
        Prefix::Cookie,
        Prefix::SentHeader,
        Prefix::UpstreamHeader,
    ];

    /// The prefix as it is written in a variable's name.
    pub const fn text(self) -> &'static [u8] {
        match self {
            Prefix::Header => b"http_",
            Prefix::Arg => b"arg_",
            Prefix::Cookie => b"cookie_",
            Prefix::SentHeader => b"sent_http_",
            Prefix::UpstreamHeader => b"upstream_http_",
        }
    }
}

/// The value of the first argument called `name`, compared without regard to case
/// (`ngx_http_arg`). `None` if there is none, or if `name` is empty or contains a `&`.
pub fn arg<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    let mut rest = args;
    loop {
        // The name is compared before the next "&" is searched, because most arguments that
        // are asked for are near the beginning.
        if let Some((key, after)) = rest.split_at_checked(name.len()) {
            match after.split_first() {
                Some((b'=', value)) if is_same_word(key, name) && !key.contains(&b'&') => {
                    return Some(split_at_byte(value, b'&').map_or(value, |(value, _)| value));
                }
                _ => {}
            }
        }
        (_, rest) = split_at_byte(rest, b'&')?;
    }
}

/// The result of looking for a cookie in a `Cookie` header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cookie<'a> {
    /// The cookie's value.
    Value(&'a [u8]),
    /// The header has no such cookie.
    None,
    /// nginx has to look, because its versions disagree on whether a comma ends a cookie.
    Unsure,
}

/// Looks for the cookie `name` in a `Cookie` header, without regard to case
/// (`ngx_http_parse_multi_header_lines`).
pub fn cookie<'a>(header: &'a [u8], name: &[u8]) -> Cookie<'a> {
    let mut rest = header;
    while !rest.is_empty() {
        let split = rest.split_at_checked(name.len());
        if let Some((_, after)) = split.filter(|(key, _)| is_same_word(key, name)) {
            match trim_spaces(after).split_first() {
                Some((b'=', value)) => {
                    let value = trim_spaces(value);
                    let value = split_at_byte(value, b';').map_or(value, |(value, _)| value);
                    return Cookie::Value(value);
                }
                // As in nginx, a byte other than "=" is skipped, even if it is a semicolon.
                Some((_, after)) => rest = after,
                None => return Cookie::None,
            }
        }
        let Some(end) = find_either(rest, [b';', b',']) else {
            return Cookie::None;
        };
        match rest.split_at_checked(end).map(|(_, from)| from) {
            Some([b';', after @ ..]) => rest = trim_spaces(after),
            _ => return Cookie::Unsure,
        }
    }
    Cookie::None
}

/// The text without the spaces at its beginning.
fn trim_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', after @ ..] = text {
        text = after;
    }
    text
}

/// The texts before and after the first `byte`; `None` if there is no such byte.
fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = find_either(text, [byte, byte])?;
    let (before, from) = text.split_at_checked(at)?;
    Some((before, from.get(1..)?))
}

/// A word of eight equal bytes.
const fn eight_of(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// A word with the highest bit set in each byte in which `word` is zero. Only the lowest
/// such bit is reliable: a borrow may set it in higher bytes that are not zero.
const fn zeroes(word: u64) -> u64 {
    word.wrapping_sub(eight_of(1)) & !word & eight_of(0x80)
}

/// The position of the first byte that equals one of two.
fn find_either(text: &[u8], bytes: [u8; 2]) -> Option<usize> {
    let [one, other] = bytes;
    let mut at = 0usize;
    let mut rest = text;
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let found = zeroes(word ^ eight_of(one)) | zeroes(word ^ eight_of(other));
        if found != 0 {
            return Some(at.wrapping_add(found.trailing_zeros() as usize / 8));
        }
        at = at.wrapping_add(8);
        rest = after;
    }
    let Some(eight) = text.last_chunk::<8>() else {
        return rest.iter().position(|b| *b == one || *b == other);
    };
    // The last word overlaps bytes that were searched already; they are shifted out.
    let word = u64::from_le_bytes(*eight);
    let found = zeroes(word ^ eight_of(one)) | zeroes(word ^ eight_of(other));
    let before = 64u32.saturating_sub((rest.len() as u32).saturating_mul(8));
    let found = found.checked_shr(before).unwrap_or(0);
    (found != 0).then(|| at.wrapping_add(found.trailing_zeros() as usize / 8))
}

/// The highest bit of each of eight bytes. Sums of the lower seven bits carry into it.
const HIGH: u64 = eight_of(0x80);

/// Converts the ASCII letters in a word to lower case.
const fn lower(word: u64) -> u64 {
    let low = word & !HIGH;
    let from_a = low.wrapping_add(eight_of(0x80 - b'A'));
    let from_after_z = low.wrapping_add(eight_of(0x80 - (b'Z' + 1)));
    let upper = from_a & !from_after_z & !word & HIGH;
    word | upper >> 2
}

/// Converts a word of a header's name to the form in a variable's name: lower case, with an
/// underscore for each dash.
const fn as_variable(key: u64) -> u64 {
    let other_than_dash = key ^ eight_of(b'-');
    let dash = !((other_than_dash & !HIGH).wrapping_add(!HIGH) | other_than_dash) & HIGH;
    lower(key) ^ (dash >> 7).wrapping_mul((b'-' ^ b'_') as u64)
}

/// Whether the header `key` has the variable name `name`, which is in lower case, with
/// underscores for dashes (`ngx_http_variable_unknown_header`).
pub fn is_header(key: &[u8], name: &[u8]) -> bool {
    same(key, name, |key, name| as_variable(key) == name)
}

/// Whether two texts are equal without regard to case.
fn is_same_word(one: &[u8], other: &[u8]) -> bool {
    same(one, other, |one, other| lower(one) == lower(other))
}

/// Whether two texts have the same length and `eight` holds for all of their words, which are
/// eight bytes or, in short texts, four or one. Words overlap if they do not fill the text.
#[inline(always)]
fn same(one: &[u8], other: &[u8], eight: impl Fn(u64, u64) -> bool) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let long = |a: &[u8; 8], b: &[u8; 8]| eight(u64::from_le_bytes(*a), u64::from_le_bytes(*b));
    let short = |a: &[u8; 4], b: &[u8; 4]| {
        eight(u32::from_le_bytes(*a).into(), u32::from_le_bytes(*b).into())
    };
    // The last word is compared first, because names differ most at their ends.
    if let (Some(a), Some(b)) = (one.last_chunk(), other.last_chunk()) {
        let pieces = one.chunks_exact(8).zip(other.chunks_exact(8));
        return long(a, b)
            && pieces
                .filter_map(|(a, b)| a.first_chunk().zip(b.first_chunk()))
                .all(|(a, b)| long(a, b));
    }
    if let (Some(a), Some(b)) = (one.last_chunk(), other.last_chunk()) {
        return short(a, b)
            && one
                .first_chunk()
                .zip(other.first_chunk())
                .is_some_and(|(a, b)| short(a, b));
    }
    one.iter()
        .zip(other)
        .all(|(a, b)| eight(u64::from(*a), u64::from(*b)))
}
