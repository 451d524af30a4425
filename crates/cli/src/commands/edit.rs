use passmate_core::edit::{Edit, RecordText};
use passmate_core::problem::{Problem, ProblemKind};

use crate::app::App;
use crate::change::change_and;
use crate::editor::Editor;
use crate::report::plain;

/// Edit a record in an editor
///
/// The editor is $VISUAL, $EDITOR or vi. It edits a file in memory that no other user can read and
/// that is deleted afterwards. Only the fields that you changed are stored.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record
    path: String,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let record = plain(vault.record(&args.path))?;
    let fields = record.fields.into_iter();
    let before = RecordText {
        path: record.path,
        fields: fields
            .map(|field| (field.name, field.value.to_string()))
            .collect(),
    };
    let mut editor = Editor::new(app, before.clone())?;
    loop {
        let after = editor.edit()?;
        let path = after.path.clone();
        let edit = Edit::Update {
            path: args.path.clone(),
            before: before.clone(),
            after,
        };
        let changed = change_and(app, &mut *vault, &edit, |edited| {
            app.out.note(&match edited.changes {
                0 => "nothing was changed".to_owned(),
                1 => format!("1 change of {path}"),
                count => format!("{count} changes of {path}"),
            });
            app.done()
        });
        match changed {
            Err(problem) if is_mendable(problem.kind) => editor.ask_again(problem)?,
            changed => return changed,
        }
    }
}

/// Whether another text would be accepted.
const fn is_mendable(kind: ProblemKind) -> bool {
    matches!(kind, ProblemKind::Usage | ProblemKind::Exists)
}
