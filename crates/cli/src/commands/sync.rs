//! `passmate sync` and what belongs to it.

mod key;
mod last;
mod leave;
mod rotate;
mod setup;
mod status;
mod trust;
mod upgrade;

use std::path::Path;

use passmate_core::answer::{Halt, Need, Question, Reply};
use passmate_core::api::VaultApi;
use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::shared_folder::{FolderReport, Skipped, Why};
use passmate_core::sync::Report;
use passmate_core::sync_all::{
    PlacePreview, SyncAnswer, SyncPreview, SyncRequest, Synced, copy_notices,
};
use passmate_vault::Passphrase;
use serde_json::json;

use crate::app::App;
use crate::prompt::{Ask, PassphraseSource};
use crate::report::{self, counted, counts, folder_object, joined, plain};

/// Sync with the server, and with the shared folder if there is one
///
/// Receives the changes of other devices and sends the changes of this one, field by field. A merge
/// loses nothing: the value that loses a conflict stays in the history. A sync that would delete or
/// change many records asks first. The counts are of changed fields, paths included.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Show what a sync would do, record by record, and change nothing here or on the server
    #[arg(long)]
    dry_run: bool,
    /// Show what the last sync that changed anything did, record by record, without a network
    #[arg(long, conflicts_with_all = ["dry_run", "replace_remote"])]
    last: bool,
    /// Overwrite the vault on the server if it cannot be opened; asks for a typed confirmation
    #[arg(long, conflicts_with = "dry_run")]
    replace_remote: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Setup(setup::Args),
    Key(key::Args),
    Status(status::Args),
    Trust(trust::Args),
    Rotate(rotate::Args),
    Upgrade(upgrade::Args),
    Leave(leave::Args),
}

/// How often a person may mistype the passphrases of copies.
const TRIES: usize = 3;

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    match &args.action {
        None if args.last => last::run(app),
        None if args.dry_run => dry_run(app),
        None => now(app, args),
        Some(Action::Setup(args)) => setup::run(app, args),
        Some(Action::Key(args)) => key::run(app, args),
        Some(Action::Status(args)) => status::run(app, args),
        Some(Action::Trust(args)) => trust::run(app, args),
        Some(Action::Rotate(args)) => rotate::run(app, args),
        Some(Action::Upgrade(args)) => upgrade::run(app, args),
        Some(Action::Leave(args)) => leave::run(app, args),
    }
}

fn now(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let request = SyncRequest {
        consent: app.consent(),
        replace_remote: args.replace_remote,
        ..SyncRequest::default()
    };
    let first = plain(vault.sync(&request))?;
    finish(app, &mut *vault, request, first)
}

/// Lets a vault take part in a shared folder, and syncs the two.
pub(super) fn set_up_folder(
    app: &App,
    vault: &mut dyn VaultApi,
    folder: &Path,
) -> Result<(), Problem> {
    let request = SyncRequest {
        consent: app.consent(),
        folder_only: true,
        ..SyncRequest::default()
    };
    let first = SyncAnswer {
        folder: Some(plain(vault.set_up_folder(folder, &request))?),
        server: None,
    };
    finish(app, vault, request, first)
}

/// Refuses before anybody is asked for a passphrase.
fn refuse_offline(app: &App) -> Result<(), Problem> {
    if app.sync.offline {
        return Err(Problem::offline());
    }
    Ok(())
}

/// Asks what a sync left to be decided, syncs again, and answers with all of it.
fn finish(
    app: &App,
    vault: &mut dyn VaultApi,
    mut request: SyncRequest,
    mut answer: SyncAnswer,
) -> Result<(), Problem> {
    let mut tries_left = TRIES;
    let mut declined = Vec::new();
    let mut failed = None;
    loop {
        if let Some(Need::Confirmation(question)) = answer.need() {
            let question = question.clone();
            let known = declined
                .iter()
                .find(|(known, _)| question.asks_no_more_than(known));
            let agreed = match known {
                Some((_, problem)) => Err(Problem::clone(problem)),
                None => app.agree(&question),
            };
            if let Err(problem) = agreed {
                decline(&mut answer, &question, &problem);
                declined.push((question, problem));
                continue;
            }
            request.consent.give(question);
        } else if tries_left > 0 && ask_passphrases(app, &answer, &mut request.passphrases) {
            tries_left -= 1;
        } else {
            break;
        }
        request.continued |= answer.has_received();
        match plain(vault.sync(&request)) {
            Ok(later) => answer.add(later),
            Err(problem) => {
                failed = Some(problem);
                break;
            }
        }
        if tries_left > 0 && tries_left < TRIES && locked(&answer).next().is_some() {
            app.out.warn("a copy does not open with that, try again");
        }
    }
    if let Some(Synced {
        result: Ok(found), ..
    }) = &answer.folder
    {
        app.out.notices(&copy_notices(found));
    }
    report::answer(app, answer)?;
    failed.map_or(Ok(()), Err)
}

/// Replaces an unanswered question by the problem that it was declined.
fn decline(answer: &mut SyncAnswer, question: &Question, problem: &Problem) {
    fn decline<R>(synced: Option<&mut Synced<R>>, question: &Question, problem: &Problem) {
        if let Some(synced) = synced
            && let Err(Halt::Needs(Need::Confirmation(asked))) = &synced.result
            && asked == question
        {
            synced.result = Err(problem.clone().into());
        }
    }
    decline(answer.server.as_mut(), question, problem);
    decline(answer.folder.as_mut(), question, problem);
}

/// Copies that open with no known passphrase.
fn locked(answer: &SyncAnswer) -> impl Iterator<Item = &Skipped> {
    let found: Option<&FolderReport> = match &answer.folder {
        Some(Synced {
            result: Ok(found), ..
        }) => Some(found),
        _ => None,
    };
    let skipped = found.into_iter().flat_map(|found| &found.skipped);
    skipped.filter(|skipped| matches!(skipped.why, Why::Locked))
}

/// Asks for the passphrases of copies that do not open; false if no new one was typed.
fn ask_passphrases(app: &App, answer: &SyncAnswer, typed: &mut Vec<Passphrase>) -> bool {
    if !app.ask.has_person() {
        return false;
    }
    let ask = Ask {
        passphrase: PassphraseSource::Terminal,
        ..app.ask.clone()
    };
    let known = typed.len();
    for skipped in locked(answer) {
        let name = escape(&skipped.name);
        let prompt = format!("Passphrase of the copy {name} (Enter skips it): ");
        // The end of the input skips all of them: what was synced is still reported.
        let Ok(passphrase) = ask.passphrase(&prompt) else {
            break;
        };
        if !passphrase.is_empty() && !typed.contains(&passphrase) {
            typed.push(passphrase);
        }
    }
    typed.len() > known
}

/// Tells what a sync would do.
fn dry_run(app: &App) -> Result<(), Problem> {
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
    report::first(app, server_problem.or(rolled_back), folder_problem)
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
                let records = json!({ "records": last::objects(&preview.records) });
                joined(counts(&preview.place, &preview.report), records)
            },
        );
        if let Some(preview) = folder {
            let records = json!({ "records": last::objects(&preview.records) });
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
            .line(&format!("a sync with {place} would be: {counted}"))?;
        last::print(app, records)?;
    }
    Ok(())
}
