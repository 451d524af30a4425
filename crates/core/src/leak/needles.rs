//! Many values, each of which is found at a place of a text.
//!
//! An automaton of a crate would be as quick, but it keeps copies of the values that nobody wipes,
//! and does not tell whether a text ends within one.

use std::cmp::Ordering;
use std::fmt;

use zeroize::Zeroizing;

/// The shortest needle, in bytes.
pub const NEEDLE_LEN_MIN: usize = 4;
/// The longest needle, in bytes. Of a longer value the begin is one.
pub const NEEDLE_LEN_MAX: usize = 4096;
/// Bits of the filter for each needle.
const FILTER_BITS: usize = 16;

/// What is looked for.
pub struct Needles<T> {
    /// In the order of their bytes, each once.
    sorted: Vec<Needle<T>>,
    /// The hashes of the first bytes of all needles.
    filter: Vec<u64>,
    len_max: usize,
}

/// One of them.
pub struct Needle<T> {
    bytes: Zeroizing<Vec<u8>>,
    /// The longest other needle that this one begins with.
    begin: Option<usize>,
    /// What it stands for.
    pub of: Vec<T>,
}

impl<T> Needle<T> {
    /// Its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "none is empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Without the bytes.
impl<T> fmt::Debug for Needles<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Needles")
            .field("count", &self.sorted.len())
            .finish_non_exhaustive()
    }
}

/// Without the bytes.
impl<T> fmt::Debug for Needle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Needle").finish_non_exhaustive()
    }
}

impl<T> Needles<T> {
    /// Needles with what each stands for. What is shorter than [`NEEDLE_LEN_MIN`] is left out, and
    /// what is longer than [`NEEDLE_LEN_MAX`] is cut off there.
    #[must_use]
    pub fn new(needles: impl IntoIterator<Item = (Zeroizing<Vec<u8>>, T)>) -> Self {
        let mut all: Vec<_> = needles
            .into_iter()
            .filter(|(bytes, _)| bytes.len() >= NEEDLE_LEN_MIN)
            .collect();
        for (bytes, _) in &mut all {
            bytes.truncate(NEEDLE_LEN_MAX);
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut sorted: Vec<Needle<T>> = Vec::with_capacity(all.len());
        for (bytes, of) in all {
            if let Some(same) = sorted.last_mut().filter(|last| last.bytes == bytes) {
                same.of.push(of);
                continue;
            }
            let mut begin = sorted.len().checked_sub(1);
            while let Some(other) = begin.and_then(|place| sorted.get(place)) {
                if bytes.starts_with(&other.bytes) {
                    break;
                }
                begin = other.begin;
            }
            let of = vec![of];
            sorted.push(Needle { bytes, begin, of });
        }
        let words = (sorted.len() * FILTER_BITS).next_power_of_two().max(64) / 64;
        let mut needles = Self {
            len_max: sorted.iter().map(Needle::len).max().unwrap_or(0),
            filter: vec![0; words],
            sorted,
        };
        for place in 0..needles.sorted.len() {
            let needle = needles.sorted.get(place);
            let bit = needle.and_then(|needle| needles.filter_bit(&needle.bytes));
            if let Some((word, bit)) = bit
                && let Some(word) = needles.filter.get_mut(word)
            {
                *word |= bit;
            }
        }
        needles
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The length of the longest in bytes; 0 if there are none.
    #[must_use]
    pub const fn len_max(&self) -> usize {
        self.len_max
    }

    /// All that this text begins with, the longest first.
    pub fn all_at(&self, text: &[u8]) -> impl Iterator<Item = &Needle<T>> {
        let begin = |needle: &&Needle<T>| self.sorted.get(needle.begin?);
        std::iter::successors(self.at(text), begin)
    }

    /// The longest that this text begins with.
    #[must_use]
    pub fn at(&self, text: &[u8]) -> Option<&Needle<T>> {
        let (word, bit) = self.filter_bit(text)?;
        if self.filter.get(word)? & bit == 0 {
            return None;
        }
        let text = text.get(..self.len_max).unwrap_or(text);
        let after = self
            .sorted
            .partition_point(|needle| needle.bytes.as_slice() <= text);
        // Every needle that the text begins with is this one or a begin of it: between two texts
        // that begin with it nothing else stands.
        let mut needle = self.sorted.get(after.checked_sub(1)?)?;
        while !text.starts_with(&needle.bytes) {
            needle = self.sorted.get(needle.begin?)?;
        }
        Some(needle)
    }

    /// Whether a needle begins with this text and goes on behind it.
    #[must_use]
    pub fn goes_on_behind(&self, text: &[u8]) -> bool {
        let after = self
            .sorted
            .partition_point(|needle| needle.bytes.as_slice().cmp(text) != Ordering::Greater);
        let next = self.sorted.get(after);
        next.is_some_and(|needle| needle.bytes.starts_with(text))
    }

    /// The place of a text's first bytes in the filter.
    fn filter_bit(&self, text: &[u8]) -> Option<(usize, u64)> {
        let first = text.first_chunk::<NEEDLE_LEN_MIN>()?;
        let hash = u32::from_le_bytes(*first).wrapping_mul(0x9E37_79B1);
        let bit = usize::try_from(hash.rotate_left(16)).ok()? & (self.filter.len() * 64 - 1);
        Some((bit / 64, 1 << (bit % 64)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn needles(texts: &[String]) -> Needles<()> {
        let bytes = |text: &String| (Zeroizing::new(text.clone().into_bytes()), ());
        Needles::new(texts.iter().map(bytes))
    }

    proptest! {
        #[test]
        fn the_longest_value_is_found_as_by_comparing_with_each(
            values in prop::collection::vec("[ab]{0,9}", 0..12),
            text in "[ab]{0,20}",
        ) {
            let needles = needles(&values);
            let known = values.iter().filter(|value| value.len() >= NEEDLE_LEN_MIN);
            for place in 0..=text.len() {
                let rest = &text[place..];
                let longest = known.clone().filter(|value| rest.starts_with(*value));
                let found = needles.at(rest.as_bytes()).map(Needle::len);
                prop_assert_eq!(found, longest.clone().map(String::len).max());
                let all: BTreeSet<_> = longest.map(String::len).collect();
                let found: Vec<_> = needles.all_at(rest.as_bytes()).map(Needle::len).collect();
                prop_assert_eq!(found, all.into_iter().rev().collect::<Vec<_>>());
                let goes_on = known
                    .clone()
                    .any(|value| value.len() > rest.len() && value.starts_with(rest));
                prop_assert_eq!(needles.goes_on_behind(rest.as_bytes()), goes_on);
            }
        }
    }

    #[test]
    fn a_value_of_two_records_is_one_needle_and_a_long_one_is_cut() {
        let long = "x".repeat(NEEDLE_LEN_MAX + 1);
        let all = [("same", 1), ("same", 2), ("abc", 3), (&long, 4)];
        let bytes = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let needles = Needles::new(all.map(|(text, of)| (bytes(text), of)));
        assert_eq!(needles.at(b"same").unwrap().of, [1, 2]);
        assert!(needles.at(b"abcd").is_none());
        assert_eq!(needles.at(long.as_bytes()).unwrap().len(), NEEDLE_LEN_MAX);
        assert!(Needles::<()>::new([]).at(b"text").is_none());
    }
}
