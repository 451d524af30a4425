use passmate_core::edit::{Edit, Edited};
use passmate_core::problem::Problem;
use passmate_vault::history::undo::StepKind;
use serde_json::json;

use crate::app::App;
use crate::change::change_and;

/// Undo the last command that changed records, or the last sync
///
/// A second undo goes one step further back; `passmate redo` goes forward. Each step is named. The
/// last 50 steps of this device are remembered. An undo is a new edit: every value stays in the
/// history. What was changed since, on another device for example, is left as it is. The sync after
/// a command, with sync.auto, is no step, and neither is a purge.
#[derive(Debug, clap::Args)]
pub(crate) struct UndoArgs {}

/// Redo what was undone last
///
/// A new change forgets what was undone before it.
#[derive(Debug, clap::Args)]
pub(crate) struct RedoArgs {}

pub(crate) fn undo(app: &App, _: &UndoArgs) -> Result<(), Problem> {
    retrace(app, &Edit::Undo, "undid")
}

pub(crate) fn redo(app: &App, _: &RedoArgs) -> Result<(), Problem> {
    retrace(app, &Edit::Redo, "redid")
}

/// Undoes or redoes a step, and tells what it was.
fn retrace(app: &App, edit: &Edit, done: &str) -> Result<(), Problem> {
    change_and(app, &mut *app.open_to_change()?, edit, |edited| {
        tell(app, edited, done)
    })
}

fn tell(app: &App, edited: &Edited, done: &str) -> Result<(), Problem> {
    let Some(step) = &edited.step else {
        return app.done();
    };
    if app.out.json {
        let records = step.records.iter().map(|record| {
            json!({
                "path": record.path,
                "fields": record.fields,
                "moved": record.moved.as_ref().map(|(from, to)| json!({ "from": from, "to": to })),
            })
        });
        let place = match &step.kind {
            StepKind::Sync(place) => Some(place),
            _ => None,
        };
        return app.out.object(json!({
            "changes": edited.changes,
            "left": step.left,
            done: {
                "kind": step.kind.word(),
                "place": place,
                "time": step.time,
                "records": records.collect::<Vec<_>>(),
            },
        }));
    }
    // Nothing of the step was left to take back: its values changed since, or were purged.
    let nothing = if edited.changes == 0 {
        "nothing of "
    } else {
        ""
    };
    app.out
        .sentence(&format!("{done}: {nothing}{}", step.text()))?;
    if let Some(warning) = step.warning() {
        app.out.warn(&warning);
    }
    Ok(())
}
