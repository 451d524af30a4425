//! What the gate holds back until a person decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use passmate_vault::guard::GUARD_TAG;
use passmate_vault::record::{Change, Domain, FieldKey, Value};
use passmate_vault::{RecordId, Text};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What the gate holds back until a person decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// The records that would be altered, in the order of their paths.
    pub records: Vec<HeldRecord>,
    /// The number of records that people see.
    pub of: usize,
    /// The number of records that others altered before, since `since`.
    pub earlier: usize,
    /// When a person last agreed, or the counting began anew, in seconds since 1970.
    pub since: i64,
    /// The history would be truncated to the changes since then, in seconds since 1970.
    pub cut: Option<i64>,
    /// The number of bytes that would come and show nowhere, if there are too many.
    pub hidden: usize,
    /// The vault would have so many bytes as a btoken, more than the server accepts.
    pub too_large: Option<usize>,
    /// The changes behind it, by record: they tie an answer to what was asked.
    pub(crate) changes: BTreeMap<RecordId, BTreeSet<Digest>>,
}

/// Represents one change.
pub(crate) type Digest = [u8; 16];

/// Represents one change, its value included: an answer to one value is no answer to another.
/// Whoever makes the changes must not find two with one digest.
pub(crate) fn digest(id: &RecordId, change: &Change) -> Digest {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(id.as_text().as_bytes());
    add(match change.key.domain {
        Domain::Meta => b"m",
        Domain::User => b"u",
    });
    add(change.key.name.as_bytes());
    add(change.stamp.to_string().as_bytes());
    match &change.value {
        Value::Absent => add(b"absent"),
        Value::Purged => add(b"purged"),
        Value::Text(text) => {
            add(b"text");
            add(text.as_bytes());
        }
        Value::List(lines) => {
            add(b"list");
            lines.iter().for_each(|line| add(line.as_bytes()));
        }
    }
    let hash: [u8; 32] = hash.finalize().into();
    let (head, _) = hash
        .split_first_chunk()
        .expect("32 bytes have 16 at their head");
    *head
}

/// A record that would be altered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldRecord {
    /// The path under which it shows, or its last one; may be empty.
    pub path: Text,
    /// The record.
    pub id: RecordId,
    /// What would happen to it.
    pub effect: Effect,
}

/// What would happen to a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Effect {
    /// It would be deleted.
    Deleted,
    /// It would show another value or path.
    Changed,
    /// Another record would take over its path.
    Displaced {
        /// The records that want the path and that came with the sync.
        by: Vec<RecordId>,
    },
    /// It would lose values of its history.
    Purged,
    /// Its [guard](passmate_vault::guard) would go: programs could use it unasked.
    Unguarded,
    /// It would get a change that is stamped more than a day after the present.
    Ahead {
        /// The field.
        field: FieldKey,
        /// The stamp, in seconds since 1970.
        time: i64,
    },
}

impl Effect {
    /// Whether it is held back however few records it is on, and so is not counted.
    const fn is_always_held(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::Unguarded)
    }
}

impl HeldBack {
    /// Whether this holds nothing that the other one did not hold: every record has the same
    /// effects, by the same changes.
    #[must_use]
    pub fn asks_no_more_than(&self, other: &Self) -> bool {
        let mut records = self.records.iter();
        let mut changes = self.changes.iter();
        // Both are in order.
        records.all(|record| other.records.binary_search(record).is_ok())
            && changes.all(|(id, changes)| other.changes.get(id) == Some(changes))
            && (self.cut.is_none() || self.cut == other.cut)
            && (self.hidden == 0 || self.hidden == other.hidden)
            && (self.too_large.is_none() || self.too_large == other.too_large)
    }

    /// Whether a record would lose its guard. Only a person who saw that can agree to it.
    #[must_use]
    pub fn takes_guard(&self) -> bool {
        let mut records = self.records.iter();
        records.any(|record| record.effect == Effect::Unguarded)
    }

    /// Whether nothing is held back.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.cut.is_none()
            && self.hidden == 0
            && self.too_large.is_none()
    }

    /// Whether more is altered of what people see than passes without a question.
    pub(crate) fn alters(&self) -> bool {
        let mut records = self.records.iter();
        records.any(|record| !record.effect.is_always_held())
    }

    /// The records whose changes are held back.
    pub(crate) fn culprits(&self) -> BTreeSet<&RecordId> {
        let records = self.records.iter();
        records
            .flat_map(|record| match &record.effect {
                Effect::Displaced { by } => by.as_slice(),
                _ => std::slice::from_ref(&record.id),
            })
            .collect()
    }

    /// The number of records with an effect.
    #[must_use]
    pub fn count(&self, is_meant: impl Fn(&Effect) -> bool) -> usize {
        let meant = self.records.iter();
        let meant = meant.filter(|record| is_meant(&record.effect));
        let meant: BTreeSet<_> = meant.map(|record| &record.id).collect();
        meant.len()
    }
}

/// One line without names: how many records would be altered, and how.
impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deleted = self.count(|effect| *effect == Effect::Deleted);
        let changed = self.count(|effect| *effect == Effect::Changed);
        let displaced = self.count(|effect| matches!(effect, Effect::Displaced { .. }));
        let purged = self.count(|effect| *effect == Effect::Purged);
        let unguarded = self.count(|effect| *effect == Effect::Unguarded);
        let ahead = self.count(|effect| matches!(effect, Effect::Ahead { .. }));
        let mut parts = Vec::new();
        for (count, what) in [
            (deleted, "delete"),
            (changed, "change"),
            (displaced, "take over the path of"),
            (purged, "remove earlier values of"),
        ] {
            if count > 0 {
                parts.push(format!("{what} {count} of {} records", self.of));
            }
        }
        if let (Some(last), 1..) = (parts.last_mut(), self.earlier) {
            last.push_str(&format!(
                " ({} were altered from outside before, and count too)",
                self.earlier
            ));
        }
        if unguarded > 0 {
            parts.push(format!(
                "take the guard (the tag {GUARD_TAG}) from {}",
                records(unguarded)
            ));
        }
        if ahead > 0 {
            parts.push(format!(
                "give {} values from more than a day in the future, which win over all edits until \
                 then",
                records(ahead)
            ));
        }
        if self.cut.is_some() {
            parts.push("cut off a part of the history".to_owned());
        }
        if self.hidden > 0 {
            parts.push(format!("add {} bytes that show nowhere", self.hidden));
        }
        if let Some(len) = self.too_large {
            parts.push(format!(
                "make the vault larger than the server accepts ({len} bytes)"
            ));
        }
        f.write_str(&parts.join(", and "))
    }
}

fn records(count: usize) -> String {
    match count {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    }
}
