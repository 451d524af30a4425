//! Shows a text on the alternate screen of a terminal, so that it is gone when the person leaves:
//! nothing of it stays on the screen or in the scrollback.

use passmate_core::problem::{Problem, ProblemKind};
use unicode_width::UnicodeWidthChar;
use zeroize::Zeroizing;

use crate::app::App;
use crate::naming::is_movable;
use crate::terminal::keys::Key;

/// Goes to the alternate screen.
const ENTER: &str = "\x1b[?1049h";
/// Clears it, and comes back from it.
const LEAVE: &str = "\x1b[H\x1b[J\x1b[?1049l";

/// Whether there is a person at a terminal that has an alternate screen.
pub(crate) fn can_view(app: &App) -> bool {
    app.out.is_terminal() && app.ask.has_person() && is_movable()
}

/// Shows a text until the person leaves it. Its lines are escaped already.
///
/// # Errors
/// The terminal cannot be used.
pub(crate) fn view(app: &App, text: &str) -> Result<(), Problem> {
    let is_drawn = false;
    show(app, text, is_drawn)
}

/// Shows a picture of lines, which are not broken, until the person leaves it.
///
/// # Errors
/// The terminal cannot be used.
pub(crate) fn view_picture(app: &App, picture: &str) -> Result<(), Problem> {
    let is_drawn = true;
    show(app, picture, is_drawn)
}

fn show(app: &App, text: &str, is_drawn: bool) -> Result<(), Problem> {
    let failed = |error: std::io::Error| {
        Problem::new(
            ProblemKind::Other,
            format!("the terminal cannot be used: {error}"),
            "--no-pager prints without it",
        )
    };
    let mut screen = app.ask.terminal.keys(LEAVE).map_err(failed)?;
    let mut view = View {
        text,
        is_drawn,
        line: 0,
    };
    screen.write(ENTER).map_err(failed)?;
    loop {
        let (columns, rows) = screen.size();
        let shown = screen.write(&view.picture(columns, rows));
        let key = shown.and_then(|()| screen.key());
        match key {
            Ok(key) if !view.press(key, columns, rows) => continue,
            Ok(_) => return screen.write(LEAVE).map_err(failed),
            Err(error) => {
                // What was shown must not stay.
                let _ = screen.write(LEAVE);
                return Err(failed(error));
            }
        }
    }
}

/// A text, and the line of it that is the first on the screen.
struct View<'t> {
    text: &'t str,
    /// Its lines are a picture, and stay whole.
    is_drawn: bool,
    line: usize,
}

impl View<'_> {
    /// The lines as a terminal of this width shows them.
    fn lines(&self, columns: usize) -> Vec<&str> {
        let lines = self.text.lines();
        if self.is_drawn {
            return lines.collect();
        }
        lines
            .flat_map(|line| broken(line, columns.max(2)))
            .collect()
    }

    /// What is written to a terminal of this size.
    fn picture(&self, columns: usize, rows: usize) -> Zeroizing<String> {
        const LEAVES: &str = "Enter or q leaves";
        const SCROLLS: &str = "Enter or q leaves, arrows and space scroll";
        let lines = self.lines(columns);
        let room = room(rows);
        let footer = match lines.len() > room {
            true => SCROLLS,
            false => LEAVES,
        };
        let footer = broken(footer, columns.max(2)).next().unwrap_or_default();
        let len = self.text.len() + 8 * lines.len() + 64;
        let mut picture = Zeroizing::new(String::with_capacity(len));
        picture.push_str("\x1b[H\x1b[J");
        for line in lines.iter().skip(self.line).take(room) {
            picture.push_str(line);
            picture.push_str("\r\n");
        }
        picture.push_str("\x1b[7m");
        picture.push_str(footer);
        picture.push_str("\x1b[m");
        picture
    }

    /// Whether the person leaves.
    fn press(&mut self, key: Key, columns: usize, rows: usize) -> bool {
        let room = room(rows);
        let last = self.lines(columns).len().saturating_sub(room);
        match key {
            Key::Enter | Key::End | Key::Character('q' | 'Q') => return true,
            Key::Up | Key::Character('k') => self.line = self.line.saturating_sub(1),
            Key::Down | Key::Character('j') => self.line += 1,
            Key::Character(' ' | 'f') => self.line += room,
            Key::Character('b') => self.line = self.line.saturating_sub(room),
            _ => {}
        }
        self.line = self.line.min(last);
        false
    }
}

/// The rows for the text, above the last line.
fn room(rows: usize) -> usize {
    rows.saturating_sub(1).max(1)
}

/// A line in parts of so many columns at most; at least one part.
fn broken(line: &str, columns: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut used = 0;
        let end = text.char_indices().find(|(_, character)| {
            used += character.width().unwrap_or(0);
            used > columns
        });
        let (part, after) = match end {
            Some((end, _)) => text.split_at_checked(end)?,
            None => (text, ""),
        };
        rest = Some(after).filter(|after| !after.is_empty());
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    fn seen(view: &View<'_>, columns: u16, rows: u16) -> Vec<String> {
        let new = |size| NonZeroU16::new(size).unwrap();
        let mut screen = vt100::Parser::new(new(rows), new(columns), 0);
        screen.process(view.picture(columns.into(), rows.into()).as_bytes());
        let contents = screen.screen().contents();
        contents.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_text_is_shown_above_what_leaves_it() {
        let text = "password: battery staple\nuser: bob\n";
        let view = View {
            text,
            is_drawn: false,
            line: 0,
        };
        let expected = ["password: battery staple", "user: bob", "Enter or q leaves"];
        assert_eq!(seen(&view, 80, 24), expected);
        // A line that is as wide as the terminal leaves no empty one.
        assert_eq!(
            seen(&view, 12, 24),
            ["password: ba", "ttery staple", "user: bob", "Enter or q l"]
        );
    }

    #[test]
    fn a_long_text_scrolls_to_its_end_and_not_further() {
        let text: String = (0..50).map(|number| format!("{number}\n")).collect();
        let mut view = View {
            text: &text,
            is_drawn: false,
            line: 0,
        };
        let (columns, rows) = (80, 10);
        for key in [Key::Up, Key::Down, Key::Down, Key::Up, Key::Other] {
            assert!(!view.press(key, columns, rows));
        }
        assert_eq!(view.line, 1);
        for _ in 0..20 {
            assert!(!view.press(Key::Character(' '), columns, rows));
        }
        let lines = seen(&view, 80, 10);
        assert_eq!(lines.first().unwrap(), "41");
        assert_eq!(lines.get(8).unwrap(), "49");
        assert_eq!(lines.len(), 10);
        for key in [Key::Enter, Key::End, Key::Character('q')] {
            assert!(view.press(key, columns, rows));
        }
        // A terminal that became larger shows what fits.
        assert!(!view.press(Key::Other, columns, 100));
        assert_eq!(view.line, 0);
    }
}
