//! Looks at what came before it is merged: whether it would change too much, what of it is new, and
//! what of it is stamped in the future.

use std::collections::BTreeMap;

use passmate_vault::view::ViewRecord;
use passmate_vault::{SeenChanges, Vault};

use crate::report::{Ahead, Report};

/// A change this many seconds after this device's present comes from a wrong clock, here or there.
pub(crate) const AHEAD_MIN: i64 = 24 * 3600;
/// How many of them are reported.
const AHEAD_MAX: usize = 3;

/// The number of records, as people see them, that a merge deletes or changes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Altered {
    /// Records that are deleted now.
    pub deleted: usize,
    /// Records that show another value or path.
    pub changed: usize,
    /// Records that were live before.
    pub of: usize,
}

impl Altered {
    /// What changed between two states of a vault.
    #[must_use]
    pub fn between(before: &Vault, after: &Vault) -> Self {
        let after = after.view();
        let after: BTreeMap<_, _> = after.records().iter().map(|one| (one.id, one)).collect();
        let before = before.view();
        let mut altered = Self {
            of: before.records().len(),
            ..Self::default()
        };
        let values = |record: &ViewRecord<'_>| {
            let fields = record.fields();
            fields
                .map(|field| (field.name.clone(), field.value.into_owned()))
                .collect::<Vec<_>>()
        };
        for record in before.records() {
            match after.get(record.id) {
                None => altered.deleted += 1,
                Some(now) if now.path != record.path || values(now) != values(record) => {
                    altered.changed += 1;
                }
                Some(_) => {}
            }
        }
        altered
    }
}

/// When a sync changes so much that a person must agree first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// At least this many records are deleted or changed.
    pub records: usize,
    /// And more than this percentage of those that are seen.
    pub percent: usize,
    /// What a person agreed to: a sync that alters no more than this is not held back.
    pub agreed: Altered,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            records: 10,
            percent: 20,
            agreed: Altered::default(),
        }
    }
}

impl Guard {
    /// Whether a sync that alters this much is held back.
    #[must_use]
    pub const fn holds_back(
        &self,
        Altered {
            deleted,
            changed,
            of,
        }: Altered,
    ) -> bool {
        let altered = deleted.saturating_add(changed);
        let is_agreed = deleted <= self.agreed.deleted && changed <= self.agreed.changed;
        !is_agreed
            && altered >= self.records
            && altered.saturating_mul(100) > of.saturating_mul(self.percent)
    }
}

/// What of a fetched vault is new here.
#[derive(Debug)]
pub struct News {
    now: i64,
    received: SeenChanges,
    ahead: Vec<Ahead>,
}

impl News {
    /// What of `remote` is not in `vault`; `None` if nothing is.
    ///
    /// # Errors
    /// The guard holds it back, because it would alter this much.
    pub fn of(
        remote: &Vault,
        vault: &Vault,
        now: i64,
        guard: Option<Guard>,
    ) -> Result<Option<Self>, Altered> {
        if remote.missing_from(vault) == 0 {
            return Ok(None);
        }
        if let Some(guard) = guard {
            let mut after = vault.clone();
            after.merge(remote);
            let altered = Altered::between(vault, &after);
            if guard.holds_back(altered) {
                return Err(altered);
            }
        }
        let received = SeenChanges::of(remote).without(&SeenChanges::of(vault));
        let mut ahead: Vec<Ahead> = Vec::new();
        for (id, record) in remote.records() {
            for change in record.changes() {
                let time = change.stamp.deciding_seconds();
                if let Some(time) = time.filter(|time| time - now > AHEAD_MIN)
                    && received.contains(id, change)
                {
                    ahead.push(Ahead {
                        record: id.clone(),
                        field: change.key.clone(),
                        time,
                    });
                }
            }
        }
        ahead.sort_by_key(|ahead| std::cmp::Reverse(ahead.time));
        ahead.truncate(AHEAD_MAX);
        Ok(Some(Self {
            now,
            received,
            ahead,
        }))
    }

    /// Adds it to a report.
    pub fn note(self, report: &mut Report) {
        report.ahead = self.ahead;
        report.delta.note_received(&self.received, self.now);
    }
}
