//! What the keys do where no dialog is open.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::actions::acts_on_record;
use super::dialog::Dialog;
use super::layout::inside;
use super::note::Note;
use super::state::{Effect, Focus, State};
use super::worker::Call;

/// The most keys that wait.
const LATE_KEYS_MAX: usize = 32;

impl State {
    /// Whether a key acts on matches or a record that are not there yet, or comes after one that
    /// does. So a person may type ahead.
    pub(super) fn must_wait(&mut self, key: &KeyEvent) -> bool {
        if matches!(key.code, KeyCode::Esc) {
            self.late_keys.clear();
            return false;
        }
        let is_searching = self.query.text() != self.found;
        let waits = match self.focus {
            _ if self.dialog.is_some() || key.code == KeyCode::Char('q') => false,
            _ if !self.tree.is_filled() => true,
            Focus::Search => is_searching && matches!(key.code, KeyCode::Enter | KeyCode::Tab),
            Focus::Tree => (is_searching || self.lacks_record()) && acts_on_record(key.code),
            Focus::Record => self.lacks_record(),
        };
        (waits || !self.late_keys.is_empty()) && self.late_keys.len() < LATE_KEYS_MAX
    }

    pub(super) fn locked_key(&mut self, key: &KeyEvent) -> Option<Effect> {
        match key.code {
            KeyCode::Enter => Some(Effect::Unlock),
            KeyCode::Char('q') | KeyCode::Esc => {
                self.end();
                None
            }
            _ => None,
        }
    }

    pub(super) fn key(&mut self, key: &KeyEvent) -> Option<Effect> {
        self.note = None;
        if self.dialog.is_some() {
            return self.dialog_key(key);
        }
        if self.focus == Focus::Search {
            self.search_key(key);
            return None;
        }
        if is_chord(key) || self.common_key(key) {
            return None;
        }
        if key.code == KeyCode::Char('L') && self.has_changes() {
            self.note = Some(Note::plain(
                "a change is not saved yet: try again in a moment",
            ));
            return None;
        }
        if key.code == KeyCode::Char('L') {
            self.lock();
            return Some(Effect::LockEverywhere);
        }
        if acts_on_record(key.code) {
            return self.act(key);
        }
        match self.focus {
            Focus::Record => self.record_key(key),
            _ => self.tree_key(key),
        }
        None
    }

    /// Keys that mean the same in the tree and in the record.
    fn common_key(&mut self, key: &KeyEvent) -> bool {
        match key.code {
            KeyCode::Char('q') => self.end(),
            KeyCode::Char('?') | KeyCode::F(1) => self.dialog = Some(Dialog::Help { top: 0 }),
            KeyCode::Char('/') => {
                self.focus = Focus::Search;
                self.query_is_old = true;
            }
            KeyCode::Char('n') => self.ask_new_record(),
            KeyCode::Char('d') => self.delete(),
            KeyCode::Char('m') => self.ask_new_path(),
            KeyCode::Char('u') => self.undo(),
            KeyCode::Char('U') => self.redo(),
            KeyCode::Char('A') => self.wait_for(Call::Audit),
            KeyCode::Char('D') => self.wait_for(Call::Trash),
            KeyCode::Char('s') => self.begin_sync(),
            KeyCode::Char('S') => self.wait_for(Call::LastSyncs),
            KeyCode::F(5) => self.list_is_stale(),
            _ => return false,
        }
        true
    }

    fn tree_key(&mut self, key: &KeyEvent) {
        match key.code {
            KeyCode::Enter | KeyCode::Right | KeyCode::Tab => {
                if !self.tree.toggle() {
                    self.enter_record(key);
                }
            }
            KeyCode::Char(' ') => {
                self.tree.toggle();
            }
            KeyCode::Left => self.tree.close(),
            KeyCode::Esc => self.leave_search(),
            code => {
                if let Some(rows) = rows_of(code, self.page()) {
                    self.tree.move_by(rows);
                }
            }
        }
    }

    /// Goes to the record that is selected. A guarded one is asked for first.
    pub(super) fn enter_record(&mut self, key: &KeyEvent) {
        if self.is_kept_shut() {
            self.want(*key);
        } else if self.tree.record().is_some() {
            self.focus = Focus::Record;
        }
    }

    fn search_key(&mut self, key: &KeyEvent) {
        match key.code {
            KeyCode::Enter | KeyCode::Tab => {
                self.focus = Focus::Tree;
                if !self.query.is_empty() {
                    self.enter_record(key);
                }
            }
            KeyCode::Esc => self.leave_search(),
            KeyCode::Backspace if self.query.is_empty() => self.leave_search(),
            KeyCode::Up => self.tree.move_by(-1),
            KeyCode::Down => self.tree.move_by(1),
            KeyCode::PageUp | KeyCode::PageDown => {
                let rows = rows_of(key.code, self.page());
                self.tree.move_by(rows.unwrap_or(0));
            }
            // What is typed takes the place of the last search.
            KeyCode::Char(_) if self.query_is_old && !is_chord(key) => {
                self.query.clear();
                self.query.handle(key);
            }
            _ => {
                self.query.handle(key);
            }
        }
        self.query_is_old = false;
        if self.query.is_empty() {
            self.show_tree();
        }
    }

    fn record_key(&mut self, key: &KeyEvent) {
        let page = self.page();
        let Some(open) = &mut self.open else {
            self.focus = Focus::Tree;
            return;
        };
        match key.code {
            KeyCode::Left | KeyCode::Esc | KeyCode::Tab | KeyCode::BackTab => {
                open.hide();
                self.focus = Focus::Tree;
            }
            KeyCode::Enter | KeyCode::Char(' ') => open.toggle(),
            code => {
                if let Some(rows) = rows_of(code, page) {
                    open.move_by(rows);
                }
            }
        }
    }

    pub(super) fn leave_search(&mut self) {
        self.query.clear();
        self.show_tree();
        self.focus = Focus::Tree;
    }

    fn show_tree(&mut self) {
        self.found.clear();
        self.found_is_stale = false;
        if self.tree.is_list() {
            self.tree.show_tree();
        }
    }

    /// A text that was pasted is no keys: a line feed in it ends nothing.
    pub(super) fn paste(&mut self, text: &str) {
        if let Some(dialog) = &mut self.dialog {
            dialog.paste(text);
        } else if self.focus == Focus::Search {
            if std::mem::take(&mut self.query_is_old) {
                self.query.clear();
            }
            self.query.insert(text);
        }
    }

    /// The rows that a page moves.
    pub(super) fn page(&self) -> isize {
        let height = inside(self.areas().left).height;
        isize::try_from(height).unwrap_or(isize::MAX).max(2) - 1
    }
}

/// Whether a key is pressed with Control or Alt.
fn is_chord(key: &KeyEvent) -> bool {
    key.modifiers
        .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
}

pub(super) fn is_control(key: &KeyEvent, letter: char) -> bool {
    key.code == KeyCode::Char(letter) && key.modifiers.contains(KeyModifiers::CONTROL)
}

/// How many rows a key moves; `page` is a screen of them.
pub(super) fn rows_of(code: KeyCode, page: isize) -> Option<isize> {
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => -1,
        KeyCode::Down | KeyCode::Char('j') => 1,
        KeyCode::PageUp => -page,
        KeyCode::PageDown => page,
        KeyCode::Home => isize::MIN,
        KeyCode::End => isize::MAX,
        _ => return None,
    })
}
