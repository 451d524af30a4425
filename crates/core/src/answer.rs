//! What a front end gets instead of an answer: an error, or something that a person must decide.
//!
//! Nothing below a front end asks. A call that needs a person stops and says what it needs; the
//! front end asks, and calls again with what the person said.

use std::fmt;

use passmate_sync::Guard;
use passmate_sync::guard::Altered;
use passmate_sync::transport::TrustProblem;

use crate::clock::local_time;
use crate::problem::{Problem, ProblemKind};

/// The result of a call.
pub type Reply<T> = Result<T, Halt>;

/// Why a call stopped.
#[derive(Debug)]
pub enum Halt {
    /// A person must decide something. What was done until then is saved; call again.
    Needs(Need),
    /// The call failed.
    Failed(Problem),
}

impl<E: Into<Problem>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Halt {
    /// The problem to report when nobody can be asked.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Needs(need) => need.into(),
            Self::Failed(problem) => problem,
        }
    }
}

/// What a call needs from a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The vault is locked. Unlock it and call again.
    Locked,
    /// A yes. Call again with a [`Consent`] that holds the question.
    Confirmation(Question),
    /// The server's certificate is self-signed. Let the person compare its pin with the one that
    /// the operator gave them, and call again with that pin.
    UnknownPin(Box<TrustProblem>),
    /// No record has this path, but several end with it. Call again with one of them.
    Ambiguous {
        /// The path as it was given.
        path: String,
        /// Paths that may have been meant, three at most.
        candidates: Vec<String>,
    },
}

impl From<Need> for Problem {
    fn from(need: Need) -> Self {
        match need {
            Need::Locked => Self::new(
                ProblemKind::Locked,
                "the vault is locked, but there is no terminal to ask for the passphrase",
                "give --passphrase-file or --passphrase-command, or run it on a terminal",
            ),
            Need::Confirmation(question @ Question::HeldBack { .. }) => Self::new(
                ProblemKind::HeldBack,
                question.to_string(),
                "no record was changed by it; review it with `passmate sync --dry-run`, accept it \
                 with `passmate sync`, or --yes for all places",
            ),
            Need::Confirmation(Question::ReplaceRemote { why }) => why,
            Need::Confirmation(_) => Self::new(
                ProblemKind::Cancelled,
                "this needs a confirmation, but there is no terminal to ask on",
                "add --yes to confirm, or run it on a terminal",
            ),
            Need::UnknownPin(problem) => Self::from(*problem),
            Need::Ambiguous { path, candidates } => Self::new(
                ProblemKind::NotFound,
                format!("there is no record {path}"),
                format!("did you mean {}?", candidates.join(" or ")),
            ),
        }
    }
}

/// What a person is asked to agree to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Delete a record on all devices.
    Delete {
        /// Its path.
        path: String,
    },
    /// Accept a sync that changes much at once.
    HeldBack {
        /// The server's host, or the folder's path.
        place: String,
        /// What it would delete and change.
        altered: Altered,
    },
    /// Overwrite what the server has and this device cannot open. A mere yes is not enough for this
    /// one: [`Consent::to_everything`] does not hold it.
    ReplaceRemote {
        /// Why it cannot be opened.
        why: Problem,
    },
    /// Move to a new account with a new key.
    Rotate {
        /// The server.
        host: String,
        /// The history of the new account begins then, in seconds since 1970.
        keep_since: Option<i64>,
    },
    /// Lock the desktop client out of an account that it shares.
    Upgrade,
    /// Forget the server on this device.
    ForgetServer {
        /// The server.
        host: String,
    },
    /// Delete the account on the server.
    DeleteAccount {
        /// The server.
        host: String,
    },
    /// Forget the shared folder on this device.
    ForgetFolder {
        /// The folder.
        path: String,
        /// This device's copy in it is deleted too.
        deletes: bool,
    },
}

impl Question {
    /// Whether this asks for nothing that the other question did not ask for. A sync that was held
    /// back may be held back again, with other numbers.
    #[must_use]
    pub fn asks_no_more_than(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::HeldBack { place, altered },
                Self::HeldBack {
                    place: place_before,
                    altered: before,
                },
            ) => {
                place == place_before
                    && altered.deleted <= before.deleted
                    && altered.changed <= before.changed
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { path } => write!(f, "Delete {path} on all your devices?"),
            Self::HeldBack { place, altered } => {
                let Altered {
                    deleted,
                    changed,
                    of,
                } = altered;
                write!(
                    f,
                    "this sync with {place} would delete {deleted} and change {changed} of {of} \
                     records"
                )
            }
            Self::ReplaceRemote { why } => write!(f, "{}", why.message),
            Self::Rotate { host, keep_since } => {
                write!(
                    f,
                    "Make a new account at {host}? Your other devices must join it with its new \
                     key."
                )?;
                match keep_since {
                    Some(since) => write!(
                        f,
                        " If there is history before {}, it is first saved in a file beside the \
                         vault.",
                        local_time(*since)
                    ),
                    None => Ok(()),
                }
            }
            Self::Upgrade => {
                f.write_str("The desktop client cannot use this account any more then. Go on?")
            }
            Self::ForgetServer { host } => write!(
                f,
                "Forget {host}? Without the sync key of another device this one cannot come back."
            ),
            Self::DeleteAccount { host } => write!(
                f,
                "Delete the account at {host}? Your other devices cannot sync with it any more."
            ),
            Self::ForgetFolder {
                path,
                deletes: false,
            } => write!(f, "Forget the folder {path}?"),
            Self::ForgetFolder {
                path,
                deletes: true,
            } => write!(
                f,
                "Forget the folder {path}, and delete this device's copy in it?"
            ),
        }
    }
}

/// What a person agreed to.
#[derive(Debug, Clone, Default)]
pub struct Consent {
    to_everything: bool,
    given: Vec<Question>,
}

impl Consent {
    /// To nothing yet.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// To whatever may be asked, as `--yes` says.
    #[must_use]
    pub fn to_everything() -> Self {
        Self {
            to_everything: true,
            given: Vec::new(),
        }
    }

    /// Adds a yes.
    pub fn give(&mut self, question: Question) {
        self.given.push(question);
    }

    /// Whether a person agreed to this.
    #[must_use]
    pub fn covers(&self, question: &Question) -> bool {
        let is_covered = self.to_everything && !matches!(question, Question::ReplaceRemote { .. });
        is_covered || self.given.contains(question)
    }

    /// The guard of a sync with this place: `None` if a person agreed to everything, else one that
    /// lets through what they agreed to there.
    pub(crate) fn guard(&self, place: &str, guard: Guard) -> Option<Guard> {
        let agreed = self.given.iter().rev().find_map(|question| match question {
            Question::HeldBack { place: of, altered } if of == place => Some(*altered),
            _ => None,
        });
        let agreed = agreed.unwrap_or_default();
        (!self.to_everything).then_some(Guard { agreed, ..guard })
    }

    /// Returns `Ok` if a person agreed to this.
    ///
    /// # Errors
    /// The question.
    pub fn require(&self, question: Question) -> Reply<()> {
        if self.covers(&question) {
            Ok(())
        } else {
            Err(Halt::Needs(Need::Confirmation(question)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_asked_for_again_only_if_more_would_change() {
        let held_back = |place: &str, deleted, of| Question::HeldBack {
            place: place.to_owned(),
            altered: Altered {
                deleted,
                changed: 1,
                of,
            },
        };
        let asked = held_back("host", 10, 30);
        for (other, is_no_more) in [
            (held_back("host", 10, 15), true),
            (held_back("host", 9, 30), true),
            (held_back("host", 11, 30), false),
            (held_back("folder", 10, 30), false),
            (Question::Upgrade, false),
        ] {
            assert_eq!(other.asks_no_more_than(&asked), is_no_more, "{other:?}");
        }
    }
}
