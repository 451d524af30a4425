//! Saves what a person typed. A failure does not lose it. The rules are:
//!  - a vault that was locked meanwhile, or whose agent ended, is opened again, which asks for the
//!    passphrase;
//!  - after another failure the person says how to go on, and the end of the input gives nothing up;
//!  - until then the text is in a file that only its owner can read, in memory unless the person
//!    agreed to the disk: Ctrl-C at a question does not lose it. It stays there without a person, and
//!    the error names it;
//!  - text that came through a pipe belongs to the script that sent it.

use passmate_core::api::VaultApi;
use passmate_core::edit::{Edit, Edited, RecordText};
use passmate_core::problem::{Problem, ProblemKind};
use zeroize::Zeroizing;

use crate::app::App;
use crate::change::change_and;
use crate::editor::{Kept, kept, page};
use crate::report::plain;

/// Where a text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The person's editor, which can be opened again.
    Editor,
    /// Questions on the terminal.
    Terminal,
    /// A script.
    Pipe,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Saved,
    /// The person wants to change the text.
    EditAgain,
}

/// What a person wants after a failure.
enum Wish {
    TryAgain,
    EditAgain,
}

/// Saves an edit, and calls `tell` as soon as it is saved. The vault is replaced where it has to be
/// opened again.
pub(crate) fn save(
    app: &App,
    vault: &mut Box<dyn VaultApi>,
    mut edit: Edit,
    origin: Origin,
    mut tell: impl FnMut(&Edited) -> Result<(), Problem>,
) -> Result<Ended, Problem> {
    let mut was_opened_again = false;
    let mut text = Text::default();
    loop {
        let mut is_saved = false;
        let changed = change_and(app, &mut **vault, &edit, |edited| {
            is_saved = true;
            tell(edited)
        });
        let problem = match changed {
            Ok(()) => return Ok(Ended::Saved),
            // What failed came after it, such as a sync.
            Err(problem) if is_saved => return Err(problem),
            Err(problem) => problem,
        };
        // The agent may have saved it before it ended.
        if was_opened_again && is_stored(&mut **vault, &edit) {
            tell(&edited_of(&edit))?;
            return Ok(Ended::Saved);
        }
        let is_asked = app.ask.has_person() && !app.ask.yes;
        if origin == Origin::Editor && is_about_text(problem.kind) && is_asked {
            app.out.warn(&problem.message);
            app.ask.confirm_unless_no("Edit it again?")?;
            return Ok(Ended::EditAgain);
        }
        text.keep(app, &edit, origin)?;
        let problem = if is_away(&problem) && !was_opened_again {
            was_opened_again = true;
            match open_again(app, vault, &text.told(&problem)) {
                Ok(()) => continue,
                Err(problem) => problem,
            }
        } else {
            problem
        };
        match ask(app, &edit, origin, problem, &mut text)? {
            Wish::EditAgain => return Ok(Ended::EditAgain),
            Wish::TryAgain => {
                was_opened_again = false;
                edit = as_possible(&mut **vault, edit);
            }
        }
    }
}

/// Makes a call for what a person typed already, and opens the vault again if it was locked
/// meanwhile or its agent ended.
pub(crate) fn with_vault<T>(
    app: &App,
    vault: &mut Box<dyn VaultApi>,
    mut call: impl FnMut(&mut dyn VaultApi) -> Result<T, Problem>,
) -> Result<T, Problem> {
    match call(&mut **vault) {
        Err(problem) if is_away(&problem) => {
            open_again(app, vault, &problem.message)?;
            call(&mut **vault)
        }
        done => done,
    }
}

/// Whether the vault has to be opened again: it is locked, or the connection to the agent broke.
const fn is_away(problem: &Problem) -> bool {
    matches!(problem.kind, ProblemKind::Locked | ProblemKind::Other)
}

fn open_again(app: &App, vault: &mut Box<dyn VaultApi>, why: &str) -> Result<(), Problem> {
    if app.ask.has_person() {
        app.out.warn_in_any_case(why);
    }
    *vault = app.open_to_change()?;
    Ok(())
}

/// The text of an edit that failed.
#[derive(Default)]
struct Text {
    text: Zeroizing<String>,
    /// Where it is while a person is asked.
    file: Option<Kept>,
    /// They know where.
    is_told: bool,
}

impl Text {
    fn keep(&mut self, app: &App, edit: &Edit, origin: Origin) -> Result<(), Problem> {
        if origin == Origin::Pipe || self.file.is_some() {
            return Ok(());
        }
        self.text = typed(edit).map(page).transpose()?.unwrap_or_default();
        if app.ask.has_person() {
            match Kept::new(app, &self.text) {
                Ok(kept) => self.file = Some(kept),
                Err(problem) => app.out.warn(&problem.message),
            }
        }
        Ok(())
    }

    /// What went wrong, and once where the text is.
    fn told(&mut self, problem: &Problem) -> String {
        match &self.file {
            Some(kept) if !self.is_told => {
                self.is_told = true;
                let (message, file) = (&problem.message, kept.file());
                format!("{message}; what you typed is in {file} until it is saved or given up")
            }
            _ => problem.message.clone(),
        }
    }

    /// The problem that also says where the text stays.
    fn stay(&mut self, app: &App, problem: Problem) -> Problem {
        match self.file.take() {
            Some(kept) => kept.stay(problem),
            None => kept(app, problem, &self.text),
        }
    }
}

/// The record that an edit makes or changes, as it was typed.
fn typed(edit: &Edit) -> Option<RecordText> {
    match edit {
        Edit::Add { record } => Some(record.clone()),
        Edit::Update { after, .. } => Some(after.clone()),
        Edit::Set { path, field, value } => Some(RecordText {
            path: path.clone(),
            fields: [(field.clone(), value.clone())].into(),
        }),
        _ => None,
    }
}

/// Whether the vault has all that was typed.
fn is_stored(vault: &mut dyn VaultApi, edit: &Edit) -> bool {
    let Some(typed) = typed(edit) else {
        return false;
    };
    let Ok(record) = vault.record(&typed.path) else {
        return false;
    };
    let mut set = typed.fields.iter().filter(|(_, value)| !value.is_empty());
    set.all(|(name, value)| {
        let mut fields = record.fields.iter();
        fields.any(|field| field.name == *name && field.value == *value)
    })
}

fn edited_of(edit: &Edit) -> Edited {
    let typed = typed(edit);
    Edited {
        changes: typed.as_ref().map_or(1, |typed| typed.fields.len()),
        paths: typed.into_iter().map(|typed| typed.path).collect(),
        ..Edited::default()
    }
}

/// The edit, or one that makes the record anew if it was deleted meanwhile.
fn as_possible(vault: &mut dyn VaultApi, edit: Edit) -> Edit {
    match edit {
        Edit::Update { path, after, .. } if is_missing(vault, &path) => Edit::Add { record: after },
        edit => edit,
    }
}

fn is_missing(vault: &mut dyn VaultApi, path: &str) -> bool {
    let found = plain(vault.record(path));
    found.is_err_and(|problem| {
        matches!(problem.kind, ProblemKind::NotFound | ProblemKind::Ambiguous)
    })
}

/// Asks how to go on.
///
/// # Errors
/// The person gave it up, or the text was kept in a file.
fn ask(
    app: &App,
    edit: &Edit,
    origin: Origin,
    problem: Problem,
    text: &mut Text,
) -> Result<Wish, Problem> {
    if origin == Origin::Pipe {
        return Err(problem);
    }
    if !app.ask.has_person() || app.ask.yes {
        return Err(text.stay(app, problem));
    }
    app.out.warn_in_any_case(&text.told(&problem));
    let is_deleted = problem.kind == ProblemKind::NotFound && matches!(edit, Edit::Update { .. });
    let again = match is_deleted {
        true => "Make it a new record (t)",
        false => "Try again (t)",
    };
    let edit_it = match origin {
        Origin::Editor => ", edit it (e)",
        Origin::Terminal | Origin::Pipe => "",
    };
    loop {
        let typed = app.ask.line(&format!(
            "{again}{edit_it}, give it up (g), or keep the text in a file (Enter)? "
        ));
        // Without an answer it stays in the file.
        let typed = typed.unwrap_or_default();
        match typed.to_lowercase().as_str() {
            "t" => return Ok(Wish::TryAgain),
            "e" if origin == Origin::Editor => return Ok(Wish::EditAgain),
            "g" => return Err(problem),
            "" => return Err(text.stay(app, problem)),
            _ => app.out.warn("type one of these letters, or Enter"),
        }
    }
}

/// Whether another text would be accepted.
const fn is_about_text(kind: ProblemKind) -> bool {
    matches!(kind, ProblemKind::Usage | ProblemKind::Exists)
}
