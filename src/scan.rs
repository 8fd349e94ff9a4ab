//! Looking a variable of a prefix up in arguments, headers and cookies.

#![forbid(unsafe_code)]

/// A prefix whose variables the module looks up itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Own {
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

impl Own {
    /// The prefixes, as nginx defines them (`ngx_http_core_variables`,
    /// `ngx_http_upstream_vars`).
    pub const ALL: [Own; 5] = [
        Own::Header,
        Own::Arg,
        Own::Cookie,
        Own::SentHeader,
        Own::UpstreamHeader,
    ];

    /// What the names of its variables begin with.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Own::Header => b"http_",
            Own::Arg => b"arg_",
            Own::Cookie => b"cookie_",
            Own::SentHeader => b"sent_http_",
            Own::UpstreamHeader => b"upstream_http_",
        }
    }
}

/// The value of the argument `name`, whatever its case (`ngx_http_arg`).
pub fn arg<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    let mut rest = args;
    loop {
        let here = split_at_byte(rest, b'&');
        let (pair, after) = here.unwrap_or((rest, &[]));
        if let Some((key, value)) = pair.split_at_checked(name.len())
            && let Some((b'=', value)) = value.split_first()
            && key.eq_ignore_ascii_case(name)
        {
            return Some(value);
        }
        here?;
        rest = after;
    }
}

/// What a `Cookie` header says of one cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cookie<'a> {
    /// Its value.
    Value(&'a [u8]),
    /// It is not there.
    None,
    /// nginx has to say: its versions disagree on whether a comma ends a cookie.
    Unsure,
}

/// The value of the cookie `name`, whatever its case
/// (`ngx_http_parse_multi_header_lines`).
pub fn cookie<'a>(header: &'a [u8], name: &[u8]) -> Cookie<'a> {
    let mut rest = header;
    while !rest.is_empty() {
        if let Some((key, after)) = rest.split_at_checked(name.len())
            && key.eq_ignore_ascii_case(name)
        {
            match trim_spaces(after).split_first() {
                Some((b'=', value)) => {
                    let value = trim_spaces(value);
                    let value = split_at_byte(value, b';').map_or(value, |(value, _)| value);
                    return Cookie::Value(value);
                }
                // Whatever stands there instead is stepped over, be it a semicolon.
                Some((_, after)) => rest = after,
                None => return Cookie::None,
            }
        }
        let Some(end) = rest.iter().position(|b| matches!(b, b';' | b',')) else {
            return Cookie::None;
        };
        match rest.split_at_checked(end).map(|(_, from)| from) {
            Some([b';', after @ ..]) => rest = trim_spaces(after),
            _ => return Cookie::Unsure,
        }
    }
    Cookie::None
}

fn trim_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', after @ ..] = text {
        text = after;
    }
    text
}

/// What is before and after the first `byte`.
fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == byte)?;
    let (before, from) = text.split_at_checked(at)?;
    Some((before, from.get(1..)?))
}

/// Whether a header called `key` is what a variable calls `name`: lower case, with
/// underscores for dashes (`ngx_http_variable_unknown_header`).
pub fn is_header(key: &[u8], name: &[u8]) -> bool {
    key.len() == name.len()
        && key.iter().zip(name).all(|(k, n)| match k {
            b'-' => *n == b'_',
            _ => k.to_ascii_lowercase() == *n,
        })
}
