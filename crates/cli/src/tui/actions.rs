//! What keys do with the record that is selected.

use std::time::Duration;

use passmate_core::answer::Consent;
use passmate_core::api::OneTimeCode;
use passmate_core::edit::Edit;
use passmate_core::escape::escape_path;
use passmate_vault::login::FieldRole;
use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::note::Note;
use super::record::{CODE, Item, Open};
use super::state::{Copied, Effect, Focus, Secret, State};
use super::worker::{Call, CodeUse};

/// Whether a key acts on the record that is selected.
pub(super) const fn acts_on_record(code: KeyCode) -> bool {
    matches!(
        code,
        KeyCode::Char('c' | 'b' | 't' | 'T' | 'a' | 'e' | 'E' | 'g' | 'h' | 'x')
    )
}

impl State {
    /// Does what such a key does.
    pub(super) fn act(&mut self, key: &KeyEvent) -> Option<Effect> {
        let code = key.code;
        if self.is_kept_shut() {
            // These do without the record, or read it themselves.
            match code {
                KeyCode::Char('a') => self.ask_new_field(),
                KeyCode::Char('E') => self.to_edit = self.tree.record().map(escape_path),
                KeyCode::Char('h') => self.ask_history(),
                KeyCode::Char('T') => return self.copy_code(),
                _ => self.want(*key),
            }
            return None;
        }
        let Some(open) = &mut self.open else {
            self.note = Some(Note::plain("no record is selected"));
            return None;
        };
        match code {
            KeyCode::Char('c') => self.copy_selected(),
            KeyCode::Char('b') => self.copy_role(FieldRole::User),
            KeyCode::Char('t') => {
                open.toggle_code();
                None
            }
            KeyCode::Char('T') => self.copy_code(),
            KeyCode::Char('a') => {
                self.ask_new_field();
                None
            }
            KeyCode::Char('e') => {
                self.edit_field();
                None
            }
            KeyCode::Char('E') => {
                open.hide();
                self.to_edit = Some(escape_path(open.path()));
                None
            }
            KeyCode::Char('g') => {
                self.begin_generating();
                None
            }
            KeyCode::Char('h') => {
                self.ask_history();
                None
            }
            KeyCode::Char('x') => {
                self.unset_field();
                None
            }
            _ => None,
        }
    }

    /// Whether something is selected that can be revealed or hidden.
    pub(super) fn has_secret_selected(&self) -> bool {
        match self.open.as_ref().and_then(Open::item) {
            Some(Item::Field(field)) => field.is_secret,
            Some(Item::Code) => true,
            None => false,
        }
    }

    /// Copies what is selected in the record, or else its password.
    fn copy_selected(&mut self) -> Option<Effect> {
        if self.focus != Focus::Record {
            return self.copy_role(FieldRole::Password);
        }
        match self.open.as_ref()?.item()? {
            Item::Code => self.copy_code(),
            Item::Field(field) => {
                let secret = Secret {
                    what: field.name.clone(),
                    text: field.value.clone(),
                };
                Some(Effect::Copy(secret))
            }
        }
    }

    fn copy_role(&mut self, role: FieldRole) -> Option<Effect> {
        let open = self.open.as_ref()?;
        let Some(field) = open.field_of(role) else {
            let text = format!("{} has no {}", open.path(), role.name());
            self.note = Some(Note::warning(&text));
            return None;
        };
        Some(Effect::Copy(Secret {
            what: field.name.clone(),
            text: field.value.clone(),
        }))
    }

    fn copy_code(&mut self) -> Option<Effect> {
        let path = escape_path(self.tree.record()?);
        let use_of = CodeUse::Copy;
        self.wait_for(Call::Code { path, use_of });
        None
    }

    /// A secret is in the clipboard for a time.
    pub(super) fn copied(&mut self, what: String, keeps: Duration) {
        let text = format!("copied {what}; it is taken away in {} s", keeps.as_secs());
        self.note = Some(Note::good(&text));
        let until = self.now.saturating_add(keeps);
        self.copied = Some(Copied { what, until });
    }

    /// A one-time code came.
    pub(super) fn has_code(
        &mut self,
        path: &str,
        use_of: CodeUse,
        code: OneTimeCode,
    ) -> Option<Effect> {
        let now = self.now;
        let selected = self
            .tree
            .record()
            .filter(|record| escape_path(record) == path)?;
        let selected = selected.to_owned();
        match (code, use_of, &mut self.open) {
            (OneTimeCode::Timed(code), CodeUse::Show, Some(open)) => open.show_code(code, now),
            (OneTimeCode::Timed(_), CodeUse::Show, None) => {}
            (OneTimeCode::Timed(code), CodeUse::Copy, _) => {
                return Some(Effect::Copy(Secret {
                    what: CODE.to_owned(),
                    text: code.digits,
                }));
            }
            (OneTimeCode::Counted, _, open) => {
                open.as_mut().map(Open::hide_code);
                let path = &selected;
                let text = format!(
                    "The codes of {path} follow a counter, and each is valid once. Use up the next \
                     one?"
                );
                let edit = Edit::UseCounter {
                    path: escape_path(path),
                    field: None,
                };
                let consent = Consent::none();
                let done = "this code is valid once".to_owned();
                self.sure(
                    text,
                    Call::Change {
                        edit,
                        consent,
                        done,
                    },
                );
            }
        }
        None
    }
}
