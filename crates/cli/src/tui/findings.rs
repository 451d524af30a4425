//! What an audit found, as a list from which a person goes to the records.

use std::iter;

use passmate_core::audit::Audit;
use passmate_core::escape::escape;
use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::dialog::Dialog;
use super::keyboard::rows_of;
use super::note::Note;
use super::state::{Effect, Focus, State};
use crate::commands::audit::{count, why};

/// The width of the column of kinds.
const KIND_WIDTH: usize = 14;

/// Findings that are shown, the worst first.
#[derive(Debug)]
pub(super) struct Findings {
    title: String,
    rows: Vec<FindingRow>,
    selected: usize,
}

/// One place of a finding.
#[derive(Debug)]
struct FindingRow {
    /// The kind, on the first row of a finding.
    kind: &'static str,
    path: String,
    field: String,
    /// What is wrong.
    why: String,
}

impl Findings {
    fn new(found: &Audit) -> Self {
        let rows = found.findings.iter().flat_map(|finding| {
            let kinds = iter::once(finding.kind.name()).chain(iter::repeat(""));
            let why = why(&finding.kind);
            let places = kinds.zip(&finding.places);
            places.map(move |(kind, place)| FindingRow {
                kind,
                path: place.path.clone(),
                field: place.field.clone(),
                why: why.clone(),
            })
        });
        Self {
            title: format!(
                "{} in {} of {}",
                count(found.findings.len(), "finding"),
                count(found.passwords, "password"),
                count(found.records, "record")
            ),
            rows: rows.collect(),
            selected: 0,
        }
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    pub(super) const fn selected(&self) -> usize {
        self.selected
    }

    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn move_by(&mut self, rows: isize) {
        let last = self.rows.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }

    /// The lines from this one on.
    pub(super) fn lines(&self, top: usize) -> impl Iterator<Item = String> {
        let rows = self.rows.iter().skip(top);
        rows.map(|row| {
            let (path, field) = (escape(&row.path), escape(&row.field));
            format!("{:<KIND_WIDTH$}  {path}  {field}", row.kind)
        })
    }

    /// What is wrong with what is selected.
    pub(super) fn why(&self) -> &str {
        self.rows.get(self.selected).map_or("", |row| &row.why)
    }
}

impl State {
    /// An audit ended.
    pub(super) fn audited(&mut self, found: &Audit) {
        // What a person types meanwhile goes on.
        if self.dialog.is_some() || self.focus == Focus::Search {
            self.note = Some(Note::plain(
                "the audit ended; A makes another one and shows it",
            ));
            return;
        }
        let findings = Findings::new(found);
        if findings.rows.is_empty() {
            let text = format!(
                "nothing was found in {} of {}",
                count(found.passwords, "password"),
                count(found.records, "record")
            );
            self.note = Some(Note::good(&text));
            return;
        }
        self.dialog = Some(Dialog::Findings(findings));
    }

    pub(super) fn findings_key(
        &mut self,
        mut findings: Findings,
        key: &KeyEvent,
    ) -> Option<Effect> {
        match key.code {
            KeyCode::Esc => return None,
            KeyCode::Enter => {
                let row = findings.rows.get(findings.selected)?;
                self.go_to(&row.path, &row.field);
                return None;
            }
            code => {
                if let Some(rows) = rows_of(code, self.page()) {
                    findings.move_by(rows);
                }
            }
        }
        self.dialog = Some(Dialog::Findings(findings));
        None
    }

    /// Goes to a field of a record.
    fn go_to(&mut self, path: &str, field: &str) {
        self.leave_search();
        self.tree.reveal(path);
        if self.tree.record() != Some(path) {
            self.note = Some(Note::plain("this record is not there any more"));
            return;
        }
        self.open.take_if(|open| open.path() != path);
        self.select_when_read = Some((path.to_owned(), field.to_owned()));
        self.enter_record(&KeyEvent::from(KeyCode::Enter));
        self.select_field();
    }

    /// Selects the field that a person goes to, once its record is there.
    pub(super) fn select_field(&mut self) {
        let Some((path, field)) = &self.select_when_read else {
            return;
        };
        if self.tree.record() != Some(path.as_str()) {
            self.select_when_read = None;
        } else if let Some(open) = self.open.as_mut().filter(|open| open.path() == path) {
            open.select_named(field);
            self.select_when_read = None;
        }
    }
}
