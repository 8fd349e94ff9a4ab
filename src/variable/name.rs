//! Names of variables: a key that makes comparing them cheap, nginx's hash, and which names
//! nginx's handlers can be called with.

#![forbid(unsafe_code)]

/// A name's length and its first and last eight bytes, which compare as three words.
///
/// In a name of up to 16 bytes the two ends meet or overlap, so equal keys mean equal names.
/// In a longer name the bytes between the ends have to be compared, too.
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

    /// The key of a name.
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

    /// Whether the key contains the whole name, so that equal keys mean equal names.
    pub const fn is_exact(self) -> bool {
        self.len <= 16
    }

    /// A well-mixed hash.
    pub const fn hash(self) -> u32 {
        let mixed = (self.head ^ self.tail.rotate_left(29)).wrapping_add(self.len as u64);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }
}

/// Whether a name contains an upper-case letter. nginx and `ngx.var` convert a name to lower
/// case before they look it up.
pub fn has_upper(name: &[u8]) -> bool {
    name.iter().any(u8::is_ascii_uppercase)
}

/// Whether nginx's handlers of prefixes can be called with this name.
///
/// No argument, header or cookie has a `&` or a NUL in its name, but these bytes mislead
/// the handlers: with a `&`, `ngx_http_arg` may find the end of a value before its beginning,
/// and a NUL ends a comparison (`ngx_strncasecmp`) early, which then counts as a match of
/// the whole name.
pub fn is_safe(name: &[u8]) -> bool {
    !name.iter().any(|b| matches!(b, 0 | b'&'))
}

/// nginx's hash of a lower-case name (`ngx_hash_key`).
pub fn nginx_hash(name: &[u8]) -> usize {
    name.iter().fold(0usize, |key, b| {
        key.wrapping_mul(31).wrapping_add(usize::from(*b))
    })
}
