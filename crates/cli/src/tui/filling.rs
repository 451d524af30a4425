//! A new record: its kind is chosen, and its fields are typed one after the other. It is made by one
//! change at the end.

use std::collections::BTreeMap;
use std::fmt;

use passmate_core::edit::{Edit, RecordText};
use passmate_core::template::{Template, is_typed_hidden};
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use zeroize::Zeroizing;

use super::dialog::{Asked, Dialog};
use super::keyboard::rows_of;
use super::note::Note;
use super::state::State;

/// The kinds that are offered. A key of SSH comes from a file, and has none here.
const KINDS: [(&str, Option<Template>); 6] = [
    ("login", Some(Template::Login)),
    ("card", Some(Template::Card)),
    ("identity", Some(Template::Identity)),
    ("wifi", Some(Template::Wifi)),
    ("note", Some(Template::Note)),
    ("empty", None),
];

/// The choice of a kind.
#[derive(Debug)]
pub(super) struct Kinds {
    path: String,
    selected: usize,
    /// The record is being made, and the vault has not answered.
    pub(super) is_sent: bool,
}

/// A record that is being typed, and which of its fields is next.
#[derive(Clone)]
pub(super) struct Filling {
    path: String,
    template: Template,
    fields: BTreeMap<String, Zeroizing<String>>,
    at: usize,
}

/// Without the values.
impl fmt::Debug for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filling").finish_non_exhaustive()
    }
}

impl Kinds {
    pub(super) fn title(&self) -> String {
        format!("Kind of {}", self.path)
    }

    pub(super) const fn selected(&self) -> usize {
        self.selected
    }

    pub(super) fn move_by(&mut self, rows: isize) {
        let last = KINDS.len() - 1;
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }

    /// A line for each kind.
    pub(super) fn lines() -> impl ExactSizeIterator<Item = String> {
        KINDS.iter().map(|(name, template)| {
            let fields = template.map_or(&[][..], Template::fields);
            format!("{name:<10}{}", fields.join(", "))
        })
    }
}

impl Filling {
    /// The name of the field that is typed.
    fn name(&self) -> &'static str {
        self.template.fields().get(self.at).copied().unwrap_or("")
    }

    pub(super) fn is_secret(&self) -> bool {
        is_typed_hidden(self.name())
    }

    pub(super) fn title(&self) -> String {
        format!("{} of {}; Enter leaves it out", self.name(), self.path)
    }
}

impl State {
    /// The path of a new record is known.
    pub(super) fn ask_kind(&mut self, path: &str) {
        self.dialog = Some(Dialog::Kinds(Kinds {
            path: path.to_owned(),
            selected: 0,
            is_sent: false,
        }));
    }

    pub(super) fn kinds_key(&mut self, mut kinds: Kinds, key: &KeyEvent) {
        match key.code {
            KeyCode::Esc => return,
            _ if kinds.is_sent => {}
            KeyCode::Enter => {
                let kind = KINDS.get(kinds.selected);
                if let Some(template) = kind.and_then(|(_, template)| *template) {
                    self.ask_part(Filling {
                        path: kinds.path,
                        template,
                        fields: BTreeMap::new(),
                        at: 0,
                    });
                    return;
                }
                kinds.is_sent = true;
                let path = kinds.path.clone();
                let done = format!("made {path}");
                self.change(Edit::Create { path }, done);
            }
            code => {
                if let Some(rows) = rows_of(code, self.page()) {
                    kinds.move_by(rows);
                }
            }
        }
        self.dialog = Some(Dialog::Kinds(kinds));
    }

    fn ask_part(&mut self, filling: Filling) {
        self.ask(Asked::Part(Box::new(filling)), "");
    }

    /// Takes a field; the change, once it was the last one.
    pub(super) fn filled(&mut self, mut filling: Filling, text: &str) -> Option<(Edit, String)> {
        if !text.is_empty() {
            let name = filling.name().to_owned();
            filling.fields.insert(name, Zeroizing::new(text.to_owned()));
        }
        if filling.at + 1 < filling.template.fields().len() {
            filling.at += 1;
            self.ask_part(filling);
            return None;
        }
        if filling.fields.is_empty() {
            self.note = Some(Note::plain("no field has a value; nothing was made"));
            return None;
        }
        let Filling { path, fields, .. } = filling;
        let mut done = format!("made {path}");
        if filling.template == Template::Login && !fields.contains_key("password") {
            done.push_str("; g generates a password");
        }
        let record = RecordText { path, fields };
        Some((Edit::Add { record }, done))
    }
}
