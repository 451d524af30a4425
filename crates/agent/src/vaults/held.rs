//! An unlocked vault, and what is kept with it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use passmate_core::session::Session;
use passmate_core::settings::Holding;
use passmate_vault::LogKey;

use crate::background::{FolderLook, Places, Schedule};
use crate::wire::SyncStatus;

/// An unlocked vault.
pub(super) struct Held {
    /// `None` while a call has it, and once it is let go.
    pub(super) session: Mutex<Option<Session>>,
    /// What the next call takes instead, if the vault was unlocked again.
    pub(super) again: Mutex<Option<Session>>,
    /// No call may begin any more.
    pub(super) is_locked: AtomicBool,
    pub(super) times: Mutex<Times>,
    pub(super) holding: Mutex<Holding>,
    /// Whoever waits for a network has it.
    pub(super) network: Mutex<()>,
    /// Whoever reads for long has it.
    pub(super) reading: Mutex<()>,
    pub(super) schedule: Mutex<Schedule>,
    pub(super) log: Mutex<Log>,
    /// The shared folder when the last sync in the background began.
    pub(super) folder: Mutex<Option<Folder>>,
}

/// The log of a vault's uses.
pub(super) struct Log {
    /// `None` where the vault has none and cannot be written.
    pub(super) key: Option<LogKey>,
    /// Why the last use was not logged.
    pub(super) fault: Option<String>,
}

impl Log {
    pub(super) fn of(session: &mut Session) -> Self {
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

pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) own_copy: String,
    pub(super) look: Option<FolderLook>,
}

impl Folder {
    pub(super) fn of(session: &Session) -> Option<Self> {
        let folder = session.folder()?;
        let (path, own_copy) = (PathBuf::from(&folder.path), folder.copy_name());
        let look = FolderLook::of(&path, &own_copy);
        Some(Self {
            path,
            own_copy,
            look,
        })
    }

    pub(super) fn has_changed(&self) -> bool {
        let look = FolderLook::of(&self.path, &self.own_copy);
        look.is_some() && look != self.look
    }
}

#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) unlocked: Duration,
    pub(super) used: Duration,
}

impl Times {
    pub(super) const fn unlocked(now: Duration) -> Self {
        Self {
            unlocked: now,
            used: now,
        }
    }
}

impl Held {
    pub(super) fn new(session: Session, log: Log, holding: Holding, now: Duration) -> Self {
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
    pub(super) fn ends(&self) -> Duration {
        let Times { unlocked, used } = *self.times.lock();
        let rule = self.holding.lock().lock;
        let idle = used.saturating_add(rule.idle);
        idle.min(unlocked.saturating_add(rule.most))
    }

    pub(super) fn is_locked(&self) -> bool {
        self.is_locked.load(Ordering::Acquire)
    }

    /// Takes over what a fork stored, unless the vault is locked meanwhile.
    pub(super) fn take_over(&self, fork: Session, now: Duration) {
        self.schedule.lock().set_places(Places::of(&fork), now);
        if let Some(session) = &mut *self.session.lock()
            && !self.is_locked()
        {
            session.take_over(fork);
        }
    }

    pub(super) fn sync_status(&self, now: Duration) -> SyncStatus {
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

    pub(super) fn lock(&self) {
        self.is_locked.store(true, Ordering::Release);
        *self.again.lock() = None;
        // A call that runs lets it go when it ends.
        if let Some(mut session) = self.session.try_lock() {
            *session = None;
        }
    }
}
