//! Times as nginx computes them, and numbers from text, as lua-var-nginx-module reads them.

#![forbid(unsafe_code)]

/// Milliseconds between two of nginx's cached times, each in seconds and milliseconds; 0 if
/// the clock was set back between them (`ngx_http_variable_request_time`).
pub(crate) fn elapsed(now_sec: i64, now_msec: i64, start_sec: i64, start_msec: i64) -> i64 {
    let ms = now_sec
        .wrapping_sub(start_sec)
        .wrapping_mul(1000)
        .wrapping_add(now_msec.wrapping_sub(start_msec));
    ms.max(0)
}

/// One entry of `r->upstream_states`, with one of its times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Milliseconds; negative if the attempt did not get that far.
    pub(crate) ms: i64,
    /// Whether the attempt had a peer. An entry without one separates server groups.
    pub(crate) has_peer: bool,
}

/// The sum of the milliseconds of all attempts, as lua-var-nginx-module computes it; `None`
/// if there are none.
///
/// An entry without a peer separates two groups and is skipped. The entry after it counts
/// even if it has no peer, either (`ngx_http_upstream_response_time_variable`).
pub(crate) fn sum(attempts: impl IntoIterator<Item = Attempt>) -> Option<i64> {
    let mut attempts = attempts.into_iter();
    let mut current = attempts.next()?;
    let mut total = 0i64;
    loop {
        total = total.wrapping_add(current.ms.max(0));
        let Some(mut next) = attempts.next() else {
            return Some(total);
        };
        if !next.has_peer {
            match attempts.next() {
                Some(after) => next = after,
                None => return Some(total),
            }
        }
        current = next;
    }
}

/// The decimal number in a variable's text; `None` if there is none.
///
/// A list over several upstream attempts (`"0.010, 0.020 : -"`) gives the sum of its numbers,
/// as in lua-var-nginx-module's Lua fallback.
pub(crate) fn parse_sum(text: &[u8]) -> Option<f64> {
    let mut milli = 0i64;
    let mut found = false;
    for part in text.split(|b| matches!(b, b' ' | b',' | b':')) {
        if let Some(value) = parse_milli(part) {
            milli = milli.saturating_add(value);
            found = true;
        }
    }
    // A whole number is divided as an integer, because its thousandths may not fit a double.
    let whole = milli % 1000 == 0;
    found.then_some(if whole { (milli / 1000) as f64 } else { milli as f64 / 1000.0 })
}

/// The number in a text of digits with up to three decimals, in thousandths; `None` for any
/// other text.
fn parse_milli(text: &[u8]) -> Option<i64> {
    let mut whole = 0i64;
    let mut decimals = None;
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    for &byte in text {
        match (byte, decimals) {
            (b'.', None) => decimals = Some(0u32),
            (b'0'..=b'9', _) if decimals != Some(3) => {
                whole = whole.saturating_mul(10).saturating_add(i64::from(byte.wrapping_sub(b'0')));
                decimals = decimals.map(|d| d.saturating_add(1));
            }
            _ => return None,
        }
    }
    let scale = 10i64.saturating_pow(3u32.saturating_sub(decimals.unwrap_or(0)));
    Some(whole.saturating_mul(scale))
}
