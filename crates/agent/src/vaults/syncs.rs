//! When unlocked vaults are synced in the background.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use passmate_core::sync::Replica;
use passmate_core::sync_all::{SyncOutcome, sync_in_background};

use super::Vaults;
use super::held::{Folder, Held};

impl Vaults {
    /// A vault has changes that are to be synced soon.
    pub fn note_change(&self, vault: &Path, now: Duration) {
        let (name, _) = self.name(vault);
        if let Some(held) = self.held.lock().get(&name) {
            held.schedule.lock().changed(now);
        }
    }

    /// A person has synced a vault.
    pub fn note_sync(&self, vault: &Path, outcome: SyncOutcome, now: Duration) {
        let (name, _) = self.name(vault);
        if let Some(held) = self.held.lock().get(&name) {
            held.schedule.lock().noted(outcome, now);
        }
    }

    /// Looks whether shared folders were written to. A folder of a network may keep the caller
    /// waiting.
    pub fn look_at_folders(&self, now: Duration) {
        let all: Vec<_> = self.held.lock().values().cloned().collect();
        for held in all {
            let has_changed = held.folder.lock().as_ref().is_some_and(Folder::has_changed);
            if has_changed {
                held.schedule.lock().changed(now);
            }
        }
    }

    /// The syncs that are due now. Each is to be run once.
    pub fn due_syncs(self: &Arc<Self>, now: impl Fn() -> Duration) -> Vec<SyncJob> {
        self.lock_expired(now());
        let all: Vec<_> = self.held.lock().values().cloned().collect();
        let mut jobs = Vec::new();
        for held in all {
            if !held.schedule.lock().begin(now()) {
                continue;
            }
            jobs.push(SyncJob {
                vaults: Arc::clone(self),
                held,
            });
        }
        jobs
    }

    /// How long it is until a sync is due.
    #[must_use]
    pub fn next_sync_in(&self, now: Duration) -> Option<Duration> {
        let all = self.held.lock();
        let next = all.values().map(|held| held.schedule.lock().next_in(now));
        next.flatten().min()
    }
}

/// A sync that nobody waits for.
pub struct SyncJob {
    vaults: Arc<Vaults>,
    held: Arc<Held>,
}

impl std::fmt::Debug for SyncJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncJob").finish_non_exhaustive()
    }
}

impl SyncJob {
    /// Syncs. `share`, from 0 to 1, makes the time of the next sync differ from that of others.
    pub fn run(self, now: impl Fn() -> Duration, share: f64) {
        let Self { vaults, held } = self;
        // A person syncs, which does the same.
        let Some(_turn) = held.network.try_lock() else {
            held.schedule.lock().postpone(now());
            return;
        };
        let settings = held.holding.lock().sync.clone();
        let mut fork = match vaults.fork(&held, settings, &now) {
            Ok(fork) => fork,
            // A vault that is damaged is not read again and again.
            Err(halt) => {
                let outcome = SyncOutcome::Failed(halt.into_problem());
                held.schedule.lock().ended(outcome, now(), share);
                return;
            }
        };
        *held.folder.lock() = Folder::of(&fork);
        let has_place = Replica::account(&fork).is_some() || fork.folder().is_some();
        if !has_place {
            let mut schedule = held.schedule.lock();
            schedule.ended(SyncOutcome::NoPlace, now(), share);
            return;
        }
        let outcome = vaults.guard(&held, || sync_in_background(&mut fork));
        let outcome = outcome.map_or_else(SyncOutcome::Failed, |answer| SyncOutcome::from(&answer));
        held.take_over(fork, now());
        held.schedule.lock().ended(outcome, now(), share);
    }
}
