//! What a sync holds back until a person decides.

use passmate_core::answer::{Need, Question, Reply};
use passmate_core::problem::Problem;
use passmate_core::sync::HeldBack;
use passmate_core::sync_all::PlacePreview;
use serde_json::json;

use crate::app::App;
use crate::held::{lines, object};
use crate::report::{first, joined, plain};

pub(super) fn run(app: &App) -> Result<(), Problem> {
    let preview = plain(app.open()?.preview_sync())?;
    let (server, server_problem) = held(preview.server);
    let (folder, folder_problem) = held(preview.folder);
    if app.out.json {
        let of = |found: &Option<Held>| match found {
            Some((place, held)) => json!({ "place": place, "held": object(held) }),
            None => json!(null),
        };
        let found = json!({ "server": of(&server) });
        app.out
            .object(joined(found, json!({ "folder": of(&folder) })))?;
    } else {
        for (_, held) in server.iter().chain(&folder) {
            for line in lines(held) {
                app.out.line(&line)?;
            }
        }
        if server.is_none() && folder.is_none() && server_problem.is_none() {
            app.out.note("nothing is held back");
        }
    }
    first(
        app,
        server.map(problem).or(server_problem),
        folder.map(problem).or(folder_problem),
    )
}

/// A place, and what is held back from it.
type Held = (String, Box<HeldBack>);

/// What is held back from a place, or the problem that hides it.
fn held<R>(preview: Option<Reply<PlacePreview<R>>>) -> (Option<Held>, Option<Problem>) {
    match preview.map(plain) {
        None => (None, None),
        Some(Ok(preview)) => (preview.held.map(|held| (preview.place, held)), None),
        Some(Err(problem)) => (None, Some(problem)),
    }
}

fn problem((place, held): Held) -> Problem {
    Need::Confirmation(Question::HeldBack { place, held }).into()
}
