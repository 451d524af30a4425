//! The records as a tree of folders, or as a list of matches, with one of them selected.

use std::collections::BTreeSet;

use passmate_core::records::RecordEntry;

/// The deepest folder; below it the rest of a path is one name. Paths come from other devices, so
/// they must not decide the depth.
const DEPTH_MAX: usize = 16;
/// A vault with more records begins with its folders closed.
const OPEN_MAX: usize = 100;

/// A line of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) depth: usize,
    /// The last part of the path.
    pub(super) name: String,
    /// The whole path; that of a folder ends with a slash.
    pub(super) path: String,
    pub(super) kind: RowKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowKind {
    Folder { is_open: bool },
    Record { is_marked: bool },
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    records: Vec<RecordEntry>,
    /// What a search found; `None` shows the tree.
    matches: Option<Vec<String>>,
    closed: BTreeSet<String>,
    rows: Vec<Row>,
    selected: usize,
    /// The first row that is on the screen.
    pub(super) top: usize,
    /// Records were shown once.
    is_filled: bool,
}

impl Tree {
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) const fn selected(&self) -> usize {
        self.selected
    }

    pub(super) fn row(&self) -> Option<&Row> {
        self.rows.get(self.selected)
    }

    /// The path of the record that is selected.
    pub(super) fn record(&self) -> Option<&str> {
        let row = self.row()?;
        matches!(row.kind, RowKind::Record { .. }).then_some(&row.path)
    }

    /// The record that is selected, as a list shows it.
    pub(super) fn entry(&self) -> Option<&RecordEntry> {
        let path = self.record()?;
        self.records.iter().find(|record| record.path == path)
    }

    /// Whether there is a record of this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.records.iter().any(|record| record.path == path)
    }

    /// Whether the record that is selected is guarded.
    pub(super) fn is_guarded(&self) -> bool {
        self.entry().is_some_and(|record| record.guarded)
    }

    /// Whether the records are known.
    pub(super) const fn is_filled(&self) -> bool {
        self.is_filled
    }

    /// The number of records.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Shows these records, in their order.
    pub(super) fn fill(&mut self, records: Vec<RecordEntry>) {
        self.records = records;
        if !self.is_filled && self.records.len() > OPEN_MAX {
            let paths = self.records.iter().map(|record| record.path.as_str());
            self.closed = paths.flat_map(folders).map(str::to_owned).collect();
        }
        self.is_filled = true;
        self.refresh();
    }

    /// Whether it is a list of matches.
    pub(super) const fn is_list(&self) -> bool {
        self.matches.is_some()
    }

    /// Lists what a search found, and selects the best match.
    pub(super) fn show_matches(&mut self, paths: Vec<String>) {
        self.matches = Some(paths);
        self.refresh();
        self.select(0);
    }

    /// Lists what the same search found now.
    pub(super) fn show_matches_again(&mut self, paths: Vec<String>) {
        self.matches = Some(paths);
        self.refresh();
    }

    /// Shows the tree again, with the record that was selected.
    pub(super) fn show_tree(&mut self) {
        let was = self.record().map(str::to_owned);
        self.matches = None;
        self.refresh();
        if let Some(path) = was {
            self.reveal(&path);
        }
    }

    /// Makes the rows anew, and keeps what is selected.
    fn refresh(&mut self) {
        let was = self.row().map(|row| row.path.clone());
        self.rows = match &self.matches {
            Some(paths) => {
                let marked = self.records.iter().filter(|record| is_marked(record));
                let marked: BTreeSet<_> = marked.map(|record| record.path.as_str()).collect();
                let rows = paths.iter().map(|path| Row {
                    depth: 0,
                    name: path.clone(),
                    path: path.clone(),
                    kind: RowKind::Record {
                        is_marked: marked.contains(path.as_str()),
                    },
                });
                rows.collect()
            }
            None => rows(&self.records, &self.closed),
        };
        let place = was.and_then(|path| self.rows.iter().position(|row| row.path == path));
        self.select(place.unwrap_or(self.selected));
    }

    /// Opens the folders above a record, and selects it.
    pub(super) fn reveal(&mut self, path: &str) {
        for folder in folders(path) {
            self.closed.remove(folder);
        }
        self.refresh();
        if let Some(place) = self.rows.iter().position(|row| row.path == path) {
            self.select(place);
        }
    }

    pub(super) fn select(&mut self, place: usize) {
        self.selected = place.min(self.rows.len().saturating_sub(1));
    }

    pub(super) fn move_by(&mut self, rows: isize) {
        self.select(self.selected.saturating_add_signed(rows));
    }

    /// Opens or closes the folder that is selected; false if it is a record.
    pub(super) fn toggle(&mut self) -> bool {
        let Some(Row {
            path,
            kind: RowKind::Folder { is_open },
            ..
        }) = self.row()
        else {
            return false;
        };
        let (path, is_open) = (path.clone(), *is_open);
        if is_open {
            self.closed.insert(path);
        } else {
            self.closed.remove(&path);
        }
        self.refresh();
        true
    }

    /// Closes the folder that is selected, or goes to the one above.
    pub(super) fn close(&mut self) {
        let Some(row) = self.row() else {
            return;
        };
        if row.kind == (RowKind::Folder { is_open: true }) {
            self.toggle();
            return;
        }
        let depth = row.depth;
        let above = self.rows.iter().take(self.selected);
        if let Some(place) = above.rev().position(|row| row.depth < depth) {
            self.select(self.selected - 1 - place);
        }
    }

    /// Keeps the selected row on a screen with so many rows.
    pub(super) fn keep_visible(&mut self, height: usize) {
        self.top = top_of(self.top, self.selected, self.rows.len(), height);
    }
}

/// The first row on the screen, so that the selected one is there.
pub(super) fn top_of(top: usize, selected: usize, len: usize, height: usize) -> usize {
    let lowest = selected.saturating_sub(height.saturating_sub(1));
    top.clamp(lowest, selected.max(lowest))
        .min(len.saturating_sub(height))
}

/// The folders above a record, each with a slash at its end.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').take(DEPTH_MAX);
    ends.filter_map(|(at, _)| path.get(..=at))
}

/// Whether a person should look at the record: see the fields of [`RecordEntry`].
fn is_marked(entry: &RecordEntry) -> bool {
    entry.clash.is_some() || entry.revived
}

fn rows(records: &[RecordEntry], closed: &BTreeSet<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    // The folders of the record before; paths come in order.
    let mut open: Vec<&str> = Vec::new();
    for record in records {
        let above: Vec<&str> = folders(&record.path).collect();
        let same = open.iter().zip(&above).take_while(|(a, b)| a == b).count();
        open = above;
        let mut is_hidden = false;
        for (depth, folder) in open.iter().enumerate() {
            let is_open = !closed.contains(*folder);
            if depth >= same && !is_hidden {
                rows.push(Row {
                    depth,
                    name: name_in(folder.strip_suffix('/').unwrap_or(folder)).to_owned(),
                    path: (*folder).to_owned(),
                    kind: RowKind::Folder { is_open },
                });
            }
            is_hidden |= !is_open;
        }
        if !is_hidden {
            let start = open.last().map_or(0, |folder| folder.len());
            rows.push(Row {
                depth: open.len(),
                name: record.path.get(start..).unwrap_or_default().to_owned(),
                path: record.path.clone(),
                kind: RowKind::Record {
                    is_marked: is_marked(record),
                },
            });
        }
    }
    rows
}

fn name_in(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(paths: &[&str]) -> Vec<RecordEntry> {
        let entries = paths.iter().map(|path| RecordEntry {
            path: (*path).to_owned(),
            id: String::new(),
            clash: None,
            revived: false,
            guarded: false,
        });
        entries.collect()
    }

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        tree.fill(entries(paths));
        tree
    }

    fn shown(tree: &Tree) -> Vec<String> {
        let line = |row: &Row| format!("{}{}", " ".repeat(row.depth), row.name);
        tree.rows().iter().map(line).collect()
    }

    #[test]
    fn records_are_below_their_folders() {
        let mut tree = tree(&["a", "web/x/1", "web/x/2", "web/y", "zoo"]);
        assert_eq!(shown(&tree), ["a", "web", " x", "  1", "  2", " y", "zoo"]);
        tree.select(2);
        assert!(tree.toggle());
        assert_eq!(shown(&tree), ["a", "web", " x", " y", "zoo"]);
        tree.close();
        assert_eq!(tree.row().unwrap().path, "web/");
        tree.close();
        assert_eq!(shown(&tree), ["a", "web", "zoo"]);
        tree.reveal("web/x/2");
        assert_eq!(tree.record(), Some("web/x/2"));
        tree.close();
        assert_eq!(tree.row().unwrap().path, "web/x/");
    }

    #[test]
    fn what_is_selected_stays_when_records_come_and_go() {
        let mut tree = tree(&["a", "b", "c"]);
        tree.select(1);
        tree.fill(entries(&["a", "aa", "b", "c"]));
        assert_eq!(tree.record(), Some("b"));
        tree.fill(entries(&["a"]));
        assert_eq!(tree.record(), Some("a"));
        tree.fill(entries(&[]));
        assert_eq!(tree.record(), None);
        tree.move_by(1);
        tree.close();
    }

    #[test]
    fn after_a_search_the_tree_shows_the_record_that_was_found() {
        let mut tree = tree(&["a", "web/x", "web/y"]);
        tree.select(1);
        tree.toggle();
        tree.show_matches(vec!["web/y".to_owned(), "a".to_owned()]);
        assert_eq!(shown(&tree), ["web/y", "a"]);
        tree.show_tree();
        assert_eq!(tree.record(), Some("web/y"));
    }

    #[test]
    fn a_deep_path_makes_no_deep_tree() {
        let path = "x/".repeat(10_000) + "y";
        let tree = tree(&[&path]);
        assert_eq!(tree.rows().len(), DEPTH_MAX + 1);
    }

    #[test]
    fn the_selected_row_is_on_the_screen() {
        for (top, selected, len, height, expected) in [
            (0, 0, 100, 10, 0),
            (0, 9, 100, 10, 0),
            (0, 10, 100, 10, 1),
            (50, 40, 100, 10, 40),
            (95, 99, 100, 10, 90),
            (5, 3, 4, 10, 0),
            (5, 0, 0, 0, 0),
        ] {
            assert_eq!(top_of(top, selected, len, height), expected);
        }
    }
}
