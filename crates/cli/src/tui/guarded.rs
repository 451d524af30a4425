//! Guarded records, and calls that wait until a person has agreed. The rules are:
//!  - a guarded record is read when a person opens it or acts on it, and not because they pass it;
//!  - one question waits at a time, and the screen goes on meanwhile;
//!  - a question about a record is withdrawn when the record is left.

use passmate_core::escape::escape_path;
use passmate_core::problem::{Problem, ProblemKind};
use ratatui::crossterm::event::KeyEvent;

use super::dialog::Dialog;
use super::note::Note;
use super::state::{Effect, State};
use super::worker::{Call, Done};

/// A call that waits until a person has agreed.
#[derive(Debug)]
pub(super) struct Pending {
    call: Call,
    question: String,
}

impl Pending {
    pub(super) fn note(&self) -> Note {
        Note::warning(&format!("{} Esc withdraws it.", self.question))
    }
}

/// A guarded record that a person opens.
#[derive(Debug)]
pub(super) struct Wanted {
    path: String,
    /// The key that acts on it then.
    then: KeyEvent,
    is_sent: bool,
}

impl State {
    /// Whether the selected record is guarded, and was not read.
    pub(super) fn is_kept_shut(&self) -> bool {
        self.open.is_none() && self.tree.is_guarded()
    }

    /// Whether a person is asked for the selected record.
    pub(super) fn is_asked_for(&self) -> bool {
        let path = self.tree.record().map(escape_path);
        let pending = self.pending.as_ref();
        let asked = pending.and_then(|pending| pending.call.record());
        asked.is_some_and(|asked| Some(asked) == path)
    }

    /// Opens the selected record, which is guarded; the key acts on it then.
    pub(super) fn want(&mut self, then: KeyEvent) {
        let Some(path) = self.tree.record().map(str::to_owned) else {
            return;
        };
        let is_sent = self.wanted.as_ref().is_some_and(|wanted| wanted.is_sent);
        self.wanted = Some(Wanted {
            path,
            then,
            is_sent,
        });
    }

    /// The call that reads the record which is wanted, once.
    pub(super) fn wanted_record(&mut self) -> Option<Call> {
        let wanted = self.wanted.as_mut().filter(|wanted| !wanted.is_sent)?;
        wanted.is_sent = true;
        let path = escape_path(&wanted.path);
        Some(Call::Record { path })
    }

    /// The key that waited for this record.
    pub(super) fn late_key_of(&mut self, path: &str) -> Option<KeyEvent> {
        let is_of = |wanted: &mut Wanted| escape_path(&wanted.path) == path;
        self.wanted.take_if(is_of).map(|wanted| wanted.then)
    }

    /// A person is asked before the call that is under way goes on.
    pub(super) fn asking(&mut self, question: String) -> Option<Effect> {
        let (call, _) = self.running.take()?;
        if self.pending.is_some() {
            let problem = Problem::new(
                ProblemKind::InUse,
                "another question waits for an answer",
                "answer it, or withdraw it with Esc",
            );
            self.failed(call, problem);
            return Some(Effect::Replace);
        }
        self.note = None;
        self.pending = Some(Pending { call, question });
        Some(Effect::SetAside)
    }

    /// The call that waited ended.
    pub(super) fn pending_done(&mut self, done: Done) -> Option<Effect> {
        // One that was withdrawn meanwhile is over.
        self.pending.take()?;
        self.note = None;
        self.take_in(done)
    }

    /// Whether Esc withdraws the question, and closes nothing that lies over it.
    pub(super) fn can_withdraw(&self) -> bool {
        self.pending.is_some() && self.dialog.as_ref().is_none_or(Dialog::is_sent)
    }

    /// Nobody is to be asked any more.
    pub(super) fn withdraw(&mut self) -> Option<Effect> {
        let pending = self.pending.take()?;
        let problem = Problem::new(
            ProblemKind::Cancelled,
            "the question was withdrawn",
            "nothing was handed out or changed",
        );
        self.failed(pending.call, problem);
        // An answer may have come before.
        self.listed_at = None;
        Some(Effect::Withdraw)
    }

    /// Forgets a guarded record that may have changed: to read it again, a person must agree again.
    pub(super) fn close_guarded(&mut self) {
        if self.tree.is_guarded() {
            self.open = None;
        }
    }

    /// Asks for nothing of a record that was left.
    pub(super) fn leave_guarded(&mut self) -> Option<Effect> {
        // For the next code, a person would be asked again.
        if let Some(open) = self.open.as_mut().filter(|_| self.tree.is_guarded()) {
            open.hide_late_code(self.now);
        }
        let path = self.tree.record();
        self.wanted
            .take_if(|wanted| Some(wanted.path.as_str()) != path);
        let pending = self.pending.as_ref()?;
        let asked = pending.call.record()?;
        if path.map(escape_path).as_deref() == Some(asked.as_str()) {
            return None;
        }
        let effect = self.withdraw();
        self.note = None;
        effect
    }
}
