//! The unlocked vaults, and when they are locked. The rules are:
//!  - the calls of one vault come one after the other, and those of several at once;
//!  - a vault that is locked while a call runs is let go when the call ends, and no further call
//!    begins;
//!  - before each call the vault takes over what other programs stored;
//!  - a call that panics locks its vault;
//!  - no clock: the caller says what time it is, as the time since any fixed moment.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use passmate_core::answer::{Halt, Need, Reply};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::recover;
use passmate_core::session::{OpenFor, Session, SessionError, VaultLocation};
use passmate_core::settings::SyncSettings;
use passmate_vault::Passphrase;

use crate::wire::VaultStatus;

/// When a vault is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockRule {
    /// After so long without a call.
    pub idle: Duration,
    /// After so long, whatever happens.
    pub most: Duration,
}

impl Default for LockRule {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(15),
            most: Duration::from_hours(8),
        }
    }
}

/// The most vaults that are held at once.
const VAULTS_MAX: usize = 32;

/// Makes the location of a vault from its path.
pub type Locate = dyn Fn(PathBuf) -> VaultLocation + Send + Sync;

/// The unlocked vaults of a user.
pub struct Vaults {
    rule: LockRule,
    locate: Box<Locate>,
    held: Mutex<BTreeMap<PathBuf, Arc<Held>>>,
}

impl std::fmt::Debug for Vaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vaults")
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

/// An unlocked vault.
struct Held {
    /// `None` while a call has it, and once it is let go.
    session: Mutex<Option<Session>>,
    /// What the next call takes instead, if the vault was unlocked again.
    again: Mutex<Option<Session>>,
    /// No call may begin any more.
    is_locked: AtomicBool,
    times: Mutex<Times>,
}

#[derive(Clone, Copy)]
struct Times {
    unlocked: Duration,
    used: Duration,
}

impl Held {
    fn new(session: Session, now: Duration) -> Self {
        Self {
            session: Mutex::new(Some(session)),
            again: Mutex::default(),
            is_locked: AtomicBool::new(false),
            times: Mutex::new(Times {
                unlocked: now,
                used: now,
            }),
        }
    }

    /// When it is locked if nothing uses it.
    fn ends(&self, rule: LockRule) -> Duration {
        let Times { unlocked, used } = *self.times.lock();
        let idle = used.saturating_add(rule.idle);
        idle.min(unlocked.saturating_add(rule.most))
    }

    fn lock(&self) {
        self.is_locked.store(true, Ordering::Release);
        *self.again.lock() = None;
        // A call that runs lets it go when it ends.
        if let Some(mut session) = self.session.try_lock() {
            *session = None;
        }
    }
}

impl Vaults {
    /// No vault yet. `locate` makes the location of a vault from its path.
    pub fn new(
        rule: LockRule,
        locate: impl Fn(PathBuf) -> VaultLocation + Send + Sync + 'static,
    ) -> Self {
        Self {
            rule,
            locate: Box::new(locate),
            held: Mutex::default(),
        }
    }

    /// The name under which a vault is held: two paths of one file have one.
    fn name(&self, vault: &Path) -> (PathBuf, VaultLocation) {
        let location = (self.locate)(vault.to_owned()).resolved();
        (location.path().to_owned(), location)
    }

    /// Holds a vault from now on.
    ///
    /// # Errors
    /// The vault does not open; whatever was held stays.
    pub fn unlock(
        &self,
        vault: &Path,
        passphrase: &Passphrase,
        now: Duration,
    ) -> Result<(), Problem> {
        let (name, location) = self.name(vault);
        // Derive the key even if the vault is held already: a guess must cost as much as ever.
        let session = recover::open(OpenFor::Reading, location, passphrase.clone())?;
        let mut all = self.held.lock();
        if let Some(held) = all.get(&name) {
            // Calls that wait go on.
            *held.again.lock() = Some(session);
            *held.times.lock() = Times {
                unlocked: now,
                used: now,
            };
            return Ok(());
        }
        if all.len() >= VAULTS_MAX {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                format!("the agent holds {VAULTS_MAX} vaults already"),
                "lock one of them with `passmate lock`",
            ));
        }
        all.insert(name, Arc::new(Held::new(session, now)));
        Ok(())
    }

    /// Makes a call with a vault that is unlocked.
    ///
    /// # Errors
    /// [`Need::Locked`], the call's own, or that it panicked.
    pub fn call<T>(
        &self,
        vault: &Path,
        settings: SyncSettings,
        now: impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<T> {
        const LOCKED: Halt = Halt::Needs(Need::Locked);
        self.lock_expired(now());
        let (name, _) = self.name(vault);
        let held = self.held.lock().get(&name).cloned().ok_or(LOCKED)?;
        held.times.lock().used = now();
        let mut slot = held.session.lock();
        if let Some(again) = held.again.lock().take() {
            *slot = Some(again);
        }
        // It may have been locked while another call ran.
        if held.is_locked.load(Ordering::Acquire) || held.ends(self.rule) <= now() {
            *slot = None;
        }
        let session = slot.take().ok_or(LOCKED)?;
        let mut session = session.with_sync_settings(settings);
        match session.refresh() {
            Ok(()) => {}
            Err(SessionError::PassphraseChanged) => {
                self.forget(&name, &held);
                return Err(LOCKED);
            }
            // The vault stays open: its file may be back in a moment.
            Err(error) => {
                *slot = Some(session);
                return Err(error.into());
            }
        }
        let reply = catch_unwind(AssertUnwindSafe(|| call(&mut session)));
        held.times.lock().used = now();
        let Ok(reply) = reply else {
            self.forget(&name, &held);
            return Err(Problem::new(
                ProblemKind::Other,
                "the agent met a fault in itself and locked the vault",
                "unlock it again; what was saved before is there",
            )
            .into());
        };
        if !held.is_locked.load(Ordering::Acquire) {
            *slot = Some(session);
        }
        reply
    }

    /// Forgets a vault, unless another one has its name meanwhile.
    fn forget(&self, name: &Path, held: &Arc<Held>) {
        held.is_locked.store(true, Ordering::Release);
        *held.again.lock() = None;
        let mut all = self.held.lock();
        if all.get(name).is_some_and(|there| Arc::ptr_eq(there, held)) {
            all.remove(name);
        }
    }

    /// Locks a vault, or all.
    pub fn lock(&self, vault: Option<&Path>) {
        let locked: Vec<_> = match vault {
            Some(vault) => {
                let (name, _) = self.name(vault);
                self.held.lock().remove(&name).into_iter().collect()
            }
            None => std::mem::take(&mut *self.held.lock())
                .into_values()
                .collect(),
        };
        locked.iter().for_each(|held| held.lock());
    }

    /// Locks what has been idle or open for too long. Returns how long it is until the next vault
    /// may be locked.
    pub fn lock_expired(&self, now: Duration) -> Option<Duration> {
        let mut all = self.held.lock();
        all.retain(|_, held| {
            let is_over = held.ends(self.rule) <= now;
            if is_over {
                held.lock();
            }
            !is_over
        });
        let ends = all.values().map(|held| held.ends(self.rule));
        ends.min().map(|end| end.saturating_sub(now))
    }

    /// The vaults that are held.
    #[must_use]
    pub fn status(&self, now: Duration) -> Vec<VaultStatus> {
        self.lock_expired(now);
        let all = self.held.lock();
        let status = all.iter().map(|(path, held)| VaultStatus {
            path: path.clone(),
            locks_in: held.ends(self.rule).saturating_sub(now).as_secs(),
        });
        status.collect()
    }

    /// Whether this vault is held.
    #[must_use]
    pub fn holds(&self, vault: &Path, now: Duration) -> bool {
        self.lock_expired(now);
        let (name, _) = self.name(vault);
        self.held.lock().contains_key(&name)
    }
}

#[cfg(test)]
mod tests {
    use passmate_core::answer::Consent;
    use passmate_core::api::VaultApi;
    use passmate_core::edit::Edit;
    use passmate_vault::format::container::Params;
    use tempfile::TempDir;

    use super::*;

    const MINUTE: u64 = 60;

    fn at(minutes: u64) -> Duration {
        Duration::from_secs(minutes * MINUTE)
    }

    fn location(path: impl Into<PathBuf>) -> VaultLocation {
        VaultLocation::new(path).with_params(Params::new(4, 1, 1).unwrap())
    }

    fn passphrase() -> Passphrase {
        Passphrase::from("correct horse".to_owned())
    }

    /// A vault in a folder, unlocked at minute 0.
    fn unlocked() -> (TempDir, PathBuf, Vaults) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault.pmdb");
        Session::create(location(&path), passphrase()).unwrap();
        let vaults = Vaults::new(LockRule::default(), location);
        vaults.unlock(&path, &passphrase(), at(0)).unwrap();
        (dir, path, vaults)
    }

    fn paths(vaults: &Vaults, path: &Path, minute: u64) -> Reply<Vec<String>> {
        let entries = vaults.call(
            path,
            SyncSettings::default(),
            || at(minute),
            |vault| vault.list(),
        )?;
        Ok(entries.into_iter().map(|entry| entry.path).collect())
    }

    fn is_locked<T>(reply: Reply<T>) -> bool {
        matches!(reply, Err(Halt::Needs(Need::Locked)))
    }

    fn create(path: &str) -> Edit {
        Edit::Create { path: path.into() }
    }

    #[test]
    fn a_vault_locks_after_15_idle_minutes() {
        let (_dir, path, vaults) = unlocked();
        paths(&vaults, &path, 14).unwrap();
        paths(&vaults, &path, 28).unwrap();
        assert_eq!(vaults.lock_expired(at(30)), Some(at(13)));
        assert!(vaults.holds(&path, at(42)));
        assert!(is_locked(paths(&vaults, &path, 43)));
        assert_eq!(vaults.lock_expired(at(43)), None);
    }

    #[test]
    fn a_vault_locks_after_8_hours_though_it_is_used() {
        let (_dir, path, vaults) = unlocked();
        for minute in (0..480).step_by(10) {
            paths(&vaults, &path, minute).unwrap();
        }
        assert_eq!(vaults.lock_expired(at(479)), Some(at(1)));
        assert!(is_locked(paths(&vaults, &path, 480)));
    }

    #[test]
    fn a_clock_that_jumps_ahead_locks_before_the_next_call() {
        let (_dir, path, vaults) = unlocked();
        // The machine slept, and no timer ran.
        assert!(is_locked(paths(&vaults, &path, 10_000)));
    }

    #[test]
    fn a_vault_that_is_locked_on_request_stays_locked() {
        let (_dir, path, vaults) = unlocked();
        vaults.lock(Some(&path));
        assert!(is_locked(paths(&vaults, &path, 1)));
        vaults.unlock(&path, &passphrase(), at(1)).unwrap();
        vaults.lock(None);
        assert!(vaults.status(at(1)).is_empty());
        assert!(is_locked(paths(&vaults, &path, 1)));
    }

    #[test]
    fn a_lock_during_a_call_lets_the_vault_go_when_it_ends() {
        let (_dir, path, vaults) = unlocked();
        let held = Arc::clone(vaults.held.lock().values().next().unwrap());
        let reply = vaults.call(
            &path,
            SyncSettings::default(),
            || at(1),
            |vault| {
                vaults.lock(None);
                vault.change(&create("a"), &Consent::none(), &mut |_| {})
            },
        );
        assert_eq!(reply.unwrap().edited.changes, 1);
        assert!(held.session.lock().is_none());
        assert!(is_locked(paths(&vaults, &path, 1)));
        vaults.unlock(&path, &passphrase(), at(1)).unwrap();
        assert_eq!(paths(&vaults, &path, 1).unwrap(), ["a"]);
    }

    #[test]
    fn a_wrong_passphrase_leaves_an_unlocked_vault_as_it_is() {
        let (_dir, path, vaults) = unlocked();
        let wrong = Passphrase::from("wrong".to_owned());
        let problem = vaults.unlock(&path, &wrong, at(1)).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::WrongPassphrase);
        assert!(paths(&vaults, &path, 1).unwrap().is_empty());
        vaults.lock(None);
        vaults.unlock(&path, &wrong, at(1)).unwrap_err();
        assert!(is_locked(paths(&vaults, &path, 1)));
    }

    #[test]
    fn a_call_that_panics_locks_its_vault_alone() {
        let (dir, path, vaults) = unlocked();
        let other = dir.path().join("other.pmdb");
        Session::create(location(&other), passphrase()).unwrap();
        vaults.unlock(&other, &passphrase(), at(0)).unwrap();
        let reply: Reply<()> = vaults.call(
            &path,
            SyncSettings::default(),
            || at(1),
            |_| panic!("a test"),
        );
        assert!(matches!(reply, Err(Halt::Failed(_))));
        assert!(is_locked(paths(&vaults, &path, 1)));
        paths(&vaults, &other, 1).unwrap();
    }

    #[test]
    fn what_another_program_stored_is_seen_before_each_call() {
        let (_dir, path, vaults) = unlocked();
        let mut other = Session::open(location(&path), passphrase()).unwrap();
        for name in ["a", "b", "c"] {
            let changed =
                VaultApi::change(&mut other, &create(name), &Consent::none(), &mut |_| {});
            changed.unwrap();
            assert_eq!(paths(&vaults, &path, 1).unwrap().last().unwrap(), name);
        }
    }

    #[test]
    fn another_passphrase_of_another_program_locks_the_vault() {
        let (_dir, path, vaults) = unlocked();
        let mut other = Session::open(location(&path), passphrase()).unwrap();
        other.change_passphrase("new".to_owned().into()).unwrap();
        assert!(is_locked(paths(&vaults, &path, 1)));
        assert!(vaults.status(at(1)).is_empty());
        vaults
            .unlock(&path, &"new".to_owned().into(), at(1))
            .unwrap();
    }

    #[test]
    fn two_paths_of_one_file_are_one_vault() {
        let (dir, path, vaults) = unlocked();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        paths(&vaults, &link, 1).unwrap();
        vaults.lock(Some(&link));
        assert!(is_locked(paths(&vaults, &path, 1)));
    }
}
