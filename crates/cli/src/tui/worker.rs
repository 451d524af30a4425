//! The thread that has the vault. A call that takes long, such as a sync, does not freeze the
//! screen.

use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use passmate_agent::client::Breaker;
use passmate_core::answer::{Consent, Reply};
use passmate_core::api::{Changed, LastSyncs, OneTimeCode, VaultApi};
use passmate_core::audit::Audit;
use passmate_core::edit::Edit;
use passmate_core::escape::escape_path;
use passmate_core::generate::site::SiteRule;
use passmate_core::records::{DeletedEntry, RecordContent, RecordEntry};
use passmate_core::search::Match;
use passmate_core::sync_all::{SyncAnswer, SyncRequest};

use super::history::Past;
use super::syncing::Tie;
use crate::commands::audit::usual_rules;

/// The most matches of a search that are listed.
const MATCHES_MAX: usize = 500;

/// What the screen wants from the vault. Records are named as
/// [`escape_path`](passmate_core::escape::escape_path) writes their paths.
#[derive(Debug, Clone)]
pub(super) enum Call {
    List,
    Search {
        query: String,
    },
    Record {
        path: String,
    },
    Code {
        path: String,
        use_of: CodeUse,
    },
    /// The rule for the password of a record, for a value that is about to be generated.
    Rule {
        path: String,
        field: String,
    },
    /// The history of a record, or of one of its fields. The path is as it is.
    History {
        path: String,
        id: String,
        field: Option<String>,
    },
    Trash,
    Audit,
    Sync(SyncRequest),
    LastSyncs,
    /// How the vault stands with what it syncs with.
    Standing,
    Change {
        edit: Edit,
        consent: Consent,
        /// What is said when it is done.
        done: String,
    },
}

/// What a one-time code is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeUse {
    Show,
    Copy,
}

/// What the vault answers.
pub(super) enum Answer {
    List(Vec<RecordEntry>),
    Search(Vec<Match>),
    Record(RecordContent),
    Code(OneTimeCode),
    Rule(Option<SiteRule>),
    Changed(Box<Changed>),
    Past(Past),
    Trash(Vec<DeletedEntry>),
    Audit(Audit),
    Synced(Box<SyncAnswer>),
    LastSyncs(LastSyncs),
    Standing(Option<Tie>),
}

/// Without what is secret.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// A call that ended.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) call: Call,
    pub(super) answer: Reply<Answer>,
}

impl Call {
    /// What a person reads while it runs, if it may take long.
    pub(super) const fn words(&self) -> Option<&'static str> {
        match self {
            Self::Change { .. } => Some("saving the vault"),
            Self::Sync(_) => Some("syncing"),
            Self::Audit => Some("looking at all passwords"),
            Self::List
            | Self::Search { .. }
            | Self::Record { .. }
            | Self::Code { .. }
            | Self::Rule { .. }
            | Self::History { .. }
            | Self::Trash
            | Self::LastSyncs
            | Self::Standing => None,
        }
    }

    /// What a person agreed to, for a call that may ask.
    pub(super) const fn consent(&mut self) -> Option<&mut Consent> {
        match self {
            Self::Change { consent, .. } => Some(consent),
            _ => None,
        }
    }

    /// The record that is read, as [`Self::Record`] names it.
    pub(super) fn record(&self) -> Option<String> {
        match self {
            Self::Record { path } | Self::Code { path, .. } => Some(path.clone()),
            Self::History { path, .. } => Some(escape_path(path)),
            _ => None,
        }
    }

    /// Whether something would be lost if the program ended now.
    pub(super) const fn is_change(&self) -> bool {
        matches!(self, Self::Change { .. })
    }

    pub(super) fn make(&self, vault: &mut dyn VaultApi) -> Reply<Answer> {
        Ok(match self {
            Self::List => Answer::List(vault.list()?),
            Self::Search { query } => Answer::Search(vault.search(query, MATCHES_MAX)?),
            Self::Record { path } => Answer::Record(vault.record(path)?),
            Self::Rule { path, .. } => Answer::Rule(vault.password_rule(path)?),
            Self::History { path, id, field } => {
                let path = escape_path(path);
                Answer::Past(Past::of(vault, &path, id, field.as_deref())?)
            }
            Self::Trash => Answer::Trash(vault.trash()?),
            Self::Audit => Answer::Audit(vault.audit(&usual_rules())?),
            Self::Sync(request) => Answer::Synced(Box::new(vault.sync(request)?)),
            Self::LastSyncs => Answer::LastSyncs(vault.last_syncs()?),
            Self::Standing => Answer::Standing(Tie::of(vault)?),
            Self::Change { edit, consent, .. } => {
                let changed = vault.change(edit, consent, &mut |_| {})?;
                Answer::Changed(Box::new(changed))
            }
            Self::Code { path, .. } => Answer::Code(vault.one_time_code(path, None)?),
        })
    }
}

/// What the thread with the vault tells.
pub(super) enum Told {
    /// The call waits until a person has agreed.
    Asking(String),
    /// The call ended.
    Done(Box<Done>),
}

/// A vault in a thread of its own.
pub(super) struct Worker {
    calls: Sender<Call>,
    told: Receiver<Told>,
    breaker: Option<Breaker>,
    thread: JoinHandle<(Box<dyn VaultApi>, Sender<Told>)>,
}

/// A vault that a worker had, and what another one needs.
pub(super) struct Idle {
    pub(super) vault: Box<dyn VaultApi>,
    pub(super) breaker: Option<Breaker>,
    /// The vault tells there that a person is asked.
    pub(super) teller: Sender<Told>,
    pub(super) told: Receiver<Told>,
}

impl Worker {
    pub(super) fn start(idle: Idle) -> io::Result<Self> {
        let Idle {
            mut vault,
            breaker,
            teller,
            told,
        } = idle;
        let (calls, to_make) = channel::<Call>();
        let thread = thread::Builder::new().name("vault".to_owned());
        let thread = thread.spawn(move || {
            for call in to_make {
                let answer = call.make(&mut *vault);
                if teller
                    .send(Told::Done(Box::new(Done { call, answer })))
                    .is_err()
                {
                    break;
                }
            }
            (vault, teller)
        })?;
        Ok(Self {
            calls,
            told,
            breaker,
            thread,
        })
    }

    /// Begins a call. A thread that panicked makes none: see [`Self::poll`].
    pub(super) fn send(&self, call: Call) {
        let _ = self.calls.send(call);
    }

    /// What the thread tells, if it does.
    ///
    /// # Errors
    /// The thread panicked.
    pub(super) fn poll(&self) -> Result<Option<Told>, Panicked> {
        match self.told.try_recv() {
            Ok(told) => Ok(Some(told)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Panicked),
        }
    }

    /// The vault. No call may be under way.
    ///
    /// # Errors
    /// The thread panicked.
    pub(super) fn end(self) -> Result<Idle, Panicked> {
        drop(self.calls);
        let (vault, teller) = self.thread.join().map_err(|_| Panicked)?;
        Ok(Idle {
            vault,
            breaker: self.breaker,
            teller,
            told: self.told,
        })
    }

    /// Gives up the call that is under way, and the vault with it.
    pub(super) fn abandon(self) {
        if let Some(breaker) = self.breaker {
            breaker.break_off();
        }
    }
}

/// The thread with the vault panicked.
#[derive(Debug)]
pub(super) struct Panicked;
