//! Draws the screen. Every text of a record is escaped, and no secret is drawn that is not
//! revealed.

mod dialog;

use passmate_core::escape::escape;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};
use unicode_width::UnicodeWidthStr;

use super::keys::hints;
use super::layout::{inside, padded};
use super::note::Tone;
use super::record::Open;
use super::state::{Focus, State};
use super::syncing::TieState;
use super::theme::Theme;
use super::tree::{Row, RowKind};

/// Calls that end sooner are not named.
const NAMED_AFTER_MS: u128 = 300;
const TURNS: [&str; 4] = ["◐", "◓", "◑", "◒"];

pub(super) fn draw(state: &State, theme: Theme, frame: &mut Frame<'_>) {
    if state.is_locked {
        draw_locked(state, theme, frame);
        return;
    }
    let areas = state.areas();
    draw_title(state, theme, frame.buffer_mut(), areas.title);
    let is_in_record = state.focus == Focus::Record;
    if !areas.is_narrow || !is_in_record {
        draw_tree(state, theme, frame, areas.left);
    }
    if !areas.is_narrow || is_in_record {
        draw_record(state, theme, frame.buffer_mut(), areas.right);
    }
    draw_note(state, theme, frame.buffer_mut(), areas.note);
    draw_keys(state, theme, frame.buffer_mut(), areas.keys);
    if let Some(dialog) = &state.dialog {
        dialog::draw(dialog, state, theme, frame);
    }
}

fn draw_locked(state: &State, theme: Theme, frame: &mut Frame<'_>) {
    let areas = state.areas();
    draw_title(state, theme, frame.buffer_mut(), areas.title);
    let y = areas.left.y + areas.left.height / 2;
    let mut lines = vec!["The vault is locked."];
    if state.dialog.is_some() {
        lines.push("What you typed is there again when you unlock it.");
    }
    for (y, text) in (y..areas.note.y).zip(lines) {
        let width = u16::try_from(text.width()).unwrap_or(0);
        let width = width.min(areas.title.width);
        let x = areas.title.x + areas.title.width.saturating_sub(width) / 2;
        let line = Rect::new(x, y, width, 1);
        put(frame.buffer_mut(), line, text, theme.key());
    }
    draw_note(state, theme, frame.buffer_mut(), areas.note);
    draw_keys(state, theme, frame.buffer_mut(), areas.keys);
}

fn draw_title(state: &State, theme: Theme, buffer: &mut Buffer, area: Rect) {
    let name = state.vault_name.as_deref().map(escape);
    let name = name.map_or_else(String::new, |name| format!(" · {name}"));
    let name = format!(" passmate{name}");
    put(buffer, area, &name, theme.key());
    // The most important part stands at the right, and what does not fit is left out.
    let mut room = usize::from(area.width).saturating_sub(name.width() + 2);
    let mut right = String::from(" ");
    for part in title_parts(state) {
        let part = match right.as_str() {
            " " => part,
            _ => format!("{part} · "),
        };
        if part.width() > room {
            break;
        }
        room -= part.width();
        right.insert_str(0, &part);
    }
    put_right(buffer, area, &right, theme.dim());
}

/// What the title says beside the name, the most important part first.
fn title_parts(state: &State) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some((call, since)) = &state.running
        && let Some(words) = call.words()
    {
        let millis = state.now.saturating_sub(*since).as_millis();
        let turn = usize::try_from(millis / 250).unwrap_or(0) % TURNS.len();
        let turn = TURNS.get(turn).unwrap_or(&"");
        if millis >= NAMED_AFTER_MS {
            parts.push(format!("{turn} {words}"));
        }
    }
    if let Some(copied) = &state.copied {
        let left = copied.until.saturating_sub(state.now).as_secs();
        let what = escape(&copied.what);
        parts.push(format!("{what} in the clipboard for {left} s"));
    }
    if state.is_locked {
        return parts;
    }
    parts.push(match state.tree.len() {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    });
    if let (Some(tie), Some(at)) = (&state.tie, state.stands_at) {
        let place = escape(&tie.place);
        let passed = state.now.saturating_sub(at).as_secs();
        let age = tie.age.map(|age| ago(age.saturating_add(passed)));
        parts.push(match (tie.state, age) {
            (TieState::HeldBack, _) => "a sync was held back: s decides".to_owned(),
            (TieState::Failed, Some(age)) => format!("last sync failed; synced {age}"),
            (TieState::Failed, None) => "last sync failed".to_owned(),
            (TieState::Fine, Some(age)) => format!("synced {age} with {place}"),
            (TieState::Fine, None) => format!("not synced yet with {place}"),
        });
    }
    parts
}

/// How long ago something was, for people.
fn ago(seconds: u64) -> String {
    match (seconds / 60, seconds / 3600, seconds / 86400) {
        (0, ..) => "just now".to_owned(),
        (minutes, 0, _) => format!("{minutes} min ago"),
        (_, hours, 0) => format!("{hours} h ago"),
        (_, _, days) => format!("{days} d ago"),
    }
}

/// The frame of a part of the screen.
fn framed(title: Line<'_>, has_keys: bool, theme: Theme) -> Block<'_> {
    let style = if has_keys { theme.key() } else { theme.dim() };
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(style)
        .title(title)
}

fn draw_tree(state: &State, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let has_keys = state.focus != Focus::Record;
    let is_searching = state.focus == Focus::Search;
    let (before, behind) = state.query.parts();
    let title = if is_searching || !state.query.is_empty() {
        let query = format!("{}{}", escape(before), escape(behind));
        // As other programs show a text that the next key replaces.
        let style = match is_searching && state.query_is_old {
            true => theme.selected(),
            false => Style::new(),
        };
        Line::from(vec![
            Span::styled(" Search: ", theme.key()),
            Span::styled(query, style),
            Span::raw(" "),
        ])
    } else {
        Line::from(Span::styled(" Records ", theme.key()))
    };
    framed(title, has_keys, theme).render(area, frame.buffer_mut());
    if is_searching && state.dialog.is_none() {
        let column = 1 + " Search: ".width() + escape(before).width();
        let column = u16::try_from(column).unwrap_or(u16::MAX);
        let column = column.min(area.width.saturating_sub(2));
        frame.set_cursor_position(Position::new(area.x + column, area.y));
    }
    let inside = inside(area);
    let tree = &state.tree;
    if tree.rows().is_empty() {
        let text = if state.query.is_empty() {
            "no records"
        } else {
            "nothing is found"
        };
        put(frame.buffer_mut(), padded(area), text, theme.dim());
    }
    let rows = tree.rows().iter().enumerate().skip(tree.top);
    for ((place, row), y) in rows.zip(inside.rows()) {
        let is_selected = place == tree.selected();
        let style = match (is_selected, has_keys) {
            (true, true) => Some(theme.selected()),
            (true, false) => Some(theme.selected_elsewhere()),
            (false, _) => None,
        };
        draw_row(row, theme, frame.buffer_mut(), y, style);
    }
}

fn draw_row(row: &Row, theme: Theme, buffer: &mut Buffer, area: Rect, selected: Option<Style>) {
    let indent = " ".repeat(1 + 2 * row.depth);
    // The names of folders and records of one depth stand below each other.
    let name = match row.name.as_str() {
        "" => "(no name)".to_owned(),
        name => escape(name),
    };
    let (text, style) = match row.kind {
        RowKind::Folder { is_open: true } => (format!("{indent}▾ {name}/"), theme.name()),
        RowKind::Folder { is_open: false } => (format!("{indent}▸ {name}/"), theme.name()),
        RowKind::Record { is_marked: false } => (format!("{indent}  {name}"), Style::new()),
        RowKind::Record { is_marked: true } => (format!("{indent}  {name} !"), theme.warning()),
    };
    put(buffer, area, &text, style);
    if let Some(selected) = selected {
        buffer.set_style(area, selected);
    }
}

fn draw_record(state: &State, theme: Theme, buffer: &mut Buffer, area: Rect) {
    let has_keys = state.focus == Focus::Record;
    let path = state.tree.record().unwrap_or_default();
    let title = match path {
        "" => Line::default(),
        path => Line::from(Span::styled(format!(" {} ", escape(path)), theme.name())),
    };
    framed(title, has_keys, theme).render(area, buffer);
    let inside = padded(area);
    let Some(open) = &state.open else {
        let text = match state.is_kept_shut() {
            true if state.is_asked_for() => "guarded: a person is asked",
            true => "guarded: Enter asks for it",
            false => return,
        };
        put(buffer, inside, text, theme.dim());
        return;
    };
    if open.items().is_empty() {
        let text = "no fields: a adds one, g a password";
        put(buffer, inside, text, theme.dim());
    }
    draw_fields(open, state, theme, buffer, inside);
}

fn draw_fields(open: &Open, state: &State, theme: Theme, buffer: &mut Buffer, inside: Rect) {
    let has_keys = state.focus == Focus::Record;
    let names = u16::try_from(open.name_width())
        .unwrap_or(0)
        .min(inside.width);
    let lines = open.lines(state.value_width(inside), state.now);
    for (line, area) in lines.iter().skip(open.top).zip(inside.rows()) {
        let name = Rect {
            width: names,
            ..area
        };
        let gap = (names + 2).min(area.width);
        let value = Rect {
            x: area.x + gap,
            width: area.width - gap,
            ..area
        };
        let style = if line.is_revealed {
            theme.revealed()
        } else {
            Style::new()
        };
        put(buffer, name, &line.name, theme.name());
        put(buffer, value, &line.text, style);
        if has_keys && line.item == open.selected() {
            buffer.set_style(area, theme.selected());
        }
    }
}

fn draw_note(state: &State, theme: Theme, buffer: &mut Buffer, area: Rect) {
    let Some(note) = &state.note else {
        return;
    };
    let style = match note.tone {
        Tone::Plain => Style::new(),
        Tone::Good => theme.good(),
        Tone::Warning => theme.warning(),
    };
    for (line, row) in note.lines(state.screen.width).iter().zip(area.rows()) {
        put(buffer, row, &format!(" {line}"), style);
    }
}

fn draw_keys(state: &State, theme: Theme, buffer: &mut Buffer, area: Rect) {
    let mut rest = area;
    for (key, word) in hints(state) {
        let width = u16::try_from(key.width() + word.width() + 4).unwrap_or(u16::MAX);
        if width > rest.width {
            break;
        }
        put(buffer, rest, &format!(" {key}"), theme.key());
        let column = u16::try_from(key.width() + 2).unwrap_or(0);
        let behind = Rect {
            x: rest.x + column,
            width: rest.width - column,
            ..rest
        };
        put(buffer, behind, word, theme.dim());
        rest = Rect {
            x: rest.x + width,
            width: rest.width - width,
            ..rest
        };
    }
}

/// Writes one line that is already safe to show. What does not fit is cut off, and that is marked.
fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    if area.is_empty() {
        return;
    }
    let width = usize::from(area.width);
    buffer.set_stringn(area.x, area.y, text, width, style);
    if text.width() > width {
        buffer.set_stringn(area.right() - 1, area.y, "…", 1, style);
    }
}

fn put_right(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    let width = u16::try_from(text.width())
        .unwrap_or(u16::MAX)
        .min(area.width);
    let place = Rect {
        x: area.right() - width,
        width,
        ..area
    };
    put(buffer, place, text, style);
}

/// Makes room for what lies over the screen.
fn clear(frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Clear, area);
}
