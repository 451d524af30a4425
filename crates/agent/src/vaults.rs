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

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use passmate_core::answer::{Halt, Need, Reply};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::recover;
use passmate_core::session::{OpenFor, Session, SessionError, VaultLocation};
use passmate_core::settings::{Holding, LockRule, SyncSettings};
use passmate_core::sync::Replica;
use passmate_core::sync_all::{SyncOutcome, sync_in_background};
use passmate_core::use_log::{self, UseEntry};
use passmate_vault::{LogKey, Passphrase};

use crate::background::{FolderLook, Places, Schedule};
use crate::dialogs::{Check, Dialogs, Window};
use crate::wire::{SyncStatus, VaultStatus};

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

/// An unlocked vault.
struct Held {
    /// `None` while a call has it, and once it is let go.
    session: Mutex<Option<Session>>,
    /// What the next call takes instead, if the vault was unlocked again.
    again: Mutex<Option<Session>>,
    /// No call may begin any more.
    is_locked: AtomicBool,
    times: Mutex<Times>,
    holding: Mutex<Holding>,
    /// Whoever waits for a network has it.
    network: Mutex<()>,
    /// Whoever reads for long has it.
    reading: Mutex<()>,
    schedule: Mutex<Schedule>,
    log: Mutex<Log>,
    /// The shared folder when the last sync in the background began.
    folder: Mutex<Option<Folder>>,
}

/// The log of a vault's uses.
struct Log {
    /// `None` where the vault has none and cannot be written.
    key: Option<LogKey>,
    /// Why the last use was not logged.
    fault: Option<String>,
}

impl Log {
    fn of(session: &mut Session) -> Self {
        match session.log_key() {
            Ok(key) => Self {
                key: Some(key),
                fault: None,
            },
            Err(error) => Self {
                key: None,
                fault: Some(error.to_string()),
            },
        }
    }
}

struct Folder {
    path: PathBuf,
    own_copy: String,
    look: Option<FolderLook>,
}

impl Folder {
    fn of(session: &Session) -> Option<Self> {
        let folder = session.folder()?;
        let (path, own_copy) = (PathBuf::from(&folder.path), folder.copy_name());
        let look = FolderLook::of(&path, &own_copy);
        Some(Self {
            path,
            own_copy,
            look,
        })
    }

    fn has_changed(&self) -> bool {
        let look = FolderLook::of(&self.path, &self.own_copy);
        look.is_some() && look != self.look
    }
}

#[derive(Clone, Copy)]
struct Times {
    unlocked: Duration,
    used: Duration,
}

impl Times {
    const fn unlocked(now: Duration) -> Self {
        Self {
            unlocked: now,
            used: now,
        }
    }
}

impl Held {
    fn new(session: Session, log: Log, holding: Holding, now: Duration) -> Self {
        Self {
            log: Mutex::new(log),
            session: Mutex::new(Some(session)),
            again: Mutex::default(),
            is_locked: AtomicBool::new(false),
            times: Mutex::new(Times::unlocked(now)),
            schedule: Mutex::new(Schedule::new(holding.sync_every, now)),
            holding: Mutex::new(holding),
            network: Mutex::default(),
            reading: Mutex::default(),
            folder: Mutex::default(),
        }
    }

    /// When it is locked if nothing uses it.
    fn ends(&self) -> Duration {
        let Times { unlocked, used } = *self.times.lock();
        let rule = self.holding.lock().lock;
        let idle = used.saturating_add(rule.idle);
        idle.min(unlocked.saturating_add(rule.most))
    }

    fn is_locked(&self) -> bool {
        self.is_locked.load(Ordering::Acquire)
    }

    /// Takes over what a fork stored, unless the vault is locked meanwhile.
    fn take_over(&self, fork: Session, now: Duration) {
        self.schedule.lock().set_places(Places::of(&fork), now);
        if let Some(session) = &mut *self.session.lock()
            && !self.is_locked()
        {
            session.take_over(fork);
        }
    }

    fn sync_status(&self, now: Duration) -> SyncStatus {
        let schedule = self.schedule.lock();
        SyncStatus {
            is_on: schedule.is_on(),
            is_running: schedule.is_running(),
            next_in: schedule.next_in(now).map(|time| time.as_secs()),
            last: schedule
                .last(now)
                .map(|(ago, outcome)| (ago.as_secs(), outcome.clone())),
        }
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

    /// Makes a call with a vault that is unlocked. Other calls of the vault wait until it ends.
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
        let held = self.used(vault, &now)?;
        let (mut slot, mut session) = self.take(&held, settings, &now)?;
        let reply = self.guard(&held, || call(&mut session))?;
        held.times.lock().used = now();
        if !held.is_locked() {
            session.prepare_save();
            *slot = Some(session);
        }
        reply
    }

    /// Makes a call that may wait for a network. It gets a second session of the vault, so that
    /// other calls go on meanwhile.
    ///
    /// # Errors
    /// As those of [`call`](Self::call).
    pub fn call_apart<T>(
        &self,
        vault: &Path,
        settings: SyncSettings,
        now: impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<T> {
        let held = self.used(vault, &now)?;
        let _turn = held.network.lock();
        self.apart(&held, settings, now, call)
    }

    /// Syncs as [`call_apart`](Self::call_apart). A sync that ran before it and whose server did not
    /// answer has failed for this one too: nobody waits for the same server twice.
    ///
    /// # Errors
    /// As those of [`call`](Self::call).
    pub fn call_sync<T>(
        &self,
        vault: &Path,
        settings: SyncSettings,
        now: impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<T> {
        let held = self.used(vault, &now)?;
        let begun = now();
        let _turn = match held.network.try_lock() {
            Some(turn) => turn,
            None => {
                let turn = held.network.lock();
                if let Some(problem) = held.schedule.lock().failed_since(begun) {
                    return Err(problem.into());
                }
                turn
            }
        };
        self.apart(&held, settings, now, call)
    }

    fn apart<T>(
        &self,
        held: &Arc<Held>,
        settings: SyncSettings,
        now: impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<T> {
        let mut fork = self.fork(held, settings, &now)?;
        let reply = self.guard(held, || call(&mut fork))?;
        held.times.lock().used = now();
        held.take_over(fork, now());
        reply
    }

    /// Makes a call that reads for long, such as an audit. It gets a second session of the vault, so
    /// that other calls go on meanwhile. What it changes is lost.
    ///
    /// # Errors
    /// As those of [`call`](Self::call).
    pub fn call_beside<T>(
        &self,
        vault: &Path,
        settings: SyncSettings,
        now: impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<T> {
        let held = self.used(vault, &now)?;
        let _turn = held.reading.lock();
        let mut fork = self.fork(&held, settings, &now)?;
        let reply = self.guard(&held, || call(&mut fork))?;
        held.times.lock().used = now();
        reply
    }

    /// A vault that is held, and used now.
    fn used(&self, vault: &Path, now: &impl Fn() -> Duration) -> Reply<Arc<Held>> {
        self.lock_expired(now());
        let (name, _) = self.name(vault);
        let held = self.held.lock().get(&name).cloned();
        let held = held.ok_or(Halt::Needs(Need::Locked))?;
        held.times.lock().used = now();
        Ok(held)
    }

    /// Takes the session of a vault out of its slot, with what other programs stored meanwhile.
    fn take<'a>(
        &self,
        held: &'a Arc<Held>,
        settings: SyncSettings,
        now: &impl Fn() -> Duration,
    ) -> Reply<(MutexGuard<'a, Option<Session>>, Session)> {
        const LOCKED: Halt = Halt::Needs(Need::Locked);
        let mut slot = held.session.lock();
        if let Some(again) = held.again.lock().take() {
            *slot = Some(again);
        }
        // It may have been locked while another call ran.
        if held.is_locked() || held.ends() <= now() {
            *slot = None;
        }
        let session = slot.take().ok_or(LOCKED)?;
        let mut session = session.with_sync_settings(settings);
        match session.refresh() {
            Ok(()) => {
                let places = Places::of(&session);
                held.schedule.lock().set_places(places, now());
                Ok((slot, session))
            }
            Err(SessionError::PassphraseChanged) => {
                self.forget(held);
                Err(LOCKED)
            }
            Err(error @ SessionError::AnotherVault { .. }) => {
                self.forget(held);
                Err(error.into())
            }
            // The vault stays open: its file may be back in a moment.
            Err(error) => {
                *slot = Some(session);
                Err(error.into())
            }
        }
    }

    fn fork(
        &self,
        held: &Arc<Held>,
        settings: SyncSettings,
        now: &impl Fn() -> Duration,
    ) -> Reply<Session> {
        let (mut slot, session) = self.take(held, settings, now)?;
        let fork = session.fork();
        *slot = Some(session);
        Ok(fork)
    }

    /// Makes a call; if it panics, the vault is locked.
    fn guard<T>(&self, held: &Arc<Held>, call: impl FnOnce() -> T) -> Result<T, Problem> {
        catch_unwind(AssertUnwindSafe(call)).map_err(|_| {
            self.forget(held);
            Problem::new(
                ProblemKind::Other,
                "the agent met a fault in itself and locked the vault",
                "unlock it again; what was saved before is there",
            )
        })
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

#[cfg(test)]
mod tests;
