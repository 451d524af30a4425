//! The unlocked vaults, and when they are locked. The rules are:
//!  - the calls of one vault come one after the other, and those of several at once;
//!  - what waits for a network works on a second session of the vault, so that no other call waits
//!    for it, and one at a time; what reads for long does too;
//!  - a vault that is locked while a call runs is let go when the call ends, and no further call
//!    begins;
//!  - before each call the vault takes over what other programs stored; if another vault was put in
//!    its place, it is locked;
//!  - a call that panics locks its vault;
//!  - no clock: the caller says what time it is, as the time since any fixed moment.

mod calls;
mod held;
mod syncs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use passmate_core::answer::Reply;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::recover;
use passmate_core::session::{OpenFor, Session, SessionError, VaultLocation};
use passmate_core::settings::{Holding, LockRule, SyncSettings};
use passmate_core::use_log::{self, UseEntry};
use passmate_vault::Passphrase;

use self::held::{Held, Log, Times};
pub use self::syncs::SyncJob;
use crate::background::Schedule;
use crate::dialogs::{Check, Dialogs, Window};
use crate::wire::VaultStatus;

/// The most vaults that are held at once.
const VAULTS_MAX: usize = 32;

/// Makes the location of a vault from its path.
pub type Locate = dyn Fn(PathBuf) -> VaultLocation + Send + Sync;

/// The unlocked vaults of a user.
pub struct Vaults {
    locate: Box<Locate>,
    held: Mutex<BTreeMap<PathBuf, Arc<Held>>>,
}

impl std::fmt::Debug for Vaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vaults").finish_non_exhaustive()
    }
}

impl Vaults {
    /// No vault yet. `locate` makes the location of a vault from its path.
    pub fn new(locate: impl Fn(PathBuf) -> VaultLocation + Send + Sync + 'static) -> Self {
        Self {
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
        holding: Holding,
        now: Duration,
    ) -> Result<(), Problem> {
        let (name, location) = self.name(vault);
        // Derive the key even if the vault is held already: a guess must cost as much as ever.
        let mut session = recover::open(OpenFor::Changing, location, passphrase.clone())?;
        let log = Log::of(&mut session);
        let mut all = self.held.lock();
        if let Some(held) = all.get(&name) {
            // Another vault may be in its place meanwhile.
            *held.log.lock() = log;
            // Calls that wait go on.
            *held.again.lock() = Some(session);
            *held.times.lock() = Times::unlocked(now);
            *held.schedule.lock() = Schedule::new(holding.sync_every, now);
            *held.holding.lock() = holding;
            return Ok(());
        }
        if all.len() >= VAULTS_MAX {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                format!("the agent holds {VAULTS_MAX} vaults already"),
                "lock one of them with `passmate lock`",
            ));
        }
        all.insert(name, Arc::new(Held::new(session, log, holding, now)));
        Ok(())
    }

    /// Forgets a vault, unless another one has its name meanwhile.
    fn forget(&self, held: &Arc<Held>) {
        held.is_locked.store(true, Ordering::Release);
        *held.again.lock() = None;
        let mut all = self.held.lock();
        all.retain(|_, there| !Arc::ptr_eq(there, held));
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
            let is_over = held.ends() <= now;
            if is_over {
                held.lock();
            }
            !is_over
        });
        let ends = all.values().map(|held| held.ends());
        ends.min().map(|end| end.saturating_sub(now))
    }

    /// The vaults that are held.
    #[must_use]
    pub fn status(&self, now: Duration) -> Vec<VaultStatus> {
        self.lock_expired(now);
        let all = self.held.lock();
        let status = all.iter().map(|(path, held)| VaultStatus {
            path: path.clone(),
            locks_in: held.ends().saturating_sub(now).as_secs(),
            sync: held.sync_status(now),
            log_fault: held.log.lock().fault.clone(),
        });
        status.collect()
    }

    /// How this vault is held.
    #[must_use]
    pub fn look(&self, vault: &Path, now: Duration) -> Option<VaultStatus> {
        let (name, _) = self.name(vault);
        self.forget_if_passphrase_changed(&name);
        let mut all = self.status(now).into_iter();
        all.find(|status| status.path == name)
    }

    /// Locks a vault whose passphrase another program changed: the next call would find it locked.
    /// One that a call has is left alone.
    fn forget_if_passphrase_changed(&self, name: &Path) {
        let held = self.held.lock().get(name).cloned();
        let Some(held) = held.filter(|held| held.again.lock().is_none()) else {
            return;
        };
        let is_changed = held.session.try_lock().is_some_and(|mut session| {
            let refreshed = session.as_mut().map(Session::refresh);
            matches!(refreshed, Some(Err(SessionError::PassphraseChanged)))
        });
        if is_changed {
            self.forget(&held);
        }
    }

    /// Locks the vaults whose rule says so.
    pub fn lock_where(&self, is_wanted: impl Fn(LockRule) -> bool) {
        self.held.lock().retain(|_, held| {
            let stays = !is_wanted(held.holding.lock().lock);
            if !stays {
                held.lock();
            }
            stays
        });
    }

    /// Adds an entry to the log of a vault.
    pub fn log(&self, vault: &Path, entry: &UseEntry) {
        let (name, _) = self.name(vault);
        let held = self.held.lock().get(&name).cloned();
        let key = held.as_ref().and_then(|held| held.log.lock().key.clone());
        if let (Some(held), Some(key)) = (held, key) {
            // What cannot be logged is not refused for that: the disk may be full. A disk that hangs
            // keeps nobody from locking.
            let fault = use_log::append(&name, &key, entry).err().map(|error| {
                let file = use_log::log_of(&name);
                format!("cannot write {}: {error}", file.display())
            });
            held.log.lock().fault = fault;
        }
    }

    /// Whether this is the passphrase of a vault that is held. A guess costs as much as unlocking it.
    ///
    /// # Errors
    /// It is not, or the vault is not held, or another vault is in the place of its file.
    pub fn check(&self, vault: &Path, passphrase: &Passphrase) -> Reply<()> {
        let (name, _) = self.name(vault);
        let held = self.held.lock().get(&name).cloned();
        // To answer a question is no use of the vault.
        let now = held.map(|held| held.times.lock().used).unwrap_or_default();
        let is_right = |session: &mut Session| Ok(session.is_passphrase_at_full_price(passphrase));
        match self.call(vault, SyncSettings::default(), || now, is_right)? {
            true => Ok(()),
            false => Err(Problem::from(SessionError::WrongPassphrase).into()),
        }
    }

    /// The window that asks about uses of a vault.
    #[must_use]
    pub fn window(self: &Arc<Self>, vault: &Path) -> Option<Window> {
        let (name, _) = self.name(vault);
        let held = self.held.lock().get(&name).cloned()?;
        let (program, wants_passphrase) = {
            let holding = held.holding.lock();
            (holding.pinentry.clone(), holding.consent_passphrase)
        };
        let dialogs = Dialogs::find(program.as_deref())?;
        let check = wants_passphrase.then(|| -> Box<Check> {
            let (vaults, vault) = (Arc::clone(self), vault.to_owned());
            Box::new(move |passphrase| vaults.check(&vault, passphrase).is_ok())
        });
        Some(Window { dialogs, check })
    }

    /// Counts a vault as used. Returns whether it is held.
    pub fn note_use(&self, vault: &Path, now: Duration) -> bool {
        let (name, _) = self.name(vault);
        self.forget_if_passphrase_changed(&name);
        self.used(vault, &|| now).is_ok()
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
mod tests;
