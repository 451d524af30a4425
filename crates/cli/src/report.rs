//! How a sync is reported: one line for each place, or one JSON object.

use passmate_core::answer::{Halt, Reply};
use passmate_core::api::Changed;
use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::shared_folder::FolderReport;
use passmate_core::sync::Report;
use passmate_core::sync_all::{SyncAnswer, Synced, copy_notices};
use serde_json::{Value, json};

use crate::app::App;

/// One line for a place that was synced.
pub(crate) fn summary(place: &str, report: &Report) -> String {
    format!("synced with {}: {}", escape(place), counted(report))
}

/// What came, what went, and what the merge resolved.
pub(crate) fn counted(report: &Report) -> String {
    let Report {
        received,
        sent,
        conflicts_resolved,
        ..
    } = report;
    format!("{received} received, {sent} sent, {conflicts_resolved} conflicts resolved")
}

/// The same as an object.
pub(crate) fn counts(host: &str, report: &Report) -> Value {
    json!({
        "host": host,
        "received": report.received,
        "sent": report.sent,
        "settled": report.conflicts_resolved,
    })
}

/// A shared folder as an object.
pub(crate) fn folder_object(path: &str, found: &FolderReport) -> Value {
    let skipped = found.skipped.iter();
    let skipped: Vec<_> = skipped
        .map(|one| json!({ "copy": one.name, "why": one.why.to_string() }))
        .collect();
    json!({
        "path": path,
        "received": found.report.received,
        "sent": found.report.sent,
        "settled": found.report.conflicts_resolved,
        "skipped": skipped,
    })
}

/// One object with the members of both.
pub(crate) fn joined(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

/// Answers with a sync with one server.
pub(crate) fn server(app: &App, synced: Synced<Report>) -> Result<(), Problem> {
    app.out.notices(&synced.notices);
    let report = synced.result.map_err(Halt::into_problem)?;
    if app.out.json {
        return app.out.object(counts(&synced.place, &report));
    }
    app.out.line(&summary(&synced.place, &report))
}

/// Answers with what was done. Where a part failed, the rest is reported all the same.
pub(crate) fn answer(app: &App, answer: SyncAnswer) -> Result<(), Problem> {
    for notices in [
        answer.server.as_ref().map(|synced| &synced.notices),
        answer.folder.as_ref().map(|synced| &synced.notices),
    ] {
        app.out.notices(notices.map_or(&[], Vec::as_slice));
    }
    let (server, server_problem) = split(answer.server);
    let (folder, folder_problem) = split(answer.folder);
    if app.out.json {
        let mut object = server
            .as_ref()
            .map_or_else(|| json!({}), |(host, report)| counts(host, report));
        if let Some((path, folder)) = &folder {
            object = joined(object, json!({ "folder": folder_object(path, folder) }));
        }
        if server.is_some() || folder.is_some() {
            app.out.object(object)?;
        }
    } else {
        if let Some((host, report)) = &server {
            app.out.line(&summary(host, report))?;
        }
        if let Some((path, folder)) = &folder {
            app.out.line(&summary(path, &folder.report))?;
        }
    }
    first(app, server_problem, folder_problem)
}

/// The problem that ends the command; if the folder has another one, that is a warning.
pub(crate) fn first(
    app: &App,
    server: Option<Problem>,
    folder: Option<Problem>,
) -> Result<(), Problem> {
    match (server, folder) {
        (Some(server), Some(folder)) => {
            app.out
                .warn(&format!("{}; {}", folder.message, folder.hint));
            Err(server)
        }
        (Some(problem), None) | (None, Some(problem)) => Err(problem),
        (None, None) => Ok(()),
    }
}

fn split<R>(synced: Option<Synced<R>>) -> (Option<(String, R)>, Option<Problem>) {
    match synced.map(|synced| (synced.place, synced.result)) {
        None => (None, None),
        Some((place, Ok(report))) => (Some((place, report)), None),
        Some((_, Err(halt))) => (None, Some(halt.into_problem())),
    }
}

/// Reports the sync after a change. The change is saved, so a failure is only a warning.
pub(crate) fn after_change(app: &App, changed: &Changed) {
    fn tell<R>(app: &App, synced: Option<&Synced<R>>, report: impl Fn(&R) -> &Report) {
        let Some(synced) = synced else {
            return;
        };
        app.out.notices(&synced.notices);
        match &synced.result {
            Ok(done) => app.out.note(&summary(&synced.place, report(done))),
            Err(halt) => app.out.warn(&not_synced(halt)),
        }
    }
    let SyncAnswer { server, folder } = &changed.synced;
    tell(app, server.as_ref(), |report| report);
    tell(app, folder.as_ref(), |folder| &folder.report);
    if let Some(Ok(found)) = folder.as_ref().map(|folder| &folder.result) {
        app.out.notices(&copy_notices(found));
    }
}

/// What a person is told if the sync after a change failed.
pub(crate) fn not_synced(halt: &Halt) -> String {
    let Problem { message, hint, .. } = problem_of(halt);
    format!("the change is saved and not synced; the next sync sends it: {message}; {hint}")
}

pub(crate) fn problem_of(halt: &Halt) -> Problem {
    match halt {
        Halt::Needs(need) => need.clone().into(),
        Halt::Failed(problem) => problem.clone(),
    }
}

/// The problem of a call that cannot ask.
pub(crate) fn plain<T>(reply: Reply<T>) -> Result<T, Problem> {
    reply.map_err(Halt::into_problem)
}
