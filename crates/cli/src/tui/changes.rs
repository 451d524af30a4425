//! What changes records, and what is said about it.

use passmate_core::answer::Consent;
use passmate_core::api::Changed;
use passmate_core::edit::{Edit, Edited};
use passmate_core::escape::escape_path;
use passmate_core::problem::Problem;
use passmate_core::sync_all::SyncAnswer;
use passmate_vault::login::FieldRole;

use super::dialog::{Asked, Dialog};
use super::note::{Note, Tone};
use super::record::Item;
use super::state::{Focus, State};
use super::syncing::tell;
use super::worker::Call;
use crate::change::future_text;
use crate::report::not_synced;

impl State {
    pub(super) fn ask_new_record(&mut self) {
        let path = self.tree.row().map_or("", |row| row.path.as_str());
        let folder = path.rfind('/').and_then(|slash| path.get(..=slash));
        let folder = folder.unwrap_or_default().to_owned();
        self.ask(Asked::NewRecord, &folder);
    }

    pub(super) fn ask_new_path(&mut self) {
        let Some(path) = self.tree.row().map(|row| row.path.clone()) else {
            return;
        };
        let now = path.trim_end_matches('/').to_owned();
        self.ask(Asked::NewPath(path), &now);
    }

    /// Deletes the record or folder that is selected; the vault asks before.
    pub(super) fn delete(&mut self) {
        let Some(path) = self.tree.row().map(|row| row.path.clone()) else {
            return;
        };
        let paths = vec![escape_path(&path)];
        let done = format!("deleted {path}; u brings it back");
        self.change(Edit::Delete { paths }, done);
    }

    pub(super) fn undo(&mut self) {
        self.change(Edit::Undo, "undid".to_owned());
    }

    pub(super) fn redo(&mut self) {
        self.change(Edit::Redo, "redid".to_owned());
    }

    pub(super) fn ask_new_field(&mut self) {
        if let Some(path) = self.tree.record().map(str::to_owned) {
            self.ask(Asked::NewField(path), "");
        }
    }

    /// Edits the selected field in its place. A secret that is not revealed is typed anew.
    pub(super) fn edit_field(&mut self) {
        let Some(open) = &self.open else {
            return;
        };
        let (path, field) = match open.item() {
            Some(Item::Field(field)) if self.focus == Focus::Record => (open.path(), field),
            _ => match open.field_of(FieldRole::Password) {
                Some(field) => (open.path(), field),
                None => return,
            },
        };
        if field.value.contains('\n') && open.is_revealed(field) {
            self.note = Some(Note::plain("a value of several lines is edited with E"));
            return;
        }
        let text = if open.is_revealed(field) {
            field.value.clone()
        } else {
            Default::default()
        };
        let (path, field) = (path.to_owned(), field.name.clone());
        let is_shown = !text.is_empty();
        self.ask(Asked::Value { path, field }, &text);
        if let Some(Dialog::Ask(ask)) = &mut self.dialog {
            ask.is_shown |= is_shown;
        }
    }

    pub(super) fn unset_field(&mut self) {
        let Some(open) = self.open.as_ref().filter(|_| self.focus == Focus::Record) else {
            return;
        };
        let Some(field) = open.field() else {
            return;
        };
        let done = format!("unset {} of {}; u brings it back", field.name, open.path());
        let edit = Edit::Unset {
            path: escape_path(open.path()),
            field: field.name.clone(),
        };
        let text = format!(
            "Unset {} of {}? Its values stay in the history.",
            field.name,
            open.path()
        );
        let consent = Consent::none();
        let call = Call::Change {
            edit,
            consent,
            done,
        };
        self.sure(text, call);
    }

    /// A change came through.
    pub(super) fn changed(&mut self, edit: &Edit, done: &str, changed: Changed) {
        self.close_sent();
        let Changed { mut edited, synced } = changed;
        if let (Edit::UseCounter { .. }, Some(code), Some(open)) =
            (edit, edited.code.take(), &mut self.open)
        {
            open.show_counted(code.digits);
            self.listed_at = None;
            self.stands_at = None;
            self.note = Some(Note::good(done));
            return;
        }
        self.list_is_stale();
        if matches!(
            edit,
            Edit::Add { .. } | Edit::Create { .. } | Edit::Move { .. } | Edit::Undelete { .. }
        ) {
            self.select_when_listed = edited.paths.first().cloned();
            self.leave_search();
        }
        self.note = Some(note(done, &edited, &synced));
    }

    /// A change did not come through. What was typed stays.
    pub(super) fn change_failed(&mut self, problem: &Problem) {
        match &mut self.dialog {
            Some(Dialog::Ask(ask)) => ask.is_sent = false,
            Some(Dialog::Generate(generate)) => generate.is_sent = false,
            Some(Dialog::Kinds(kinds)) => kinds.is_sent = false,
            _ => {}
        }
        self.note = Some(Note::problem(problem));
    }
}

/// What a change did, and the sync after it.
fn note(done: &str, edited: &Edited, synced: &SyncAnswer) -> Note {
    let mut tone = Tone::Good;
    let mut parts = Vec::new();
    match &edited.step {
        Some(step) => {
            let nothing = if edited.changes == 0 {
                "nothing of "
            } else {
                ""
            };
            parts.push(format!("{done}: {nothing}{}", step.text()));
            parts.extend(step.warning());
        }
        None if edited.changes == 0 => parts.push("nothing was changed".to_owned()),
        None => parts.push(done.to_owned()),
    }
    parts.extend(future_text(edited));
    tell(&mut parts, &mut tone, synced, not_synced);
    Note::new(tone, &parts.join("; "))
}
