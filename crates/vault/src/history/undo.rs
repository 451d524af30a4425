//! Undoing what was done on this device step by step, and redoing it.
//!
//! A *step* is one edit of a person, an import, or a sync that a person asked for. The log of the
//! steps stays on this device. The rules are:
//!  - a step knows the fields that it changed by digests of changes, and holds neither names nor
//!    values, so a purge has nothing to remove here;
//!  - undoing and redoing write new edits and remove nothing from the history. They are no steps;
//!  - a field is left as it is if it shows something else than the step left there, or if the value
//!    that it had was purged or cut off;
//!  - a record is deleted only if the step knows every field that the record shows, so nothing that
//!    came later is hidden;
//!  - a new step drops the steps that were undone.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Change, Domain, EditError, FieldKey, Record, RecordId, Text, Value, Vault};
use crate::sync::seen::change_digest;

/// The most steps that are remembered.
pub const STEPS_MAX: usize = 50;
/// The most fields that several steps remember together. The newest step may have more.
pub const CELLS_MAX: usize = 10_000;
/// The most fields that one step remembers. A step that changed more remembers none.
pub const STEP_CELLS_MAX: usize = 200_000;
/// The longest name of a place, in characters.
pub(crate) const PLACE_LEN_MAX: usize = 1000;

/// What a step was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StepKind {
    /// A record was made.
    New,
    /// A field was set.
    Set,
    /// A field was unset.
    Unset,
    /// Records got other paths.
    Move,
    /// Records were copied.
    Copy,
    /// Records were deleted.
    Delete,
    /// A record was edited as a whole.
    Edit,
    /// A record or a field got an earlier state.
    Restore,
    /// Records were imported.
    Import,
    /// Changes came from this server, this folder, or both.
    Sync(String),
}

impl StepKind {
    /// A sync with this place. A name of more than 1000 characters is cut.
    pub fn sync(place: &str) -> Self {
        Self::Sync(place.chars().take(PLACE_LEN_MAX).collect())
    }

    /// Its name.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Set => "set",
            Self::Unset => "unset",
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Delete => "delete",
            Self::Edit => "edit",
            Self::Restore => "restore",
            Self::Import => "import",
            Self::Sync(_) => "sync",
        }
    }

    /// The kind without a place that has this name.
    pub(crate) fn from_word(word: &[u8]) -> Option<Self> {
        const ALL: [StepKind; 9] = [
            StepKind::New,
            StepKind::Set,
            StepKind::Unset,
            StepKind::Move,
            StepKind::Copy,
            StepKind::Delete,
            StepKind::Edit,
            StepKind::Restore,
            StepKind::Import,
        ];
        ALL.into_iter().find(|kind| kind.word().as_bytes() == word)
    }
}

/// What one command or sync changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What it was.
    pub kind: StepKind,
    /// When it was, in seconds since 1970.
    pub time: i64,
    pub(crate) cells: Vec<Cell>,
}

/// A field that a step changed, by the digests of the changes that decided it. The two are equal
/// for a field that only shows or hides because its record was restored or deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    /// `None` if there was no such field.
    pub(crate) before: Option<u64>,
    pub(crate) after: u64,
}

impl Cell {
    fn is_changed(self) -> bool {
        self.before != Some(self.after)
    }
}

impl Step {
    /// The step from one state to a later one; `None` if people see no difference, or if no earlier
    /// value is left.
    pub fn between(kind: StepKind, time: i64, before: &Vault, after: &Vault) -> Option<Self> {
        let mut cells = Vec::new();
        for (id, record) in after.records() {
            let then = before.record(id);
            if then != Some(record) {
                add_cells(&mut cells, id, then, record);
            }
        }
        if !cells.iter().any(|cell| cell.is_changed()) {
            return None;
        }
        if cells.len() > STEP_CELLS_MAX {
            cells = Vec::new();
        }
        Some(Self { kind, time, cells })
    }

    /// Whether it changed too much to be remembered.
    pub fn is_forgotten(&self) -> bool {
        self.cells.is_empty()
    }

    /// Adds a step that came right after this one.
    fn join(&mut self, next: Self) {
        let was_forgotten = self.is_forgotten() || next.is_forgotten();
        let places = self.cells.iter().enumerate();
        let places: BTreeMap<u64, usize> =
            places.map(|(place, cell)| (cell.after, place)).collect();
        for cell in next.cells {
            let place = cell.before.and_then(|before| places.get(&before));
            match place.and_then(|place| self.cells.get_mut(*place)) {
                Some(known) => known.after = cell.after,
                None => self.cells.push(cell),
            }
        }
        if was_forgotten || self.cells.len() > STEP_CELLS_MAX {
            self.cells.clear();
        }
        self.time = next.time;
    }
}

fn add_cells(cells: &mut Vec<Cell>, id: &RecordId, then: Option<&Record>, record: &Record) {
    let is_live = record.is_live();
    let turned = then.is_some_and(Record::is_live) != is_live;
    for field in record.fields() {
        let Some(key) = field.first().map(|change| &change.key) else {
            continue;
        };
        let now = deciding(record, key);
        let Some(now) = now.filter(|_| key.domain == Domain::User || key.is_path()) else {
            continue;
        };
        let old = then.and_then(|record| deciding(record, key));
        if old == Some(now) && (!turned || now.value.shows_nothing()) {
            continue;
        }
        let before = old.map(|old| kept(record, old, now));
        let before = match before {
            None => None,
            Some(Some(kept)) => Some(change_digest(id, kept)),
            // The value is gone, so the field cannot get it back.
            Some(None) => continue,
        };
        let after = change_digest(id, now);
        cells.push(Cell { before, after });
    }
}

/// The change that decides what people see of a field. For the path of a live record it is the one
/// that set the path.
fn deciding<'a>(record: &'a Record, key: &FieldKey) -> Option<&'a Change> {
    if !key.is_path() {
        return record.newest(key.domain, &key.name);
    }
    let is_live = record.is_live();
    let history = record.history(key.domain, &key.name).iter().rev();
    let mut history = history.filter(|change| change.decides());
    history.find(|change| !is_live || !change.value.shows_nothing())
}

/// An earlier change of a field, or one that an edit put in its place because it was stamped in the
/// future.
fn kept<'a>(record: &'a Record, old: &Change, now: &Change) -> Option<&'a Change> {
    let history = record.history(old.key.domain, &old.key.name);
    let same = history.iter().find(|change| *change == old);
    same.or_else(|| {
        let mut earlier = history.iter().rev();
        earlier.find(|change| change.decides() && *change < now && change.value == old.value)
    })
}

/// The steps of this device, the newest last.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct UndoLog {
    pub(crate) steps: Vec<Step>,
    /// The number of steps that are in effect. Those behind it were undone.
    pub(crate) at: usize,
}

/// What undoing or redoing a step did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retraced {
    /// What the step was.
    pub kind: StepKind,
    /// When it was, in seconds since 1970.
    pub time: i64,
    /// The records that it had changed, as far as the history still knows them.
    pub records: Vec<RetracedRecord>,
    /// The number of edits.
    pub changes: usize,
    /// The number of fields that were left as they are; a path counts as one.
    pub left: usize,
    /// The step changed too much to be remembered.
    pub is_forgotten: bool,
}

/// A record that a step had changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetracedRecord {
    /// Its id.
    pub id: RecordId,
    /// The path that it has, or had when it was deleted.
    pub path: Option<Text>,
    /// The paths before and after the step, if the step gave it another one.
    pub moved: Option<(Text, Text)>,
    /// The names of the user fields that the step had changed.
    pub fields: Vec<Text>,
}

/// Which way a step is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Back,
    Forward,
}

impl UndoLog {
    /// True if it has no step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds a step. The steps that were undone cannot be redone any more.
    pub fn push(&mut self, step: Step) {
        self.steps.truncate(self.at);
        self.steps.push(step);
        self.trim();
    }

    /// Drops the oldest steps, of a log whose steps are all in effect, until it is within the
    /// limits.
    fn trim(&mut self) {
        let mut cells: usize = self.steps.iter().map(|step| step.cells.len()).sum();
        let mut dropped = 0;
        for step in &self.steps {
            let left = self.steps.len() - dropped;
            if left <= 1 || (left <= STEPS_MAX && cells <= CELLS_MAX) {
                break;
            }
            cells -= step.cells.len();
            dropped += 1;
        }
        self.steps.drain(..dropped);
        self.at = self.steps.len();
    }

    /// Adds a step that belongs to the newest one, if that is a sync.
    pub fn extend(&mut self, step: Step) {
        let is_newest = self.at == self.steps.len();
        let newest = self.steps.last_mut().filter(|_| is_newest);
        match newest.filter(|newest| matches!(newest.kind, StepKind::Sync(_))) {
            Some(newest) => {
                newest.join(step);
                self.trim();
            }
            None => self.push(step),
        }
    }

    /// Undoes the newest step that is in effect; `None` if there is none.
    ///
    /// # Errors
    /// See [`EditError`]; nothing was changed.
    pub fn undo(&mut self, vault: &mut Vault, now: i64) -> Result<Option<Retraced>, EditError> {
        let Some(step) = self.at.checked_sub(1).and_then(|at| self.steps.get(at)) else {
            return Ok(None);
        };
        let retraced = retrace(step, Direction::Back, vault, now)?;
        self.at -= 1;
        Ok(Some(retraced))
    }

    /// Redoes the step that was undone last; `None` if there is none.
    ///
    /// # Errors
    /// See [`EditError`]; nothing was changed.
    pub fn redo(&mut self, vault: &mut Vault, now: i64) -> Result<Option<Retraced>, EditError> {
        let Some(step) = self.steps.get(self.at) else {
            return Ok(None);
        };
        let retraced = retrace(step, Direction::Forward, vault, now)?;
        self.at += 1;
        Ok(Some(retraced))
    }

    /// Merges the logs that two programs stored independently, both starting from `base`: new steps
    /// of ours follow theirs.
    #[must_use]
    pub fn merge(base: &Self, ours: Self, theirs: Self) -> Self {
        if theirs == *base {
            return ours;
        }
        let ours = ours.steps.into_iter();
        let new = ours.filter(|step| !base.steps.contains(step) && !theirs.steps.contains(step));
        let new: Vec<Step> = new.collect();
        let mut merged = theirs;
        for step in new {
            merged.push(step);
        }
        merged
    }
}

/// A field of a step, with the values that it had then.
struct Planned {
    key: FieldKey,
    from: Past,
    to: Past,
    is_changed: bool,
    /// The field was made by the step, and this way leads to before it.
    is_made: bool,
}

/// A value that a field had.
enum Past {
    Known(Value),
    Gone,
}

impl Past {
    fn is(&self, shown: Option<&Text>) -> bool {
        match self {
            Self::Known(value) => value.shown().as_deref() == shown,
            Self::Gone => false,
        }
    }
}

/// What becomes of a field.
enum Fate {
    /// It is as it should be.
    AsWanted,
    Write(Value),
    Left,
}

impl Planned {
    fn fate(&self, record: &Record) -> Fate {
        let shown = deciding(record, &self.key).and_then(|change| change.value.shown());
        let shown = shown.as_deref();
        match &self.to {
            to if to.is(shown) => Fate::AsWanted,
            Past::Known(value) if self.is_changed && self.from.is(shown) => {
                Fate::Write(value.clone())
            }
            _ => Fate::Left,
        }
    }
}

fn retrace(
    step: &Step,
    direction: Direction,
    vault: &mut Vault,
    now: i64,
) -> Result<Retraced, EditError> {
    let mut retraced = Retraced {
        kind: step.kind.clone(),
        time: step.time,
        records: Vec::new(),
        changes: 0,
        left: 0,
        is_forgotten: step.is_forgotten(),
    };
    let mut after = vault.clone();
    for (id, plan) in plan(step, direction, vault, &mut retraced.left) {
        let Some(record) = vault.record(&id) else {
            continue;
        };
        let moved = plan.iter().find(|planned| planned.key.is_path());
        let moved = moved.and_then(|path| match (&path.from, &path.to) {
            (Past::Known(from), Past::Known(to)) => {
                let (from, to) = (from.shown()?.into_owned(), to.shown()?.into_owned());
                (from != to).then_some(match direction {
                    Direction::Back => (to, from),
                    Direction::Forward => (from, to),
                })
            }
            _ => None,
        });
        let fields = plan
            .iter()
            .filter(|one| one.is_changed && !one.key.is_path());
        let fields = fields.map(|planned| planned.key.name.clone()).collect();
        let edits = Edits::of(record, &plan);
        retraced.left += edits.left;
        retraced.changes += edits.write(&mut after, &id, now)?;
        let path = after.record(&id).and_then(Record::last_path);
        retraced.records.push(RetracedRecord {
            id,
            path,
            moved,
            fields,
        });
    }
    *vault = after;
    Ok(retraced)
}

/// The fields of a step by their records. Counts those of which nothing is known any more.
fn plan(
    step: &Step,
    direction: Direction,
    vault: &Vault,
    unknown: &mut usize,
) -> BTreeMap<RecordId, Vec<Planned>> {
    let digests = step.cells.iter();
    let digests = digests.flat_map(|cell| cell.before.into_iter().chain([cell.after]));
    let known = find(vault, &digests.collect());
    let value = |digest: Option<u64>| match digest.map(|digest| known.get(&digest)) {
        None => Past::Known(Value::Absent),
        Some(Some((_, change))) if !change.is_purged() => Past::Known(change.value.clone()),
        Some(_) => Past::Gone,
    };
    let mut records: BTreeMap<RecordId, Vec<Planned>> = BTreeMap::new();
    for cell in &step.cells {
        let before = cell.before.and_then(|before| known.get(&before));
        let Some((id, change)) = known.get(&cell.after).or(before) else {
            *unknown += usize::from(cell.is_changed());
            continue;
        };
        let (from, to) = match direction {
            Direction::Back => (value(Some(cell.after)), value(cell.before)),
            Direction::Forward => (value(cell.before), value(Some(cell.after))),
        };
        records.entry((*id).clone()).or_default().push(Planned {
            key: change.key.clone(),
            from,
            to,
            is_changed: cell.is_changed(),
            is_made: direction == Direction::Back && cell.before.is_none(),
        });
    }
    records
}

/// The changes with these digests. Of two in one second, the one that decides counts.
fn find<'a>(
    vault: &'a Vault,
    digests: &BTreeSet<u64>,
) -> BTreeMap<u64, (&'a RecordId, &'a Change)> {
    let mut known = BTreeMap::new();
    if digests.is_empty() {
        return known;
    }
    for (id, record) in vault.records() {
        for change in record.changes() {
            let digest = change_digest(id, change);
            if digests.contains(&digest) {
                known.insert(digest, (id, change));
            }
        }
    }
    known
}

/// The edits of one record.
#[derive(Default)]
struct Edits {
    values: Vec<(FieldKey, Value)>,
    is_deleted: bool,
    left: usize,
}

impl Edits {
    fn of(record: &Record, plan: &[Planned]) -> Self {
        let mut edits = Self::default();
        let mut expected: BTreeSet<&Text> = BTreeSet::new();
        let mut path = None;
        let mut values = Vec::new();
        for planned in plan {
            let fate = planned.fate(record);
            if planned.key.is_path() {
                path = Some((planned, fate));
                continue;
            }
            match fate {
                Fate::Left => edits.left += usize::from(planned.is_changed),
                Fate::AsWanted => drop(expected.insert(&planned.key.name)),
                Fate::Write(value) => {
                    expected.insert(&planned.key.name);
                    values.push((planned.key.clone(), value));
                }
            }
        }
        let is_dead = !record.is_live();
        let mut is_left = is_dead;
        match path {
            None => {}
            Some((planned, Fate::AsWanted)) if is_dead => {
                is_left = false;
                edits.is_deleted = true;
                if planned.is_made {
                    values.clear();
                }
            }
            Some((_, Fate::AsWanted)) => {}
            Some((planned, Fate::Write(value))) if !value.shows_nothing() => {
                is_left = false;
                values.push((planned.key.clone(), value));
            }
            Some((planned, Fate::Write(_))) if shows_only(record, &expected) => {
                edits.is_deleted = true;
                // What the step made is hidden with its record.
                if planned.is_made {
                    values.clear();
                }
            }
            Some((_, Fate::Left | Fate::Write(_))) => edits.left += 1,
        }
        if is_left {
            // An edit would bring back a record that was deleted meanwhile.
            edits.left += values.len();
        } else {
            edits.is_deleted &= !(is_dead && values.is_empty());
            edits.values = values;
        }
        edits
    }

    /// Returns their number.
    fn write(self, vault: &mut Vault, id: &RecordId, now: i64) -> Result<usize, EditError> {
        let count = self.values.len() + usize::from(self.is_deleted);
        if !self.values.is_empty() {
            vault.change_values(id, self.values.into_iter().collect(), now)?;
        }
        // Last, because a deletion is newer than all of the record's changes.
        if self.is_deleted {
            vault.delete(id, now)?;
        }
        Ok(count)
    }
}

/// True if a record shows no other user fields than these.
fn shows_only(record: &Record, names: &BTreeSet<&Text>) -> bool {
    record.fields().all(|field| {
        let key = field.first().map(|change| &change.key);
        key.is_none_or(|key| {
            let newest = record.newest(key.domain, &key.name);
            key.domain == Domain::Meta
                || names.contains(&key.name)
                || newest.is_none_or(|change| change.value.shows_nothing())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Stamp, work};

    #[test]
    fn the_work_of_an_undo_grows_with_the_record_and_no_faster() {
        const NOW: i64 = 1_700_000_000;
        work::assert_nearly_linear(|fields| {
            let id = RecordId::from("A");
            let mut before = Vault::new();
            before.create_record(id.clone(), "a", NOW).unwrap();
            let add = |vault: &mut Vault, number: i64, value: &str, time: i64| {
                let key = FieldKey::user(format!("f{number}"));
                let (stamp, value) = (Stamp::from_seconds(time), Value::Text(value.into()));
                vault.insert(&id, Change { key, stamp, value });
            };
            (0..fields).for_each(|number| add(&mut before, number, "v", NOW));
            let mut after = before.clone();
            (0..fields).for_each(|number| add(&mut after, number, "w", NOW + 1));
            work::of(|| {
                let mut log = UndoLog::default();
                log.push(Step::between(StepKind::Edit, NOW, &before, &after).unwrap());
                let retraced = log.undo(&mut after, NOW).unwrap().unwrap();
                assert_eq!(i64::try_from(retraced.changes), Ok(fields));
            })
        });
    }
}
