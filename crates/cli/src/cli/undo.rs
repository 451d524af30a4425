use super::App;
use super::error::{Code, Failure};
use super::record::finish;
use passmate_core::session::SessionError;

/// Take back the last change of this device's vault: the last command that changed records, or the
/// last sync
///
/// It compares with the previous copy and writes new edits; a
/// second undo takes back the first. Deleted values and those of other devices stay in the history.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(app: &App, _: &Args) -> Result<(), Failure> {
    let mut session = app.open()?;
    let before = match session.previous_vault() {
        Err(SessionError::NotFound { .. }) => {
            return Err(nothing_to_undo("this vault was never changed"));
        }
        before => before?,
    };
    let changed = session.edit(|vault, now| vault.revert_to(&before, now))?;
    if changed == 0 {
        return Err(nothing_to_undo("the last save changed no record"));
    }
    let plural = if changed == 1 { "" } else { "s" };
    finish(
        app,
        session,
        &format!("{changed} change{plural} taken back"),
    )
}

fn nothing_to_undo(why: &str) -> Failure {
    let hint = "`passmate history PATH` and `passmate restore` go further back";
    Failure::new(
        Code::NotFound,
        format!("there is nothing to undo: {why}"),
        hint,
    )
}
