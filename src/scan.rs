//! Looking a variable of a prefix up in what the client sent.

#![forbid(unsafe_code)]

/// A prefix whose variables the module looks up itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Own {
    /// `$http_name`
    Header,
    /// `$arg_name`
    Arg,
}

impl Own {
    /// The prefixes, as nginx's core defines them (`ngx_http_core_variables`).
    pub const ALL: [Own; 2] = [Own::Header, Own::Arg];

    /// What the names of its variables begin with.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Own::Header => b"http_",
            Own::Arg => b"arg_",
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
