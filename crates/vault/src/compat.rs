//! Where original programs take part: a shared folder, or an account of the desktop client.
//!
//! They cannot bear two things that happen: two changes of one field in one second, and two records
//! that want one path. So both are resolved by edits that every device makes alike
//! ([`Vault::resolution`]), and what they would refuse is not written there ([`Vault::part_for`]).
//! The rules are:
//!  - of two changes of one second the one that is seen is made again a second later, and neither
//!    is written there;
//!  - a record that this would bring back is deleted again, a second after its last change;
//!  - a record that shows under another path than it has, or lives in spite of a deletion, gets the
//!    path that it shows under, a second after its last one;
//!  - so a change may be gone there and yet not lost: one of the same field stands shortly behind
//!    it ([`SeenChanges::of_resolved`](crate::SeenChanges::of_resolved)).

use crate::record::{
    Change, Domain, FieldKey, Record, RecordId, Stamp, TIME_MAX, Text, Value, Vault,
};
use crate::view::ViewRecord;

/// Changes of one field that follow each other within so many seconds may have been resolved by the
/// last of them: a tie may meet another one a second later, and that another one.
pub(crate) const RESOLVED_WITHIN: i64 = 8;

/// What stands before the name of a field that only the desktop client knows.
pub(crate) const DESKTOP_PREFIX: &str = "desktop.";

/// A program that takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Original {
    /// The live one, through a shared folder.
    Passmate2,
    /// The desktop client, through a server.
    Desktop,
}

/// What becomes of changes of one field with one time and different values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ties {
    /// The one that is seen stays.
    Winner,
    /// None stays, where a [resolution](Vault::resolution) can stand for it.
    Resolved,
}

impl Vault {
    /// The edits by which original programs can take part: what has to be merged into this vault.
    ///
    /// Empty if there is nothing to resolve, so also after they were merged. Equal vaults give equal
    /// edits.
    pub fn resolution(&self) -> Self {
        let mut edits = Self::new();
        for (id, record) in self.records() {
            for change in resolve_ties(record) {
                edits.insert(id, change);
            }
        }
        // Who is seen under which path follows from the ties, so these come first.
        let resolved;
        let vault = if edits.is_empty() {
            self
        } else {
            let mut merged = self.clone();
            merged.merge(&edits);
            resolved = merged;
            &resolved
        };
        for (id, change) in shown_paths(vault) {
            edits.insert(&id, change);
        }
        edits
    }

    /// What of this vault is written where this program takes part.
    ///
    /// Left out are fields that it does not know, texts and times that it cannot read, records
    /// whose id is empty, and changes of one field with one time and different values.
    pub fn part_for(&self, program: Original) -> Self {
        self.loadable_by(program, Ties::Resolved)
    }

    pub(crate) fn loadable_by(&self, program: Original, ties: Ties) -> Self {
        let mut part = Self::new();
        for (id, record) in self
            .records()
            .filter(|(id, _)| program.can_read(id.as_text()) && !id.as_text().is_empty())
        {
            let changes = loadable(record, program, ties);
            if !changes.is_empty() {
                part.records
                    .insert(id.clone(), Record::from_changes(changes));
            }
        }
        part
    }
}

impl Original {
    /// What is equal on two devices that hold the same, as far as this program takes part: of
    /// changes of which one may stand for the other the later one.
    pub fn common_part_of(self, vault: &Vault) -> Vault {
        let part = vault.part_for(self);
        let mut common = Vault::new();
        for (id, record) in part.records() {
            let kept = record
                .changes()
                .iter()
                .enumerate()
                .filter(|(place, change)| {
                    let next = record
                        .changes()
                        .get(place + 1)
                        .filter(|next| next.key == change.key);
                    let times = (
                        change.stamp.deciding_seconds(),
                        next.and_then(|next| next.stamp.deciding_seconds()),
                    );
                    !matches!(times, (Some(time), Some(next)) if next - time <= RESOLVED_WITHIN)
                });
            let changes: Vec<Change> = kept.map(|(_, change)| change.clone()).collect();
            if !changes.is_empty() {
                common
                    .records
                    .insert(id.clone(), Record::from_changes(changes));
            }
        }
        common
    }

    fn knows(self, key: &FieldKey) -> bool {
        let is_known = match (self, key.domain) {
            (_, Domain::User) => true,
            (Self::Passmate2, Domain::Meta) => key.is_path(),
            (Self::Desktop, Domain::Meta) => key.is_path() || desktop_name(&key.name).is_some(),
        };
        is_known && self.can_read(&key.name)
    }

    /// The desktop client cannot read a file in which there is half a surrogate pair, nor a time
    /// beyond 64 bits.
    fn can_read(self, text: &Text) -> bool {
        self == Self::Passmate2 || text.as_str().is_some()
    }

    /// A change as it is written there, if it can be.
    fn adapt(self, change: &Change) -> Option<Change> {
        if !self.knows(&change.key) {
            return None;
        }
        match (self, &change.value) {
            (Self::Passmate2, Value::List(_)) => Some(Change {
                value: Value::Text(change.value.joined_text()),
                ..change.clone()
            }),
            (Self::Passmate2, _) => Some(change.clone()),
            (Self::Desktop, value) => {
                let is_readable = match value {
                    Value::Absent => true,
                    Value::Text(text) => self.can_read(text),
                    Value::List(lines) => lines.iter().all(|line| self.can_read(line)),
                };
                (is_readable && change.stamp.seconds().is_some()).then(|| change.clone())
            }
        }
    }
}

/// The desktop client's own name of a field that only it knows.
pub(crate) fn desktop_name(name: &Text) -> Option<&[u8]> {
    let name = name.as_bytes().strip_prefix(DESKTOP_PREFIX.as_bytes())?;
    // These would be read as something else.
    (name != b"PATH" && !name.starts_with(b"_")).then_some(name)
}

fn loadable(record: &Record, program: Original, ties: Ties) -> Vec<Change> {
    let mut loadable = Vec::with_capacity(record.changes().len());
    for tied in record
        .changes()
        .chunk_by(|a, b| a.key == b.key && a.stamp == b.stamp)
    {
        // Ascending order: of those with one time the last is the one that is seen.
        let Some(change) = tied.last() else { continue };
        let is_resolved =
            tied.len() > 1 && ties == Ties::Resolved && resolved_at(&change.stamp).is_some();
        if !is_resolved {
            loadable.extend(program.adapt(change));
        }
    }
    loadable
}

/// The second at which a tie of this time is resolved, if it ever decides anything.
fn resolved_at(stamp: &Stamp) -> Option<i64> {
    stamp
        .deciding_seconds()
        .filter(|seconds| *seconds < TIME_MAX)
        .map(|seconds| seconds + 1)
}

/// For each tie of a record the one that is seen, a second later, unless a change stands there
/// already.
fn resolve_ties(record: &Record) -> Vec<Change> {
    let mut resolved = Vec::new();
    for field in record.fields() {
        let ties = field
            .chunk_by(|a, b| a.stamp == b.stamp)
            .filter(|group| group.len() > 1);
        for winner in ties.filter_map(<[Change]>::last) {
            let Some(seconds) = resolved_at(&winner.stamp) else {
                continue;
            };
            let stamp = Stamp::from_seconds(seconds);
            if !field.iter().any(|change| change.stamp == stamp) {
                resolved.push(Change {
                    stamp,
                    ..winner.clone()
                });
            }
        }
    }
    if !resolved.is_empty() && !record.state().is_live() {
        let mut all = record.clone();
        for change in &resolved {
            all.insert(change.clone());
        }
        if all.state().is_live() {
            resolved.extend(delete_again(&all));
        }
    }
    resolved
}

fn delete_again(record: &Record) -> Option<Change> {
    let last = record
        .changes()
        .iter()
        .filter_map(|change| change.stamp.deciding_seconds())
        .max()?;
    let stamp = Stamp::from_seconds(Some(last).filter(|last| *last < TIME_MAX)? + 1);
    Some(Change {
        key: FieldKey::path(),
        stamp,
        value: Value::Absent,
    })
}

/// For each record whose path is not what it shows under, that path.
pub(crate) fn shown_paths(vault: &Vault) -> Vec<(RecordId, Change)> {
    let view = vault.view();
    let differs = view
        .records()
        .iter()
        .filter(|shown| shown.clash.is_some() || shown.revived);
    differs
        .filter_map(|shown| Some((shown.id.clone(), shown_path(shown)?)))
        .collect()
}

fn shown_path(shown: &ViewRecord<'_>) -> Option<Change> {
    let history = shown
        .record
        .changes()
        .iter()
        .filter(|change| change.key.is_path());
    let last = history
        .filter_map(|change| change.stamp.deciding_seconds())
        .max()?;
    let stamp = Stamp::from_seconds(Some(last).filter(|last| *last < TIME_MAX)? + 1);
    Some(Change {
        key: FieldKey::path(),
        stamp,
        value: Value::Text(shown.path.as_ref().clone()),
    })
}
