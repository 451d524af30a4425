//! Which call the vault gets next, and what its answer changes.

use passmate_core::answer::{Halt, Need};
use passmate_core::escape::escape_path;
use passmate_core::problem::Problem;

use super::dialog::Dialog;
use super::history::{History, Trash};
use super::note::Note;
use super::record::Open;
use super::state::{Effect, State};
use super::worker::{Answer, Call, CodeUse, Done};

impl State {
    /// The next call. Once the screen has all that it shows, keys that waited for it act.
    pub(super) fn next_call(&mut self, effects: &mut Vec<Effect>) -> Option<Call> {
        loop {
            if self.is_locked || self.running.is_some() {
                return None;
            }
            if let Some(path) = self.to_edit.take() {
                effects.push(Effect::Edit(path));
                return None;
            }
            if let Some(call) = self.lacking() {
                return Some(call);
            }
            let key = self.late_keys.pop_front()?;
            effects.extend(self.key(&key));
        }
    }

    /// What the screen shows and does not have yet.
    fn lacking(&mut self) -> Option<Call> {
        if let Some(call) = self.waiting.pop_front() {
            return Some(call);
        }
        if self.listed_at.is_none() {
            return Some(Call::List);
        }
        if self.query.text() != self.found || self.found_is_stale {
            let query = self.query.text().to_owned();
            return Some(Call::Search { query });
        }
        if let Some(call) = self.wanted_record() {
            return Some(call);
        }
        self.record_is_stale &= !self.tree.is_guarded();
        if self.lacks_record() || self.record_is_stale {
            self.record_is_stale &= self.tree.record().is_some();
            if let Some(path) = self.tree.record().map(escape_path) {
                return Some(Call::Record { path });
            }
        }
        let wants_code = |open: &&Open| open.wants_code(self.now) && !self.is_asked_for();
        if let Some(open) = self.open.as_ref().filter(wants_code) {
            let path = escape_path(open.path());
            let use_of = CodeUse::Show;
            return Some(Call::Code { path, use_of });
        }
        self.stands_at.is_none().then_some(Call::Standing)
    }

    pub(super) fn lacks_record(&self) -> bool {
        let path = self.tree.record();
        let is_missing = path.is_some() && self.open.is_none();
        is_missing && !self.tree.is_guarded() && self.unreadable.as_deref() != path
    }

    pub(super) fn done(&mut self, done: Done) -> Option<Effect> {
        self.running = None;
        self.take_in(done)
    }

    pub(super) fn take_in(&mut self, done: Done) -> Option<Effect> {
        match done.answer {
            _ if self.is_locked => None,
            Err(Halt::Needs(Need::Locked)) => {
                self.note = None;
                Some(self.lock())
            }
            Err(Halt::Needs(Need::Confirmation(question))) => {
                self.confirm(question, done.call);
                None
            }
            Err(halt) => {
                self.failed(done.call, halt.into_problem());
                None
            }
            Ok(answer) => self.answered(done.call, answer),
        }
    }

    fn answered(&mut self, call: Call, answer: Answer) -> Option<Effect> {
        match (call, answer) {
            (_, Answer::List(records)) => {
                self.tree.fill(records);
                self.listed_at = Some(self.now);
                if let Some(path) = self.select_when_listed.take() {
                    self.tree.reveal(&path);
                }
                // A search may find other records now.
                self.found_is_stale = self.tree.is_list();
            }
            (Call::Search { query }, Answer::Search(found)) => {
                let paths = found.into_iter().map(|found| found.path).collect();
                if std::mem::take(&mut self.found_is_stale) && query == self.found {
                    self.tree.show_matches_again(paths);
                } else if !self.query.is_empty() {
                    self.tree.show_matches(paths);
                    self.found = query;
                }
            }
            (Call::Record { path }, Answer::Record(content)) => {
                self.record_is_stale = false;
                self.unreadable = None;
                let is_wanted = self.tree.record().map(escape_path).as_ref() == Some(&path);
                match &mut self.open {
                    _ if !is_wanted => {}
                    Some(open) => open.read_again(content),
                    None => self.open = Some(Open::new(content)),
                }
                let late = self.late_key_of(&path);
                let effect = late.and_then(|key| self.key(&key));
                self.select_field();
                return effect;
            }
            (Call::Rule { field, .. }, Answer::Rule(site)) => return self.generate(field, site),
            (Call::Sync(request), Answer::Synced(answer)) => self.synced(request, *answer),
            // What a person opened meanwhile goes on.
            (_, Answer::Past(_) | Answer::Trash(_)) if self.dialog.is_some() => {}
            (Call::History { path, field, .. }, Answer::Past(past)) => {
                self.dialog = Some(Dialog::History(History::new(path, field, past)));
            }
            (_, Answer::Trash(entries)) if entries.is_empty() => {
                self.note = Some(Note::plain("no record was deleted"));
            }
            (_, Answer::Trash(entries)) => {
                let selected = 0;
                self.dialog = Some(Dialog::Trash(Trash { entries, selected }));
            }
            (_, Answer::Audit(found)) => self.audited(&found),
            (_, Answer::LastSyncs(last)) => self.show_last(&last),
            (_, Answer::Standing(tie)) => {
                self.tie = tie;
                self.stands_at = Some(self.now);
            }
            (Call::Change { edit, done, .. }, Answer::Changed(changed)) => {
                self.changed(&edit, &done, *changed);
            }
            (Call::Code { path, use_of }, Answer::Code(code)) => {
                return self.has_code(&path, use_of, code);
            }
            _ => {}
        }
        None
    }

    pub(super) fn failed(&mut self, call: Call, problem: Problem) {
        match call {
            Call::List => self.listed_at = Some(self.now),
            Call::Search { query } => {
                self.found = query;
                self.found_is_stale = false;
            }
            Call::Record { path } => {
                self.record_is_stale = false;
                self.late_key_of(&path);
                let selected = self.tree.record().map(str::to_owned);
                if selected.as_deref().map(escape_path).as_ref() == Some(&path) {
                    self.open = None;
                    self.unreadable = selected;
                }
            }
            Call::Rule { .. }
            | Call::LastSyncs
            | Call::History { .. }
            | Call::Audit
            | Call::Trash => {}
            // A vault without a sync has no standing.
            Call::Standing => {
                self.stands_at = Some(self.now);
                return;
            }
            Call::Sync(_) => self.syncing = None,
            Call::Change { .. } => {
                self.change_failed(&problem);
                return;
            }
            Call::Code { .. } => {
                self.open.as_mut().map(Open::hide_code);
            }
        }
        self.note = Some(Note::problem(&problem));
    }
}
