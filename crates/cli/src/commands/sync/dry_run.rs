//! What a sync would do.

use passmate_core::answer::{Place, Reply};
use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::shared_folder::FolderReport;
use passmate_core::sync::{HeldBack, Report};
use passmate_core::sync_all::{PlacePreview, SyncPreview, copy_notices};
use serde_json::json;

use super::held::Held;
use super::last;
use crate::app::App;
use crate::held;
use crate::report::{self, counted, counts, folder_object, joined, plain};

pub(super) fn run(app: &App) -> Result<(), Problem> {
    let SyncPreview { server, folder } = plain(app.open()?.preview_sync())?;
    let (server, server_problem) = seen(server);
    let (folder, folder_problem) = seen(folder);
    if let Some(folder) = &folder {
        app.out.notices(&copy_notices(&folder.report));
    }
    let rollback = server.as_ref().and_then(|preview| preview.report.rollback);
    let rolled_back =
        rollback.map(|rollback| Problem::rolled_back(rollback, Some("this was a dry run")));
    print_preview(app, server.as_ref(), folder.as_ref())?;
    let server_held = server.and_then(|one| problem(Place::Server(one.place), one.held));
    let folder_held = folder.and_then(|one| problem(Place::Folder(one.place), one.held));
    report::first(
        app,
        server_problem.or(rolled_back).or(server_held),
        folder_problem.or(folder_held),
    )
}

fn problem(place: Place, held: Option<Box<HeldBack>>) -> Option<Problem> {
    held.map(|held| Held { place, held }.into_problem())
}

/// What a place would get, or the problem that hides it.
fn seen<T>(preview: Option<Reply<T>>) -> (Option<T>, Option<Problem>) {
    match preview.map(plain) {
        None => (None, None),
        Some(Ok(preview)) => (Some(preview), None),
        Some(Err(problem)) => (None, Some(problem)),
    }
}

fn print_preview(
    app: &App,
    server: Option<&PlacePreview<Report>>,
    folder: Option<&PlacePreview<FolderReport>>,
) -> Result<(), Problem> {
    if app.out.json {
        if server.is_none() && folder.is_none() {
            return Ok(());
        }
        let mut object = server.map_or_else(
            || json!({}),
            |preview| {
                let records = json!({
                    "records": last::objects(&preview.records),
                    "held": preview.held.as_deref().map(held::object),
                });
                joined(counts(&preview.place, &preview.report), records)
            },
        );
        if let Some(preview) = folder {
            let records = json!({
                "records": last::objects(&preview.records),
                "held": preview.held.as_deref().map(held::object),
            });
            let folder = joined(folder_object(&preview.place, &preview.report), records);
            object = joined(object, json!({ "folder": folder }));
        }
        return app.out.object(object);
    }
    let places = [
        server.map(|one| (&one.place, &one.report, &one.records)),
        folder.map(|one| (&one.place, &one.report.report, &one.records)),
    ];
    for (place, report, records) in places.into_iter().flatten() {
        let (place, counted) = (escape(place), counted(report));
        app.out
            .sentence(&format!("a sync with {place} would be: {counted}"))?;
        last::print(app, records)?;
    }
    Ok(())
}
