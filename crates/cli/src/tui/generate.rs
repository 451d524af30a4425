//! Generating a password for a field.

use passmate_core::edit::Edit;
use passmate_core::escape::escape_path;
use passmate_core::generate::site::SiteRule;
use passmate_core::generate::{
    Characters, Generated, LENGTH_DEFAULT, Need, Rule, by_rule, characters, words,
};
use passmate_core::problem::Problem;
use passmate_vault::login::{FieldRole, role_of};
use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::dialog::Dialog;
use super::note::Note;
use super::record::Item;
use super::state::{Effect, Focus, State};
use super::worker::Call;
use crate::commands::generate::TEMPLATE;

const WORDS_DEFAULT: usize = 6;
const WORDS_MAX: usize = 20;
const LENGTH_MAX: usize = 128;
const LENGTH_MIN: usize = 4;

/// How a password is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// As the rule of the record says.
    Site(Box<SiteRule>),
    /// As `passmate gen` makes one without options.
    Usual,
    /// Of so many characters of all classes.
    Characters(usize),
    /// Of so many words.
    Words(usize),
}

impl How {
    pub(super) fn make(&self) -> Result<Generated, Problem> {
        match self {
            Self::Site(site) => by_rule(&site.rule()),
            Self::Usual => characters(TEMPLATE, Characters::default()),
            Self::Characters(length) => {
                let classes = [
                    Characters::UPPER,
                    Characters::LOWER,
                    Characters::DIGITS,
                    Characters::SYMBOLS,
                ];
                let needs = classes.map(|of| Need { of, min: 1 });
                by_rule(&Rule::of_classes(*length, needs.into()))
            }
            Self::Words(count) => words(*count),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Site(_) => "by the rule of this record".to_owned(),
            Self::Usual => "letters and a digit".to_owned(),
            Self::Characters(length) => format!("{length} characters of all kinds"),
            Self::Words(count) => format!("{count} words"),
        }
    }

    /// The next kind.
    fn next(&self, site: Option<&SiteRule>) -> Self {
        match self {
            Self::Site(_) => Self::Usual,
            Self::Usual => Self::Characters(LENGTH_DEFAULT),
            Self::Characters(_) => Self::Words(WORDS_DEFAULT),
            Self::Words(_) => {
                let site = site.cloned().map(Box::new);
                site.map_or(Self::Usual, Self::Site)
            }
        }
    }

    /// A longer or shorter one of the same kind.
    fn resized(&self, by: isize) -> Option<Self> {
        let size = |now: usize, min, max| now.saturating_add_signed(by).clamp(min, max);
        match self {
            Self::Site(_) => None,
            Self::Usual => Some(Self::Characters(size(
                TEMPLATE.len(),
                LENGTH_MIN,
                LENGTH_MAX,
            ))),
            Self::Characters(now) => Some(Self::Characters(size(*now, LENGTH_MIN, LENGTH_MAX))),
            Self::Words(now) => Some(Self::Words(size(*now, 1, WORDS_MAX))),
        }
    }
}

/// A password that is about to be stored.
#[derive(Debug)]
pub(super) struct Generate {
    pub(super) path: String,
    pub(super) field: String,
    site: Option<SiteRule>,
    pub(super) how: How,
    pub(super) made: Option<Generated>,
    pub(super) is_shown: bool,
    pub(super) is_sent: bool,
}

impl State {
    /// Begins to generate a password for the selected field, if it is a secret, or for the password
    /// of the record.
    pub(super) fn begin_generating(&mut self) {
        let Some(open) = &self.open else {
            return;
        };
        let field = match open.item() {
            Some(Item::Field(field)) if self.focus == Focus::Record && field.is_secret => {
                Some(field).filter(|field| role_of(&field.name) != Some(FieldRole::Otp))
            }
            _ => None,
        };
        let field = field.or_else(|| open.field_of(FieldRole::Password));
        let field = field.map_or(FieldRole::Password.name(), |field| field.name.as_str());
        let call = Call::Rule {
            path: escape_path(open.path()),
            field: field.to_owned(),
        };
        self.wait_for(call);
    }

    /// The rule of the record is known.
    pub(super) fn generate(&mut self, field: String, site: Option<SiteRule>) -> Option<Effect> {
        let path = self.open.as_ref()?.path().to_owned();
        if self.dialog.is_some() {
            return None;
        }
        let site = site.filter(|_| role_of(&field) == Some(FieldRole::Password));
        let how = site.clone().map(Box::new).map_or(How::Usual, How::Site);
        self.dialog = Some(Dialog::Generate(Generate {
            path,
            field,
            site,
            how: how.clone(),
            made: None,
            is_shown: false,
            is_sent: false,
        }));
        Some(Effect::Generate(how))
    }

    /// A password was made.
    pub(super) fn generated(&mut self, made: Result<Generated, Problem>) {
        let Some(Dialog::Generate(generate)) = &mut self.dialog else {
            return;
        };
        match made {
            Ok(made) => generate.made = Some(made),
            Err(problem) => {
                generate.made = None;
                self.note = Some(Note::problem(&problem));
            }
        }
    }

    pub(super) fn generate_key(
        &mut self,
        mut generate: Generate,
        key: &KeyEvent,
    ) -> Option<Effect> {
        let mut how = None;
        match key.code {
            KeyCode::Esc => return None,
            _ if generate.is_sent => {}
            KeyCode::Enter => {
                if let Some(made) = &generate.made {
                    generate.is_sent = true;
                    let Generate { path, field, .. } = &generate;
                    let done = format!("generated {field} of {path}; c copies it");
                    let edit = Edit::SetFields {
                        path: escape_path(path),
                        fields: vec![(field.clone(), made.password.clone())],
                    };
                    self.change(edit, done);
                }
            }
            KeyCode::Char('r') => generate.is_shown = !generate.is_shown,
            KeyCode::Char(' ') => how = Some(generate.how.clone()),
            KeyCode::Tab => how = Some(generate.how.next(generate.site.as_ref())),
            KeyCode::Char('+') | KeyCode::Right => how = generate.how.resized(1),
            KeyCode::Char('-') | KeyCode::Left => how = generate.how.resized(-1),
            _ => {}
        }
        if let Some(how) = &how {
            generate.how = how.clone();
        }
        self.dialog = Some(Dialog::Generate(generate));
        how.map(Effect::Generate)
    }
}
