//! The shared folder, as `sync` and `sync setup` talk about it.

use std::path::Path;

use passmate_vault::Passphrase;
use serde_json::json;

use super::{SyncRequest, tell_changes, tell_clocks};
use crate::cli::App;
use crate::cli::ask::{Ask, PassphraseSource};
use crate::cli::error::Failure;
use crate::cli::output::escape;
use passmate_core::session::Session;
use passmate_core::shared_folder::{self, FolderError, FolderReport, Skipped, Why, set_up_folder};
use passmate_core::sync::Options;
use passmate_vault::Vault;

/// How often a person may mistype the passphrases of copies.
const TRIES: usize = 3;

/// Ties the vault to a folder and brings the two in step.
pub(super) fn set_up(app: &App, session: &mut Session, folder: &Path) -> Result<(), Failure> {
    let host = rustix::system::uname();
    let digits = getrandom::u32().map_err(|error| {
        Failure::new(
            crate::cli::error::Code::Other,
            format!("no randomness: {error}"),
            "try again",
        )
    })?;
    set_up_folder(session, folder, &host.nodename().to_string_lossy(), digits)?;
    let guard = (!app.ask.yes).then_some(app.guard);
    let request = SyncRequest {
        guard,
        replace_remote: false,
        in_background: false,
    };
    let done = take_in(app, session, request).and_then(|taken| give_out(app, session, taken));
    super::tell(
        app,
        session,
        super::Done {
            server: None,
            folder: Some(done),
        },
    )
}

/// Merges what the other copies have, and asks where that is needed.
pub(super) fn take_in(
    app: &App,
    session: &mut Session,
    request: SyncRequest,
) -> Result<FolderReport, Failure> {
    let mut options = Options {
        guard: request.guard,
        ..Options::default()
    };
    let may_ask = app.ask.has_person() && !request.in_background;
    let mut typed: Vec<Passphrase> = Vec::new();
    let mut all = loop {
        match shared_folder::take_in(session, &typed, options) {
            Err(error @ FolderError::HeldBack(_)) if may_ask => {
                app.ask.confirm(&format!("{error}. Go on?"))?;
                options.guard = None;
            }
            taken => break taken?,
        }
    };
    for tries_left in (0..TRIES).rev() {
        if !may_ask
            || !all.skipped.iter().any(is_locked)
            || !ask_passphrases(app, &all, &mut typed)?
        {
            break;
        }
        all.add(shared_folder::take_in(
            session,
            &typed,
            Options {
                continued: true,
                ..options
            },
        )?);
        if tries_left > 0 && all.skipped.iter().any(is_locked) {
            app.out.warn("a copy does not open with that, try again");
        }
    }
    tell_skipped(app, &all);
    tell_changes(app, session, &all.report);
    tell_clocks(app, session, &all.report);
    Ok(all)
}

/// Writes this device's copy.
pub(super) fn give_out(
    app: &App,
    session: &mut Session,
    mut taken: FolderReport,
) -> Result<FolderReport, Failure> {
    shared_folder::give_out(session, &mut taken)?;
    if app.out.is_verbose()
        && let Some(folder) = session.folder()
    {
        app.out
            .note(&format!("this device's copy is {}.pmdb", folder.host_id));
    }
    Ok(taken)
}

/// What a sync would do, without doing it.
pub(super) fn preview(app: &App, session: &Session) -> Result<(FolderReport, Vault), Failure> {
    let (found, vault) = shared_folder::preview(session)?;
    tell_skipped(app, &found);
    Ok((found, vault))
}

fn is_locked(skipped: &Skipped) -> bool {
    matches!(skipped.why, Why::Locked)
}

/// Asks for those of the copies that do not open; false if no other one was typed.
fn ask_passphrases(
    app: &App,
    found: &FolderReport,
    typed: &mut Vec<Passphrase>,
) -> Result<bool, Failure> {
    let ask = Ask {
        passphrase: PassphraseSource::Terminal,
        ..app.ask.clone()
    };
    let known = typed.len();
    for skipped in found.skipped.iter().filter(|skipped| is_locked(skipped)) {
        let name = escape(&skipped.name);
        let passphrase =
            ask.passphrase(&format!("Passphrase of the copy {name} (Enter skips it): "))?;
        if !passphrase.is_empty() && !typed.contains(&passphrase) {
            typed.push(passphrase);
        }
    }
    Ok(typed.len() > known)
}

fn tell_skipped(app: &App, found: &FolderReport) {
    for skipped in &found.skipped {
        let hint = match skipped.why {
            Why::Locked => "; run `passmate sync` on a terminal to type it",
            Why::Empty => "; its device, or the program that carries it, may not be done",
            _ => "",
        };
        app.out.warn(&format!(
            "the copy {} is skipped: {}{hint}",
            escape(&skipped.name),
            skipped.why
        ));
    }
    for name in &found.conflicts {
        app.out.note(&format!(
            "{} is a copy that a sync program put aside: it is merged, and may go",
            escape(name)
        ));
    }
}

pub(super) fn path_of(session: &Session) -> String {
    session
        .folder()
        .map(|folder| folder.path.clone())
        .unwrap_or_default()
}

pub(super) fn object(session: &Session, found: &FolderReport) -> serde_json::Value {
    let skipped = found.skipped.iter();
    json!({
        "path": path_of(session),
        "received": found.report.received,
        "sent": found.report.sent,
        "settled": found.report.conflicts_resolved,
        "skipped": skipped.map(|one| json!({ "copy": one.name, "why": one.why.to_string() })).collect::<Vec<_>>(),
    })
}
