use passmate_core::api::VaultApi;
use passmate_core::command::command;
use passmate_core::edit::{Edit, RecordText};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_vault::login::FieldRole;

use crate::app::App;
use crate::completing;
use crate::editor::Editor;
use crate::naming::path_to_change;
use crate::report::plain;
use crate::unsaved::{Ended, Origin, save};

/// Edit a record in an editor; creates the record if it does not exist
///
/// The editor is $VISUAL, $EDITOR or vi. It edits a file in memory that no other user can read and
/// that is deleted afterwards. Only the fields that you changed are stored.
///
/// vi, vim, nvim, nano, micro, hx, kak, emacs and code are kept from saving copies of the text
/// elsewhere: swap files, backups, undo files and histories are switched off, and plug-ins are not
/// loaded. Another editor may save copies, which this program cannot prevent.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record
    #[arg(add = completing::record())]
    path: String,
}

/// The fields that the text of a new record has.
const NEW_FIELDS: [FieldRole; 3] = [FieldRole::User, FieldRole::Password, FieldRole::Url];

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    if app.ask.no_input {
        let set = command(["passmate", "set"]).arg(&args.path);
        return Err(Problem::new(
            ProblemKind::Cancelled,
            "an editor asks a person, and --no-input forbids to ask",
            format!("{set} takes a value from a pipe, and `passmate add --fields` a whole record"),
        ));
    }
    let mut vault = app.open_to_change()?;
    let path = path_to_change(app, &mut *vault, &args.path)?;
    edit(app, &mut vault, &path, |done| {
        app.out.note(done);
        app.done()
    })
}

/// Edits a record in the person's editor, and calls `tell` with what was changed as soon as it is
/// saved. The vault is replaced where it has to be opened again.
pub(crate) fn edit(
    app: &App,
    vault: &mut Box<dyn VaultApi>,
    path: &str,
    mut tell: impl FnMut(&str) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let (before, is_new) = match plain(vault.record(path)) {
        Ok(record) => {
            let fields = record.fields.into_iter();
            let fields = fields.map(|field| (field.name, field.value));
            let before = RecordText {
                path: record.path,
                fields: fields.collect(),
            };
            (before, false)
        }
        Err(problem) if matches!(problem.kind, ProblemKind::NotFound | ProblemKind::Ambiguous) => {
            app.out.note(&format!(
                "{}; this makes one if you save a field ({})",
                problem.message, problem.hint
            ));
            let fields = NEW_FIELDS.map(|role| (role.name(), ""));
            (RecordText::new(path, fields), true)
        }
        Err(problem) => return Err(problem),
    };
    let mut editor = Editor::new(app, before.clone())?;
    loop {
        let after = editor.edit()?;
        let new_path = after.path.clone();
        let is_same = match is_new {
            true => after.fields.values().all(|value| value.is_empty()),
            false => after == before,
        };
        if is_same {
            return tell("nothing was changed");
        }
        let edit = if is_new {
            Edit::Add { record: after }
        } else {
            Edit::Update {
                path: path.to_owned(),
                before: before.clone(),
                after,
            }
        };
        let ended = save(app, vault, edit, Origin::Editor, |edited| {
            tell(&match edited.changes {
                _ if is_new => format!("made {new_path}"),
                0 => "nothing was changed".to_owned(),
                1 => format!("1 change of {new_path}"),
                count => format!("{count} changes of {new_path}"),
            })
        })?;
        if ended == Ended::Saved {
            return Ok(());
        }
    }
}
