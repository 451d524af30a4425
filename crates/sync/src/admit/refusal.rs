//! Undoes for good what was held back and refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use passmate_vault::guard::has_tags;
use passmate_vault::record::{Change, is_ahead};
use passmate_vault::{RecordId, Vault};

use super::effects::is_hidden;
use super::{Admitted, Review};
use crate::held::{Effect, HeldBack, HeldRecord};
use crate::options::Policy;

/// How often a refusal is widened until nothing is left of what was refused.
const ROUNDS_MAX: usize = 4;

impl Review<'_> {
    /// The changes, together with those that undo for good what was held back.
    ///
    /// # Errors
    /// It cannot be undone: the clock is beyond the year 9999, or the vault has changes that cannot
    /// be moved out of the way.
    pub(super) fn refuse(self, held: HeldBack, policy: &Policy) -> Result<Admitted, Box<HeldBack>> {
        let base = self.base();
        let mut remote = Vault::clone(&self.remote);
        if held.cut.is_some() {
            remote = remote.with_whole_history();
        }
        if held.hidden > 0 {
            remote = remote.filtered(|id, change| {
                let (ours, merged) = (base.record(id), self.merged.record(id));
                let is_known = ours.is_some_and(|ours| ours.has(change));
                is_known || !is_hidden(change, ours, merged)
            });
        }
        let mut leaves_out = held.hidden > 0 || held.too_large.is_some();
        if held.too_large.is_some() {
            // Nothing of it is taken over, so that the next upload takes its place.
            remote = Vault::new();
        }
        let was_too_much = held.alters();
        let mut refused = Refused::default();
        held.records
            .iter()
            .for_each(|record| refused.add(record, base));
        for _ in 0..ROUNDS_MAX {
            let is_refused =
                |id: &RecordId, change: &Change| refused.covers(id, change, self.to.now);
            let Ok(refusal) = base.refusal(&remote, is_refused, self.to.now) else {
                break;
            };
            let mut undone = remote.clone();
            undone.merge(&refusal);
            let mut review = Review::of(Arc::new(undone), self.to);
            let (again, mut counted) = review.judge(policy);
            let mut left = again.records;
            if was_too_much {
                left.extend(review.altered.iter().cloned());
            }
            if left.is_empty() && again.too_large.is_some() {
                // It does not fit: nothing is taken over instead.
                remote = Vault::new();
                refused = Refused::default();
                leaves_out = true;
                continue;
            }
            if left.is_empty() {
                review.news.purged.clear();
                review.news.refused = held.culprits().len().max(1);
                review.news.ignored_cut = self.news.ignored_cut;
                // A refusal is no agreement: what was counted stays. What it purges is not counted.
                counted.hidden = counted.hidden.saturating_sub(review.hidden);
                counted.hidden += if held.hidden > 0 { 0 } else { self.hidden };
                return Ok(Admitted {
                    leaves_out,
                    ..review.admitted(counted)
                });
            }
            left.iter().for_each(|record| refused.add_all(record));
        }
        Err(held.into())
    }
}

/// Which changes are refused, by record.
#[derive(Default)]
struct Refused(BTreeMap<RecordId, Scope>);

/// Which changes of a record are refused, of those that are new.
#[derive(Clone, Copy, Default)]
struct Scope {
    all: bool,
    path: bool,
    purges: bool,
    ahead: bool,
    tags: bool,
}

impl Refused {
    /// The changes behind an effect, and no more: other devices may have changed the same record.
    fn add(&mut self, record: &HeldRecord, base: &Vault) {
        let scope = self.0.entry(record.id.clone()).or_default();
        match &record.effect {
            Effect::Deleted => scope.path = true,
            Effect::Changed => scope.all = true,
            Effect::Purged => scope.purges = true,
            Effect::Ahead { .. } => scope.ahead = true,
            Effect::Unguarded => {
                scope.tags = true;
                // A deleted record has the guard of its history.
                let record = base.record(&record.id);
                scope.path |= record.is_some_and(|record| !record.is_live());
            }
            Effect::Displaced { by } => {
                for id in by {
                    let scope = self.0.entry(id.clone()).or_default();
                    scope.path = true;
                    scope.all |= base.record(id).is_none();
                }
            }
        }
    }

    /// Everything that is new in the records behind an effect.
    fn add_all(&mut self, record: &HeldRecord) {
        self.0.entry(record.id.clone()).or_default().all = true;
        if let Effect::Displaced { by } = &record.effect {
            for id in by {
                self.0.entry(id.clone()).or_default().all = true;
            }
        }
    }

    fn covers(&self, id: &RecordId, change: &Change, now: i64) -> bool {
        let Some(scope) = self.0.get(id) else {
            return false;
        };
        let time = change.stamp.deciding_seconds();
        scope.all
            || (scope.path && change.key.is_path())
            || (scope.purges && change.is_purged())
            || (scope.tags && has_tags(&change.key))
            || (scope.ahead && !change.is_purged() && time.is_some_and(|time| is_ahead(time, now)))
    }
}
