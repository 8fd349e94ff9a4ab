//! The table of culprits: which Lua was refused what, how often and when last.
//!
//! It is one bounded table in memory that all workers share, without locks, because a worker
//! may be killed anywhere. An entry is claimed by storing the hash of its key where there was
//! 0, and never given up. Whoever finds its own hash in an entry that is not `ready` writes
//! the key's texts: all who do that write the same bytes, so neither two writers nor one that
//! was killed leave it half written. `ready` is stored after the texts (Release), and who has
//! read it (Acquire) sees them whole. The counts are atomic additions, and Relaxed: nothing
//! else is concluded from one.

#![forbid(unsafe_code)]

use crate::atomic::AtomicU64;
use crate::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::text::until_zero;

/// Entries of the table in the module. Further culprits are counted together.
pub(crate) const ENTRIES: usize = 64;

/// What stands for the place of those.
pub(crate) const OTHER: &str = "other";

/// A text of at most `8 * WORDS` bytes, in words that are read and written one at a time. It
/// ends at the first zero, or at its last byte.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Text<const WORDS: usize>([AtomicU64; WORDS]);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied<const WORDS: usize>([[u8; 8]; WORDS]);

impl<const WORDS: usize> Text<WORDS> {
    /// Stores a text, or as much of it as fits.
    pub(crate) fn store(&self, text: &[u8]) {
        let mut bytes = text.iter().copied().chain(core::iter::repeat(0));
        for word in &self.0 {
            let eight = core::array::from_fn(|_| bytes.next().unwrap_or(0));
            word.store(u64::from_ne_bytes(eight), Relaxed);
        }
    }

    fn is_equal(&self, other: &Self) -> bool {
        let mut words = self.0.iter().zip(&other.0);
        words.all(|(word, other)| word.load(Relaxed) == other.load(Relaxed))
    }

    pub(crate) fn load(&self) -> Copied<WORDS> {
        Copied(core::array::from_fn(|n| {
            let word = self.0.get(n).map_or(0, |word| word.load(Relaxed));
            word.to_ne_bytes()
        }))
    }
}

impl<const WORDS: usize> Copied<WORDS> {
    pub(crate) fn bytes(&self) -> &[u8] {
        until_zero(self.0.as_flattened())
    }
}

impl<const WORDS: usize> Default for Text<WORDS> {
    fn default() -> Self {
        Text(core::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Who was refused what. The texts are escaped: printable ASCII without quotation marks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    /// The Lua code that asked, `source:line`.
    pub(crate) at: &'a [u8],
    /// The function that it called.
    pub(crate) asked: &'a [u8],
    /// The variable; empty if it asked for none.
    pub(crate) variable: &'a [u8],
    /// What lua-nginx-module was running, such as `access_by_lua*`; empty if that is not known.
    pub(crate) phase: &'a [u8],
    pub(crate) reason: u64,
}

impl Key<'_> {
    /// FNV-1a of everything in it, with a zero behind each text; never 0.
    fn hash(&self) -> u64 {
        let texts = [self.at, self.asked, self.variable, self.phase];
        let zero: &[u8] = &[0];
        let bytes = texts.into_iter().flat_map(|text| [text, zero]).flatten();
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325 ^ self.reason, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        hash.max(1)
    }
}

/// A culprit, or, behind them, all for which there was no room. `gdb/lua_var.py` reads it with
/// this layout.
#[derive(Default, Debug)]
#[repr(C)]
pub(crate) struct Culprit {
    hash: AtomicU64,
    ready: AtomicU64,
    reason: AtomicU64,
    count: AtomicU64,
    last: AtomicU64,
    logged: AtomicU64,
    logged_at: AtomicU64,
    example: AtomicU64,
    pub(crate) at: Text<10>,
    pub(crate) asked: Text<6>,
    pub(crate) variable: Text<8>,
    pub(crate) phase: Text<4>,
    /// Which request it named, at the first refusal.
    pub(crate) request: Text<5>,
    /// The request line of the request that was running then.
    pub(crate) request_line: Text<16>,
}

const WRITING: u64 = 1;
const WRITTEN: u64 = 2;

impl Culprit {
    /// Whether this is the entry for those for which there was no room.
    pub(crate) fn is_other(&self) -> bool {
        self.hash.load(Relaxed) == 0
    }

    pub(crate) fn reason(&self) -> u64 {
        self.reason.load(Relaxed)
    }

    /// Whether place, variable and reason are the same.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        self.reason() == other.reason()
            && self.variable.is_equal(&other.variable)
            && self.at.is_equal(&other.at)
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// When it was last refused, as the caller of [`Culprits::add`] counts time.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }

    fn describe(&self, key: &Key<'_>) {
        if self.ready.load(Acquire) == 0 {
            self.at.store(key.at);
            self.asked.store(key.asked);
            self.variable.store(key.variable);
            self.phase.store(key.phase);
            self.reason.store(key.reason, Relaxed);
            self.ready.store(1, Release);
        }
    }

    /// Stores an example, if there is none. Examples differ, so only the first may be written;
    /// an entry whose worker was killed in the middle has none.
    pub(crate) fn exemplify(&self, request: &[u8], request_line: &[u8]) {
        let first = self.example.compare_exchange(0, WRITING, Relaxed, Relaxed).is_ok();
        if first {
            self.request.store(request);
            self.request_line.store(request_line);
            self.example.store(WRITTEN, Release);
        }
    }

    pub(crate) fn has_example(&self) -> bool {
        self.example.load(Acquire) == WRITTEN
    }

    /// Takes the right to log a line, which one worker has in each `interval`. `now` counts in
    /// the same unit, by a monotonic clock. Returns the number of refusals since the line before.
    pub(crate) fn take_line(&self, now: u64, interval: u64) -> Option<u64> {
        let before = self.logged_at.load(Relaxed);
        // The time of a worker that is busy stands still.
        if now.saturating_sub(before) < interval {
            return None;
        }
        self.logged_at.compare_exchange(before, now, Relaxed, Relaxed).ok()?;
        // The maximum, because a later line may have come first.
        let count = self.count();
        let logged = self.logged.fetch_max(count, Relaxed);
        Some(count.saturating_sub(logged))
    }

    /// Whether refusals were left out of the log since the last line.
    pub(crate) fn is_pending(&self) -> bool {
        self.logged.load(Relaxed) < self.count()
    }
}

/// The table. Zero bytes are an empty one.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Culprits<const N: usize> {
    entries: [Culprit; N],
    other: Culprit,
}

impl<const N: usize> Culprits<N> {
    /// Counts a refusal, and returns the entry for it.
    pub(crate) fn add(&self, key: &Key<'_>, now: u64) -> &Culprit {
        let culprit = self.entry(key.hash());
        match culprit {
            Some(culprit) => culprit.describe(key),
            None => self.other.ready.store(1, Relaxed),
        }
        let culprit = culprit.unwrap_or(&self.other);
        culprit.last.store(now, Relaxed);
        culprit.count.fetch_add(1, Relaxed);
        culprit
    }

    /// The entry with this hash. All look for one in the same order and entries are never
    /// freed, so that two workers cannot claim two entries for one hash.
    fn entry(&self, hash: u64) -> Option<&Culprit> {
        self.entries.iter().find(|culprit| {
            let found = match culprit.hash.load(Relaxed) {
                0 => culprit
                    .hash
                    .compare_exchange(0, hash, Relaxed, Relaxed)
                    .map_or_else(|other| other, |_| hash),
                found => found,
            };
            found == hash
        })
    }

    /// All culprits that can be read; the ones for which there was no room come last, and have
    /// no texts.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Culprit> {
        let all = self.entries.iter().chain([&self.other]);
        all.filter(|culprit| culprit.ready.load(Acquire) != 0)
    }
}

impl<const N: usize> Default for Culprits<N> {
    fn default() -> Self {
        Culprits {
            entries: core::array::from_fn(|_| Culprit::default()),
            other: Culprit::default(),
        }
    }
}
