//! What a sync holds back until a person decides.

use passmate_core::answer::{Place, Reply};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::sync::HeldBack;
use passmate_core::sync_all::PlacePreview;
use serde_json::json;

use crate::app::App;
use crate::held::{lines, object};
use crate::report::{first, joined, plain};

pub(super) fn run(app: &App) -> Result<(), Problem> {
    let preview = plain(app.open()?.preview_sync())?;
    let (server, server_problem) = held(preview.server, Place::Server);
    let (folder, folder_problem) = held(preview.folder, Place::Folder);
    if app.out.json {
        let of = |found: &Option<Held>| match found {
            Some(Held { place, held }) => {
                json!({ "place": place.to_string(), "held": object(held) })
            }
            None => json!(null),
        };
        let found = json!({ "server": of(&server) });
        app.out
            .object(joined(found, json!({ "folder": of(&folder) })))?;
    } else {
        for found in server.iter().chain(&folder) {
            for line in lines(&found.held) {
                app.out.sentence(&line)?;
            }
        }
        let is_unseen = server_problem.is_some() || folder_problem.is_some();
        if server.is_none() && folder.is_none() && !is_unseen {
            app.out.line("nothing is held back")?;
        }
    }
    first(
        app,
        server.map(Held::into_problem).or(server_problem),
        folder.map(Held::into_problem).or(folder_problem),
    )
}

/// What is held back from a place.
pub(super) struct Held {
    pub(super) place: Place,
    pub(super) held: Box<HeldBack>,
}

impl Held {
    /// The problem of a command that only shows it.
    pub(super) fn into_problem(self) -> Problem {
        let Self { place, held } = self;
        Problem::new(
            ProblemKind::HeldBack,
            format!("what comes from {place} would {held}"),
            if held.takes_guard() && place.can_be_refused() {
                "only a person who sees it can accept that: run `passmate sync` on a terminal; \
                 `passmate sync --refuse` undoes it for good"
            } else if place.can_be_refused() {
                "accept it with `passmate sync --yes`, undo it for good with `passmate sync \
                 --refuse`, or, if a device was lost or stolen, run `passmate sync rotate --lost`"
            } else {
                "run the command on a terminal, or accept it with --yes"
            },
        )
    }
}

/// What is held back from a place, or the problem that hides it.
fn held<R>(
    preview: Option<Reply<PlacePreview<R>>>,
    place: fn(String) -> Place,
) -> (Option<Held>, Option<Problem>) {
    match preview.map(plain) {
        None => (None, None),
        Some(Ok(preview)) => {
            let place = place(preview.place);
            (preview.held.map(|held| Held { place, held }), None)
        }
        Some(Err(problem)) => (None, Some(problem)),
    }
}
