use passmate_core::edit::Edit;
use passmate_core::problem::Problem;

use crate::app::App;
use crate::change::change_and;

/// Undo the last command that changed records, or the last sync
///
/// Compares the vault with its previous copy and writes new edits, so a second undo undoes the
/// first. With sync.auto, the sync after a command is not undone, only the command. Every value
/// stays in the history.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(app: &App, _: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    change_and(app, &mut *vault, &Edit::Undo, |edited| {
        let plural = if edited.changes == 1 { "" } else { "s" };
        app.out
            .note(&format!("{} change{plural} taken back", edited.changes));
        app.done()
    })
}
