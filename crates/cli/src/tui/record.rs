//! The record on the right: its fields in the order in which people use them, and which of them are
//! revealed.

use std::collections::BTreeSet;

use passmate_core::escape::escape;
use passmate_core::records::{FieldContent, RecordContent};
use passmate_vault::login::{FieldRole, role_of};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use zeroize::Zeroizing;

use super::tree::top_of;
use crate::commands::show::MASK;

/// The widest column of names.
const NAME_WIDTH_MAX: usize = 16;
/// The most lines of one value that are shown.
const LINES_MAX: usize = 200;

/// A record that is shown.
#[derive(Debug)]
pub(super) struct Open {
    content: RecordContent,
    revealed: BTreeSet<String>,
    selected: usize,
    /// The first line that is on the screen.
    pub(super) top: usize,
}

/// A line of the record.
pub(super) struct RecordLine {
    /// The field that it belongs to.
    pub(super) field: usize,
    /// The field's name, on its first line.
    pub(super) name: String,
    pub(super) text: Zeroizing<String>,
    /// A secret that is shown because a person asked for it.
    pub(super) is_revealed: bool,
}

impl Open {
    pub(super) fn new(mut content: RecordContent) -> Self {
        content
            .fields
            .sort_by_key(|field| place_of(role_of(&field.name)));
        Self {
            content,
            revealed: BTreeSet::new(),
            selected: 0,
            top: 0,
        }
    }

    /// The same record, read again: what is selected and revealed stays.
    pub(super) fn read_again(&mut self, content: RecordContent) {
        let name = self.field().map(|field| field.name.clone());
        let before = std::mem::replace(self, Self::new(content));
        if before.content.id != self.content.id {
            return;
        }
        self.revealed = before.revealed;
        self.top = before.top;
        let place = |name: &String| {
            let mut fields = self.content.fields.iter();
            fields.position(|field| field.name == *name)
        };
        let place = name.as_ref().and_then(place);
        self.select(place.unwrap_or(before.selected));
    }

    pub(super) fn path(&self) -> &str {
        &self.content.path
    }

    pub(super) fn fields(&self) -> &[FieldContent] {
        &self.content.fields
    }

    pub(super) const fn selected(&self) -> usize {
        self.selected
    }

    /// The field that is selected.
    pub(super) fn field(&self) -> Option<&FieldContent> {
        self.content.fields.get(self.selected)
    }

    pub(super) fn select(&mut self, place: usize) {
        self.selected = place.min(self.content.fields.len().saturating_sub(1));
    }

    pub(super) fn move_by(&mut self, rows: isize) {
        self.select(self.selected.saturating_add_signed(rows));
    }

    pub(super) fn is_revealed(&self, field: &FieldContent) -> bool {
        !field.is_secret || self.revealed.contains(&field.name)
    }

    /// Reveals the selected field, or hides it again.
    pub(super) fn toggle(&mut self) {
        let Some(name) = self.field().map(|field| field.name.clone()) else {
            return;
        };
        if !self.revealed.remove(&name) {
            self.revealed.insert(name);
        }
    }

    /// Hides all secrets; false if none was revealed.
    pub(super) fn hide(&mut self) -> bool {
        !std::mem::take(&mut self.revealed).is_empty()
    }

    /// The width of the column of names.
    pub(super) fn name_width(&self) -> usize {
        let names = self.content.fields.iter();
        let widths = names.map(|field| escape(&field.name).width());
        widths.max().unwrap_or(0).min(NAME_WIDTH_MAX)
    }

    /// The lines of all fields, for a column of values that is so wide.
    pub(super) fn lines(&self, width: usize) -> Vec<RecordLine> {
        let mut lines = Vec::new();
        for (place, field) in self.content.fields.iter().enumerate() {
            let is_shown = self.is_revealed(field);
            let value = if is_shown { field.value.as_str() } else { MASK };
            let texts = value.split('\n').flat_map(|line| wrap(line, width));
            for (number, text) in texts.take(LINES_MAX).enumerate() {
                let name = if number == 0 { field.name.as_str() } else { "" };
                lines.push(RecordLine {
                    field: place,
                    name: escape(name),
                    text,
                    is_revealed: is_shown && field.is_secret,
                });
            }
        }
        lines
    }

    /// Keeps the selected field on a screen with so many lines.
    pub(super) fn keep_visible(&mut self, width: usize, height: usize) {
        let lines = self.lines(width);
        let is_of = |line: &RecordLine| line.field == self.selected;
        let first = lines.iter().position(is_of).unwrap_or(0);
        let last = lines.iter().rposition(is_of).unwrap_or(0);
        // Of a long value the beginning counts.
        let top = top_of(self.top, last, lines.len(), height);
        self.top = top_of(top, first, lines.len(), height);
    }
}

/// User name and password come first, notes last.
const fn place_of(role: Option<FieldRole>) -> usize {
    match role {
        Some(FieldRole::User) => 0,
        Some(FieldRole::Password) => 1,
        Some(FieldRole::Otp) => 2,
        Some(FieldRole::Url) => 3,
        Some(FieldRole::Notes) => 6,
        Some(_) => 4,
        None => 5,
    }
}

/// A line of a value in lines of so many columns, made safe to show.
fn wrap(line: &str, width: usize) -> Vec<Zeroizing<String>> {
    let text = Zeroizing::new(escape(line));
    let mut lines = Vec::new();
    let mut rest = text.as_str();
    loop {
        let mut columns = 0;
        let end = rest.char_indices().find_map(|(at, character)| {
            columns += character.width().unwrap_or(0);
            (columns > width.max(2)).then_some(at)
        });
        let (now, later) = rest
            .split_at_checked(end.unwrap_or(rest.len()))
            .unwrap_or_default();
        lines.push(Zeroizing::new(now.to_owned()));
        rest = later;
        if rest.is_empty() || lines.len() == LINES_MAX {
            return lines;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[(&str, &str, bool)]) -> Open {
        let fields = fields.iter().map(|(name, value, is_secret)| FieldContent {
            name: (*name).to_owned(),
            value: (*value).to_owned().into(),
            is_secret: *is_secret,
        });
        Open::new(RecordContent {
            path: "web/shop".to_owned(),
            id: "A".to_owned(),
            fields: fields.collect(),
        })
    }

    fn texts(open: &Open, width: usize) -> Vec<String> {
        let lines = open.lines(width).into_iter();
        lines
            .map(|line| format!("{}:{}", line.name, *line.text))
            .collect()
    }

    #[test]
    fn a_secret_is_masked_until_it_is_asked_for() {
        let mut open = record(&[("password", "hunter", true), ("user", "bob", false)]);
        assert_eq!(texts(&open, 20), ["user:bob", "password:********"]);
        open.move_by(1);
        open.toggle();
        assert_eq!(texts(&open, 20)[1], "password:hunter");
        open.toggle();
        assert_eq!(texts(&open, 20)[1], "password:********");
        open.toggle();
        assert!(open.hide());
        assert_eq!(texts(&open, 20)[1], "password:********");
    }

    #[test]
    fn values_are_wrapped_and_act_on_no_terminal() {
        let open = record(&[("user", "日本語\n\u{1b}[A", false)]);
        assert_eq!(texts(&open, 4), ["user:日本", ":語", ":\\u{1", ":b}[A"]);
        assert_eq!(texts(&record(&[("user", "", false)]), 0), ["user:"]);
    }

    #[test]
    fn a_record_that_is_read_again_keeps_what_is_selected() {
        let mut open = record(&[("password", "one", true), ("user", "bob", false)]);
        open.select(1);
        open.toggle();
        let later = record(&[
            ("password", "two", true),
            ("otp", "x", true),
            ("user", "bob", false),
        ]);
        open.read_again(later.content);
        assert_eq!(open.field().unwrap().name, "password");
        assert_eq!(
            texts(&open, 20),
            ["user:bob", "password:two", "otp:********"]
        );
        let mut other = record(&[]);
        other.content.id = "B".to_owned();
        open.read_again(other.content);
        assert!(open.field().is_none() && !open.hide());
    }
}
