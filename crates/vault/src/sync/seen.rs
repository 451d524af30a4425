//! Sets of changes that are remembered by a hash, without their values.
//!
//! A device remembers the changes that it has seen on a server. A btoken only ever grows, so a
//! later btoken must hold every change of an earlier one. A change that is missing means that the
//! server returned older data. The last sync is remembered in the same way.
//!
//! A change is represented by 8 bytes of a hash over its record, field and time. The value is not
//! part of the hash: where an original program takes part, only one of two values with the same
//! time stays, and that counts as no loss. A purged change has a second hash, for the purge, so it
//! is not missed, and a purge that is missing is older data too.

use std::collections::BTreeSet;
use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};

use crate::compat::RESOLVED_WITHIN;
use crate::crypto::sha256;
use crate::record::{Change, Domain, RecordId, Stamp, TIME_MIN, Vault};

/// A set of changes, without their values.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SeenChanges(BTreeSet<u64>);

impl SeenChanges {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds all changes of a vault. Returns true if some are new.
    pub fn note(&mut self, vault: &Vault) -> bool {
        let before = self.0.len();
        self.0.extend(change_ids(vault).map(|(id, _)| id));
        self.0.len() > before
    }

    /// All changes of a vault.
    pub fn of(vault: &Vault) -> Self {
        Self(change_ids(vault).map(|(id, _)| id).collect())
    }

    /// All changes of a vault, and those that they may have replaced where original programs take
    /// part: changes of the same field, up to 8 seconds earlier (see [`compat`](crate::compat)).
    pub fn of_resolved(vault: &Vault) -> Self {
        let mut all = Self::of(vault);
        for (id, record) in vault.records() {
            for change in record.changes() {
                let Some(seconds) = change.stamp.deciding_seconds() else {
                    continue;
                };
                for earlier in (seconds - RESOLVED_WITHIN).max(TIME_MIN)..seconds {
                    all.0
                        .insert(mark_at(id, change, &Stamp::from_seconds(earlier)));
                }
            }
        }
        all
    }

    /// Adds all changes of another set.
    pub fn merge(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// The changes that are not in a vault.
    pub fn missing_from(&self, vault: &Vault) -> Self {
        self.without(&Self::of(vault))
    }

    /// The changes that a vault has purged, as they were before.
    pub fn purged_in(vault: &Vault) -> Self {
        let mut purged = BTreeSet::new();
        for (id, record) in vault.records() {
            let changes = record.changes().iter().filter(|change| change.is_purged());
            purged.extend(changes.map(|change| mark_at(id, change, &change.stamp)));
        }
        Self(purged)
    }

    /// The changes that are not in another set.
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// The changes that are in another set too.
    pub fn common_with(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// True if the set has this change of this record.
    pub fn contains(&self, id: &RecordId, change: &Change) -> bool {
        !self.0.is_empty() && self.0.contains(&change_id(id, change))
    }

    /// The first and the last time of those changes that the vault holds, in seconds since 1970.
    pub fn times_in(&self, vault: &Vault) -> Option<(i64, i64)> {
        let known = change_ids(vault).filter(|(id, _)| self.0.contains(id));
        let times = known.filter_map(|(_, change)| change.stamp.deciding_seconds());
        times.fold(None, |span, time| {
            Some(span.map_or((time, time), |(first, last): (i64, i64)| {
                (first.min(time), last.max(time))
            }))
        })
    }

    /// The changes as text: 16 hex digits for each.
    pub(crate) fn to_text(&self) -> String {
        ids_to_text(&self.0)
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        ids_from_text(text).map(Self)
    }
}

/// Ids as text: 16 hex digits for each.
pub(super) fn ids_to_text(ids: &BTreeSet<u64>) -> String {
    let mut text = String::with_capacity(2 * ID_LEN * ids.len());
    for id in ids {
        HEXLOWER.encode_append(&id.to_be_bytes(), &mut text);
    }
    text
}

/// Reads what [`ids_to_text`] wrote.
pub(super) fn ids_from_text(text: &str) -> Option<BTreeSet<u64>> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    let (ids, rest) = bytes.as_chunks::<ID_LEN>();
    rest.is_empty()
        .then(|| ids.iter().copied().map(u64::from_be_bytes).collect())
}

/// The bytes that represent one change.
const ID_LEN: usize = 8;

fn change_ids(vault: &Vault) -> impl Iterator<Item = (u64, &Change)> {
    vault.records().flat_map(|(id, record)| {
        record.changes().iter().flat_map(move |change| {
            let purged = change.is_purged();
            let purged = purged.then(|| (mark_at(id, change, &change.stamp), change));
            std::iter::once((change_id(id, change), change)).chain(purged)
        })
    })
}

/// The id of a change, or of a purge.
fn change_id(id: &RecordId, change: &Change) -> u64 {
    let purge: &[u8] = if change.is_purged() { b"purge" } else { b"" };
    mark(id, change, &change.stamp, purge)
}

/// The digest of a change, by which its value cannot be guessed. A purge has the digest of what it
/// purged.
pub(crate) fn change_digest(id: &RecordId, change: &Change) -> u64 {
    mark_at(id, change, &change.stamp)
}

fn mark_at(id: &RecordId, change: &Change, stamp: &Stamp) -> u64 {
    mark(id, change, stamp, b"")
}

fn mark(id: &RecordId, change: &Change, stamp: &Stamp, purge: &[u8]) -> u64 {
    let domain: &[u8] = match change.key.domain {
        Domain::Meta => b"m",
        Domain::User => b"u",
    };
    let time = stamp.to_string();
    let mut bytes = Vec::new();
    for part in [
        id.as_text().as_bytes(),
        domain,
        change.key.name.as_bytes(),
        time.as_bytes(),
        purge,
    ]
    .into_iter()
    .take(if purge.is_empty() { 4 } else { 5 })
    {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    let [a, b, c, d, e, f, g, h, ..] = sha256(&bytes);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl fmt::Debug for SeenChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeenChanges({} changes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(values: &[(&str, i64)]) -> Vault {
        let mut vault = Vault::new();
        let id = RecordId::from("A");
        vault.create_record(id.clone(), "a", 100).unwrap();
        for (value, time) in values {
            vault.set(&id, "password", *value, *time).unwrap();
        }
        vault
    }

    #[test]
    fn only_changes_that_the_vault_lacks_are_missing() {
        let mut seen = SeenChanges::new();
        assert!(seen.note(&vault(&[("one", 200), ("two", 300)])));
        assert!(!seen.note(&vault(&[("one", 200)])), "nothing new");
        assert!(
            seen.missing_from(&vault(&[("one", 200), ("two", 300), ("three", 400)]))
                .is_empty()
        );
        let missing = seen.missing_from(&vault(&[("one", 200)]));
        assert_eq!(
            (
                missing.len(),
                missing.times_in(&vault(&[("one", 200), ("two", 300)]))
            ),
            (1, Some((300, 300)))
        );
    }

    #[test]
    fn a_tie_that_an_original_program_resolved_is_no_loss() {
        let mut seen = SeenChanges::new();
        let mut tie = vault(&[("one", 200)]);
        tie.merge(&vault(&[("other", 200)]));
        seen.note(&tie);
        assert!(seen.missing_from(&vault(&[("other", 200)])).is_empty());
    }

    #[test]
    fn the_text_of_a_set_is_read_back() {
        let mut seen = SeenChanges::new();
        seen.note(&vault(&[("one", 200), ("two", 300)]));
        assert_eq!(SeenChanges::parse(&seen.to_text()), Some(seen));
        assert_eq!(SeenChanges::parse(""), Some(SeenChanges::new()));
        for bad in [
            "0",
            "00000000000000g0",
            "000000000000000",
            "+000000000000000",
        ] {
            assert_eq!(SeenChanges::parse(bad), None, "{bad}");
        }
    }
}
