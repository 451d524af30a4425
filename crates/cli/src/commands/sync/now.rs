//! A sync now: asks what it leaves to be decided, and syncs again.

use std::path::Path;

use passmate_core::answer::{Consent, Halt, Need, Question};
use passmate_core::api::VaultApi;
use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::shared_folder::{FolderReport, Sealing, Skipped, Why};
use passmate_core::sync_all::{SyncAnswer, SyncRequest, Synced, copy_notices};
use passmate_vault::Passphrase;

use crate::app::{Answer, App};
use crate::joining::ask_folder_key;
use crate::prompt::{Ask, PassphraseSource};
use crate::report::{self, plain};

/// How often a person may mistype the passphrases of copies.
const TRIES: usize = 3;

pub(super) fn run(app: &App, replace_remote: bool, refuse: bool) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let consent = if refuse {
        Consent::refusing_what_is_held_back()
    } else {
        app.consent()
    };
    let request = SyncRequest {
        consent,
        replace_remote,
        ..SyncRequest::default()
    };
    let first = plain(vault.sync(&request))?;
    finish(app, &mut *vault, request, first)
}

/// Lets a vault take part in a shared folder, and syncs the two.
pub(in crate::commands) fn set_up_folder(
    app: &App,
    vault: &mut dyn VaultApi,
    folder: &Path,
    mut sealing: Sealing,
) -> Result<(), Problem> {
    let request = SyncRequest {
        consent: app.consent(),
        folder_only: true,
        ..SyncRequest::default()
    };
    let is_joined = |sealing: &Sealing| matches!(sealing, Sealing::Key(_));
    let synced = match vault.set_up_folder(folder, &sealing, &request) {
        Err(Halt::Needs(need @ Need::FolderKey(_))) => {
            sealing = Sealing::Key(ask_folder_key(app, need.into())?);
            plain(vault.set_up_folder(folder, &sealing, &request))?
        }
        reply => plain(reply)?,
    };
    let first = SyncAnswer {
        folder: Some(synced),
        server: None,
    };
    finish(app, vault, request, first)?;
    let has_key = plain(vault.ties())?.folder.is_some_and(|tie| tie.has_key);
    if has_key && !is_joined(&sealing) {
        app.out.note(
            "to add a device, run `passmate sync key --folder` here and `passmate sync setup \
             --folder DIR` there",
        );
    } else if !has_key && sealing == Sealing::AsFound {
        app.out.note(
            "the copies in this folder are under passphrases, as an original program needs them; \
             without one, a key is better: see --new-key",
        );
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
            let answered = match known {
                Some((_, problem)) => Err(Problem::clone(problem)),
                None => app.ask_about(&question),
            };
            match answered {
                Ok(Answer::Agreed) => request.consent.give(question),
                Ok(Answer::Refused) => request.consent.refuse(question),
                Err(problem) => {
                    decline(&mut answer, &question, &problem);
                    declined.push((question, problem));
                    continue;
                }
            }
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
pub(crate) fn decline(answer: &mut SyncAnswer, question: &Question, problem: &Problem) {
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
