//! What a person last agreed to see, so that many small alterations count as one large one.
//!
//! A device counts the records that others deleted or changed since its baseline, over all syncs
//! and places. The baseline moves when a person agrees to a sync, or a week after it was set.

use std::collections::BTreeSet;

use super::seen::{ids_from_text, ids_to_text};
use crate::crypto::sha256;
use crate::record::RecordId;

/// How long a baseline counts, in seconds.
const WEEK: i64 = 7 * 24 * 3600;

/// The state of a vault from which alterations by others are counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Baseline {
    /// When it was set, in seconds since 1970.
    pub time: i64,
    /// The number of records that were seen then.
    pub records: usize,
    /// The number of records that others made visible since a person agreed. They do not count as
    /// seen: whoever brings them could raise the number.
    pub added: usize,
    /// The number of bytes that came from outside since then and show nowhere.
    pub hidden: usize,
    /// The records that others altered since then, as hashes of their ids.
    altered: BTreeSet<u64>,
}

impl Baseline {
    /// A baseline from which nothing was altered yet.
    pub const fn new(time: i64, records: usize) -> Self {
        Self {
            time,
            records,
            added: 0,
            hidden: 0,
            altered: BTreeSet::new(),
        }
    }

    /// This baseline, or a new one in its place if its week is over. `records` is the number of
    /// records that are seen now.
    #[must_use]
    pub fn or_new(baseline: Option<&Self>, now: i64, records: usize) -> Self {
        match baseline {
            None => Self::new(now, records),
            Some(current) if now.saturating_sub(current.time) < WEEK => current.clone(),
            Some(over) => Self {
                added: over.added,
                ..Self::new(now, records.saturating_sub(over.added))
            },
        }
    }

    /// Counts records that others altered. One that is altered twice counts once.
    pub fn note<'a>(&mut self, records: impl IntoIterator<Item = &'a RecordId>) {
        self.altered.extend(records.into_iter().map(hash));
    }

    /// The number of records that others altered since the baseline was set.
    pub fn altered(&self) -> usize {
        self.altered.len()
    }

    /// Merges the baselines that two programs stored independently, both starting from `base`. If
    /// both changed it, more counts.
    pub fn merge(base: Option<&Self>, ours: Option<Self>, theirs: Option<Self>) -> Option<Self> {
        if theirs.as_ref() == base {
            return ours;
        }
        match (ours, theirs) {
            (Some(mut ours), Some(theirs)) if base != Some(&ours) => {
                ours.time = ours.time.max(theirs.time);
                ours.records = ours.records.min(theirs.records);
                ours.added = ours.added.max(theirs.added);
                ours.hidden = ours.hidden.max(theirs.hidden);
                ours.altered.extend(theirs.altered);
                Some(ours)
            }
            (_, theirs) => theirs,
        }
    }

    /// The altered records as text: 16 hex digits for each.
    pub(crate) fn altered_text(&self) -> String {
        ids_to_text(&self.altered)
    }

    /// The same baseline with the altered records that a text has; `None` if it is no such text.
    pub(crate) fn with_altered_text(self, text: &str) -> Option<Self> {
        let altered = ids_from_text(text)?;
        Some(Self { altered, ..self })
    }
}

fn hash(id: &RecordId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = sha256(id.as_text().as_bytes());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn altered(time: i64, records: &[&str]) -> Baseline {
        let mut baseline = Baseline::new(time, 50);
        let ids: Vec<RecordId> = records.iter().map(|id| RecordId::from(*id)).collect();
        baseline.note(&ids);
        baseline
    }

    #[test]
    fn a_baseline_counts_for_a_week() {
        let old = altered(1000, &["A", "B", "A"]);
        assert_eq!(old.altered(), 2);
        assert_eq!(Baseline::or_new(Some(&old), 1000 + WEEK - 1, 60), old);
        let new = Baseline::or_new(Some(&old), 1000 + WEEK, 60);
        assert_eq!(new, Baseline::new(1000 + WEEK, 60));
        // Records that nobody agreed to do not raise the number of those that are seen.
        let flooded = Baseline {
            added: 300,
            ..old.clone()
        };
        let new = Baseline::or_new(Some(&flooded), 1000 + WEEK, 350);
        assert_eq!((new.records, new.added, new.altered()), (50, 300, 0));
        assert_eq!(Baseline::or_new(None, 5, 3), Baseline::new(5, 3));
        // A clock that was set back gives nothing away.
        assert_eq!(Baseline::or_new(Some(&old), -1000, 60), old);
    }

    #[test]
    fn the_counts_of_two_programs_are_united() {
        let (one, two) = (altered(1000, &["A"]), altered(1000, &["B"]));
        let both = Baseline::merge(None, Some(one.clone()), Some(two)).unwrap();
        assert_eq!(both, altered(1000, &["A", "B"]));
        // One program got an agreement, the other counted nothing.
        let agreed = altered(500, &[]);
        for (ours, theirs) in [(&one, &agreed), (&agreed, &one)] {
            let merged = Baseline::merge(Some(&one), Some(ours.clone()), Some(theirs.clone()));
            assert_eq!(merged.as_ref(), Some(&agreed));
        }
        assert_eq!(Baseline::merge(None, None, Some(one.clone())), Some(one));
    }

    #[test]
    fn the_text_of_the_altered_records_is_read_back() {
        let baseline = altered(7, &["A", "B"]);
        let read = |text: &str| Baseline::new(7, 50).with_altered_text(text);
        assert_eq!(read(&baseline.altered_text()), Some(baseline));
        assert_eq!(read(""), Some(Baseline::new(7, 50)));
        for bad in ["0", "00000000000000g0", "000000000000000"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
