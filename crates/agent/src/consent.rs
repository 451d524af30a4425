//! Asks a person before a guarded record is used (see [`guard`](passmate_core::guard)). The rules are:
//!  - nothing is handed out before a person agreed;
//!  - the person sees which program asks, for which record, for what, and why it says it does;
//!  - they agree once, or for this program and record for a while: the process, not its file, so that
//!    the agreement ends with it;
//!  - a window asks where there is one. Anywhere else `passmate agent approve` does, for which the
//!    master passphrase is needed: a program that could type a yes cannot type that;
//!  - without an answer it is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use passmate_core::escape::escape;
use passmate_core::guard::Guarded;
use passmate_core::problem::{Problem, ProblemKind};
use serde::{Deserialize, Serialize};

use crate::dialogs::{Decision, Window};
use crate::peer::{Peer, Process};

/// How long an agreement for a while holds.
pub const A_WHILE: Duration = Duration::from_mins(15);
/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether the program that asks has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many questions wait at once.
const PENDING_MAX: usize = 16;
/// How many agreements are remembered.
const GRANTS_MAX: usize = 256;
/// How many records a question names.
const RECORDS_SHOWN: usize = 5;
// The longest parts of a question, in bytes. All of them fit into one line of a window's program.
const PEER_LEN_MAX: usize = 250;
const WHAT_LEN_MAX: usize = 220;
const RECORDS_LEN_MAX: usize = 200;
const REASON_LEN_MAX: usize = 200;

/// A use that somebody asks for.
#[derive(Debug, Clone)]
pub struct Use {
    /// Who asks.
    pub peer: Peer,
    /// The vault.
    pub vault: PathBuf,
    /// The guarded records.
    pub records: Vec<Guarded>,
    /// What is to be done with them, as in "wants to read".
    pub what: String,
    /// Why, as the program says.
    pub reason: Option<String>,
    /// Whether an agreement may hold for a while. One to a change, or to a call for the whole vault,
    /// is for once.
    pub may_last: bool,
}

/// Two or three sentences; names in them are escaped.
impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer.to_string();
        write!(f, "{} wants to {}", cut(&peer, PEER_LEN_MAX), self.deed())?;
        match &self.reason {
            Some(reason) => write!(f, ". It says why: {}.", quoted(reason, REASON_LEN_MAX)),
            None => write!(f, ". It does not say why."),
        }
    }
}

impl Use {
    /// What is to be done with which records.
    fn deed(&self) -> String {
        let count = self.records.len().min(RECORDS_SHOWN);
        let len_max = RECORDS_LEN_MAX / count.max(1);
        let shown = self.records.iter().take(count);
        let shown: Vec<_> = shown
            .map(|record| cut(&escape(&record.path), len_max))
            .collect();
        let what = cut(&self.what, WHAT_LEN_MAX);
        let mut deed = format!("{what} {}", shown.join(", "));
        if let Some(more @ 1..) = self.records.len().checked_sub(count) {
            deed.push_str(&format!(" and {more} more"));
        }
        deed
    }
}

/// What a program says, in quotes that it cannot end, and so long at most, in bytes.
pub(crate) fn quoted(text: &str, len_max: usize) -> String {
    format!("\"{}\"", cut(&escape(text).replace('"', "'"), len_max))
}

/// The beginning of a text. A percent sign takes three bytes in a line for a window's program.
fn cut(text: &str, len_max: usize) -> String {
    let mut len = 0;
    let end = text.char_indices().find_map(|(at, character)| {
        len += match character {
            '%' => 3,
            other => other.len_utf8(),
        };
        (len > len_max).then_some(at)
    });
    match end.and_then(|end| text.get(..end)) {
        Some(begin) => format!("{begin}…"),
        None => text.to_owned(),
    }
}

/// A question that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its number.
    pub number: u64,
    /// The vault.
    pub vault: PathBuf,
    /// Who asks for what. Names in it are escaped.
    pub text: String,
    /// A window asks it too.
    pub has_window: bool,
}

/// What people agreed to, and what they are asked.
#[derive(Debug, Default)]
pub struct Consents {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    grants: Vec<Grant>,
    /// Agreements that were not used, and until when they hold.
    unused: Vec<(Use, Duration)>,
    pending: BTreeMap<u64, Pending>,
    asked: u64,
}

#[derive(Debug)]
struct Pending {
    question: Question,
    decision: Option<Decision>,
}

#[derive(Debug)]
struct Grant {
    vault: PathBuf,
    /// Its id.
    record: String,
    /// What was agreed to.
    what: String,
    asker: Process,
    until: Duration,
}

impl Consents {
    /// Returns once a person has agreed to a use. `asking` is called with the question before
    /// somebody is asked, and `is_gone` says meanwhile whether the program that asks has ended.
    ///
    /// # Errors
    /// They refused, or nobody answered.
    pub fn ask(
        self: &Arc<Self>,
        used: &Use,
        window: Option<Window>,
        now: Duration,
        asking: impl FnOnce(&Question),
        is_gone: impl Fn() -> bool,
    ) -> Result<(), Problem> {
        if self.is_granted(used, now) || self.take_unused(used, now) {
            return Ok(());
        }
        let question = self.begin(used, window.is_some())?;
        asking(&question);
        if let Some(window) = window {
            let (consents, question) = (Arc::clone(self), question.clone());
            // Without a thread to spare, `passmate agent approve` asks.
            let _ = thread::Builder::new().spawn(move || {
                let is_over = || !consents.waits(question.number);
                // A window that failed leaves the question to the terminal.
                let decided = window.decide(&question.text, "Allow for 15 minutes", &is_over);
                if let Ok(decision) = decided {
                    consents.decide(question.number, decision);
                }
            });
        }
        let decision = self.wait(question.number, is_gone);
        match decision {
            Some(Decision::Once) => Ok(()),
            Some(Decision::ForAWhile) => {
                if used.may_last {
                    self.grant(used, now);
                }
                Ok(())
            }
            Some(Decision::Refused) => Err(Problem::new(
                ProblemKind::Cancelled,
                format!("a person refused to let this program {}", used.deed()),
                "nothing was handed out",
            )),
            None => Err(Problem::new(
                ProblemKind::Cancelled,
                format!(
                    "nobody agreed within {} seconds to let this program {}",
                    PATIENCE.as_secs(),
                    used.deed()
                ),
                match question.has_window {
                    true => {
                        "run it again and answer in the window that opens, or with `passmate agent \
                         approve` in another terminal"
                    }
                    false => {
                        "run it again and answer with `passmate agent approve` in another terminal"
                    }
                },
            )),
        }
    }

    /// The questions that wait.
    #[must_use]
    pub fn pending(&self) -> Vec<Question> {
        let state = self.state.lock();
        let waiting = state
            .pending
            .values()
            .filter(|pending| pending.decision.is_none());
        waiting.map(|pending| pending.question.clone()).collect()
    }

    /// Whether somebody waits for the answer to a question.
    fn waits(&self, number: u64) -> bool {
        let state = self.state.lock();
        let pending = state.pending.get(&number);
        pending.is_some_and(|pending| pending.decision.is_none())
    }

    /// Answers a question. One that nobody waits for any more is left alone.
    pub fn decide(&self, number: u64, decision: Decision) {
        let mut state = self.state.lock();
        if let Some(pending) = state.pending.get_mut(&number) {
            pending.decision.get_or_insert(decision);
        }
        self.answered.notify_all();
    }

    /// The vault of a question that waits.
    #[must_use]
    pub fn vault_of(&self, number: u64) -> Option<PathBuf> {
        let state = self.state.lock();
        state
            .pending
            .get(&number)
            .map(|pending| pending.question.vault.clone())
    }

    /// Forgets all that was agreed to: whenever a vault is locked or unlocked.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        state.grants.clear();
        state.unused.clear();
    }

    /// Keeps an agreement that was not used, because the call asks something else first. The same
    /// process may make the call again for a moment.
    pub fn keep_unused(&self, used: Use, now: Duration) {
        let mut state = self.state.lock();
        state.unused.retain(|(_, until)| *until > now);
        if state.unused.len() < GRANTS_MAX {
            state.unused.push((used, now.saturating_add(PATIENCE)));
        }
    }

    fn take_unused(&self, used: &Use, now: Duration) -> bool {
        let mut state = self.state.lock();
        let place = state.unused.iter().position(|(agreed, until)| {
            let mut records = used.records.iter();
            *until > now
                && used.peer.asker().is_some()
                && agreed.peer == used.peer
                && agreed.vault == used.vault
                && agreed.what == used.what
                && records.all(|record| agreed.records.contains(record))
        });
        place.map(|place| state.unused.swap_remove(place)).is_some()
    }

    fn is_granted(&self, used: &Use, now: Duration) -> bool {
        let mut state = self.state.lock();
        state
            .grants
            .retain(|grant| grant.until > now && grant.asker.is_alive());
        let Some(asker) = used.peer.asker() else {
            return false;
        };
        used.records.iter().all(|record| {
            state.grants.iter().any(|grant| {
                let is_same_use = grant.asker == *asker && grant.what == used.what;
                is_same_use && grant.vault == used.vault && grant.record == record.id
            })
        })
    }

    fn grant(&self, used: &Use, now: Duration) {
        let Some(asker) = used.peer.asker() else {
            return;
        };
        let mut state = self.state.lock();
        for record in &used.records {
            if state.grants.len() < GRANTS_MAX {
                state.grants.push(Grant {
                    vault: used.vault.clone(),
                    record: record.id.clone(),
                    what: used.what.clone(),
                    asker: asker.clone(),
                    until: now.saturating_add(A_WHILE),
                });
            }
        }
    }

    fn begin(&self, used: &Use, has_window: bool) -> Result<Question, Problem> {
        let mut state = self.state.lock();
        if state.pending.len() >= PENDING_MAX {
            return Err(Problem::new(
                ProblemKind::InUse,
                format!("{PENDING_MAX} questions wait for a person already"),
                "`passmate agent approve` shows them",
            ));
        }
        state.asked += 1;
        let question = Question {
            number: state.asked,
            vault: used.vault.clone(),
            text: used.to_string(),
            has_window,
        };
        let pending = Pending {
            question: question.clone(),
            decision: None,
        };
        state.pending.insert(question.number, pending);
        Ok(question)
    }

    fn wait(&self, number: u64, is_gone: impl Fn() -> bool) -> Option<Decision> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        loop {
            let decision = state
                .pending
                .get(&number)
                .and_then(|pending| pending.decision);
            let is_over = decision.is_some() || Instant::now() >= until;
            if is_over || is_gone() {
                state.pending.remove(&number);
                return decision;
            }
            let look = Instant::now() + LOOK_EVERY;
            self.answered.wait_until(&mut state, until.min(look));
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn guarded(path: &str) -> Guarded {
        Guarded {
            id: format!("id of {path}"),
            path: path.to_owned(),
        }
    }

    fn used(record: &str) -> Use {
        let (one, _other) = UnixStream::pair().unwrap();
        Use {
            peer: Peer::of(&one),
            vault: "/vault".into(),
            records: vec![guarded(record)],
            what: "read".to_owned(),
            reason: Some("to deploy\u{1b}[2J".to_owned()),
            may_last: true,
        }
    }

    fn ask(consents: &Arc<Consents>, used: &Use, answer: Decision) -> Result<bool, Problem> {
        let mut was_asked = false;
        let asking = |question: &Question| {
            was_asked = true;
            let text = &question.text;
            assert!(
                text.contains("wants to read web/bank. It says why: \"to deploy\\u{1b}[2J\"."),
                "{text}"
            );
            assert!(!text.contains('\u{1b}'), "{text:?}");
            assert_eq!(
                consents.pending().as_slice(),
                std::slice::from_ref(question)
            );
            consents.decide(question.number, answer);
        };
        consents.ask(used, None, Duration::ZERO, asking, || false)?;
        Ok(was_asked)
    }

    #[test]
    fn a_yes_is_for_once_unless_it_is_for_a_while() {
        let consents = Arc::new(Consents::default());
        let bank = used("web/bank");
        for _ in 0..2 {
            assert!(ask(&consents, &bank, Decision::Once).unwrap());
        }
        assert!(ask(&consents, &bank, Decision::ForAWhile).unwrap());
        assert!(
            !ask(&consents, &bank, Decision::Refused).unwrap(),
            "agreed to"
        );
        let refuse = |question: &Question| consents.decide(question.number, Decision::Refused);
        let later = consents.ask(&bank, None, A_WHILE, refuse, || false);
        assert_eq!(later.unwrap_err().kind, ProblemKind::Cancelled);
        assert!(consents.pending().is_empty());
    }

    #[test]
    fn a_question_fits_into_a_line_and_names_the_records_first() {
        let records = (0..9).map(|number| guarded(&format!("{number}{}", "%".repeat(999))));
        let long = Use {
            records: records.collect(),
            what: "x".repeat(999),
            reason: Some("%\" ü".repeat(999)),
            ..used("web/bank")
        };
        let text = long.to_string();
        assert!(text.len() + 2 * text.matches('%').count() < 980, "{text}");
        for part in [
            "wants to xxx",
            " 0%",
            ", 4%",
            " and 4 more. It says why: \"%' ü%",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_agreement_to_a_change_is_for_once() {
        let consents = Arc::new(Consents::default());
        let change = Use {
            may_last: false,
            ..used("web/bank")
        };
        for _ in 0..2 {
            assert!(ask(&consents, &change, Decision::ForAWhile).unwrap());
        }
    }

    #[test]
    fn nobody_is_asked_for_a_program_that_has_ended() {
        let consents = Arc::new(Consents::default());
        let ended = consents.ask(&used("web/bank"), None, Duration::ZERO, |_| {}, || true);
        assert!(ended.is_err());
        assert!(consents.pending().is_empty());
    }

    #[test]
    fn an_agreement_is_for_its_record_and_its_process_alone() {
        let consents = Arc::new(Consents::default());
        let bank = used("web/bank");
        assert!(ask(&consents, &bank, Decision::ForAWhile).unwrap());
        let both = Use {
            records: vec![guarded("web/bank"), guarded("web/shop")],
            ..bank.clone()
        };
        assert!(!consents.is_granted(&both, Duration::ZERO));
        let to_change = Use {
            what: "change".to_owned(),
            ..bank.clone()
        };
        assert!(!consents.is_granted(&to_change, Duration::ZERO));
        let took_its_path = Use {
            records: vec![Guarded {
                id: "another".to_owned(),
                ..guarded("web/bank")
            }],
            ..bank.clone()
        };
        assert!(!consents.is_granted(&took_its_path, Duration::ZERO));
        let elsewhere = Use {
            vault: "/other".into(),
            ..bank.clone()
        };
        assert!(!consents.is_granted(&elsewhere, Duration::ZERO));
        let of_another = Use {
            peer: Peer::default(),
            ..bank.clone()
        };
        assert!(!consents.is_granted(&of_another, Duration::ZERO));
        assert!(consents.is_granted(&bank, Duration::ZERO));
        consents.forget();
        assert!(!consents.is_granted(&bank, Duration::ZERO));
    }
}
