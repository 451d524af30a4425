//! Compatibility with the original programs, where they take part in a sync: Passmate 2 through a
//! shared folder, the desktop client through an account.
//!
//! The original programs refuse two things that do happen: a *tie*, which is two changes of one
//! field in one second, and two records with the same path. [`Vault::resolution`] makes edits that
//! remove both; every device makes the same edits. [`Vault::part_for`] leaves out what the original
//! programs would refuse. The rules are:
//!  - of the changes of a tie, the one that people see is repeated a second later, and none of the
//!    tie is written for the original programs;
//!  - if this would revive a deleted record, the record is deleted again, a second after its last
//!    change;
//!  - a record that clashes with another, or lives in spite of a deletion, gets the path under
//!    which it shows, a second after its last path;
//!  - so a change that an original program does not have may be resolved instead of lost: a change
//!    of the same field follows shortly after it
//!    ([`SeenChanges::of_resolved`](crate::SeenChanges::of_resolved)).

use crate::record::{
    Change, Domain, FieldKey, Record, RecordId, Stamp, TIME_MAX, Text, Value, Vault,
};
use crate::view::ViewRecord;

/// If changes of one field follow each other within this number of seconds, the last may be the
/// resolution of all of them: the resolution of one tie may be part of the next tie.
pub(crate) const RESOLVED_WITHIN: i64 = 8;

/// The prefix of the names of fields that only the desktop client knows.
pub(crate) const DESKTOP_PREFIX: &str = "desktop.";

/// An original program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Original {
    /// The current one, which syncs through a shared folder.
    Passmate2,
    /// The desktop client, which syncs through a server.
    Desktop,
}

/// The treatment of ties: changes of one field with the same time and different values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ties {
    /// The change that people see stays.
    Winner,
    /// None of them stays if the tie has a [resolution](Vault::resolution).
    Resolved,
}

impl Vault {
    /// The edits that let original programs take part. The caller merges them into this vault.
    ///
    /// Empty if there is nothing to resolve, and therefore after they were merged. Equal vaults
    /// have equal edits.
    pub fn resolution(&self) -> Self {
        let mut edits = Self::new();
        for (id, record) in self.records() {
            let resolved = resolve_ties(record);
            if !resolved.is_empty() {
                let resolved = Record::from_changes(resolved);
                edits.records.insert(id.clone(), resolved);
            }
        }
        // Ties come first, because the paths under which records show depend on them.
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

    /// The part of this vault that is written for an original program.
    ///
    /// Leaves out fields that the program does not know, ids, texts and times that it cannot read,
    /// and ties.
    pub fn part_for(&self, program: Original) -> Self {
        self.loadable_by(program, Ties::Resolved)
    }

    /// The part of this vault that is written for an original program in place of `there`, which
    /// was merged into this vault.
    ///
    /// What is there at a time of a field stays as it is: the program may have it, and refuses any
    /// other form of it. So nothing is removed there that the program can read, not even what was
    /// purged here. Only of a resolved tie nothing stays: the program may have any of its values.
    pub fn part_beside(&self, program: Original, there: &Self) -> Self {
        let mut part = there.part_for(program);
        for (id, record) in &self.records {
            if let Some(there) = part.records.get_mut(id) {
                there.remove_resolved_ties_of(record);
            }
        }
        for (id, record) in self.part_for(program).records {
            match part.records.get_mut(&id) {
                Some(there) => there.add_at_other_times(record),
                None => drop(part.records.insert(id, record)),
            }
        }
        part.records.retain(|_, record| !record.changes.is_empty());
        part
    }

    pub(crate) fn loadable_by(&self, program: Original, ties: Ties) -> Self {
        let mut part = Self::new();
        for (id, record) in self.records().filter(|(id, _)| program.can_read_id(id)) {
            let changes = loadable(record, program, ties);
            if !changes.is_empty() {
                part.records
                    .insert(id.clone(), Record::from_changes(changes));
            }
        }
        part
    }
}

impl Record {
    fn remove_resolved_ties_of(&mut self, other: &Self) {
        let times = other.changes.chunk_by(Change::is_of_one_time);
        let ties = times.filter(|tied| is_resolved_tie(other, tied));
        let ties: Vec<&Change> = ties.filter_map(<[Change]>::first).collect();
        if !ties.is_empty() {
            self.changes
                .retain(|change| !has_one_at_time_of(&ties, change));
        }
    }

    /// Adds those changes of another record whose fields have no change at their time here.
    fn add_at_other_times(&mut self, other: Self) {
        let there: Vec<&Change> = self.changes.iter().collect();
        let added = other.changes.into_iter();
        let added: Vec<Change> = added
            .filter(|change| !has_one_at_time_of(&there, change))
            .collect();
        self.changes.extend(added);
        self.changes.sort_unstable();
    }
}

/// Whether one of these sorted changes is of the same field and time.
fn has_one_at_time_of(sorted: &[&Change], change: &Change) -> bool {
    let place = sorted.partition_point(|one| (&one.key, &one.stamp) < (&change.key, &change.stamp));
    sorted
        .get(place)
        .is_some_and(|one| one.is_of_one_time(change))
}

/// Whether these changes of one field and time are a tie, and it has a resolution.
fn is_resolved_tie(record: &Record, tied: &[Change]) -> bool {
    match tied {
        [_, .., winner] => resolved_at(record, winner).is_some(),
        _ => false,
    }
}

impl Original {
    /// The part of a vault that is equal on all devices that sync through this program. Of changes
    /// that may be resolutions of each other, only the last is in it.
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

    /// The desktop client cannot read a file that has a lone surrogate, nor a time beyond 64 bits.
    fn can_read(self, text: &Text) -> bool {
        self == Self::Passmate2 || text.as_str().is_some()
    }

    /// Passmate 2 cannot read a file in which a record has the empty id.
    fn can_read_id(self, id: &RecordId) -> bool {
        match self {
            Self::Passmate2 => !id.as_text().is_empty(),
            Self::Desktop => self.can_read(id.as_text()),
        }
    }

    /// The form in which a change is written for this program; `None` if it cannot be.
    fn adapt(self, change: &Change) -> Option<Change> {
        // The original programs know no purge.
        if !self.knows(&change.key) || change.is_purged() {
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
                    Value::Absent | Value::Purged => true,
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
    // The desktop client would take these names for a path or a user field.
    (name != b"PATH" && !name.starts_with(b"_")).then_some(name)
}

fn loadable(record: &Record, program: Original, ties: Ties) -> Vec<Change> {
    let mut loadable = Vec::with_capacity(record.changes().len());
    for tied in record.changes().chunk_by(Change::is_of_one_time) {
        // In ascending order, so people see the last one.
        let Some(change) = tied.last() else { continue };
        if ties == Ties::Winner || !is_resolved_tie(record, tied) {
            loadable.extend(program.adapt(change));
        }
    }
    loadable
}

/// The second at which a tie of this change is resolved; `None` if its stamp never decides, or no
/// second is left.
fn resolved_at(record: &Record, change: &Change) -> Option<i64> {
    let seconds = change.stamp.deciding_seconds()?;
    let resolved = record.unpurged_second(&change.key, seconds + 1);
    (resolved <= TIME_MAX).then_some(resolved)
}

/// The edits that resolve the ties of a record: for each tie the change that people see, a second
/// later, unless there is a change at that time already.
fn resolve_ties(record: &Record) -> Vec<Change> {
    let mut resolved = Vec::new();
    for field in record.fields() {
        let ties = field
            .chunk_by(|a, b| a.stamp == b.stamp)
            .filter(|group| group.len() > 1);
        for winner in ties.filter_map(<[Change]>::last) {
            let Some(seconds) = resolved_at(record, winner) else {
                continue;
            };
            let stamp = Stamp::from_seconds(seconds);
            if field
                .binary_search_by(|change| change.stamp.cmp(&stamp))
                .is_err()
            {
                resolved.push(Change {
                    stamp,
                    ..winner.clone()
                });
            }
        }
    }
    if !resolved.is_empty() && !record.state().is_live() {
        let all = record.changes.iter().chain(&resolved);
        let all = Record::from_changes(all.cloned().collect());
        if all.state().is_live() {
            resolved.extend(delete_again(&all));
        }
    }
    resolved
}

fn delete_again(record: &Record) -> Option<Change> {
    let stamp = stamp_of_path(record, |_| true)?;
    Some(Change {
        key: FieldKey::path(),
        stamp,
        value: Value::Absent,
    })
}

/// The stamp of a change of the path that comes after the last of these changes.
fn stamp_of_path(record: &Record, is_before: impl Fn(&Change) -> bool) -> Option<Stamp> {
    let before = record.changes().iter();
    let last = before
        .filter(|change| change.decides() && is_before(change))
        .filter_map(|change| change.stamp.deciding_seconds())
        .max()?;
    let seconds = record.unpurged_second(&FieldKey::path(), last + 1);
    (seconds <= TIME_MAX).then(|| Stamp::from_seconds(seconds))
}

/// For each record that clashes or is revived, a change to the path under which it shows.
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
    let stamp = stamp_of_path(shown.record, |change| change.key.is_path())?;
    Some(Change {
        key: FieldKey::path(),
        stamp,
        value: Value::Text(shown.path.as_ref().clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::work;

    /// One field with many ties, each followed by a purged second.
    fn with_ties(ties: i64) -> Vault {
        let (mut vault, id) = (Vault::new(), RecordId::from("A"));
        for number in 0..ties {
            let time = 1000 + 5 * number;
            for (value, time) in [
                (Value::Text("a".into()), time),
                (Value::Text("b".into()), time),
                (Value::Purged, time + 1),
            ] {
                let (key, stamp) = (FieldKey::user("f"), Stamp::from_seconds(time));
                vault.insert(&id, Change { key, stamp, value });
            }
        }
        vault
    }

    #[test]
    fn the_work_of_settling_ties_grows_with_their_number_and_no_faster() {
        work::assert_nearly_linear(|ties| {
            let vault = with_ties(ties);
            work::of(|| drop(vault.resolution()))
        });
        for program in [Original::Passmate2, Original::Desktop] {
            work::assert_nearly_linear(|ties| {
                let vault = with_ties(ties);
                work::of(|| drop(vault.part_beside(program, &vault)))
            });
        }
    }
}
