//! The one gate: nothing from outside is merged that has not passed it. The rules are:
//!  - only an [`Admitted`] can be merged, and only [`admit`] makes one;
//!  - new records that displace nothing pass;
//!  - deletions, changes and purges of what people see are counted since the baseline, over all
//!    places, and so are records that take over the path of another one. More than the policy
//!    allows is held back;
//!  - changes stamped more than a day after the present, and a later start of the history, are always
//!    held back; only a vault without records takes over any start;
//!  - a truncation at a time more than a day after the present never counts;
//!  - what is held back changes nothing until a person agrees to it, or refuses it for good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use passmate_vault::merge::MergeSummary;
use passmate_vault::record::{Change, Record, is_ahead};
use passmate_vault::view::{View, ViewRecord};
use passmate_vault::{Baseline, RecordId, SeenChanges, Text, Vault};

use crate::held::{Effect, HeldBack, HeldRecord, digest};
use crate::options::{Decision, Policy};
use crate::report::{Ahead, Report};

/// How many changes from the future a report names.
const AHEAD_MAX: usize = 3;

/// Changes from outside that may be merged.
#[derive(Debug, Clone)]
pub struct Admitted {
    vault: Arc<Vault>,
    baseline: Option<Baseline>,
    /// This vault's own history was truncated in the future: that does not count any more.
    drops_own_cut: bool,
    news: News,
}

/// What of the admitted changes is new here.
#[derive(Debug, Clone, Default)]
struct News {
    now: i64,
    received: SeenChanges,
    ahead: Vec<Ahead>,
    purged: BTreeSet<RecordId>,
    ignored_cut: Option<i64>,
}

impl Admitted {
    /// The changes.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The baseline from now on.
    #[must_use]
    pub const fn baseline(&self) -> Option<&Baseline> {
        self.baseline.as_ref()
    }

    /// Merges the changes into the vault for which they were admitted.
    pub fn merge_into(&self, vault: &mut Vault) -> MergeSummary {
        if self.drops_own_cut {
            *vault = std::mem::take(vault).with_whole_history();
        }
        vault.merge(&self.vault)
    }

    /// Adds the changes to a report.
    pub fn note(&self, report: &mut Report) {
        report.ahead.clone_from(&self.news.ahead);
        report.purged.extend(self.news.purged.iter().cloned());
        report.ignored_cut = self.news.ignored_cut.or(report.ignored_cut);
        report
            .delta
            .note_received(&self.news.received, self.news.now);
    }
}

/// A vault that changes from outside are about to enter.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The vault.
    pub vault: &'a Vault,
    /// From where alterations by others are counted; `None` if there were none yet.
    pub baseline: Option<&'a Baseline>,
    /// The present, in seconds since 1970.
    pub now: i64,
}

/// Admits changes from outside to a vault.
///
/// # Errors
/// They are held back: a person must decide. Nothing was changed.
pub fn admit(
    remote: impl Into<Arc<Vault>>,
    to: Entry<'_>,
    policy: &Policy,
) -> Result<Admitted, Box<HeldBack>> {
    Review::of(remote.into(), to).decide(policy)
}

/// What [`admit`] would hold back; `None` if nothing.
#[must_use]
pub fn would_hold_back(
    remote: impl Into<Arc<Vault>>,
    to: Entry<'_>,
    policy: &Policy,
) -> Option<Box<HeldBack>> {
    let policy = Policy {
        decision: Decision::Ask,
        ..policy.clone()
    };
    admit(remote, to, &policy).err()
}

/// Changes from outside, compared with the vault.
struct Review<'a> {
    ours: &'a Vault,
    /// The vault without a truncation in the future, if it has one.
    repaired: Option<Vault>,
    /// The changes from outside, without a truncation in the future.
    remote: Arc<Vault>,
    baseline: Option<&'a Baseline>,
    news: News,
    /// Records that people see and that would be altered.
    altered: Vec<HeldRecord>,
    /// Changes stamped in the future.
    ahead: Vec<HeldRecord>,
    /// A later start of the history of a vault that has records.
    cut: Option<i64>,
    /// Whether the vault lacks a change.
    has_news: bool,
    /// The number of records that people see.
    before: usize,
    /// The same after the merge.
    after: usize,
}

impl<'a> Review<'a> {
    fn of(mut remote: Arc<Vault>, to: Entry<'a>) -> Self {
        let Entry {
            vault: ours,
            baseline,
            now,
        } = to;
        let in_future = |vault: &Vault| vault.history_since().filter(|since| is_ahead(*since, now));
        let ignored_cut = in_future(&remote);
        if ignored_cut.is_some() {
            remote = Arc::new(Vault::clone(&remote).with_whole_history());
        }
        let repaired = in_future(ours).map(|_| ours.clone().with_whole_history());
        let mut review = Self {
            ours,
            repaired,
            remote,
            baseline,
            news: News {
                now,
                ignored_cut,
                ..News::default()
            },
            altered: Vec::new(),
            ahead: Vec::new(),
            cut: None,
            has_news: false,
            before: 0,
            after: 0,
        };
        review.compare();
        review
    }

    /// The vault into which the changes are merged.
    fn base(&self) -> &Vault {
        self.repaired.as_ref().unwrap_or(self.ours)
    }

    fn compare(&mut self) {
        let ours = self.base();
        let kept = self.remote.truncated_with(ours);
        let cut = self.remote.history_since();
        let cut = cut.filter(|since| ours.history_since().is_none_or(|ours| ours < *since));
        let has_news = kept.missing_from(ours) > 0;
        if !has_news && cut.is_none() {
            return;
        }
        let received = SeenChanges::of(&kept).without(&SeenChanges::of(ours));
        let mut merged = ours.clone();
        let summary = merged.merge(&self.remote);
        let (before, after) = (ours.view(), merged.view());
        let purged = purged(ours, &merged, &summary);
        let purged_ids = purged.keys().copied().cloned().collect();
        let altered = altered(&before, &after, &summary, purged);
        let ahead = ahead(&kept, ours, self.news.now);
        let counts = (before.records().len(), after.records().len());
        let cut = cut.filter(|_| !ours.is_empty());
        (self.before, self.after) = counts;
        self.has_news = has_news;
        self.news.purged = purged_ids;
        self.news.ahead = newest(&ahead);
        (self.altered, self.ahead, self.cut) = (altered, ahead, cut);
        self.news.received = received;
    }

    fn decide(self, policy: &Policy) -> Result<Admitted, Box<HeldBack>> {
        // The number of records that people see is taken before anything new comes, because
        // whoever brings new ones could raise it. A vault that gets its first records trusts them.
        let known = match self.before {
            0 => self.after,
            before => before,
        };
        let mut baseline = Baseline::or_new(self.baseline, self.news.now, known);
        let earlier = baseline.altered();
        baseline.note(self.altered.iter().map(|record| &record.id));
        let is_too_much =
            !self.altered.is_empty() && policy.is_too_much(baseline.altered(), baseline.records);
        if !is_too_much && self.ahead.is_empty() && self.cut.is_none() {
            let counted = self.has_news.then_some(baseline);
            return Ok(self.admitted(counted));
        }
        let held = self.held(is_too_much, earlier, &baseline);
        // What is few enough passes and counts. To what is too much, a person gives an answer, and
        // from an agreement on it is counted anew.
        let counted = (!is_too_much).then_some(baseline);
        match &policy.decision {
            Decision::AgreeToAll => {}
            Decision::Agree(agreed) if held.asks_no_more_than(agreed) => {}
            Decision::Refuse(refused) if held.asks_no_more_than(refused) => {
                return self.refuse(held, counted);
            }
            Decision::RefuseAll => return self.refuse(held, counted),
            Decision::Ask | Decision::Agree(_) | Decision::Refuse(_) => return Err(held.into()),
        }
        let agreed = is_too_much.then(|| Baseline::new(self.news.now, self.after));
        Ok(self.admitted(agreed.or(counted)))
    }

    fn admitted(self, baseline: Option<Baseline>) -> Admitted {
        Admitted {
            baseline: baseline.or_else(|| self.baseline.cloned()),
            drops_own_cut: self.repaired.is_some(),
            vault: self.remote,
            news: self.news,
        }
    }

    /// The changes, together with those that undo for good what was held back.
    fn refuse(
        mut self,
        held: HeldBack,
        counted: Option<Baseline>,
    ) -> Result<Admitted, Box<HeldBack>> {
        let mut remote = Vault::clone(&self.remote);
        if held.cut.is_some() {
            remote = remote.with_whole_history();
        }
        let base = self.base();
        let refusal = base.refusal(&remote, held.culprits(), self.news.now);
        // The clock is beyond the year 9999.
        let Ok(refusal) = refusal else {
            return Err(held.into());
        };
        remote.merge(&refusal);
        self.remote = remote.into();
        let kept = self.remote.truncated_with(self.base());
        self.news.received = SeenChanges::of(&kept).without(&SeenChanges::of(self.base()));
        self.news.ahead.clear();
        self.news.purged.clear();
        Ok(self.admitted(counted))
    }

    fn held(&self, is_too_much: bool, earlier: usize, baseline: &Baseline) -> HeldBack {
        let mut records = self.ahead.clone();
        if is_too_much {
            records.extend(self.altered.iter().cloned());
        }
        records.sort();
        let mut held = HeldBack {
            records,
            of: self.before,
            earlier: if is_too_much { earlier } else { 0 },
            since: baseline.time,
            cut: self.cut,
            changes: BTreeSet::new(),
        };
        let kept = self.remote.truncated_with(self.base());
        let mut changes = BTreeSet::new();
        for id in held.culprits() {
            let new = new_in(&kept, self.base(), id);
            changes.extend(new.map(|change| digest(id, change)));
        }
        held.changes = changes;
        held
    }
}

/// The records, deleted ones too, that lose a value by a purge. A value that the field has elsewhere
/// in its history is not lost.
fn purged<'a>(
    ours: &'a Vault,
    merged: &Vault,
    summary: &MergeSummary,
) -> BTreeMap<&'a RecordId, Text> {
    let loses = |record: &Record, merged: &Record| {
        let has = |change: &Change| {
            let field = merged.history(change.key.domain, &change.key.name);
            field.iter().any(|other| other.value == change.value)
        };
        let values = record.changes().iter();
        let mut values = values.filter(|change| change.value.shown().is_some());
        values.any(|change| !has(change))
    };
    let mut purged = BTreeMap::new();
    for (id, record) in ours.records() {
        let is_purged = summary.purged.binary_search(id).is_ok();
        if is_purged && merged.record(id).is_none_or(|merged| loses(record, merged)) {
            purged.insert(id, record.last_path().unwrap_or_else(|| Text::from("")));
        }
    }
    purged
}

/// The records that people saw and that are not as they were, and those that lose values.
fn altered(
    before: &View<'_>,
    after: &View<'_>,
    summary: &MergeSummary,
    mut purged: BTreeMap<&RecordId, Text>,
) -> Vec<HeldRecord> {
    let now: BTreeMap<&RecordId, &ViewRecord<'_>> = after
        .records()
        .iter()
        .map(|record| (record.id, record))
        .collect();
    let is_touched = |id: &RecordId| summary.changed.binary_search(id).is_ok();
    // The records that came or changed, by the path that they want.
    let mut wanting: BTreeMap<&Text, Vec<RecordId>> = BTreeMap::new();
    for record in after.records() {
        let came = [&summary.added, &summary.changed];
        if came.iter().any(|ids| ids.binary_search(record.id).is_ok()) {
            let path = record.clash.as_ref().unwrap_or(&record.path);
            wanting.entry(path).or_default().push(record.id.clone());
        }
    }
    let mut altered = Vec::new();
    for record in before.records() {
        let is_purged = purged.remove(record.id).is_some();
        let held = |effect| HeldRecord {
            id: record.id.clone(),
            path: record.path.as_ref().clone(),
            effect,
        };
        let now = now.get(record.id);
        let keeps_path = now.is_some_and(|now| now.path == record.path);
        altered.extend(match now {
            None => Some(held(Effect::Deleted)),
            Some(now) if is_touched(record.id) && !shows_the_same(record, now) => {
                Some(held(Effect::Changed))
            }
            Some(_) if is_purged => Some(held(Effect::Purged)),
            Some(_) => None,
        });
        let mut by = wanting
            .get(record.path.as_ref())
            .cloned()
            .unwrap_or_default();
        by.retain(|id| id != record.id);
        if !keeps_path && !by.is_empty() {
            altered.push(held(Effect::Displaced { by }));
        }
    }
    let deleted = purged.into_iter().map(|(id, path)| HeldRecord {
        id: id.clone(),
        path,
        effect: Effect::Purged,
    });
    altered.extend(deleted);
    altered
}

/// Whether a record shows the same fields, under the path that it has in its changes.
fn shows_the_same(before: &ViewRecord<'_>, now: &ViewRecord<'_>) -> bool {
    let own_path = |record: &ViewRecord<'_>| {
        let path = record.clash.as_ref().unwrap_or(&record.path);
        path.as_ref().clone()
    };
    let fields = |record: &ViewRecord<'_>| {
        let fields = record.fields();
        let fields = fields.map(|field| (field.name.clone(), field.value.into_owned()));
        fields.collect::<Vec<_>>()
    };
    own_path(before) == own_path(now) && fields(before) == fields(now)
}

/// The changes of a record that one vault has and another has not.
fn new_in<'a>(
    vault: &'a Vault,
    other: &'a Vault,
    id: &RecordId,
) -> impl Iterator<Item = &'a Change> {
    let known = other.record(id).map_or(&[][..], Record::changes);
    let changes = vault.record(id).map_or(&[][..], Record::changes);
    changes
        .iter()
        .filter(|change| known.binary_search(change).is_err())
}

/// The received changes that are stamped in the future.
fn ahead(kept: &Vault, ours: &Vault, now: i64) -> Vec<HeldRecord> {
    let mut found = Vec::new();
    for (id, _) in kept.records() {
        for change in new_in(kept, ours, id).filter(|change| !change.is_purged()) {
            let time = change.stamp.deciding_seconds();
            if let Some(time) = time.filter(|time| is_ahead(*time, now)) {
                let last_path = |vault: &Vault| vault.record(id)?.last_path();
                let path = last_path(ours).or_else(|| last_path(kept));
                found.push(HeldRecord {
                    id: id.clone(),
                    path: path.unwrap_or_else(|| Text::from("")),
                    effect: Effect::Ahead {
                        field: change.key.clone(),
                        time,
                    },
                });
            }
        }
    }
    found
}

/// Those of them that are furthest in the future.
fn newest(held: &[HeldRecord]) -> Vec<Ahead> {
    let ahead = held.iter().filter_map(|record| match &record.effect {
        Effect::Ahead { field, time } => Some(Ahead {
            record: record.id.clone(),
            field: field.clone(),
            time: *time,
        }),
        _ => None,
    });
    let mut ahead: Vec<Ahead> = ahead.collect();
    ahead.sort_by_key(|ahead| std::cmp::Reverse(ahead.time));
    ahead.truncate(AHEAD_MAX);
    ahead
}
