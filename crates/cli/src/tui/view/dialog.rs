//! What lies over the screen until a key answers it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use unicode_width::UnicodeWidthStr;

use super::super::keys::HELP;
use super::super::layout::{middle, padded};
use super::super::state::{Dialog, State};
use super::super::theme::Theme;
use super::{clear, framed, put};

/// The widest dialog.
const WIDTH: u16 = 76;

pub(super) fn draw(dialog: &Dialog, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    match dialog {
        Dialog::Help { top } => draw_help(*top, state, theme, frame),
    }
}

/// Draws the frame of a dialog for so many lines, and returns what is inside.
fn draw_frame(
    title: &str,
    lines: usize,
    state: &State,
    theme: Theme,
    frame: &mut Frame<'_>,
) -> Rect {
    let height = u16::try_from(lines.saturating_add(2)).unwrap_or(u16::MAX);
    let area = middle(state.screen, WIDTH, height);
    clear(frame, area);
    let title = Line::from(Span::styled(format!(" {title} "), theme.key()));
    framed(title, true, theme).render(area, frame.buffer_mut());
    padded(area)
}

fn draw_help(top: usize, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    let mut lines = Vec::new();
    for (part, keys) in HELP {
        if !lines.is_empty() {
            lines.push(("", "", Style::new()));
        }
        lines.push((*part, "", theme.name()));
        lines.extend(keys.iter().map(|(key, word)| (*key, *word, theme.key())));
    }
    let inside = draw_frame("Help", lines.len(), state, theme, frame);
    let names = lines.iter().filter(|(_, word, _)| !word.is_empty());
    let width = names.map(|(key, ..)| key.width()).max().unwrap_or(0) + 2;
    let width = u16::try_from(width).unwrap_or(0).min(inside.width);
    // Not further than to the last line.
    let top = top.min(lines.len().saturating_sub(usize::from(inside.height)));
    for ((key, word, style), row) in lines.into_iter().skip(top).zip(inside.rows()) {
        put(frame.buffer_mut(), row, key, style);
        let behind = Rect {
            x: row.x + width,
            width: row.width - width,
            ..row
        };
        put(frame.buffer_mut(), behind, word, Style::new());
    }
}
