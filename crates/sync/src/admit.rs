//! The one gate: nothing from outside is merged that has not passed it. The rules are:
//!  - only an [`Admitted`] can be merged, and only [`admit`] makes one;
//!  - new records that displace nothing pass;
//!  - deletions, changes and purges of what people see are counted since the baseline, over all
//!    places, and so are records that take over the path of another one. More than the policy
//!    allows is held back;
//!  - changes stamped more than a day after the present, a later start of the history, and what takes
//!    the guard from a record, are always held back; only a vault without records takes over any
//!    start;
//!  - much that shows nowhere (purges of unknown changes, records without a path), and what would
//!    make the vault too large for its server, is held back;
//!  - a truncation at a time more than a day after the present never counts;
//!  - what is held back changes nothing until a person agrees to it, or refuses it for good.

mod effects;
mod refusal;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use passmate_vault::format::btoken::BTOKEN_OVERHEAD;
use passmate_vault::format::{encode_btoken_as, fits_as};
use passmate_vault::merge::MergeSummary;
use passmate_vault::record::{Change, Record, is_ahead};
use passmate_vault::{Baseline, RecordId, RollCall, SeenChanges, Vault};

use crate::held::{Effect, HeldBack, HeldRecord, digest};
use crate::options::{Decision, Policy};
use crate::report::{Ahead, Report};
use effects::{ahead, altered, hidden_len, is_hidden, losing, new_in, rescue, unguarded};

/// How many bytes that show nowhere pass, counted since the baseline.
const HIDDEN_LEN_MAX: usize = 64 * 1024;
/// How many changes from the future a report names.
const AHEAD_MAX: usize = 3;

/// Changes from outside that may be merged.
#[derive(Debug, Clone)]
pub struct Admitted {
    vault: Arc<Vault>,
    baseline: Option<Baseline>,
    /// This vault's own history was truncated in the future: that does not count any more.
    drops_own_cut: bool,
    /// Something that came was refused and cannot be purged: it is left out.
    leaves_out: bool,
    /// The number of records that people see only now.
    added: usize,
    news: News,
}

/// What of the admitted changes is new here.
#[derive(Debug, Clone, Default)]
struct News {
    now: i64,
    received: SeenChanges,
    ahead: Vec<Ahead>,
    purged: BTreeSet<RecordId>,
    refused: usize,
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

    /// The same, as brought by a person who chose it, and not by another device: the records that
    /// they see only now count as seen, like those that they make.
    #[must_use]
    pub fn by_person(mut self) -> Self {
        if let Some(baseline) = &mut self.baseline {
            let added = self.added.min(baseline.added);
            baseline.added -= added;
            baseline.records += added;
            self.added = 0;
        }
        self
    }

    /// Whether something that came is left out, so that it goes only if this vault takes its place.
    pub(crate) const fn leaves_out(&self) -> bool {
        self.leaves_out
    }

    /// Those changes of what came that are not left out.
    pub(crate) fn kept_of<'a>(&self, remote: &'a Vault) -> Cow<'a, Vault> {
        if !self.leaves_out {
            return Cow::Borrowed(remote);
        }
        Cow::Owned(remote.filtered(|id, change| {
            let kept = self.vault.record(id).map_or(&[][..], Record::changes);
            kept.binary_search(change).is_ok()
        }))
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
        report.refused += self.news.refused;
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
    to: Entry<'a>,
    /// The vault without a truncation in the future, if it has one.
    repaired: Option<Vault>,
    /// The changes from outside, without a truncation in the future.
    remote: Arc<Vault>,
    news: News,
    /// Whether the vault lacks a change.
    has_news: bool,
    /// Records that people see and that would be altered.
    altered: Vec<HeldRecord>,
    /// Changes stamped in the future.
    ahead: Vec<HeldRecord>,
    /// Records that would lose their guard.
    unguarded: Vec<HeldRecord>,
    /// A later start of the history of a vault that has records.
    cut: Option<i64>,
    /// The number of bytes that would come and show nowhere.
    hidden: usize,
    /// The number of records that people see, before and after, and how many of them were not seen.
    before: usize,
    after: usize,
    added: usize,
    /// The vault after the merge.
    merged: Vault,
}

impl<'a> Review<'a> {
    fn of(mut remote: Arc<Vault>, to: Entry<'a>) -> Self {
        let Entry { vault, now, .. } = to;
        let in_future = |vault: &Vault| vault.history_since().filter(|since| is_ahead(*since, now));
        let ignored_cut = in_future(&remote);
        if ignored_cut.is_some() {
            remote = Arc::new(Vault::clone(&remote).with_whole_history());
        }
        let mut review = Self {
            to,
            repaired: in_future(vault).map(|_| vault.clone().with_whole_history()),
            remote,
            news: News {
                now,
                ignored_cut,
                ..News::default()
            },
            has_news: false,
            altered: Vec::new(),
            ahead: Vec::new(),
            unguarded: Vec::new(),
            cut: None,
            hidden: 0,
            before: 0,
            after: 0,
            added: 0,
            merged: Vault::new(),
        };
        review.compare();
        review
    }

    /// The vault into which the changes are merged.
    fn base(&self) -> &Vault {
        self.repaired.as_ref().unwrap_or(self.to.vault)
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
        let mut merged = ours.clone();
        let summary = merged.merge(&self.remote);
        let rescued = rescue(ours, &mut merged, &summary, self.to.now);
        let received = SeenChanges::of(&kept).without(&SeenChanges::of(ours));
        let (before, after) = (ours.view(), merged.view());
        let losing = losing(ours, &merged, &self.remote, &summary);
        let has_purge = |id: &RecordId| {
            let mut new = new_in(&self.remote, ours, id);
            new.any(Change::is_purged)
        };
        let purged = losing.keys().filter(|id| has_purge(id));
        let purged: BTreeSet<RecordId> = purged.copied().cloned().collect();
        let altered = altered(&before, &after, &summary, losing);
        let ahead = ahead(&kept, ours, self.to.now);
        let unguarded = unguarded(ours, &before, &after, &merged, &summary);
        let hidden = hidden_len(&kept, ours, &merged);
        let seen: BTreeSet<&RecordId> = before.records().iter().map(|record| record.id).collect();
        let added = after.records().iter();
        let added = added.filter(|record| !seen.contains(record.id)).count();
        let counts = (before.records().len(), after.records().len());
        let cut = cut.filter(|_| !ours.is_empty());
        (self.before, self.after) = counts;
        (self.altered, self.ahead, self.cut) = (altered, ahead, cut);
        (self.has_news, self.hidden, self.added) = (has_news, hidden, added);
        self.unguarded = unguarded;
        self.news.purged = purged;
        self.news.ahead = newest(&self.ahead);
        self.news.received = received;
        self.merged = merged;
        if !rescued.is_empty() {
            Arc::make_mut(&mut self.remote).merge(&rescued);
        }
    }

    /// What is held back, and the counts with everything that came.
    fn judge(&self, policy: &Policy) -> (HeldBack, Baseline) {
        // A vault that gets its first records trusts them.
        let is_first = self.before == 0 && self.altered.is_empty();
        let seen = if is_first { self.after } else { self.before };
        let mut counted = Baseline::or_new(self.to.baseline, self.to.now, seen);
        let earlier = counted.altered();
        counted.note(self.altered.iter().map(|record| &record.id));
        if !is_first {
            counted.added += self.added;
            counted.hidden += self.hidden;
        }
        let is_too_much =
            !self.altered.is_empty() && policy.is_too_much(counted.altered(), counted.records);
        let is_hidden = !is_first && self.hidden > 0 && counted.hidden > HIDDEN_LEN_MAX;
        let held = HeldBack {
            records: self.held_records(is_too_much),
            of: self.before,
            earlier: if is_too_much { earlier } else { 0 },
            since: counted.time,
            cut: self.cut,
            hidden: if is_hidden { self.hidden } else { 0 },
            too_large: self.too_large(policy),
            changes: BTreeMap::new(),
        };
        (held, counted)
    }

    fn decide(self, policy: &Policy) -> Result<Admitted, Box<HeldBack>> {
        let (held, counted) = self.judge(policy);
        if held.is_empty() {
            return Ok(self.admitted(counted));
        }
        let held = self.with_changes(held);
        match &policy.decision {
            Decision::Preview => Ok(self.agreed(&held, counted)),
            Decision::AgreeToAll if !held.takes_guard() => Ok(self.agreed(&held, counted)),
            Decision::Agree(agreed) if held.asks_no_more_than(agreed) => {
                Ok(self.agreed(&held, counted))
            }
            Decision::Refuse(refused) if held.asks_no_more_than(refused) => {
                self.refuse(held, policy)
            }
            Decision::RefuseAll => self.refuse(held, policy),
            Decision::Ask | Decision::Agree(_) | Decision::AgreeToAll | Decision::Refuse(_) => {
                Err(held.into())
            }
        }
    }

    /// From an agreement on it is counted anew: all of it if a person agreed to alterations, or what
    /// shows nowhere if that is what they agreed to.
    fn agreed(self, held: &HeldBack, mut counted: Baseline) -> Admitted {
        if held.alters() {
            counted = Baseline::new(self.to.now, self.after);
        } else if held.hidden > 0 {
            counted.hidden = 0;
        }
        self.admitted(counted)
    }

    fn admitted(self, counted: Baseline) -> Admitted {
        let unchanged = || self.to.baseline.cloned();
        Admitted {
            baseline: self.has_news.then_some(counted).or_else(unchanged),
            drops_own_cut: self.repaired.is_some(),
            leaves_out: false,
            added: self.added,
            vault: self.remote,
            news: self.news,
        }
    }

    fn held_records(&self, is_too_much: bool) -> Vec<HeldRecord> {
        let altered = self.altered.iter().filter(|_| is_too_much);
        let mut records: Vec<HeldRecord> = altered
            .chain(&self.ahead)
            .chain(&self.unguarded)
            .cloned()
            .collect();
        records.sort();
        records
    }

    /// The length of the vault as a btoken, if that is too large only by what came.
    fn too_large(&self, policy: &Policy) -> Option<usize> {
        let room = policy.room.filter(|_| self.has_news)?;
        let fits = |vault: &Vault| {
            let fits = fits_as(room.shape, vault, &RollCall::new(), room.btoken_len_max);
            fits.unwrap_or(false)
        };
        if fits(&self.merged) || !fits(self.base()) {
            return None;
        }
        let plaintext = encode_btoken_as(room.shape, &self.merged, &RollCall::new());
        Some(plaintext.map_or(usize::MAX, |text| text.len() + BTOKEN_OVERHEAD))
    }

    fn with_changes(&self, held: HeldBack) -> HeldBack {
        let kept = self.remote.truncated_with(self.base());
        let culprits = held.culprits();
        let mut changes = BTreeMap::new();
        for (id, _) in kept.records() {
            let (ours, merged) = (self.base().record(id), self.merged.record(id));
            let is_all = held.too_large.is_some() || culprits.contains(id);
            let is_meant =
                |change: &&Change| is_all || (held.hidden > 0 && is_hidden(change, ours, merged));
            let new = new_in(&kept, self.base(), id).filter(is_meant);
            let new: BTreeSet<_> = new.map(|change| digest(id, change)).collect();
            if !new.is_empty() || is_all {
                changes.insert(id.clone(), new);
            }
        }
        HeldBack { changes, ..held }
    }
}

/// The changes that are furthest in the future.
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
