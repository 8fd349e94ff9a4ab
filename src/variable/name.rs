//! Names of variables: a key that compares in three words, and what nginx makes of a name.

#![forbid(unsafe_code)]

/// A name in a form that compares in three words: its length and both its ends.
///
/// Up to 16 bytes the ends overlap or meet, so equal keys are equal names; above
/// that the bytes between have to be compared too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    len: u32,
    head: u64,
    tail: u64,
}

impl Key {
    /// The key of the empty name.
    pub const EMPTY: Self = Key {
        len: 0,
        head: 0,
        tail: 0,
    };

    /// The key of `name`.
    pub fn new(name: &[u8]) -> Self {
        let (head, tail) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
                (Some(head), Some(tail)) => (
                    u32::from_le_bytes(*head).into(),
                    u32::from_le_bytes(*tail).into(),
                ),
                _ => (name.iter().fold(0, |k, b| k << 8 | u64::from(*b)), 0),
            },
        };
        Key {
            len: name.len() as u32,
            head,
            tail,
        }
    }

    /// Whether equal keys of this length are equal names.
    pub const fn is_exact(self) -> bool {
        self.len <= 16
    }

    /// A well-mixed hash.
    pub const fn hash(self) -> u32 {
        let mixed = (self.head ^ self.tail.rotate_left(29)).wrapping_add(self.len as u64);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }
}

/// Whether the name has a letter that `ngx.var` would make lower case first.
pub fn has_upper(name: &[u8]) -> bool {
    name.iter().any(u8::is_ascii_uppercase)
}

/// Whether nginx's handlers of prefixes read such a name as it is.
///
/// Nothing they look up has these bytes in its name, but with an `&` `ngx_http_arg`
/// takes a value's end for one before its beginning, and a NUL ends a comparison
/// (`ngx_strncasecmp`) that is then taken for one of the whole name.
pub fn is_safe(name: &[u8]) -> bool {
    !name.iter().any(|b| matches!(b, 0 | b'&'))
}

/// nginx's hash of a lower-case name (`ngx_hash_key`).
pub fn nginx_hash(name: &[u8]) -> usize {
    name.iter().fold(0usize, |key, b| {
        key.wrapping_mul(31).wrapping_add(usize::from(*b))
    })
}
