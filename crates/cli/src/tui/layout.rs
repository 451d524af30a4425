//! Where the parts of the screen are.

use ratatui::layout::{Constraint, Layout, Margin, Rect};

/// A narrower screen shows one part at a time.
const TWO_PARTS_MIN: u16 = 60;

/// The parts of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Areas {
    pub(super) title: Rect,
    /// All that is between title and note.
    pub(super) body: Rect,
    /// The records, with their frame.
    pub(super) left: Rect,
    /// The record, with its frame.
    pub(super) right: Rect,
    pub(super) note: Rect,
    pub(super) keys: Rect,
    /// Left and right are one place, which shows the part that has the keys.
    pub(super) is_narrow: bool,
}

/// The parts of a screen of this size, on which a note takes so many lines.
pub(super) fn areas(screen: Rect, note_lines: u16) -> Areas {
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(note_lines.min(screen.height / 2)),
        Constraint::Length(1),
    ]);
    let [title, body, note, keys] = rows.areas(screen);
    let is_narrow = screen.width < TWO_PARTS_MIN;
    let [left, right] = if is_narrow {
        [body; 2]
    } else {
        let left = (screen.width * 2 / 5).min(60);
        Layout::horizontal([Constraint::Length(left), Constraint::Min(0)]).areas(body)
    };
    Areas {
        title,
        body,
        left,
        right,
        note,
        keys,
        is_narrow,
    }
}

/// What is inside of a frame.
pub(super) fn inside(area: Rect) -> Rect {
    area.inner(Margin::new(1, 1))
}

/// What is inside of a frame, and a column away from its sides.
pub(super) fn padded(area: Rect) -> Rect {
    area.inner(Margin::new(2, 1))
}

/// A part in the middle of another, as large as it fits.
pub(super) fn middle(of: Rect, width: u16, height: u16) -> Rect {
    let width = width.min(of.width);
    let height = height.min(of.height);
    Rect {
        x: of.x + (of.width - width) / 2,
        y: of.y + (of.height - height) / 2,
        width,
        height,
    }
}
