//! The record on the right: its fields, its one-time code, and which secrets are revealed.

use std::collections::BTreeSet;
use std::time::Duration;

use passmate_core::escape::escape;
use passmate_core::otp::Code;
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
/// The name of the one-time code.
pub(super) const CODE: &str = "code";
/// How much of the period is left, from all of it to nothing.
const RING: [&str; 5] = ["○", "◔", "◑", "◕", "●"];

/// A record that is shown.
#[derive(Debug)]
pub(super) struct Open {
    content: RecordContent,
    revealed: BTreeSet<String>,
    code: ShownCode,
    selected: usize,
    /// The first line that is on the screen.
    pub(super) top: usize,
}

/// The one-time code of the record.
enum ShownCode {
    Hidden,
    /// A person asked for it.
    Wanted,
    Shown {
        digits: Zeroizing<String>,
        /// Until when it is valid, and for how long each is; `None` for one that follows a counter.
        timed: Option<(Duration, u64)>,
    },
}

/// Without the digits.
impl std::fmt::Debug for ShownCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownCode").finish_non_exhaustive()
    }
}

/// What can be selected.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    Field(&'a FieldContent),
    Code,
}

/// A line of the record.
pub(super) struct RecordLine {
    /// The item that it belongs to.
    pub(super) item: usize,
    /// The item's name, on its first line.
    pub(super) name: String,
    pub(super) text: Zeroizing<String>,
    /// A secret that is shown because a person asked for it.
    pub(super) is_revealed: bool,
}

impl Open {
    /// A record with its password selected, which is what most people are here for.
    pub(super) fn new(content: RecordContent) -> Self {
        let mut open = Self {
            content,
            revealed: BTreeSet::new(),
            code: ShownCode::Hidden,
            selected: 0,
            top: 0,
        };
        let password = open.field_of(FieldRole::Password).map(|field| &field.name);
        let is_it = |item: &Item<'_>| password.is_some_and(|name| item.name() == name);
        open.selected = open.items().iter().position(is_it).unwrap_or(0);
        open
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
        if self.has_code() {
            self.code = before.code;
        }
        let is_named = |item: &Item<'_>| matches!(item, Item::Field(field) if Some(&field.name) == name.as_ref());
        let place = self.items().iter().position(is_named);
        self.select(place.unwrap_or(before.selected));
    }

    pub(super) fn path(&self) -> &str {
        &self.content.path
    }

    /// What can be selected, in the order in which it is shown.
    pub(super) fn items(&self) -> Vec<Item<'_>> {
        let mut items = Vec::new();
        for field in &self.content.fields {
            items.push(Item::Field(field));
            if self.otp_field().is_some_and(|otp| otp.name == field.name) {
                items.push(Item::Code);
            }
        }
        if self.otp_field().is_none() && self.has_code() {
            items.push(Item::Code);
        }
        items
    }

    /// The field that holds the secret of one-time codes.
    fn otp_field(&self) -> Option<&FieldContent> {
        self.field_of(FieldRole::Otp)
    }

    /// The field that has a role; of several names for it, the preferred one.
    pub(super) fn field_of(&self, role: FieldRole) -> Option<&FieldContent> {
        let place = |field: &&FieldContent| {
            let name = field.name.to_lowercase();
            role.names().iter().position(|other| **other == *name)
        };
        let fields = self.content.fields.iter();
        let of_role = fields.filter(|field| role_of(&field.name) == Some(role));
        of_role.min_by_key(place)
    }

    /// Whether there is a place for the one-time code. Any field may hold its secret, so a person
    /// may ask for it without one.
    fn has_code(&self) -> bool {
        self.otp_field().is_some() || matches!(self.code, ShownCode::Shown { .. })
    }

    pub(super) const fn selected(&self) -> usize {
        self.selected
    }

    /// What is selected.
    pub(super) fn item(&self) -> Option<Item<'_>> {
        self.items().get(self.selected).copied()
    }

    /// The field that is selected.
    pub(super) fn field(&self) -> Option<&FieldContent> {
        match self.item()? {
            Item::Field(field) => Some(field),
            Item::Code => None,
        }
    }

    pub(super) fn select(&mut self, place: usize) {
        self.selected = place.min(self.items().len().saturating_sub(1));
    }

    /// Selects a field, if the record has it.
    pub(super) fn select_named(&mut self, name: &str) {
        let is_it = |item: &Item<'_>| matches!(item, Item::Field(field) if field.name == name);
        if let Some(place) = self.items().iter().position(is_it) {
            self.select(place);
        }
    }

    pub(super) fn move_by(&mut self, rows: isize) {
        self.select(self.selected.saturating_add_signed(rows));
    }

    pub(super) fn is_revealed(&self, field: &FieldContent) -> bool {
        !field.is_secret || self.revealed.contains(&field.name)
    }

    /// Reveals what is selected, or hides it again.
    pub(super) fn toggle(&mut self) {
        match self.item() {
            Some(Item::Code) => self.toggle_code(),
            Some(Item::Field(field)) => {
                let name = field.name.clone();
                if !self.revealed.remove(&name) {
                    self.revealed.insert(name);
                }
            }
            None => {}
        }
    }

    pub(super) fn toggle_code(&mut self) {
        self.code = match self.code {
            ShownCode::Hidden => ShownCode::Wanted,
            ShownCode::Wanted | ShownCode::Shown { .. } => ShownCode::Hidden,
        };
    }

    /// Whether a code is to be made: none is there yet, or it is not valid any more.
    pub(super) fn wants_code(&self, now: Duration) -> bool {
        match self.code {
            ShownCode::Hidden => false,
            ShownCode::Wanted => true,
            ShownCode::Shown { timed, .. } => timed.is_some_and(|(until, _)| now >= until),
        }
    }

    /// Hides a code that is not valid any more, in the place of which nobody is to make another one.
    pub(super) fn hide_late_code(&mut self, now: Duration) {
        if self.code.is_shown() && self.wants_code(now) {
            self.hide_code();
        }
    }

    /// Whether a code is shown that changes with the time.
    pub(super) const fn has_ring(&self) -> bool {
        matches!(self.code, ShownCode::Shown { timed: Some(_), .. })
    }

    /// Shows a code, if one is still wanted.
    pub(super) fn show_code(&mut self, code: Code, now: Duration) {
        if !matches!(self.code, ShownCode::Hidden) {
            let until = now + Duration::from_secs(code.valid_for);
            self.code = ShownCode::Shown {
                digits: code.digits,
                timed: Some((until, code.period)),
            };
        }
    }

    /// Shows a code that follows a counter.
    pub(super) fn show_counted(&mut self, digits: Zeroizing<String>) {
        self.code = ShownCode::Shown {
            digits,
            timed: None,
        };
    }

    pub(super) fn hide_code(&mut self) {
        self.code = ShownCode::Hidden;
    }

    /// Hides all secrets; false if none was revealed.
    pub(super) fn hide(&mut self) -> bool {
        let had_code = !matches!(self.code, ShownCode::Hidden);
        self.hide_code();
        !std::mem::take(&mut self.revealed).is_empty() || had_code
    }

    /// The width of the column of names.
    pub(super) fn name_width(&self) -> usize {
        let names = self.items().into_iter().map(Item::name);
        let widths = names.map(|name| escape(name).width());
        widths.max().unwrap_or(0).min(NAME_WIDTH_MAX)
    }

    /// The lines of all items, for a column of values that is so wide.
    pub(super) fn lines(&self, width: usize, now: Duration) -> Vec<RecordLine> {
        let mut lines = Vec::new();
        for (place, item) in self.items().into_iter().enumerate() {
            let (texts, is_revealed) = match item {
                Item::Code => (vec![self.code_text(now)], self.code.is_shown()),
                Item::Field(field) if self.is_revealed(field) => {
                    let texts = field.value.split('\n').flat_map(|line| wrap(line, width));
                    (texts.take(LINES_MAX).collect(), field.is_secret)
                }
                Item::Field(_) => (vec![Zeroizing::new(MASK.to_owned())], false),
            };
            for (number, text) in texts.into_iter().enumerate() {
                let name = if number == 0 { item.name() } else { "" };
                lines.push(RecordLine {
                    item: place,
                    name: escape(name),
                    text,
                    is_revealed,
                });
            }
        }
        lines
    }

    fn code_text(&self, now: Duration) -> Zeroizing<String> {
        let ShownCode::Shown { digits, timed } = &self.code else {
            return Zeroizing::new(MASK.to_owned());
        };
        let mut text = Zeroizing::new(String::with_capacity(64));
        // 6 digits are read as 3 and 3.
        let half = if digits.len() % 2 == 0 {
            digits.len() / 2
        } else {
            digits.len()
        };
        let (first, second) = digits.split_at_checked(half).unwrap_or((digits, ""));
        text.push_str(first);
        if !second.is_empty() {
            text.push(' ');
            text.push_str(second);
        }
        if let Some((until, period)) = timed {
            let left = until.saturating_sub(now).as_secs();
            let ring = ring(left, *period);
            text.push_str(&format!("  {ring} {left} s"));
        }
        text
    }

    /// Keeps the selected item on a screen with so many lines.
    pub(super) fn keep_visible(&mut self, width: usize, height: usize, now: Duration) {
        let lines = self.lines(width, now);
        let is_of = |line: &RecordLine| line.item == self.selected;
        let first = lines.iter().position(is_of).unwrap_or(0);
        let last = lines.iter().rposition(is_of).unwrap_or(0);
        // Of a long value the beginning counts.
        let top = top_of(self.top, last, lines.len(), height);
        self.top = top_of(top, first, lines.len(), height);
    }
}

impl ShownCode {
    const fn is_shown(&self) -> bool {
        matches!(self, Self::Shown { .. })
    }
}

impl<'a> Item<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Field(field) => &field.name,
            Self::Code => CODE,
        }
    }
}

/// The part of a period that is left, as a ring.
fn ring(left: u64, period: u64) -> &'static str {
    let parts = RING.len() as u64 - 1;
    let part = (left * parts).div_ceil(period.max(1));
    let part = usize::try_from(part).unwrap_or(RING.len());
    RING.get(part).copied().unwrap_or("●")
}

/// A line of a value in lines of so many columns, made safe to show.
pub(super) fn wrap(line: &str, width: usize) -> Vec<Zeroizing<String>> {
    let text = Zeroizing::new(escape(line));
    let mut lines = Vec::new();
    let mut rest = text.as_str();
    loop {
        let mut columns = 0;
        let end = rest.char_indices().find_map(|(at, character)| {
            columns += character.width().unwrap_or(0);
            (columns > width.max(2)).then_some(at)
        });
        let (mut now, mut later) = rest
            .split_at_checked(end.unwrap_or(rest.len()))
            .unwrap_or_default();
        // Between words, if there are words.
        if let Some(blank) = now.rfind(' ').filter(|_| !later.is_empty()) {
            (now, later) = rest.split_at_checked(blank + 1).unwrap_or_default();
        }
        lines.push(Zeroizing::new(now.to_owned()));
        rest = later;
        if rest.is_empty() || lines.len() == LINES_MAX {
            return lines;
        }
    }
}

#[cfg(test)]
mod tests;
