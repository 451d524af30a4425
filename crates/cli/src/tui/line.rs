//! A line that is being typed. It is wiped when it is dropped, and when it grows; nothing remembers
//! what stood there before.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use zeroize::Zeroizing;

/// Longest line, in bytes.
const LEN_MAX: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Line {
    text: Zeroizing<String>,
    /// Where the next character goes, in bytes.
    cursor: usize,
}

/// Without the text.
impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What stands before and behind the cursor.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.text.split_at_checked(self.cursor).unwrap_or_default()
    }

    /// The text; the line is empty afterwards.
    pub(super) fn take(&mut self) -> Zeroizing<String> {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    pub(super) fn clear(&mut self) {
        self.take();
    }

    /// Inserts a text at the cursor. Line feeds in it become blanks, and what is too long is left
    /// out.
    pub(super) fn insert(&mut self, text: &str) {
        let text = text.trim_end_matches(['\r', '\n']);
        for character in text.chars() {
            if self.text.len() + character.len_utf8() > LEN_MAX {
                break;
            }
            let character = match character {
                '\n' | '\r' => ' ',
                other => other,
            };
            self.grow();
            self.text.insert(self.cursor, character);
            self.cursor += character.len_utf8();
        }
    }

    /// Makes room without leaving a copy of the text behind.
    fn grow(&mut self) {
        if self.text.capacity() - self.text.len() < 4 {
            let capacity = self.text.capacity().max(128) * 2;
            let mut larger = Zeroizing::new(String::with_capacity(capacity));
            larger.push_str(&self.text);
            self.text = larger;
        }
    }

    /// Does what an editing key does; false if this is no such key.
    pub(super) fn handle(&mut self, key: &KeyEvent) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        let is_alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Char('a') if is_control => self.cursor = 0,
            KeyCode::Char('e') if is_control => self.cursor = self.text.len(),
            KeyCode::Char('u') if is_control => self.remove(0, self.cursor),
            KeyCode::Char('k') if is_control => self.remove(self.cursor, self.text.len()),
            KeyCode::Char('w') if is_control => self.remove(self.word_start(), self.cursor),
            KeyCode::Char('h') if is_control => self.remove(self.before(), self.cursor),
            KeyCode::Char(character) if !is_control && !is_alt => {
                self.insert(character.encode_utf8(&mut [0; 4]));
            }
            KeyCode::Backspace => self.remove(self.before(), self.cursor),
            KeyCode::Delete => self.remove(self.cursor, self.after()),
            KeyCode::Left => self.cursor = self.before(),
            KeyCode::Right => self.cursor = self.after(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            _ => return false,
        }
        true
    }

    fn before(&self) -> usize {
        let (before, _) = self.parts();
        before.char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        let (_, behind) = self.parts();
        self.cursor + behind.chars().next().map_or(0, char::len_utf8)
    }

    /// Where the word before the cursor begins.
    fn word_start(&self) -> usize {
        let (before, _) = self.parts();
        let words = before.trim_end();
        words.rfind(char::is_whitespace).map_or(0, |at| {
            at + words
                .get(at..)
                .and_then(|blank| blank.chars().next())
                .map_or(0, char::len_utf8)
        })
    }

    /// Removes what stands between two places. The bytes behind the new end are wiped.
    fn remove(&mut self, from: usize, to: usize) {
        let mut kept = Zeroizing::new(String::with_capacity(self.text.capacity()));
        kept.push_str(self.text.get(..from).unwrap_or_default());
        kept.push_str(self.text.get(to..).unwrap_or_default());
        self.text = kept;
        self.cursor = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        let mut line = Line::default();
        line.insert(text);
        line
    }

    fn press(line: &mut Line, code: KeyCode, modifiers: KeyModifiers) {
        assert!(line.handle(&KeyEvent::new(code, modifiers)));
    }

    #[test]
    fn keys_edit_the_line_at_its_cursor() {
        let mut line = line("battery ü日");
        press(&mut line, KeyCode::Backspace, KeyModifiers::NONE);
        press(&mut line, KeyCode::Left, KeyModifiers::NONE);
        press(&mut line, KeyCode::Char('x'), KeyModifiers::NONE);
        assert_eq!(line.parts(), ("battery x", "ü"));
        press(&mut line, KeyCode::Delete, KeyModifiers::NONE);
        press(&mut line, KeyCode::Char('w'), KeyModifiers::CONTROL);
        assert_eq!(line.text(), "battery ");
        press(&mut line, KeyCode::Char('w'), KeyModifiers::CONTROL);
        assert_eq!(line.text(), "");
        press(&mut line, KeyCode::Backspace, KeyModifiers::NONE);
        press(&mut line, KeyCode::Delete, KeyModifiers::NONE);
        line.insert("one\ntwo\r\n");
        assert_eq!(line.text(), "one two");
        press(&mut line, KeyCode::Home, KeyModifiers::NONE);
        press(&mut line, KeyCode::Right, KeyModifiers::NONE);
        press(&mut line, KeyCode::Char('k'), KeyModifiers::CONTROL);
        assert_eq!(line.take().as_str(), "o");
        assert!(!line.handle(&KeyEvent::from(KeyCode::Enter)));
    }

    #[test]
    fn a_paste_without_an_end_has_one() {
        let mut line = line(&"ü".repeat(LEN_MAX));
        assert_eq!(line.text().len(), LEN_MAX);
        line.insert("x");
        assert_eq!(line.text().len(), LEN_MAX);
    }
}
