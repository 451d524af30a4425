//! Lets a person pick one of many lines: they narrow as one types, and nothing is left on the
//! screen.

use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::app::App;
use crate::terminal::keys::Key;

/// The most lines that are shown at once.
const LINES_MAX: usize = 10;

/// What is asked for.
pub(crate) struct Pick<'a> {
    /// Stands before what is typed.
    pub(crate) prompt: &'a str,
    /// What is typed already.
    pub(crate) query: &'a str,
    /// What is shown until something else is typed.
    pub(crate) first: Vec<String>,
    /// What matches a query.
    pub(crate) search: &'a mut dyn FnMut(&str) -> Result<Vec<String>, Problem>,
}

/// Lets the person pick a line.
///
/// # Errors
/// They do not want to, or there is no terminal.
pub(crate) fn pick(app: &App, pick: Pick<'_>) -> Result<String, Problem> {
    let mut list = List::new(pick.prompt, pick.query, pick.first);
    let failed = |error: std::io::Error| {
        Problem::new(
            ProblemKind::Other,
            format!("the terminal cannot be used: {error}"),
            "name the record by its whole path",
        )
    };
    let mut screen = app.ask.terminal.keys(CLEAR).map_err(failed)?;
    loop {
        let (columns, rows) = screen.size();
        screen.write(&list.picture(columns, rows)).map_err(failed)?;
        let key = screen.key().map_err(failed)?;
        match list.press(key) {
            Step::Stays => {}
            Step::Searches => list.show((pick.search)(&list.query)?),
            Step::Picks(line) => {
                screen.write(CLEAR).map_err(failed)?;
                return Ok(line);
            }
            Step::Ends => {
                screen.write(CLEAR).map_err(failed)?;
                return Err(Problem::new(
                    ProblemKind::Cancelled,
                    "no record was picked",
                    "name it by its whole path, or run it again and press Enter on its line",
                ));
            }
        }
    }
}

/// Clears the line of the cursor and all below it.
const CLEAR: &str = "\r\x1b[J";

/// What a key does.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Stays,
    /// Another query is typed.
    Searches,
    Picks(String),
    Ends,
}

/// The lines, and which of them is chosen.
struct List {
    prompt: String,
    query: String,
    lines: Vec<String>,
    chosen: usize,
}

impl List {
    fn new(prompt: &str, query: &str, lines: Vec<String>) -> Self {
        Self {
            prompt: prompt.to_owned(),
            query: query.to_owned(),
            lines,
            chosen: 0,
        }
    }

    fn show(&mut self, lines: Vec<String>) {
        self.lines = lines;
        self.chosen = 0;
    }

    fn press(&mut self, key: Key) -> Step {
        match key {
            Key::Enter => match self.lines.get(self.chosen) {
                Some(line) => Step::Picks(line.clone()),
                None => Step::Stays,
            },
            Key::End => Step::Ends,
            Key::Up => {
                self.chosen = self.chosen.saturating_sub(1);
                Step::Stays
            }
            Key::Down => {
                self.chosen = (self.chosen + 1).min(self.lines.len().saturating_sub(1));
                Step::Stays
            }
            Key::Erase => match self.query.pop() {
                Some(_) => Step::Searches,
                None => Step::Stays,
            },
            Key::EraseAll => {
                self.query.clear();
                Step::Searches
            }
            Key::Character(character) => {
                self.query.push(character);
                Step::Searches
            }
            Key::Other => Step::Stays,
        }
    }

    /// What is written to a terminal of this size. The cursor comes back to where the query ends.
    fn picture(&self, columns: usize, rows: usize) -> String {
        let room = LINES_MAX.min(rows.saturating_sub(2)).max(1);
        // A line that fills the last column would wrap.
        let width = columns.saturating_sub(1).max(1);
        let query = escape(&format!("{}{}", self.prompt, self.query));
        // Of a long query its end is seen.
        let query = last(&query, width);
        let mut picture = format!("{CLEAR}{query}");
        let begin = (self.chosen + 1).saturating_sub(room);
        let shown = self.lines.iter().enumerate().skip(begin).take(room);
        let mut below = 0;
        for (number, line) in shown {
            let line = escape(line);
            let line = match number == self.chosen {
                true => format!("\x1b[7m{}\x1b[m", first(&format!("> {line}"), width)),
                false => first(&format!("  {line}"), width).to_owned(),
            };
            picture.push_str(&format!("\r\n{line}"));
            below += 1;
        }
        if self.lines.is_empty() {
            picture.push_str(&format!("\r\n{}", first("  (no record matches)", width)));
            below += 1;
        }
        picture.push_str(&format!("\x1b[{below}A\r"));
        match query.width() {
            0 => {}
            columns => picture.push_str(&format!("\x1b[{columns}C")),
        }
        picture
    }
}

/// The begin of a text that fits into so many columns.
fn first(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, character)| {
        used += character.width().unwrap_or(0);
        used > columns
    });
    text.get(..end.map_or(text.len(), |(place, _)| place))
        .unwrap_or_default()
}

/// The end of a text that fits into so many columns.
fn last(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let begin = text.char_indices().rev().find(|(_, character)| {
        used += character.width().unwrap_or(0);
        used > columns
    });
    let begin = begin.map_or(0, |(place, character)| place + character.len_utf8());
    text.get(begin..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    fn list(lines: &[&str]) -> List {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        List::new("record: ", "sh", lines)
    }

    /// The screen after this output, and the place of the cursor.
    fn screen(output: &str, columns: u16, rows: u16) -> (String, (u16, u16)) {
        let new = |size| NonZeroU16::new(size).unwrap();
        let mut parser = vt100::Parser::new(new(rows), new(columns), 0);
        parser.process(output.as_bytes());
        let screen = parser.screen();
        (screen.contents(), screen.cursor_position())
    }

    #[test]
    fn lines_are_seen_below_the_query_and_leave_nothing() {
        let list = list(&["web/shop", "old/shop"]);
        let picture = format!("$ passmate show sh\r\n{}", list.picture(40, 10));
        let (seen, cursor) = screen(&picture, 40, 10);
        assert_eq!(
            seen,
            "$ passmate show sh\nrecord: sh\n> web/shop\n  old/shop"
        );
        assert_eq!(cursor, (1, 10));
        let (left, _) = screen(&format!("{picture}{CLEAR}"), 40, 10);
        assert_eq!(left, "$ passmate show sh");
        // At the end of the screen it scrolls.
        let picture = format!("{}{}", "x\r\n".repeat(9), list.picture(40, 10));
        let (seen, cursor) = screen(&picture, 40, 10);
        assert!(
            seen.ends_with("x\nrecord: sh\n> web/shop\n  old/shop"),
            "{seen}"
        );
        assert_eq!(cursor, (7, 10));
    }

    #[test]
    fn no_line_is_wider_or_higher_than_the_terminal() {
        let many: Vec<_> = (0..50)
            .map(|number| format!("日本/{number}\u{1b}[2J"))
            .collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let mut list = list(&many);
        for (columns, rows) in [(80, 24), (12, 5), (3, 2), (1, 1)] {
            let (seen, _) = screen(&list.picture(columns, rows), 80, 24);
            let count = seen.lines().count();
            assert!(count <= LINES_MAX + 1 && count <= rows.max(2), "{seen}");
            let fits = |line: &str| line.trim_end().width() < columns.max(2);
            assert!(seen.lines().all(fits), "{columns}: {seen}");
        }
        for _ in 0..60 {
            list.press(Key::Down);
        }
        let (seen, _) = screen(&list.picture(80, 24), 80, 24);
        assert!(seen.ends_with("> 日本/49\\u{1b}[2J"), "{seen}");
    }

    #[test]
    fn keys_choose_and_narrow() {
        let mut list = list(&["a", "b"]);
        assert_eq!(list.press(Key::Up), Step::Stays);
        assert_eq!(list.press(Key::Down), Step::Stays);
        assert_eq!(list.press(Key::Down), Step::Stays);
        assert_eq!(list.press(Key::Enter), Step::Picks("b".to_owned()));
        assert_eq!(list.press(Key::Character('o')), Step::Searches);
        assert_eq!(list.query, "sho");
        list.show(Vec::new());
        assert_eq!(list.press(Key::Enter), Step::Stays);
        assert_eq!(list.press(Key::Erase), Step::Searches);
        assert_eq!(list.press(Key::EraseAll), Step::Searches);
        assert_eq!(list.press(Key::Erase), Step::Stays);
        assert_eq!(list.press(Key::End), Step::Ends);
    }
}
