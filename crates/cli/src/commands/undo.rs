use passmate_core::edit::Edit;
use passmate_core::problem::Problem;

use crate::app::App;
use crate::change::change_quietly;
use crate::report::after_change;

/// Undo the last command that changed records, or the last sync
///
/// Compares the vault with its previous copy and writes new edits, so a second undo undoes the
/// first. Every value stays in the history.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(app: &App, _: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let changed = change_quietly(app, &mut *vault, &Edit::Undo)?;
    let plural = if changed.changes == 1 { "" } else { "s" };
    app.out
        .note(&format!("{} change{plural} taken back", changed.changes));
    after_change(app, &changed);
    app.done()
}
