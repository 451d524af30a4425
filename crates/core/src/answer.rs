//! What a front end gets instead of an answer: an error, or something that a person must decide.
//!
//! Nothing below a front end asks. A call that needs a person stops and says what it needs; the
//! front end asks, and calls again with what the person said.

use std::fmt;
use std::path::PathBuf;

use passmate_interchange::Format;
use passmate_sync::transport::TrustProblem;
use passmate_sync::{Decision, HeldBack, Policy};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::local_time;
use crate::command::{command, shell_word};
use crate::escape::escape;
use crate::problem::{HELD_BACK_HINT, Problem, ProblemKind};
use crate::shared_folder::FolderError;
use crate::units::readable;

/// The result of a call.
pub type Reply<T> = Result<T, Halt>;

/// Why a call stopped.
#[derive(Debug, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Need {
    /// The vault is locked. Unlock it and call again.
    Locked,
    /// A yes. Call again with a [`Consent`] that holds the question.
    Confirmation(Question),
    /// The server's certificate is self-signed. Let the person compare its pin with the one that
    /// the operator gave them, and call again with that pin.
    UnknownPin(Box<TrustProblem>),
    /// The copies in the folder at this path are under a key. Call again with it.
    FolderKey(PathBuf),
    /// No record has this path. Let a person say which one they mean, and call again with its path
    /// in the form of [`escape_path`](crate::escape::escape_path). A program that nobody watches
    /// must not take a candidate, even if it is the only one.
    OtherPath {
        /// The path as it was given.
        path: String,
        /// The paths that end with it, at the begin of a part.
        candidates: Vec<String>,
        /// If there are none: what else has this name.
        namesake: Option<Namesake>,
        /// If there are none: paths that are like it.
        alike: Vec<String>,
    },
}

/// What has the name of a record that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namesake {
    /// A folder.
    Folder {
        /// Its path, without a slash at its end.
        path: String,
        /// How many records are below it.
        records: usize,
    },
    /// A deleted record.
    Deleted {
        /// Its path.
        path: String,
    },
}

impl From<Need> for Problem {
    fn from(need: Need) -> Self {
        match need {
            Need::Locked => Self::new(
                ProblemKind::Locked,
                "the vault is locked",
                "run `passmate unlock`, and then run it again",
            ),
            Need::Confirmation(
                ref question @ Question::HeldBack {
                    ref place,
                    ref held,
                },
            ) => {
                let hint = match held.takes_guard() {
                    true => place.hint_of_guard(),
                    false => place.hint(),
                };
                Self::new(ProblemKind::HeldBack, question.to_string(), hint)
            }
            Need::Confirmation(Question::ReplaceRemote { why }) => why,
            Need::Confirmation(Question::TooLarge { host, len, limit }) => Self::new(
                ProblemKind::TooLarge,
                format!(
                    "with this change the vault takes {}, and {} accepts {}",
                    readable(len),
                    escape(&host),
                    readable(usize::try_from(limit).unwrap_or(usize::MAX))
                ),
                "nothing was changed; store less, or add --yes to store it on this device alone",
            ),
            Need::Confirmation(_) => Self::new(
                ProblemKind::Cancelled,
                "this needs a confirmation, but there is no terminal to ask on",
                "add --yes to confirm, or run it on a terminal",
            ),
            Need::UnknownPin(problem) => Self::from(*problem),
            Need::FolderKey(path) => FolderError::KeyNeeded(path).into(),
            Need::OtherPath {
                path,
                candidates,
                namesake,
                alike,
            } => no_record(&path, candidates, namesake, &alike),
        }
    }
}

/// How many paths a hint names.
const PATHS_SHOWN: usize = 5;

/// The problem of a path at which no record is.
fn no_record(
    path: &str,
    candidates: Vec<String>,
    namesake: Option<Namesake>,
    alike: &[String],
) -> Problem {
    let meant = |paths: &[String]| {
        let words: Vec<_> = paths.iter().take(PATHS_SHOWN).map(shell_word).collect();
        match paths.len().saturating_sub(PATHS_SHOWN) {
            0 => format!("did you mean {}?", words.join(" or ")),
            more => format!(
                "did you mean {}, or one of {more} others?",
                words.join(", ")
            ),
        }
    };
    let message = format!("there is no record {path}");
    if let Some(namesake) = namesake {
        let (what, hint) = match namesake {
            Namesake::Folder { path, records } => {
                let list = command(["passmate", "ls"]).arg(format!("{path}/"));
                let what = match records {
                    1 => "it is a folder with 1 record".to_owned(),
                    count => format!("it is a folder with {count} records"),
                };
                (what, format!("{list} lists what is in it"))
            }
            Namesake::Deleted { path } => {
                let restore = command(["passmate", "restore"]).arg(path);
                (
                    "it was deleted".to_owned(),
                    format!("{restore} brings it back"),
                )
            }
        };
        let message = format!("{message}; {what}");
        return Problem::new(ProblemKind::NotFound, message, hint);
    }
    match (candidates.len(), alike) {
        (0, []) => Problem::new(
            ProblemKind::NotFound,
            message,
            "`passmate ls` lists all records",
        ),
        (0, alike) => Problem::new(ProblemKind::NotFound, message, meant(alike)),
        (1, _) => Problem::new(ProblemKind::NotFound, message, meant(&candidates)),
        (count, _) => {
            let message = format!("{message}, and {count} end with it");
            let hint = meant(&candidates);
            Problem {
                candidates,
                ..Problem::new(ProblemKind::Ambiguous, message, hint)
            }
        }
    }
}

/// Where changes come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// The account of this vault, on a server with this host.
    Server(String),
    /// An account that this vault is about to join, on a server with this host.
    Joined(String),
    /// A shared folder, by its path.
    Folder(String),
    /// A file that is imported.
    File(Format),
}

impl Place {
    /// Whether what comes from here can be refused for good. What a file brings is simply not
    /// imported, and an account is not joined.
    #[must_use]
    pub const fn can_be_refused(&self) -> bool {
        matches!(self, Self::Server(_) | Self::Folder(_))
    }

    /// What a person can do about a guard that would go.
    const fn hint_of_guard(&self) -> &'static str {
        match self {
            Self::Server(_) | Self::Folder(_) => {
                "nothing was changed by it; only a person who sees it can accept that: run `passmate \
                 sync` on a terminal; `passmate sync --refuse` undoes it for good on all devices"
            }
            Self::Joined(_) | Self::File(_) => {
                "nothing was changed by it; only a person who sees it can accept that: run it again \
                 on a terminal"
            }
        }
    }

    /// What a person can do about what was held back.
    const fn hint(&self) -> &'static str {
        match self {
            Self::Server(_) => HELD_BACK_HINT,
            Self::Folder(_) => {
                "nothing was changed by it; `passmate sync --held` lists it; accept it with \
                 `passmate sync --yes`, or undo it on this device with `passmate sync --refuse`"
            }
            Self::Joined(_) => {
                "nothing was joined or changed; run it again on a terminal to see the records, or \
                 with --yes to accept it"
            }
            Self::File(_) => {
                "nothing was imported; run it again on a terminal to see the records, or with --yes \
                 to accept it"
            }
        }
    }
}

/// The server's host, the folder's path, or the kind of file.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(host) | Self::Joined(host) => f.write_str(host),
            Self::Folder(path) => write!(f, "the folder {path}"),
            Self::File(format) => write!(f, "this {} file", format.word()),
        }
    }
}

/// How many records a question names.
const NAMES_SHOWN: usize = 5;

/// What a person is asked to agree to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Delete records on all devices.
    Delete {
        /// Their paths.
        paths: Vec<String>,
    },
    /// Purge values: they are gone on every device, and no *undo* brings them back.
    Purge {
        /// The path of the record.
        path: String,
        /// The field; `None` for the whole record.
        field: Option<String>,
        /// The number of values.
        values: usize,
    },
    /// Accept what would alter much at once, or refuse it for good: see [`Consent::refuse`].
    HeldBack {
        /// Where it comes from.
        place: Place,
        /// What it would do.
        held: Box<HeldBack>,
    },
    /// Overwrite what the server has and this device cannot open. A mere yes is not enough for this
    /// one: [`Consent::to_everything`] does not hold it.
    ReplaceRemote {
        /// Why it cannot be opened.
        why: Problem,
    },
    /// Store a change after which the vault is larger than its server accepts.
    TooLarge {
        /// The server.
        host: String,
        /// The length of the vault as a btoken, in bytes.
        len: usize,
        /// The longest btoken that the server accepts, in bytes.
        limit: u32,
    },
    /// Put a copy in the place of a vault that may be sound. The vault gets another name.
    ReplaceVault {
        /// The vault.
        path: String,
        /// Its records, if it opens.
        records: Option<usize>,
    },
    /// Move to a new account with a new key.
    Rotate {
        /// The server.
        host: String,
        /// The history of the new account begins then, in seconds since 1970.
        keep_since: Option<i64>,
        /// A device was lost: what the old account holds is not read any more.
        lost: bool,
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
        /// The key of the folder goes with it.
        has_key: bool,
    },
}

impl Question {
    /// Whether both are about what is held back from one place.
    fn is_about_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::HeldBack { place: one, .. }, Self::HeldBack { place: other, .. }) => {
                one == other
            }
            _ => false,
        }
    }

    /// Whether this asks for nothing that the other question did not ask for. A sync that was held
    /// back may be held back again, with other numbers.
    #[must_use]
    pub fn asks_no_more_than(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::HeldBack { place, held },
                Self::HeldBack {
                    place: place_before,
                    held: before,
                },
            ) => place == place_before && held.asks_no_more_than(before),
            _ => self == other,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { paths } => match paths.split_at_checked(NAMES_SHOWN) {
                Some((shown, rest)) if !rest.is_empty() => write!(
                    f,
                    "Delete {} records ({} and {} more) on all your devices?",
                    paths.len(),
                    shown.join(", "),
                    rest.len()
                ),
                _ => write!(f, "Delete {} on all your devices?", paths.join(", ")),
            },
            Self::Purge {
                path,
                field,
                values,
            } => {
                let of = field
                    .as_ref()
                    .map_or_else(String::new, |field| format!("{field} of "));
                let values = match values {
                    1 => "1 value".to_owned(),
                    values => format!("{values} values"),
                };
                write!(
                    f,
                    "Purge {values} of {of}{path} from all your devices? Nothing brings them back."
                )
            }
            Self::HeldBack { place, held } => write!(f, "what comes from {place} would {held}"),
            Self::ReplaceRemote { why } => write!(f, "{}", why.message),
            Self::TooLarge { host, len, limit } => write!(
                f,
                "With this change the vault takes {}, and {host} accepts {}: nothing can be sent \
                 there then. Store it on this device all the same?",
                readable(*len),
                readable(usize::try_from(*limit).unwrap_or(usize::MAX))
            ),
            Self::ReplaceVault {
                path,
                records: Some(records),
            } => write!(
                f,
                "{path} opens and has {records} records. Put the copy in its place, and give it \
                 another name?"
            ),
            Self::ReplaceVault {
                path,
                records: None,
            } => write!(
                f,
                "{path} may be sound: it is under another passphrase, or of a newer program. Put \
                 the copy in its place, and give it another name?"
            ),
            Self::Rotate {
                host,
                keep_since,
                lost,
            } => {
                write!(
                    f,
                    "Make a new account at {host}? Your other devices must join it with its new \
                     key."
                )?;
                if *lost {
                    f.write_str(
                        " What the old account holds is deleted unread: this device's vault counts.",
                    )?;
                }
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
                deletes,
                has_key,
            } => {
                write!(f, "Forget the folder {path}")?;
                if *deletes {
                    f.write_str(", and delete this device's copy in it")?;
                }
                f.write_str("?")?;
                if *has_key {
                    f.write_str(
                        " Without its key, which `passmate sync key --folder` shows, this device \
                         cannot come back.",
                    )?;
                }
                Ok(())
            }
        }
    }
}

/// Reads what somebody answered. A person answers a few questions, and what another process sends
/// must not take many times its own length of memory.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Question>, D::Error> {
    const MAX: usize = 1000;

    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Vec<Question>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} answers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut answers: A) -> Result<Vec<Question>, A::Error> {
            let mut read = Vec::new();
            while let Some(answer) = answers.next_element()? {
                if read.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                read.push(answer);
            }
            Ok(read)
        }
    }

    deserializer.deserialize_seq(Few)
}

/// What a person agreed to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Consent {
    to_everything: bool,
    #[serde(deserialize_with = "few")]
    given: Vec<Question>,
    #[serde(deserialize_with = "few")]
    refused: Vec<Question>,
    refuses_everything: bool,
}

impl Consent {
    /// The same without a general yes to what is held back: `--yes` confirms a command, and not
    /// what comes in by the way.
    #[must_use]
    pub(crate) fn without_held_back(&self) -> Self {
        Self {
            to_everything: false,
            ..self.clone()
        }
    }

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
            ..Self::default()
        }
    }

    /// Refuses for good whatever a sync holds back.
    #[must_use]
    pub fn refusing_what_is_held_back() -> Self {
        Self {
            refuses_everything: true,
            ..Self::default()
        }
    }

    /// Refuses for good what a sync holds back: its changes are purged, on all devices.
    pub fn refuse(&mut self, question: Question) {
        self.given
            .retain(|given| !given.is_about_same_place(&question));
        self.refused.push(question);
    }

    /// Adds a yes. The last answer about a place counts.
    pub fn give(&mut self, question: Question) {
        self.refused
            .retain(|refused| !refused.is_about_same_place(&question));
        self.given.push(question);
    }

    /// Whether it holds a yes to a sync that takes the guard from a record.
    #[must_use]
    pub fn takes_guard(&self) -> bool {
        let mut given = self.given.iter();
        given.any(|given| matches!(given, Question::HeldBack { held, .. } if held.takes_guard()))
    }

    /// Whether a person saw this question and agreed to it.
    pub(crate) fn was_seen(&self, question: &Question) -> bool {
        self.given.contains(question)
    }

    /// Whether a person agreed to this.
    #[must_use]
    pub fn covers(&self, question: &Question) -> bool {
        let is_covered = self.to_everything && !matches!(question, Question::ReplaceRemote { .. });
        is_covered || self.given.contains(question)
    }

    /// The policy of a sync with this place, with what a person said about it.
    pub(crate) fn policy(&self, place: &Place, policy: &Policy) -> Policy {
        let last = |questions: &[Question]| {
            questions.iter().rev().find_map(|question| match question {
                Question::HeldBack { place: of, held } if of == place => Some(held.clone()),
                _ => None,
            })
        };
        let decision = match (last(&self.refused), last(&self.given)) {
            _ if self.refuses_everything => Decision::RefuseAll,
            (Some(refused), _) => Decision::Refuse(refused),
            (None, Some(agreed)) if agreed.takes_guard() => Decision::Agree(agreed),
            (None, _) if self.to_everything => Decision::AgreeToAll,
            (None, Some(agreed)) => Decision::Agree(agreed),
            (None, None) => Decision::Ask,
        };
        Policy {
            decision,
            ..policy.clone()
        }
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
    use passmate_sync::admit::{Entry, would_hold_back};
    use passmate_vault::Vault;
    use passmate_vault::record::AHEAD_SECONDS;

    use super::*;

    const HOST: &str = "example.org";

    #[test]
    fn the_last_answer_about_a_place_counts() {
        let (now, mut vault) = (2_000_000_000, Vault::new());
        vault.create_record("A".into(), "mail", now).unwrap();
        let mut remote = vault.clone();
        let ahead = now + 2 * AHEAD_SECONDS;
        remote.set(&"A".into(), "note", "x", ahead).unwrap();
        let entry = Entry {
            vault: &vault,
            baseline: None,
            now,
        };
        let held = would_hold_back(remote, entry, &Policy::default()).unwrap();
        let question = |place| Question::HeldBack {
            place,
            held: held.clone(),
        };
        let mut consent = Consent::none();
        let of = |consent: &Consent, place| consent.policy(&place, &Policy::default()).decision;
        consent.refuse(question(Place::Server(HOST.into())));
        consent.refuse(question(Place::Folder(HOST.into())));
        assert_eq!(
            of(&consent, Place::Server(HOST.into())),
            Decision::Refuse(held.clone())
        );
        consent.give(question(Place::Server(HOST.into())));
        assert_eq!(
            of(&consent, Place::Server(HOST.into())),
            Decision::Agree(held.clone())
        );
        assert_eq!(
            of(&consent, Place::Folder(HOST.into())),
            Decision::Refuse(held.clone())
        );
        consent.refuse(question(Place::Server(HOST.into())));
        assert_eq!(
            of(&consent, Place::Server(HOST.into())),
            Decision::Refuse(held)
        );
    }
}
