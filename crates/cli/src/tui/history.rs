//! The history of a record or of a field, with what the last syncs replaced, and the deleted
//! records.

use std::collections::BTreeSet;

use passmate_core::answer::{Consent, Reply};
use passmate_core::api::VaultApi;
use passmate_core::clock::local_time;
use passmate_core::edit::Edit;
use passmate_core::escape::{escape, escape_path};
use passmate_core::history::{At, HistoryEntry};
use passmate_core::records::DeletedEntry;
use passmate_vault::report::{Lost, Side};
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use zeroize::Zeroizing;

use super::dialog::Dialog;
use super::keyboard::rows_of;
use super::note::Note;
use super::record::{Item, Open, wrap};
use super::state::{Effect, Focus, Secret, State};
use super::tree::top_of;
use super::worker::Call;
use crate::commands::show::MASK;

/// The most lines of one value that are shown.
const LINES_MAX: usize = 20;

/// A history that is shown.
#[derive(Debug)]
pub(super) struct History {
    path: String,
    field: Option<String>,
    past: Past,
    selected: usize,
    revealed: BTreeSet<usize>,
}

/// What the vault knows of a record's past.
#[derive(Debug)]
pub(super) struct Past {
    /// The newest change is first.
    entries: Vec<HistoryEntry>,
    /// What the last syncs replaced, by the field and its number.
    lost: Vec<(String, Lost)>,
}

/// A line of the history.
pub(super) struct HistoryLine {
    /// The change that it belongs to.
    pub(super) entry: usize,
    pub(super) text: Zeroizing<String>,
    pub(super) is_revealed: bool,
}

/// The deleted records.
#[derive(Debug)]
pub(super) struct Trash {
    pub(super) entries: Vec<DeletedEntry>,
    pub(super) selected: usize,
}

impl Past {
    pub(super) fn of(
        vault: &mut dyn VaultApi,
        path: &str,
        id: &str,
        field: Option<&str>,
    ) -> Reply<Self> {
        let entries = vault.history(path, field)?;
        // A vault that syncs with nothing has replaced nothing.
        let last = vault.last_syncs().unwrap_or_default();
        let past = last.server.into_iter().chain(last.folder);
        let records = past.flat_map(|past| past.records);
        let of_record = records.filter(|record| record.id.as_text().to_string_lossy() == id);
        let fields = of_record.flat_map(|record| record.fields);
        let lost = fields.filter_map(|field| {
            let name = field.key.name.to_string_lossy().into_owned();
            Some((name, field.lost?))
        });
        Ok(Self {
            entries,
            lost: lost.collect(),
        })
    }

    /// How a value was lost.
    fn lost(&self, entry: &HistoryEntry) -> Option<Lost> {
        let is_it = |(name, lost): &&(String, Lost)| {
            !entry.is_path && *name == entry.field && lost.number == entry.number
        };
        self.lost.iter().find(is_it).map(|(_, lost)| *lost)
    }
}

impl History {
    pub(super) const fn new(path: String, field: Option<String>, past: Past) -> Self {
        Self {
            path,
            field,
            past,
            selected: 0,
            revealed: BTreeSet::new(),
        }
    }

    pub(super) fn title(&self) -> String {
        match &self.field {
            Some(field) => format!("History of {field} of {}", self.path),
            None => format!("History of {}", self.path),
        }
    }

    pub(super) const fn selected(&self) -> usize {
        self.selected
    }

    fn entry(&self) -> Option<&HistoryEntry> {
        self.past.entries.get(self.selected)
    }

    pub(super) fn move_by(&mut self, rows: isize) {
        let last = self.past.entries.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }

    pub(super) fn hide(&mut self) -> bool {
        !std::mem::take(&mut self.revealed).is_empty()
    }

    pub(super) fn lines(&self, width: usize) -> Vec<HistoryLine> {
        let mut lines = Vec::new();
        for (place, entry) in self.past.entries.iter().enumerate() {
            let time = entry
                .time
                .map_or_else(|| "(no valid time)".to_owned(), local_time);
            let number = entry.number;
            let head = match &self.field {
                Some(_) => format!("{number:>3}  {time}  "),
                None => format!("{number:>3}  {time}  {}: ", escape(&entry.field)),
            };
            let is_shown = !entry.is_secret || self.revealed.contains(&place);
            let value = match &entry.value {
                None if entry.is_path => "(deleted)",
                None => "(unset)",
                Some(_) if !is_shown => MASK,
                Some(value) => value.as_str(),
            };
            let mut text = Zeroizing::new(String::with_capacity(head.len() + value.len()));
            text.push_str(&head);
            text.push_str(value);
            let texts = wrap(&text, width).into_iter().take(LINES_MAX);
            let is_revealed = is_shown && entry.is_secret && entry.value.is_some();
            lines.extend(texts.map(|text| HistoryLine {
                entry: place,
                text,
                is_revealed,
            }));
            if let Some(lost) = self.past.lost(entry) {
                let text = match lost.side {
                    Side::Received => "lost the last merge: this device's value is newer",
                    Side::Sent => "lost the last merge: the other device's value is newer",
                };
                lines.push(HistoryLine {
                    entry: place,
                    text: Zeroizing::new(format!("     ↑ {text}")),
                    is_revealed: false,
                });
            }
        }
        lines
    }

    /// The first line on a screen with so many, so that the selected change is there.
    pub(super) fn top(&self, lines: &[HistoryLine], height: usize) -> usize {
        let is_of = |line: &HistoryLine| line.entry == self.selected;
        let first = lines.iter().position(is_of).unwrap_or(0);
        let last = lines.iter().rposition(is_of).unwrap_or(0);
        top_of(
            top_of(0, last, lines.len(), height),
            first,
            lines.len(),
            height,
        )
    }
}

impl State {
    /// Asks for the history of the selected field, or of the whole record.
    pub(super) fn ask_history(&mut self) {
        let Some(entry) = self.tree.entry() else {
            return;
        };
        let (path, id) = (entry.path.clone(), entry.id.clone());
        let field = match self.open.as_ref().and_then(Open::item) {
            Some(Item::Field(field)) if self.focus == Focus::Record => Some(field.name.clone()),
            _ => None,
        };
        self.wait_for(Call::History { path, id, field });
    }

    pub(super) fn history_key(&mut self, mut history: History, key: &KeyEvent) -> Option<Effect> {
        let mut effect = None;
        match key.code {
            KeyCode::Esc => return None,
            KeyCode::Char(' ') => {
                let place = history.selected;
                if !history.revealed.remove(&place) {
                    history.revealed.insert(place);
                }
            }
            KeyCode::Char('c') => {
                effect = history.entry().and_then(|entry| {
                    Some(Effect::Copy(Secret {
                        what: format!("{} from its history", entry.field),
                        text: entry.value.clone()?,
                    }))
                });
            }
            KeyCode::Enter => {
                if let Some(entry) = history.entry() {
                    let text = restore_text(&history.path, entry);
                    match text {
                        Ok(text) => {
                            let call = restore_call(&history.path, entry);
                            self.sure(text, call);
                            return None;
                        }
                        Err(why) => self.note = Some(Note::plain(why)),
                    }
                }
            }
            code => {
                if let Some(rows) = rows_of(code, self.page()) {
                    history.move_by(rows);
                }
            }
        }
        self.dialog = Some(Dialog::History(history));
        effect
    }

    pub(super) fn trash_key(&mut self, mut trash: Trash, key: &KeyEvent) {
        match key.code {
            KeyCode::Esc => return,
            KeyCode::Enter => {
                if let Some(entry) = trash.entries.get(trash.selected) {
                    let done = format!("{} is a record again", entry.path);
                    let (path, to) = (entry.id.clone(), None);
                    self.dialog = None;
                    self.change(Edit::Undelete { path, to }, done);
                    return;
                }
            }
            code => {
                if let Some(rows) = rows_of(code, self.page()) {
                    trash.move_by(rows);
                }
            }
        }
        self.dialog = Some(Dialog::Trash(trash));
    }
}

impl Trash {
    pub(super) fn move_by(&mut self, rows: isize) {
        let last = self.entries.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }
}

/// The question before an earlier value is set again, or why it is not.
fn restore_text(path: &str, entry: &HistoryEntry) -> Result<String, &'static str> {
    if entry.is_path {
        return Err("m moves a record to another path");
    }
    if entry.number == 1 {
        return Err("this is the present value");
    }
    let time = entry
        .time
        .map_or_else(String::new, |time| format!(" from {}", local_time(time)));
    let field = &entry.field;
    Ok(match entry.value {
        Some(_) => format!("Set {field} of {path} to its value{time} again?"),
        None => format!("Unset {field} of {path} again?"),
    })
}

fn restore_call(path: &str, entry: &HistoryEntry) -> Call {
    Call::Change {
        edit: Edit::RestoreField {
            path: escape_path(path),
            field: entry.field.clone(),
            at: Some(At::Number(entry.number)),
        },
        consent: Consent::none(),
        done: format!("restored {} of {path}", entry.field),
    }
}
