//! The data model: a vault is a map of records, and a record is a set of changes that only grows.
//!
//! A [`Change`] is `[domain, name, value, stamp]`. Every edit adds a change, and so does every
//! deletion. No change is ever removed, unless a person [truncates](crate::history::truncate) the
//! history or [purges](crate::history::purge) a change. [`view`](crate::view) computes what people
//! see from the newest changes, and [`merge`](crate::merge) unites two vaults. The rules are:
//!  - one total order decides which change of a field is newest: first the stamp, then the bytes of
//!    the value, where an absent value is the lowest. The order is the same on every device;
//!  - two changes of a field with the same stamp that show the same text are one change: the value
//!    that keeps more lines apart takes the place of the other one. A purged change takes the place
//!    of all changes of its field with its stamp;
//!  - a change with a stamp outside 1970..=9999 is kept and sent to other devices, but it never
//!    decides what people see;
//!  - this room has no clock and no randomness: the caller passes in the time of an edit and the id
//!    of a new record.

mod edit;
mod map;
mod stamp;
mod text;

use std::any::Any;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::btree_map;
use std::fmt;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, LazyLock};

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

pub use edit::EditError;
pub use stamp::{
    AHEAD_SECONDS, PRESENT_MIN, STAMP_DIGITS_MAX, Stamp, TIME_MAX, TIME_MIN, is_ahead,
};
pub use text::Text;

pub(crate) use map::{Order, RecordMap, Shown};

/// The name of the meta field that holds a record's path.
pub const PATH: &str = "path";

/// All records of a person, with their whole history.
///
/// Equal vaults hold the same changes, whatever the order in which they came.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Vault {
    // No record in this map is empty.
    pub(crate) records: RecordMap,
    // See `history::truncate`.
    pub(crate) since: Option<i64>,
}

impl Vault {
    /// What `make` computes from this vault, kept until its records change. One type is kept at a
    /// time, the first that is asked for; a clone shares it.
    pub fn derived<T>(&self, make: impl Fn(&Self) -> T) -> Arc<T>
    where
        T: Any + Send + Sync + UnwindSafe + RefUnwindSafe,
    {
        self.records.derived(|| make(self))
    }

    /// A vault without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// The record of this id, deleted or not.
    pub fn record(&self, id: &RecordId) -> Option<&Record> {
        self.records.get(id)
    }

    /// All records, deleted ones included, in the order of their ids.
    pub fn records(&self) -> Records<'_> {
        Records(self.records.iter())
    }

    /// True if there is no record, not even a deleted one.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The number of changes in the whole history.
    pub fn change_count(&self) -> usize {
        self.records
            .values()
            .map(|record| record.changes.len())
            .sum()
    }

    /// The number of purged changes.
    pub fn purged_count(&self) -> usize {
        let changes = self.records.values().flat_map(|record| &record.changes);
        changes.filter(|change| change.is_purged()).count()
    }

    /// Adds one change with the stamp that it has. Returns false if the vault had it already, or if
    /// it was purged.
    ///
    /// For changes that were made elsewhere: by an import, or on another device. Edits of a person
    /// use [`set`](Self::set) and its siblings, which choose a stamp that wins.
    pub fn insert(&mut self, id: &RecordId, change: Change) -> bool {
        match self.records.get_mut(id) {
            Some(record) => record.insert(change),
            None => {
                self.records.insert(
                    id.clone(),
                    Record {
                        changes: vec![change],
                    },
                );
                true
            }
        }
    }
}

/// The records of a vault in the order of their ids; see [`Vault::records`].
#[derive(Clone, Debug)]
pub struct Records<'a>(btree_map::Iter<'a, RecordId, Record>);

impl<'a> Iterator for Records<'a> {
    type Item = (&'a RecordId, &'a Record);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Records<'_> {}

/// Identifies a record. A record keeps its id when it is renamed or deleted.
///
/// Passmate makes ids of 16 upper-case hex digits. Other programs may use any text, even the empty
/// one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId(Text);

impl RecordId {
    /// The id as text.
    pub fn as_text(&self) -> &Text {
        &self.0
    }
}

/// Makes an id for a new record: 64 random bits as 16 upper-case hex digits.
pub fn make_record_id(rng: &mut (impl CryptoRng + ?Sized)) -> RecordId {
    RecordId(Text::from(format!("{:016X}", rng.next_u64())))
}

impl<T: Into<Text>> From<T> for RecordId {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordId({:?})", self.0.to_string_lossy())
    }
}

/// One record: a set of changes, never empty inside a vault.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Record {
    // Sorted, without duplicates: the changes of a field are adjacent, the newest last. No change
    // replaces another one, so a purged change is the only one of its field with its stamp.
    pub(crate) changes: Vec<Change>,
}

impl Record {
    /// Sorts the changes, and drops duplicates and those that another one replaces.
    pub(crate) fn from_changes(mut changes: Vec<Change>) -> Self {
        changes.sort_unstable();
        changes.dedup();
        let has_replaced = |pair: &[Change]| matches!(pair, [a, b] if b.replaces(a));
        if changes.windows(2).any(has_replaced) {
            let mut kept: Vec<Change> = Vec::with_capacity(changes.len());
            for change in changes.into_iter().rev() {
                if kept.last().is_none_or(|next| !next.replaces(&change)) {
                    kept.push(change);
                }
            }
            kept.reverse();
            changes = kept;
        }
        Self { changes }
    }

    /// All changes, ordered by field, stamp and value, purged ones included.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes of each field, oldest first, in the order of the fields' keys.
    pub fn fields(&self) -> impl Iterator<Item = &[Change]> {
        self.changes.chunk_by(|a, b| a.key == b.key)
    }

    /// The changes of one field, oldest first, including those that never decide.
    pub fn history(&self, domain: Domain, name: &Text) -> &[Change] {
        let start = self
            .changes
            .partition_point(|change| change.key.cmp_parts(domain, name).is_lt());
        let rest = self.changes.get(start..).unwrap_or_default();
        let len = rest.partition_point(|change| change.key.cmp_parts(domain, name).is_eq());
        rest.get(..len).unwrap_or_default()
    }

    /// The change that decides one field: the newest among those whose stamp may decide and that
    /// were not purged.
    pub fn newest(&self, domain: Domain, name: &Text) -> Option<&Change> {
        newest_of(self.history(domain, name))
    }

    /// True if the record has this change, or one that takes its place: nothing of it is new here.
    pub fn has(&self, change: &Change) -> bool {
        place_of(&self.changes, change).is_none()
    }

    /// Adds changes in any order, in time nearly linear in the size of the record.
    pub(crate) fn insert_all(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.changes.extend(changes);
            *self = Self::from_changes(std::mem::take(&mut self.changes));
        }
    }

    /// Adds a change. Returns false if the record [has](Self::has) it already.
    pub(crate) fn insert(&mut self, change: Change) -> bool {
        let Some(place) = place_of(&self.changes, &change) else {
            return false;
        };
        let before = self.changes.get(..place).unwrap_or_default();
        let replaced = before.iter().rev();
        let replaced = replaced.take_while(|known| change.replaces(known)).count();
        self.changes.splice(place - replaced..place, [change]);
        true
    }
}

/// Where a change belongs among sorted changes; `None` if it, or one that replaces it, is there.
fn place_of(changes: &[Change], change: &Change) -> Option<usize> {
    let place = changes.binary_search(change).err()?;
    // What replaces a change is greater, and comes next: nothing that it replaces is between them.
    let next = changes.get(place);
    next.is_none_or(|next| !next.replaces(change))
        .then_some(place)
}

/// True if nothing of a change is new to the sorted changes of its field.
pub(crate) fn is_known(history: &[Change], change: &Change) -> bool {
    place_of(history, change).is_none()
}

/// The change that decides among the changes of one field, given in ascending order.
pub(crate) fn newest_of(history: &[Change]) -> Option<&Change> {
    history.iter().rev().find(|change| change.decides())
}

/// One change of one field.
///
/// Ordered by field, then stamp, then value. Views depend on this order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Change {
    /// The field that changed.
    pub key: FieldKey,
    /// When it changed.
    pub stamp: Stamp,
    /// The new value.
    pub value: Value,
}

impl Change {
    /// True if its stamp may decide what people see, and it was not purged.
    pub(crate) fn decides(&self) -> bool {
        self.stamp.decides() && !self.is_purged()
    }

    /// True if its value was purged.
    pub fn is_purged(&self) -> bool {
        #[cfg(test)]
        work::note();
        matches!(self.value, Value::Purged)
    }

    /// True if both are changes of one field with the same stamp: a purge removes both.
    pub(crate) fn is_of_one_time(&self, other: &Self) -> bool {
        self.stamp == other.stamp && self.key == other.key
    }

    /// True if this change takes the place of another one of its field and time: it purges it, or
    /// shows the same text in lines that are kept apart. What replaces a change is greater.
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        self.value.replaces(&other.value) && self.is_of_one_time(other)
    }
}

/// Names a field of a record. A clone shares the name, because a vault has few names and many
/// changes. All keys of a name that most records have share it too, so vaults are compared quickly.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(from = "FieldName", into = "FieldName")]
pub struct FieldKey(Arc<FieldName>);

/// The names that most records have.
static COMMON: LazyLock<[FieldKey; 7]> = LazyLock::new(|| {
    let names = [PATH, "user", "password", "url", "notes", "otp", "tags"];
    names.map(|name| {
        let domain = match name {
            PATH => Domain::Meta,
            _ => Domain::User,
        };
        let name = Text::from(name);
        FieldKey(Arc::new(FieldName { domain, name }))
    })
});

impl Ord for FieldKey {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for FieldKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a [`FieldKey`] consists of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FieldName {
    /// Whether the field belongs to the program or to the user.
    pub domain: Domain,
    /// The field's name within its domain; may be empty.
    pub name: Text,
}

impl Deref for FieldKey {
    type Target = FieldName;

    fn deref(&self) -> &FieldName {
        &self.0
    }
}

impl From<FieldName> for FieldKey {
    fn from(name: FieldName) -> Self {
        match COMMON.iter().find(|common| *common.0 == name) {
            Some(common) => common.clone(),
            None => Self(Arc::new(name)),
        }
    }
}

impl From<FieldKey> for FieldName {
    fn from(key: FieldKey) -> Self {
        Arc::unwrap_or_clone(key.0)
    }
}

impl FieldKey {
    /// A field of this domain.
    pub fn new(domain: Domain, name: impl Into<Text>) -> Self {
        let name = name.into();
        FieldName { domain, name }.into()
    }

    /// The field that holds a record's path.
    pub fn path() -> Self {
        Self::new(Domain::Meta, PATH)
    }

    /// A user field.
    pub fn user(name: impl Into<Text>) -> Self {
        Self::new(Domain::User, name)
    }

    /// True for the field that holds a record's path.
    pub fn is_path(&self) -> bool {
        self.domain == Domain::Meta && self.name == PATH
    }

    fn cmp_parts(&self, domain: Domain, name: &Text) -> Ordering {
        self.domain.cmp(&domain).then_with(|| self.name.cmp(name))
    }
}

/// The owner of a field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Domain {
    /// The program: the path, and fields that only other programs know.
    Meta,
    /// The user: user name, password, or any other field.
    User,
}

/// The value that a change gives to a field.
///
/// Ordered by the bytes of the text that it shows, where absent is the lowest and purged is the
/// greatest. A text comes before a list that shows the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// The field was unset. For the path: the record was deleted.
    Absent,
    /// A text. The empty text shows as unset, as in the original program.
    Text(Text),
    /// Two or more lines that the desktop client keeps apart. Shows as one text, joined with line
    /// feeds. [`Value::from_lines`] makes one.
    List(Vec<Text>),
    /// The value was [purged](crate::history::purge), and the change decides nothing any more. It
    /// stands for every change of its field with its stamp.
    Purged,
}

impl Value {
    /// The value for these lines: absent for none, a text for one, a list for more.
    pub fn from_lines(mut lines: Vec<Text>) -> Self {
        match lines.len() {
            0 | 1 => lines.pop().map_or(Self::Absent, Self::Text),
            _ => Self::List(lines),
        }
    }

    /// The text that people see; `None` for absent, purged, and the empty text.
    pub fn shown(&self) -> Option<Cow<'_, Text>> {
        match self {
            Self::Absent | Self::Purged => None,
            Self::Text(text) if text.is_empty() => None,
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::List(lines) => Some(Text::join_lines(lines))
                .filter(|text| !text.is_empty())
                .map(Cow::Owned),
        }
    }

    /// True if people see nothing of it.
    pub(crate) fn shows_nothing(&self) -> bool {
        match self {
            Self::Absent | Self::Purged => true,
            Self::Text(text) => text.is_empty(),
            // Two lines show at least a line feed.
            Self::List(lines) => lines.len() < 2 && lines.iter().all(Text::is_empty),
        }
    }

    /// True if this value takes the place of another one that was set at the same time.
    fn replaces(&self, other: &Self) -> bool {
        match self {
            Self::Absent | Self::Text(_) => false,
            Self::List(_) => {
                let shows_the_same = matches!(other, Self::Text(_) | Self::List(_))
                    && self.joined() == other.joined();
                shows_the_same && self > other
            }
            Self::Purged => !matches!(other, Self::Purged),
        }
    }

    /// The text that people see; the empty text if they see nothing.
    pub(crate) fn joined_text(&self) -> Text {
        self.joined()
            .map_or_else(|| Text::from(""), Cow::into_owned)
    }

    /// The text whose bytes decide the order; `None` for absent and purged.
    fn joined(&self) -> Option<Cow<'_, Text>> {
        match self {
            Self::Absent | Self::Purged => None,
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::List(lines) => Some(Cow::Owned(Text::join_lines(lines))),
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            // The common case, without a copy. `None`, the absent value, is the lowest `Option`.
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Purged, Self::Purged) => Ordering::Equal,
            (Self::Purged, _) => Ordering::Greater,
            (_, Self::Purged) => Ordering::Less,
            _ => self
                .joined()
                .cmp(&other.joined())
                .then_with(|| match (self, other) {
                    (Self::List(a), Self::List(b)) => a.cmp(b),
                    (Self::Text(_), Self::List(_)) => Ordering::Less,
                    (Self::List(_), Self::Text(_)) => Ordering::Greater,
                    _ => Ordering::Equal,
                }),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Counts how often changes are looked at, for tests of how the work grows with a record.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn note() {
        COUNT.with(|count| count.set(count.get() + 1));
    }

    /// How often a call looks at a change.
    pub(crate) fn of(call: impl FnOnce()) -> usize {
        let before = COUNT.with(Cell::get);
        call();
        COUNT.with(Cell::get) - before
    }

    /// Fails if four times the size is much more than four times the work. Quadratic work would be
    /// sixteen times as much.
    #[track_caller]
    pub(crate) fn assert_nearly_linear(work_of: impl Fn(i64) -> usize) {
        let (small, large) = (work_of(1000), work_of(4000));
        assert!(small > 1000 && large < small * 6, "{small} and {large}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_name_that_most_records_have_are_one() {
        for (domain, name, is_one) in [
            (Domain::Meta, PATH, true),
            (Domain::User, "password", true),
            (Domain::User, PATH, false),
            (Domain::Meta, "password", false),
            (Domain::User, "door", false),
        ] {
            let [one, other] = [(); 2].map(|()| FieldKey::new(domain, name));
            assert_eq!(one, other);
            assert_eq!(one.cmp(&other), Ordering::Equal);
            assert_eq!((one.domain, &*one.name.to_string_lossy()), (domain, name));
            assert_eq!(Arc::ptr_eq(&one.0, &other.0), is_one, "{name}");
        }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn list(lines: &[&str]) -> Value {
        Value::List(lines.iter().map(|line| Text::from(*line)).collect())
    }

    fn user(name: &str, value: Value, seconds: i64) -> Change {
        Change {
            key: FieldKey::user(name),
            stamp: Stamp::from_seconds(seconds),
            value,
        }
    }

    #[test]
    fn values_are_ordered_by_bytes_with_absent_lowest() {
        let ascending = [
            Value::Absent,
            text(""),
            text("\n"),
            list(&["", ""]),
            text("Z"),
            text("a"),
            text("a\nb"),
            list(&["a", "b"]),
            text("a\nb\nc"),
            list(&["a", "b", "c"]),
            list(&["a", "b\nc"]),
            list(&["a\nb", "c"]),
            text("ü"),
            text("🔑"),
            Value::Purged,
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{i} against {j}");
                assert_eq!(a == b, i == j);
            }
        }
    }

    #[test]
    fn a_record_keeps_each_change_once_and_sorted() {
        let mut vault = Vault::new();
        let id = RecordId::from("A");
        for change in [
            user("b", text("2"), 5),
            user("a", text("1"), 9),
            user("b", text("1"), 3),
        ] {
            assert!(vault.insert(&id, change.clone()));
            assert!(!vault.insert(&id, change));
        }
        let record = vault.record(&id).expect("three changes were inserted");
        let names: Vec<_> = record
            .fields()
            .map(|field| (field[0].key.name.clone(), field.len()))
            .collect();
        assert_eq!(names, [("a".into(), 1), ("b".into(), 2)]);
        assert_eq!(
            record.newest(Domain::User, &"b".into()),
            Some(&user("b", text("2"), 5))
        );
        assert_eq!(record.newest(Domain::User, &"c".into()), None);
        assert_eq!(vault.change_count(), 3);
    }

    #[test]
    fn a_stamp_that_never_decides_is_kept_but_not_newest() {
        let record = Record::from_changes(vec![
            user("f", text("old"), 10),
            user("f", text("future"), TIME_MAX + 1),
            user("f", text("past"), 0),
        ]);
        assert_eq!(record.history(Domain::User, &"f".into()).len(), 3);
        assert_eq!(
            record.newest(Domain::User, &"f".into()),
            Some(&user("f", text("old"), 10))
        );
    }

    #[test]
    fn record_ids_are_sixteen_upper_case_hex_digits() {
        let mut rng = getrandom::SysRng;
        let id = make_record_id(&mut rand_core::UnwrapErr(&mut rng));
        let text = id.as_text().as_str().unwrap_or_default();
        assert_eq!(text.len(), 16);
        assert!(
            text.bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')),
            "{id:?}"
        );
    }

    #[test]
    fn a_change_takes_at_most_64_bytes() {
        assert!(size_of::<Change>() <= 64, "{}", size_of::<Change>());
    }
}
