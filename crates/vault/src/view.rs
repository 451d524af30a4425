//! What people see of a vault: live records, each under a path of its own, and their fields with
//! the newest values.
//!
//! A view is computed and never stored. It is the same on every device that has the same changes.
//! The rules are:
//!  - a record is live if its newest path is set. It is also live if a user field changed after the
//!    deletion: the record then has its last path again, so that an edit on another device is not
//!    lost;
//!  - if several records have the same path, one keeps it: the one with the lowest id, but a record
//!    that lives in spite of its deletion yields to one that was not deleted. Each of the others
//!    shows under that path, a tilde, and at least four characters of its id, as many as make its
//!    path unique.

mod lookup;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXUPPER;

use crate::record::{
    Change, Domain, Order, Record, RecordId, Shown, Stamp, Text, Vault, newest_of,
};

pub use lookup::Lookup;

/// The records of a vault as people see them, sorted by path.
#[derive(Clone, Debug)]
pub struct View<'a> {
    live: Vec<ViewRecord<'a>>,
    deleted: Vec<DeletedRecord<'a>>,
}

impl<'a> View<'a> {
    /// The live records in the order of their paths' bytes.
    pub fn records(&self) -> &[ViewRecord<'a>] {
        &self.live
    }

    /// The live record shown under this path.
    pub fn get(&self, path: &str) -> Option<&ViewRecord<'a>> {
        self.get_bytes(path.as_bytes())
    }

    /// The live record shown under this path, which may hold lone surrogates.
    pub fn get_text(&self, path: &Text) -> Option<&ViewRecord<'a>> {
        self.get_bytes(path.as_bytes())
    }

    /// The deleted records that had a path once, in the order of their ids.
    pub fn deleted(&self) -> &[DeletedRecord<'a>] {
        &self.deleted
    }

    fn get_bytes(&self, path: &[u8]) -> Option<&ViewRecord<'a>> {
        let place = self
            .live
            .binary_search_by(|record| record.path.as_bytes().cmp(path))
            .ok()?;
        self.live.get(place)
    }
}

/// A live record.
#[derive(Clone, Debug)]
pub struct ViewRecord<'a> {
    /// Its id.
    pub id: &'a RecordId,
    /// The path under which it shows. No other live record has this path.
    pub path: Cow<'a, Text>,
    /// The path that it has in its changes, if another record keeps that path.
    pub clash: Option<Cow<'a, Text>>,
    /// True if it was deleted and lives because a field changed after the deletion.
    pub revived: bool,
    /// Its whole history.
    pub record: &'a Record,
}

/// The newest value of a field that is set.
#[derive(Clone, Debug)]
pub struct ViewField<'a> {
    /// The field's name.
    pub name: &'a Text,
    /// Its value, never empty.
    pub value: Cow<'a, Text>,
    /// When it was set.
    pub stamp: &'a Stamp,
}

/// A record whose deletion is its newest change.
#[derive(Clone, Debug)]
pub struct DeletedRecord<'a> {
    /// Its id.
    pub id: &'a RecordId,
    /// The last path that it had. Another record may have this path now.
    pub path: Cow<'a, Text>,
    /// When it was deleted.
    pub stamp: &'a Stamp,
    /// Its whole history.
    pub record: &'a Record,
}

impl<'a> ViewRecord<'a> {
    /// The user fields that are set, in the order of their names' bytes.
    pub fn fields(&self) -> impl Iterator<Item = ViewField<'a>> + use<'a> {
        let user = self
            .record
            .fields()
            .filter(|field| matches!(field, [first, ..] if first.key.domain == Domain::User));
        user.filter_map(|field| show(newest_of(field)?))
    }

    /// A user field, if it is set.
    pub fn field(&self, name: &Text) -> Option<ViewField<'a>> {
        show(self.record.newest(Domain::User, name)?)
    }
}

/// A path that a record would show under. Of several claims to one path, the lowest one counts.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim<'a> {
    pub(crate) path: Cow<'a, Text>,
    // A record that was deleted comes after one that took its place.
    revived: bool,
    pub(crate) id: &'a RecordId,
}

fn show(change: &Change) -> Option<ViewField<'_>> {
    change.value.shown().map(|value| ViewField {
        name: &change.key.name,
        value,
        stamp: &change.stamp,
    })
}

impl Vault {
    /// Computes what people see of this vault.
    pub fn view(&self) -> View<'_> {
        let lookup = self.lookup();
        let live = lookup.order.live.iter();
        let live = live.filter_map(|shown| lookup.show(shown));
        let deleted = lookup.order.deleted.iter().filter_map(|place| {
            let (id, record) = lookup.records.get(*place)?;
            match record.state() {
                State::Deleted { path, stamp } => Some(DeletedRecord {
                    id,
                    path,
                    stamp,
                    record,
                }),
                State::Live { .. } | State::Pathless => None,
            }
        });
        View {
            live: live.collect(),
            deleted: deleted.collect(),
        }
    }
}

/// The costly part of a view.
fn order_of(records: &BTreeMap<RecordId, Record>) -> Order {
    let mut live = Vec::with_capacity(records.len());
    let mut deleted = Vec::new();
    for (place, (id, record)) in records.iter().enumerate() {
        match record.state() {
            State::Live { path, revived } => live.push(Placed {
                claim: Claim { path, revived, id },
                renamed: None,
                place,
            }),
            State::Deleted { .. } => deleted.push(place),
            State::Pathless => {}
        }
    }
    live.sort_by(|a, b| a.claim.cmp(&b.claim));
    resolve_clashes(&mut live);
    let live = live.into_iter().map(|placed| Shown {
        place: placed.place,
        renamed: placed.renamed,
    });
    Order {
        live: live.collect(),
        deleted,
    }
}

/// A live record, while the order is made.
struct Placed<'a> {
    claim: Claim<'a>,
    renamed: Option<Text>,
    place: usize,
}

impl Placed<'_> {
    fn path(&self) -> &Text {
        self.renamed.as_ref().unwrap_or(self.claim.path.as_ref())
    }
}

/// Whether a record is live, judged by its own changes.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum State<'a> {
    Live {
        path: Cow<'a, Text>,
        revived: bool,
    },
    Deleted {
        path: Cow<'a, Text>,
        stamp: &'a Stamp,
    },
    Pathless,
}

impl Record {
    /// The path under which the record lives, before clashes; `None` if it is deleted.
    pub(crate) fn live_path(&self) -> Option<Text> {
        self.state().into_live_path().map(Cow::into_owned)
    }
}

impl Record {
    /// Whether people see the record.
    pub fn is_live(&self) -> bool {
        self.state().is_live()
    }

    /// The path under which the record lives, before clashes, or that it had when it was deleted.
    pub fn last_path(&self) -> Option<Text> {
        match self.state() {
            State::Live { path, .. } | State::Deleted { path, .. } => Some(path.into_owned()),
            State::Pathless => None,
        }
    }
}

impl<'a> State<'a> {
    pub(crate) fn into_live_path(self) -> Option<Cow<'a, Text>> {
        match self {
            State::Live { path, .. } => Some(path),
            State::Deleted { .. } | State::Pathless => None,
        }
    }

    /// What a record of this id and state would show under, if it is live.
    pub(crate) fn into_claim(self, id: &'a RecordId) -> Option<Claim<'a>> {
        match self {
            State::Live { path, revived } => Some(Claim { path, revived, id }),
            State::Deleted { .. } | State::Pathless => None,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self, State::Live { .. })
    }

    pub(crate) fn is_revived(&self) -> bool {
        matches!(self, State::Live { revived: true, .. })
    }
}

impl Record {
    pub(crate) fn state(&self) -> State<'_> {
        // Meta fields sort first and most records have only the path, so this search is short.
        let history = self
            .fields()
            .find(|field| matches!(field, [first, ..] if first.key.is_path()));
        let mut newest_first = history
            .unwrap_or_default()
            .iter()
            .rev()
            .filter(|change| change.decides());
        let Some(newest) = newest_first.next() else {
            return State::Pathless;
        };
        if let Some(path) = newest.value.shown() {
            return State::Live {
                path,
                revived: false,
            };
        }
        let Some(path) = newest_first.find_map(|change| change.value.shown()) else {
            return State::Pathless;
        };
        let edited_later = |change: &Change| {
            change.key.domain == Domain::User && change.decides() && change.stamp > newest.stamp
        };
        if self.changes.iter().any(edited_later) {
            State::Live {
                path,
                revived: true,
            }
        } else {
            State::Deleted {
                path,
                stamp: &newest.stamp,
            }
        }
    }
}

/// Gives a unique path to each record whose path another one keeps. `live` is sorted by claims
/// before, and by paths after.
fn resolve_clashes(live: &mut [Placed<'_>]) {
    let mut losers = Vec::new();
    for (index, pair) in live.windows(2).enumerate() {
        if let [first, second] = pair
            && first.claim.path == second.claim.path
        {
            losers.push(index + 1);
        }
    }
    if losers.is_empty() {
        return;
    }
    let mut names = Names::default();
    let mut renamed = Vec::with_capacity(losers.len());
    for index in losers {
        if let Some(record) = live.get(index) {
            let is_wanted = |path: &Text| {
                live.binary_search_by(|other| other.claim.path.as_ref().cmp(path))
                    .is_ok()
            };
            renamed.push((index, names.name_for(&record.claim, is_wanted)));
        }
    }
    for (index, path) in renamed {
        if let Some(record) = live.get_mut(index) {
            record.renamed = Some(path);
        }
    }
    live.sort_by(|a, b| a.path().cmp(b.path()));
}

/// The unique paths that were given to clashing records.
#[derive(Default)]
struct Names {
    given: BTreeSet<Text>,
    // The next number to try for each path with a whole handle, so that no number is tried twice.
    numbers: BTreeMap<Text, u64>,
}

impl Names {
    fn name_for(&mut self, record: &Claim<'_>, is_wanted: impl Fn(&Text) -> bool) -> Text {
        let handle = handle(record.id);
        for len in HANDLE_LEN_MIN.min(handle.len())..=handle.len() {
            let name = record
                .path
                .with_suffix(&format!("~{}", handle.get(..len).unwrap_or(&handle)));
            if !is_wanted(&name) && self.given.insert(name.clone()) {
                return name;
            }
        }
        let base = record.path.with_suffix(&format!("~{handle}"));
        let number = self.numbers.entry(base.clone()).or_insert(2);
        loop {
            let name = base.with_suffix(&format!("~{number}"));
            *number += 1;
            if !is_wanted(&name) && self.given.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// The least number of an id's characters in the path of a clashing record.
const HANDLE_LEN_MIN: usize = 4;
/// The greatest number of them.
const HANDLE_LEN_MAX: usize = 16;

/// Represents a record's id in a path: its first characters if they are ASCII letters and digits,
/// else the hex digits of its first bytes.
fn handle(id: &RecordId) -> String {
    let bytes = id.as_text().as_bytes();
    let mut handle = String::with_capacity(HANDLE_LEN_MAX);
    if bytes.is_empty() {
        handle.push('0');
    } else if bytes
        .iter()
        .take(HANDLE_LEN_MAX)
        .all(u8::is_ascii_alphanumeric)
    {
        handle.extend(
            bytes
                .iter()
                .take(HANDLE_LEN_MAX)
                .map(|byte| char::from(*byte)),
        );
    } else {
        let len = bytes.len().min(HANDLE_LEN_MAX / 2);
        handle = HEXUPPER.encode(bytes.get(..len).unwrap_or_default());
    }
    handle
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{FieldKey, TIME_MAX, Value};

    fn path(seconds: i64, path: &str) -> Change {
        Change {
            key: FieldKey::path(),
            stamp: Stamp::from_seconds(seconds),
            value: Value::Text(path.into()),
        }
    }

    fn deletion(seconds: i64) -> Change {
        Change {
            value: Value::Absent,
            ..path(seconds, "")
        }
    }

    fn user(seconds: i64, name: &str, value: Value) -> Change {
        Change {
            key: FieldKey::user(name),
            stamp: Stamp::from_seconds(seconds),
            value,
        }
    }

    fn vault(records: &[(&str, &[Change])]) -> Vault {
        let mut vault = Vault::new();
        for (id, changes) in records {
            for change in *changes {
                vault.insert(&RecordId::from(*id), change.clone());
            }
        }
        vault
    }

    #[track_caller]
    #[test]
    fn a_view_shows_what_changed_since_the_last_one() {
        let mut vault = Vault::new();
        let paths = |vault: &Vault| -> Vec<String> {
            let view = vault.view();
            let live = view.records().iter();
            let live = live.map(|record| record.path.to_string_lossy().into_owned());
            let deleted = view.deleted().iter();
            let deleted = deleted.map(|record| format!("-{}", record.path.to_string_lossy()));
            live.chain(deleted).collect()
        };
        vault.create_record("1".into(), "a", 1).unwrap();
        assert_eq!(paths(&vault), ["a"]);
        let mut other = vault.clone();
        assert_eq!(paths(&other), ["a"]);
        vault.create_record("2".into(), "0", 2).unwrap();
        assert_eq!(paths(&vault), ["0", "a"]);
        vault.delete(&"1".into(), 3).unwrap();
        assert_eq!(paths(&vault), ["0", "-a"]);
        other.merge(&vault);
        assert_eq!(paths(&other), ["0", "-a"]);
        other.create_record("3".into(), "0", 4).unwrap();
        assert_eq!(paths(&other).len(), 3);
        assert_eq!(
            other
                .view()
                .records()
                .iter()
                .filter(|one| one.clash.is_some())
                .count(),
            1
        );
        let other = other.clone();
        assert_eq!(paths(&other).len(), 3);
    }

    fn check_paths(records: &[(&str, &[Change])], expected: &[(&str, &str)]) {
        let vault = vault(records);
        let view = vault.view();
        let shown: Vec<_> = view
            .records()
            .iter()
            .map(|record| {
                (
                    record.path.to_string_lossy(),
                    record.id.as_text().to_string_lossy(),
                )
            })
            .collect();
        let shown: Vec<_> = shown
            .iter()
            .map(|(path, id)| (path.as_ref(), id.as_ref()))
            .collect();
        assert_eq!(shown, expected);
        for (path, id) in expected {
            assert_eq!(*view.get(path).unwrap().id.as_text(), *id);
        }
    }

    #[test]
    fn a_record_lives_while_its_newest_path_is_set() {
        check_paths(&[("A", &[path(5, "old"), path(7, "new")])], &[("new", "A")]);
        check_paths(&[("A", &[path(5, "p"), deletion(6)])], &[]);
        check_paths(&[("A", &[path(5, "p"), path(6, "")])], &[]);
        check_paths(
            &[("A", &[path(5, "p"), deletion(6), path(7, "q")])],
            &[("q", "A")],
        );
        check_paths(&[("A", &[user(5, "f", Value::Text("v".into()))])], &[]);
        check_paths(
            &[("A", &[deletion(5), user(9, "f", Value::Text("v".into()))])],
            &[],
        );
    }

    #[test]
    fn a_change_after_the_deletion_revives_the_last_path() {
        let changes = [
            path(3, "a"),
            path(4, "b"),
            deletion(6),
            user(7, "f", Value::Text("v".into())),
        ];
        check_paths(&[("A", &changes)], &[("b", "A")]);
        assert!(vault(&[("A", &changes)]).view().get("b").unwrap().revived);
        let unset_later = [path(4, "b"), deletion(6), user(7, "f", Value::Absent)];
        check_paths(&[("A", &unset_later)], &[("b", "A")]);
    }

    #[test]
    fn a_change_in_the_second_of_the_deletion_does_not_revive() {
        check_paths(
            &[(
                "A",
                &[
                    path(4, "b"),
                    deletion(6),
                    user(6, "f", Value::Text("v".into())),
                ],
            )],
            &[],
        );
    }

    #[test]
    fn a_meta_field_does_not_revive_a_record() {
        let meta = Change {
            key: FieldKey::new(Domain::Meta, "desktop.SCHEMA"),
            ..user(9, "", Value::Text("v".into()))
        };
        check_paths(&[("A", &[path(4, "b"), deletion(6), meta])], &[]);
    }

    #[test]
    fn stamps_outside_the_range_decide_nothing() {
        check_paths(
            &[
                ("A", &[path(0, "p")]),
                ("B", &[path(-3, "q")]),
                ("C", &[path(TIME_MAX + 1, "r")]),
            ],
            &[],
        );
        check_paths(
            &[("A", &[path(5, "p"), deletion(TIME_MAX + 1)])],
            &[("p", "A")],
        );
        let far = user(TIME_MAX + 1, "f", Value::Text("v".into()));
        check_paths(&[("A", &[path(5, "p"), deletion(6), far])], &[]);
    }

    #[test]
    fn of_two_paths_with_one_stamp_the_greater_bytes_win() {
        check_paths(
            &[("A", &[path(5, "b"), path(5, "a"), deletion(5)])],
            &[("b", "A")],
        );
    }

    #[test]
    fn fields_show_their_newest_value_unless_it_is_empty() {
        let list = Value::List(vec!["l1".into(), "l2".into()]);
        let vault = vault(&[(
            "A",
            &[
                path(5, "p"),
                user(5, "list", list),
                user(5, "f", Value::Text("old".into())),
                user(6, "f", Value::Text("new".into())),
                user(6, "gone", Value::Text("x".into())),
                user(7, "gone", Value::Absent),
                user(6, "empty", Value::Text("x".into())),
                user(7, "empty", Value::Text("".into())),
            ],
        )]);
        let view = vault.view();
        let record = view.get("p").unwrap();
        let fields: Vec<_> = record
            .fields()
            .map(|field| {
                (
                    field.name.as_str().unwrap().to_owned(),
                    field.value.as_str().unwrap().to_owned(),
                )
            })
            .collect();
        assert_eq!(
            fields,
            [("f".into(), "new".into()), ("list".into(), "l1\nl2".into())]
        );
        assert_eq!(
            record.field(&"list".into()).unwrap().value.as_str(),
            Some("l1\nl2")
        );
        assert!(record.field(&"empty".into()).is_none());
    }

    #[test]
    fn of_clashing_records_the_lowest_id_keeps_the_path() {
        check_paths(
            &[
                ("C0FFEE01", &[path(1, "p")]),
                ("A1B2C3D4", &[path(9, "p")]),
                ("C0FFEE02", &[path(2, "p")]),
            ],
            &[
                ("p", "A1B2C3D4"),
                ("p~C0FF", "C0FFEE01"),
                ("p~C0FFE", "C0FFEE02"),
            ],
        );
    }

    #[test]
    fn a_revived_record_yields_to_its_living_successor() {
        let edited = [
            path(1, "p"),
            deletion(5),
            user(6, "f", Value::Text("v".into())),
        ];
        check_paths(
            &[
                ("A111", &edited),
                ("B222", &[path(5, "p")]),
                ("C333", &[path(7, "p")]),
            ],
            &[("p", "B222"), ("p~A111", "A111"), ("p~C333", "C333")],
        );
        // Of revived records alone, the lowest id keeps the path.
        check_paths(
            &[("A111", &edited), ("B222", &edited)],
            &[("p", "A111"), ("p~B222", "B222")],
        );
    }

    #[test]
    fn a_clashing_record_never_gets_the_path_of_another() {
        check_paths(
            &[
                ("A", &[path(1, "p")]),
                ("B", &[path(1, "p")]),
                ("C", &[path(1, "p~B")]),
                ("D", &[path(1, "p~B~2")]),
            ],
            &[("p", "A"), ("p~B", "C"), ("p~B~2", "D"), ("p~B~3", "B")],
        );
    }

    #[test]
    fn clashing_records_with_untypable_ids_get_hex_digits() {
        check_paths(
            &[
                ("", &[path(1, "a")]),
                ("\n", &[path(1, "a")]),
                (" ", &[path(1, "a")]),
                ("ü", &[path(1, "a")]),
            ],
            &[("a", ""), ("a~0A", "\n"), ("a~20", " "), ("a~C3BC", "ü")],
        );
        check_paths(
            &[("", &[path(1, "a")]), (" ", &[path(2, "a")])],
            &[("a", ""), ("a~20", " ")],
        );
    }

    #[test]
    fn a_clashing_record_tells_its_own_path() {
        let vault = vault(&[("A", &[path(1, "p")]), ("B", &[path(1, "p")])]);
        let view = vault.view();
        assert!(view.get("p").unwrap().clash.is_none());
        assert_eq!(
            view.get("p~B").unwrap().clash.as_deref(),
            Some(&Text::from("p"))
        );
    }

    #[test]
    fn many_clashing_records_take_no_quadratic_time() {
        let mut vault = Vault::new();
        for number in 0..20_000 {
            let id = RecordId::from(format!("AAAAAAAAAAAAAAAA{number:05}"));
            vault.insert(&id, path(1, "p"));
        }
        let view = vault.view();
        assert_eq!(view.records().len(), 20_000);
        assert!(
            view.records()
                .windows(2)
                .all(|pair| matches!(pair, [a, b] if a.path < b.path))
        );
    }
}
