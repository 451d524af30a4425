//! Whether a database works: what has failed, since when, and what has to succeed before it works
//! again. One line of the log tells of each change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::Fault;
use crate::store::EngineError;

/// Between two attempts to connect to a database that fails.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// A database that has failed for so long is out.
const OUTAGE_AFTER: Duration = Duration::from_secs(1);
/// A failure so soon after the last one that was logged is not logged again.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// What is known of a database.
pub(super) struct Health {
    /// Its name in the log.
    database: String,
    state: Mutex<State>,
    /// Set once nothing has worked for [`OUTAGE_AFTER`]: no client is let in then, and a task looks
    /// whether the database is back. Changed under the lock of `state`, as the next one.
    outage: Arc<AtomicBool>,
    /// That task runs.
    is_watched: AtomicBool,
    /// When a failure was logged last.
    logged: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Works,
    Fails {
        cause: String,
        /// What has to succeed before the database works again.
        needs: Needs,
        since: Instant,
        /// The last attempt to connect.
        tried: Instant,
        is_logged: bool,
    },
}

/// What shows that a database works again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Connection,
    /// Connections were made, and a commit on them was not confirmed, as if a standby were lost.
    Commit,
}

impl Health {
    pub(super) fn new(database: String) -> Self {
        Self {
            database,
            state: Mutex::default(),
            outage: Arc::default(),
            is_watched: AtomicBool::new(false),
            logged: Mutex::default(),
        }
    }

    /// Whether nobody is let in.
    pub(super) fn outage(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.outage)
    }

    fn is_out(&self) -> bool {
        self.outage.load(Ordering::SeqCst)
    }

    /// Why the database cannot be used, if nobody is let in.
    pub(super) fn out(&self) -> Option<String> {
        if !self.is_out() {
            return None;
        }
        match &*self.state.lock() {
            State::Fails { cause, .. } => Some(cause.clone()),
            State::Works => None,
        }
    }

    /// What has to succeed before the database works again; nothing if it works.
    pub(super) fn needs(&self) -> Option<Needs> {
        match &*self.state.lock() {
            State::Fails { needs, .. } => Some(*needs),
            State::Works => None,
        }
    }

    /// Lets one caller try, where the database fails.
    pub(super) fn take_turn(&self) -> Result<(), Fault> {
        match &mut *self.state.lock() {
            State::Fails { tried, cause, .. } if tried.elapsed() < PAUSE => {
                Err(Fault::Lost(cause.clone()))
            }
            State::Fails { tried, .. } => {
                // An attempt may take as long as the deadline, and others must not queue behind it.
                *tried = Instant::now();
                Ok(())
            }
            State::Works => Ok(()),
        }
    }

    pub(super) fn fails_since(&self) -> Instant {
        match &*self.state.lock() {
            State::Fails { since, .. } => *since,
            State::Works => Instant::now(),
        }
    }

    /// The database did what it was asked.
    pub(super) fn note_success(&self) {
        let mut state = self.state.lock();
        self.outage.store(false, Ordering::SeqCst);
        if let State::Fails {
            since, is_logged, ..
        } = &*state
        {
            if *is_logged {
                let seconds = since.elapsed().as_secs();
                tracing::warn!(seconds, "the database works again");
            }
            *state = State::Works;
        }
    }

    /// The database failed. The first failure is logged, and its end. After a second of failures
    /// nobody is let in until it works again. Returns whether the task has to begin that looks for that.
    #[must_use]
    pub(super) fn note_fault(&self, fault: &Fault, needs: Needs) -> bool {
        let cause = match fault {
            Fault::Lost(cause)
            | Fault::Crowded(cause)
            | Fault::NotDurable(cause)
            | Fault::ReadOnly(cause)
            | Fault::Unknown(cause)
            | Fault::Refused(EngineError::Unavailable(cause)) => cause,
            // These are of one change, and are answered with it.
            Fault::Conflict | Fault::Refused(_) => return false,
        };
        let mut state = self.state.lock();
        let now = Instant::now();
        match &mut *state {
            State::Works => {
                *state = State::Fails {
                    cause: cause.clone(),
                    needs,
                    since: now,
                    tried: now.checked_sub(PAUSE).unwrap_or(now),
                    is_logged: self.log(cause, now),
                };
                false
            }
            State::Fails {
                tried,
                cause: old,
                needs: before,
                since,
                is_logged,
            } => {
                *tried = now;
                if !*is_logged {
                    *is_logged = self.log(cause, now);
                }
                old.clone_from(cause);
                if needs == Needs::Commit {
                    *before = needs;
                }
                if now.duration_since(*since) < OUTAGE_AFTER {
                    return false;
                }
                self.outage.store(true, Ordering::SeqCst);
                !self.is_watched.swap(true, Ordering::SeqCst)
            }
        }
    }

    /// Whether the outage has ended. The watch ends with it, and the next outage has another one.
    pub(super) fn is_watch_over(&self) -> bool {
        let _state = self.state.lock();
        let is_over = !self.is_out();
        if is_over {
            self.is_watched.store(false, Ordering::SeqCst);
        }
        is_over
    }

    /// Logs a failure, unless another one was logged a moment ago.
    fn log(&self, cause: &str, now: Instant) -> bool {
        let mut logged = self.logged.lock();
        if logged.is_some_and(|at| now.duration_since(at) < LOG_PAUSE) {
            return false;
        }
        *logged = Some(now);
        tracing::error!(
            database = self.database,
            cause,
            "the database cannot be used: clients are refused until it works again"
        );
        true
    }
}
