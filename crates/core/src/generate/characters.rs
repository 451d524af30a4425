//! Sets of printable ASCII characters.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A set of ASCII characters, without blanks and control characters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Characters(u128);

impl fmt::Debug for Characters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(char::from)).finish()
    }
}

impl Characters {
    /// The letters from A to Z.
    pub const UPPER: Self = Self::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    /// The letters from a to z.
    pub const LOWER: Self = Self::of(b"abcdefghijklmnopqrstuvwxyz");
    /// The digits.
    pub const DIGITS: Self = Self::of(b"0123456789");
    /// The symbols that sites accept and shells, sheets and addresses rarely change.
    pub const SYMBOLS: Self = Self::of(b"!#$%&*+-./:;<=>?@_~");
    /// Characters that are hard to tell apart in print.
    pub const LOOKALIKES: Self = Self::of(b"0Oo1lI|");
    /// Every printable character but the blank.
    pub const PRINTABLE: Self = Self(((1 << 0x7f) - 1) & !((1 << 0x21) - 1));

    /// The printable characters of a text; others are left out.
    #[must_use]
    pub const fn of(text: &[u8]) -> Self {
        let (mut set, mut rest) = (0_u128, text);
        while let Some((byte, after)) = rest.split_first() {
            if byte.is_ascii_graphic() {
                set |= 1 << *byte;
            }
            rest = after;
        }
        Self(set)
    }

    /// The characters of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The characters that are in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The characters that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The number of characters.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The characters in the order of ASCII.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0x21..0x7f).filter(move |byte| self.0 & (1 << byte) != 0)
    }
}
