//! What lies over the screen until a key answers it.

use passmate_core::clock::local_time;
use passmate_core::escape::escape;
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use textwrap::{Options, wrap};
use unicode_width::UnicodeWidthStr;
use zeroize::Zeroizing;

use super::super::dialog::{Ask, Asked, Confirm, Dialog, Report};
use super::super::filling::Kinds;
use super::super::findings::Findings;
use super::super::generate::Generate;
use super::super::history::{History, Trash};
use super::super::keys::HELP;
use super::super::layout::{middle, padded};
use super::super::state::State;
use super::super::theme::Theme;
use super::super::tree::top_of;
use super::{clear, framed, put};
use crate::commands::show::MASK;

/// The widest dialog.
const WIDTH: u16 = 76;
/// Stands for each character of a secret that is typed.
const DOT: &str = "•";

pub(super) fn draw(dialog: &Dialog, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    match dialog {
        Dialog::Help { top } => draw_help(*top, state, theme, frame),
        Dialog::Ask(ask) => draw_ask(ask, state, theme, frame),
        Dialog::Confirm(confirm) => draw_confirm(confirm, state, theme, frame),
        Dialog::History(history) => draw_history(history, state, theme, frame),
        Dialog::Trash(trash) => draw_trash(trash, state, theme, frame),
        Dialog::Kinds(kinds) => draw_kinds(kinds, state, theme, frame),
        Dialog::Findings(findings) => draw_findings(findings, state, theme, frame),
        Dialog::Report(report) => draw_report(report, state, theme, frame),
        Dialog::Generate(generate) => draw_generate(generate, state, theme, frame),
    }
}

fn draw_ask(ask: &Ask, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    let title = escape(&ask.what.title());
    let inside = match &ask.what {
        Asked::Value { path, field } => match place_of(state, path, field) {
            Some(area) => draw_frame_at(area, &title, theme, frame),
            None => draw_frame(&title, 1, state, theme, frame),
        },
        _ => draw_frame(&title, 1, state, theme, frame),
    };
    let (before, behind) = ask.line.parts();
    let shown = |text: &str| {
        Zeroizing::new(if ask.is_shown {
            escape(text)
        } else {
            DOT.repeat(text.chars().count())
        })
    };
    let (before, behind) = (shown(before), shown(behind));
    // The cursor is always to be seen, and needs a column of its own.
    let room = usize::from(inside.width).saturating_sub(1);
    let mut seen = before.as_str();
    while seen.width() > room {
        let first = seen.chars().next().map_or(1, char::len_utf8);
        seen = seen.get(first..).unwrap_or_default();
    }
    let style = if ask.what.is_secret() && ask.is_shown {
        theme.revealed()
    } else {
        Style::new()
    };
    put(frame.buffer_mut(), inside, seen, style);
    let column = u16::try_from(seen.width()).unwrap_or(0).min(inside.width);
    let rest = Rect {
        x: inside.x + column,
        width: inside.width - column,
        ..inside
    };
    put(frame.buffer_mut(), rest, &behind, style);
    if !inside.is_empty() {
        frame.set_cursor_position(Position::new(rest.x, rest.y));
    }
}

/// The place over a field's line, if it is on the screen.
fn place_of(state: &State, path: &str, field: &str) -> Option<Rect> {
    let open = state.open.as_ref().filter(|open| open.path() == path)?;
    let right = state.areas().right;
    let inside = padded(right);
    let lines = open.lines(state.value_width(inside), state.now);
    let line = lines.iter().position(|line| line.name == escape(field))?;
    let row = u16::try_from(line.checked_sub(open.top)?).ok()?;
    let area = Rect {
        y: (inside.y + row).checked_sub(1)?,
        height: 3,
        ..right
    };
    let is_there = row < inside.height && right.intersection(area) == area;
    is_there.then_some(area)
}

fn draw_confirm(confirm: &Confirm, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    let title = if confirm.topic.is_held_back() {
        "Held back"
    } else {
        "Sure?"
    };
    let mut lines = vec![(escape(&confirm.topic.text()), false)];
    lines.extend(confirm.lines.iter().map(|line| (line.clone(), true)));
    draw_text(title, &lines, confirm.top, state, theme, frame);
}

fn draw_report(report: &Report, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    draw_text(
        &report.title,
        &report.lines,
        report.top,
        state,
        theme,
        frame,
    );
}

/// Draws paragraphs, some of which stand below the one before.
fn draw_text(
    title: &str,
    paragraphs: &[(String, bool)],
    top: usize,
    state: &State,
    theme: Theme,
    frame: &mut Frame<'_>,
) {
    let width = usize::from(WIDTH.min(state.screen.width))
        .saturating_sub(4)
        .max(8);
    let mut lines = Vec::new();
    for (text, is_below) in paragraphs {
        let (first, more) = if *is_below { ("  ", "    ") } else { ("", "") };
        let options = Options::new(width)
            .initial_indent(first)
            .subsequent_indent(more);
        lines.extend(wrap(text, options));
    }
    let inside = draw_frame(title, lines.len(), state, theme, frame);
    let top = top.min(lines.len().saturating_sub(usize::from(inside.height)));
    for (line, row) in lines.iter().skip(top).zip(inside.rows()) {
        put(frame.buffer_mut(), row, line, Style::new());
    }
}

fn draw_history(history: &History, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    let width = usize::from(WIDTH.min(state.screen.width)).saturating_sub(4);
    let lines = history.lines(width);
    let inside = draw_frame(&escape(&history.title()), lines.len(), state, theme, frame);
    let top = history.top(&lines, usize::from(inside.height));
    for (line, row) in lines.iter().skip(top).zip(inside.rows()) {
        let style = if line.is_revealed {
            theme.revealed()
        } else {
            Style::new()
        };
        put(frame.buffer_mut(), row, &line.text, style);
        if line.entry == history.selected() {
            frame.buffer_mut().set_style(row, theme.selected());
        }
    }
}

fn draw_trash(trash: &Trash, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    let count = trash.entries.len();
    let inside = draw_frame("Deleted records", count, state, theme, frame);
    let top = top_of(0, trash.selected, count, usize::from(inside.height));
    let entries = trash.entries.iter().enumerate().skip(top);
    for ((place, entry), row) in entries.zip(inside.rows()) {
        let time = entry.deleted_at.map_or_else(String::new, local_time);
        let text = format!("{time:<19}  {}", escape(&entry.path));
        put(frame.buffer_mut(), row, &text, Style::new());
        if place == trash.selected {
            frame.buffer_mut().set_style(row, theme.selected());
        }
    }
}

fn draw_findings(findings: &Findings, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    // Below the list, an empty line and what is wrong with the selected one.
    const BELOW: u16 = 2;
    let lines = findings.len() + usize::from(BELOW);
    let inside = draw_frame(findings.title(), lines, state, theme, frame);
    let list = Rect {
        height: inside.height.saturating_sub(BELOW),
        ..inside
    };
    let top = top_of(0, findings.selected(), findings.len(), list.height.into());
    for ((place, line), row) in (top..).zip(findings.lines(top)).zip(list.rows()) {
        put(frame.buffer_mut(), row, &line, Style::new());
        if place == findings.selected() {
            frame.buffer_mut().set_style(row, theme.selected());
        }
    }
    if let Some(last) = inside.rows().next_back() {
        put(frame.buffer_mut(), last, findings.why(), theme.dim());
    }
}

fn draw_kinds(kinds: &Kinds, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    let lines = Kinds::lines();
    let count = lines.len();
    let inside = draw_frame(&escape(&kinds.title()), count, state, theme, frame);
    let top = top_of(0, kinds.selected(), count, usize::from(inside.height));
    for ((place, line), row) in lines.enumerate().skip(top).zip(inside.rows()) {
        put(frame.buffer_mut(), row, &line, Style::new());
        if place == kinds.selected() {
            frame.buffer_mut().set_style(row, theme.selected());
        }
    }
}

fn draw_generate(generate: &Generate, state: &State, theme: Theme, frame: &mut Frame<'_>) {
    let title = format!("Generate {} of {}", generate.field, generate.path);
    let inside = draw_frame(&escape(&title), 3, state, theme, frame);
    let (password, strength) = match &generate.made {
        Some(made) if generate.is_shown => (made.password.as_str(), made.to_string()),
        Some(made) => (MASK, made.to_string()),
        None => ("", String::new()),
    };
    let style = if generate.is_shown {
        theme.revealed()
    } else {
        Style::new()
    };
    let mut rows = inside.rows();
    if let Some(row) = rows.next() {
        put(frame.buffer_mut(), row, password, style);
    }
    rows.next();
    if let Some(row) = rows.next() {
        let text = format!("{} · {strength}", generate.how.text());
        put(frame.buffer_mut(), row, &text, theme.dim());
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
    let area = middle(state.areas().body, WIDTH, height);
    draw_frame_at(area, title, theme, frame)
}

fn draw_frame_at(area: Rect, title: &str, theme: Theme, frame: &mut Frame<'_>) -> Rect {
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
