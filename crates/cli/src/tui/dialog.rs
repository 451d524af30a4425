//! What lies over the screen until a person answers it, and what its keys do.

use std::time::Duration;

use passmate_core::answer::{Consent, Question};
use passmate_core::edit::Edit;
use passmate_core::escape::escape_path;
use passmate_vault::login::is_secret;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use zeroize::Zeroizing;

use super::filling::{Filling, Kinds};
use super::findings::Findings;
use super::generate::Generate;
use super::history::{History, Trash};
use super::keyboard::{is_control, rows_of};
use super::line::Line;
use super::note::Note;
use super::state::{Effect, Focus, State};
use super::worker::Call;
use crate::held;

#[derive(Debug)]
pub(super) enum Dialog {
    Help { top: usize },
    Ask(Ask),
    Confirm(Confirm),
    Report(Report),
    History(History),
    Trash(Trash),
    Findings(Findings),
    Kinds(Kinds),
    Generate(Generate),
}

/// A line that is asked for.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) what: Asked,
    pub(super) line: Line,
    /// A secret is on the screen while it is typed.
    pub(super) is_shown: bool,
    /// It was sent, and the vault has not answered.
    pub(super) is_sent: bool,
    /// The line began with a secret of the vault, which a lock takes away, edited or not.
    holds_stored: bool,
}

/// What a line is.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// The path of a new record.
    NewRecord,
    /// The new path of this record or folder.
    NewPath(String),
    /// The name of a new field of this record.
    NewField(String),
    /// A field of a new record.
    Part(Box<Filling>),
    /// The value of a field.
    Value { path: String, field: String },
}

/// A question about a call, before it is made.
#[derive(Debug)]
pub(super) struct Confirm {
    pub(super) topic: Topic,
    /// What is listed below the question.
    pub(super) lines: Vec<String>,
    pub(super) top: usize,
    then: Then,
    /// What was typed before, which is not lost by a no.
    before: Option<Ask>,
}

impl Dialog {
    /// What a person was typing, hidden, and not sent yet.
    pub(super) fn typed(self) -> Option<Ask> {
        let ask = match self {
            Self::Ask(ask) => Some(ask),
            Self::Confirm(confirm) => confirm.before,
            _ => None,
        };
        let is_begun = |ask: &Ask| !ask.line.is_empty() || matches!(ask.what, Asked::Part(_));
        let is_typed = |ask: &Ask| is_begun(ask) && !ask.holds_stored;
        ask.filter(is_typed).map(|ask| Ask {
            is_shown: ask.is_shown && !ask.what.is_secret(),
            is_sent: false,
            ..ask
        })
    }
}

/// For so long a question that nobody expects takes no answer.
const UNEXPECTED: Duration = Duration::from_secs(1);

/// What follows a yes.
#[derive(Debug)]
enum Then {
    Call(Box<Call>),
    /// The sync goes on, also after a no.
    Sync,
}

/// A text to be read.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) title: String,
    /// The lines, and whether each stands below the one before.
    pub(super) lines: Vec<(String, bool)>,
    pub(super) top: usize,
}

#[derive(Debug)]
pub(super) enum Topic {
    /// The vault asks.
    Vault(Box<Question>),
    /// The screen asks.
    Screen(String),
}

/// What a person says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Yes,
    /// Not now.
    No,
    /// Not now and not later.
    Refuse,
}

/// What a question lists.
fn listed(question: &Question) -> Vec<String> {
    match question {
        Question::HeldBack { held, .. } => held::lines(held),
        _ => Vec::new(),
    }
}

impl Topic {
    pub(super) fn can_be_refused(&self) -> bool {
        let Self::Vault(question) = self else {
            return false;
        };
        matches!(&**question, Question::HeldBack { place, .. } if place.can_be_refused())
    }

    /// Whether this is about what a sync holds back.
    pub(super) fn is_held_back(&self) -> bool {
        matches!(self, Self::Vault(question) if matches!(&**question, Question::HeldBack { .. }))
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Vault(question) => question.to_string(),
            Self::Screen(text) => text.clone(),
        }
    }
}

impl Ask {
    pub(super) fn new(what: Asked, text: &str) -> Self {
        let mut line = Line::default();
        line.insert(text);
        let is_value = matches!(what, Asked::Value { .. });
        Self {
            is_shown: !what.is_secret(),
            holds_stored: is_value && what.is_secret() && !text.is_empty(),
            what,
            line,
            is_sent: false,
        }
    }
}

impl Asked {
    pub(super) fn is_secret(&self) -> bool {
        match self {
            Self::Value { field, .. } => is_secret(field),
            Self::Part(filling) => filling.is_secret(),
            _ => false,
        }
    }

    pub(super) fn title(&self) -> String {
        match self {
            Self::NewRecord => "Path of the new record".to_owned(),
            Self::NewPath(path) => format!("New path of {path}"),
            Self::NewField(path) => format!("Name of the new field of {path}"),
            Self::Part(filling) => filling.title(),
            Self::Value { path, field } => format!("{field} of {path}"),
        }
    }
}

impl Dialog {
    /// Moves what is longer than the dialog.
    pub(super) fn scroll(&mut self, rows: isize) {
        let top = match self {
            Self::Help { top } => top,
            Self::Confirm(confirm) => &mut confirm.top,
            Self::Report(report) => &mut report.top,
            Self::History(history) => return history.move_by(rows),
            Self::Trash(trash) => return trash.move_by(rows),
            Self::Findings(findings) => return findings.move_by(rows),
            Self::Kinds(kinds) => return kinds.move_by(rows),
            Self::Ask(_) | Self::Generate(_) => return,
        };
        *top = top.saturating_add_signed(rows);
    }

    /// Hides what is secret; false if nothing was shown.
    pub(super) fn hide(&mut self) -> bool {
        match self {
            Self::Ask(ask) if ask.what.is_secret() => std::mem::take(&mut ask.is_shown),
            Self::Generate(generate) => std::mem::take(&mut generate.is_shown),
            Self::History(history) => history.hide(),
            _ => false,
        }
    }

    /// Whether it waits for the vault.
    pub(super) const fn is_sent(&self) -> bool {
        match self {
            Self::Ask(ask) => ask.is_sent,
            Self::Generate(generate) => generate.is_sent,
            Self::Kinds(kinds) => kinds.is_sent,
            _ => false,
        }
    }

    pub(super) fn paste(&mut self, text: &str) {
        if let Self::Ask(ask) = self
            && !ask.is_sent
        {
            ask.line.insert(text);
        }
    }
}

impl State {
    pub(super) fn dialog_key(&mut self, key: &KeyEvent) -> Option<Effect> {
        let page = self.page();
        let dialog = self.dialog.take()?;
        match dialog {
            Dialog::Help { .. } | Dialog::Report(_) => {
                if let Some(rows) = rows_of(key.code, page) {
                    self.dialog = Some(dialog);
                    self.dialog.as_mut()?.scroll(rows);
                }
                None
            }
            Dialog::Ask(ask) => {
                self.ask_key(ask, key);
                None
            }
            Dialog::Confirm(confirm) => {
                self.confirm_key(confirm, key);
                None
            }
            Dialog::History(history) => self.history_key(history, key),
            Dialog::Trash(trash) => {
                self.trash_key(trash, key);
                None
            }
            Dialog::Kinds(kinds) => {
                self.kinds_key(kinds, key);
                None
            }
            Dialog::Findings(findings) => self.findings_key(findings, key),
            Dialog::Generate(generate) => self.generate_key(generate, key),
        }
    }

    pub(super) fn ask(&mut self, what: Asked, text: &str) {
        self.dialog = Some(Dialog::Ask(Ask::new(what, text)));
    }

    fn ask_key(&mut self, mut ask: Ask, key: &KeyEvent) {
        match key.code {
            KeyCode::Esc => return,
            _ if ask.is_sent => {}
            KeyCode::Enter => {
                self.answer_ask(ask);
                return;
            }
            _ if is_control(key, 'r') && ask.what.is_secret() => ask.is_shown = !ask.is_shown,
            _ => {
                ask.line.handle(key);
            }
        }
        self.dialog = Some(Dialog::Ask(ask));
    }

    fn answer_ask(&mut self, mut ask: Ask) {
        if ask.line.is_empty() && !matches!(ask.what, Asked::Part(_)) {
            let text = match &ask.what {
                Asked::Value { .. } => "an empty value unsets the field: x does that",
                _ => "type a name, or leave with Esc",
            };
            self.note = Some(Note::warning(text));
            self.dialog = Some(Dialog::Ask(ask));
            return;
        }
        let text = ask.line.text();
        let (edit, done) = match &ask.what {
            Asked::NewRecord if self.tree.has(text) => {
                let text = format!("there is already a record {text}");
                self.note = Some(Note::warning(&text));
                self.dialog = Some(Dialog::Ask(ask));
                return;
            }
            Asked::NewRecord => {
                self.ask_kind(text);
                return;
            }
            Asked::Part(filling) => match self.filled((**filling).clone(), text) {
                Some(made) => made,
                None => return,
            },
            Asked::NewPath(path) => {
                let from = vec![escape_path(path)];
                let to = text.to_owned();
                (Edit::Move { from, to }, format!("moved {path} to {text}"))
            }
            Asked::NewField(path) => {
                let (path, field) = (path.clone(), text.to_owned());
                self.ask(Asked::Value { path, field }, "");
                return;
            }
            Asked::Value { path, field } => (
                Edit::Set {
                    path: escape_path(path),
                    field: field.clone(),
                    value: Zeroizing::new(text.to_owned()),
                },
                format!("set {field} of {path}"),
            ),
        };
        ask.is_sent = true;
        self.dialog = Some(Dialog::Ask(ask));
        self.change(edit, done);
    }

    /// The vault asks about a call that stopped.
    pub(super) fn confirm(&mut self, question: Question, call: Call) {
        let before = match self.dialog.take() {
            Some(Dialog::Ask(ask)) => Some(ask),
            _ => None,
        };
        self.dialog = Some(Dialog::Confirm(Confirm {
            lines: listed(&question),
            topic: Topic::Vault(Box::new(question)),
            top: 0,
            then: Then::Call(Box::new(call)),
            before,
        }));
    }

    /// Closes the dialog whose answer came through.
    pub(super) fn close_sent(&mut self) {
        self.dialog.take_if(|dialog| dialog.is_sent());
    }

    /// Asks before a call that a person may not mean. A dialog that is open meanwhile goes on.
    pub(super) fn sure(&mut self, text: String, call: Call) {
        if self.dialog.is_some() {
            return;
        }
        self.dialog = Some(Dialog::Confirm(Confirm {
            topic: Topic::Screen(text),
            lines: Vec::new(),
            top: 0,
            then: Then::Call(Box::new(call)),
            before: None,
        }));
    }

    /// A sync asks, once the person is done with what they type.
    pub(super) fn confirm_sync(&mut self) {
        if self.dialog.is_some() || self.focus == Focus::Search {
            return;
        }
        if let Some(question) = self.asks_later.take() {
            self.asked_at = self.now;
            self.dialog = Some(Dialog::Confirm(Confirm {
                lines: listed(&question),
                topic: Topic::Vault(Box::new(question)),
                top: 0,
                then: Then::Sync,
                before: None,
            }));
        }
    }

    fn confirm_key(&mut self, confirm: Confirm, key: &KeyEvent) {
        // Nobody expects the question of a sync, so the first keys are not meant for it.
        let is_new = self.now.saturating_sub(self.asked_at) <= UNEXPECTED;
        if is_new && matches!(confirm.then, Then::Sync) {
            self.dialog = Some(Dialog::Confirm(confirm));
            return;
        }
        let decision = match key.code {
            KeyCode::Char('y' | 'Y') => Decision::Yes,
            KeyCode::Char('r' | 'R') if confirm.topic.can_be_refused() => Decision::Refuse,
            KeyCode::Char('n' | 'N') | KeyCode::Esc => Decision::No,
            code => {
                let rows = rows_of(code, self.page());
                self.dialog = Some(Dialog::Confirm(confirm));
                if let (Some(rows), Some(dialog)) = (rows, &mut self.dialog) {
                    dialog.scroll(rows);
                }
                return;
            }
        };
        self.dialog = confirm.before.map(Dialog::Ask);
        match (confirm.topic, confirm.then, decision) {
            (Topic::Vault(question), Then::Sync, decision) => self.decided(*question, decision),
            (Topic::Vault(question), Then::Call(mut call), Decision::Yes) => {
                if let Some(consent) = call.consent() {
                    consent.give(*question);
                }
                self.wait_for(*call);
            }
            (Topic::Screen(_), Then::Call(call), Decision::Yes) => self.wait_for(*call),
            _ => {
                if let Some(Dialog::Ask(ask)) = &mut self.dialog {
                    ask.is_sent = false;
                }
                self.note = Some(Note::plain("nothing was changed"));
            }
        }
    }

    /// Makes a change as soon as the vault is free.
    pub(super) fn change(&mut self, edit: Edit, done: String) {
        let consent = Consent::none();
        self.wait_for(Call::Change {
            edit,
            consent,
            done,
        });
    }
}
