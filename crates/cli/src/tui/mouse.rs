//! What the mouse does.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::layout::{Areas, inside, padded};
use super::state::{Focus, State};

/// What the wheel moves.
const WHEEL_ROWS: isize = 3;

impl State {
    pub(super) fn mouse(&mut self, mouse: MouseEvent) {
        let areas = self.areas();
        let place = Position::new(mouse.column, mouse.row);
        let is_over_tree =
            areas.left.contains(place) && !(areas.is_narrow && self.focus == Focus::Record);
        let is_over_record = areas.right.contains(place) && !is_over_tree;
        let rows = match mouse.kind {
            MouseEventKind::ScrollUp => -WHEEL_ROWS,
            MouseEventKind::ScrollDown => WHEEL_ROWS,
            _ => 0,
        };
        if let Some(dialog) = &mut self.dialog {
            dialog.scroll(rows);
            return;
        }
        let is_click = mouse.kind == MouseEventKind::Down(MouseButton::Left);
        if is_over_tree {
            self.tree.move_by(rows);
            if is_click {
                self.click_tree(place, areas);
            }
        } else if is_over_record {
            if let Some(open) = &mut self.open {
                open.move_by(rows.signum());
            }
            if is_click {
                self.click_record(place, areas);
            }
        }
    }

    fn click_tree(&mut self, place: Position, areas: Areas) {
        let inside = inside(areas.left);
        if self.focus == Focus::Record {
            self.focus = Focus::Tree;
            self.hide();
        }
        if !inside.contains(place) {
            return;
        }
        let row = self.tree.top + usize::from(place.y - inside.y);
        if row < self.tree.rows().len() {
            self.tree.select(row);
            self.tree.toggle();
        }
    }

    /// A click selects a field; one on the selected field reveals or hides it.
    fn click_record(&mut self, place: Position, areas: Areas) {
        let inside = padded(areas.right);
        let width = self.value_width(inside);
        let Some(open) = &mut self.open else {
            return;
        };
        let had_keys = std::mem::replace(&mut self.focus, Focus::Record) == Focus::Record;
        let lines = open.lines(width, self.now);
        let line = open.top + usize::from(place.y.saturating_sub(inside.y));
        if let Some(line) = lines.get(line).filter(|_| inside.contains(place)) {
            if had_keys && open.selected() == line.item {
                open.toggle();
            } else {
                open.select(line.item);
            }
        }
    }
}
