use passmate_core::adopt::Original;
use passmate_core::api::VaultApi;
use passmate_core::command::{Command, command};
use passmate_core::escape::escape;
use passmate_core::import::problem_of;
use passmate_core::interchange::{Format, ImportError, ReadOptions, parse};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::recover;
use passmate_core::session::Session;
use passmate_core::shared_folder::Sealing;
use passmate_core::strength::is_weak;
use passmate_vault::Passphrase;
use serde_json::json;

use super::sync;
use crate::app::App;
use crate::importing::{self, Report};

/// Create a vault
///
/// You choose a master passphrase. It protects the vault file on this device and cannot be
/// recovered. Each device has its own; other devices join with the sync key instead.
///
/// If an original Passmate program was used on this device, `init` offers to import its records and
/// to use its shared folder. The original's files are not changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// How often a person may type the passphrase of an original.
const TRIES: usize = 3;

pub(crate) fn run(app: &App, _: &Args) -> Result<(), Problem> {
    // Before anybody chooses a passphrase. Of a vault that is there and damaged, the way back is
    // told.
    if app.location.exists() {
        recover::check(&app.location)?;
    }
    app.location.check_free()?;
    let passphrase = app.ask.new_passphrase()?;
    warn_if_weak(app, &passphrase);
    let session = Session::create(app.location.clone(), passphrase.clone())?;
    let path = session.path().display().to_string();
    // The next command would ask for it again.
    let is_held =
        app.starts_agent && app.ask.can_type_passphrase() && app.let_agent_hold(&passphrase, true);
    let originals = app.originals();
    if app.out.json {
        let commands: Vec<String> = originals
            .iter()
            .map(|original| original.command().text())
            .collect();
        return app.out.object(json!({ "vault": path, "adopt": commands }));
    }
    app.out.note(&format!("made {path}"));
    if is_held {
        app.out
            .note("the vault is unlocked; `passmate lock` locks it");
    }
    let mut vault = session.with_sync_settings(app.sync.clone());
    offer(app, &mut vault, &passphrase, &originals);
    app.out.note(
        "store a password with `passmate set PATH password`, or generate one with `passmate gen \
         PATH`",
    );
    Ok(())
}

/// Says so if a thief with the file would guess the passphrase in months.
pub(super) fn warn_if_weak(app: &App, passphrase: &Passphrase) {
    if is_weak(passphrase) {
        app.out.warn(
            "this passphrase is weak: a thief of the vault file could guess it; `passmate gen \
             --words 6` generates a strong one, `passmate passwd` changes it",
        );
    }
}

/// Offers a person to import what the original programs left. What goes wrong is reported, and the
/// new vault is good without it.
fn offer(app: &App, vault: &mut dyn VaultApi, passphrase: &Passphrase, originals: &[Original]) {
    for original in originals {
        if !app.ask.yes && !app.ask.has_person() {
            app.out.warn(&format!(
                "the original Passmate program was used here: run {} to {}",
                original.command(),
                match original {
                    Original::Vault { .. } => "import its records",
                    Original::Folder(_) => "take part in its shared folder",
                }
            ));
            continue;
        }
        match app.ask.confirm(&question(original)) {
            Ok(()) => {}
            Err(problem) if problem.kind == ProblemKind::Cancelled => continue,
            Err(problem) => return warn(app, &original.command(), &problem),
        }
        let done = match original {
            Original::Vault { format, path } => adopt(app, vault, passphrase, *format, path),
            Original::Folder(path) => sync::set_up_folder(app, vault, path, Sealing::Passphrases),
        };
        if let Err(problem) = done {
            // A folder that is set up is only synced again.
            let is_set_up = vault.ties().is_ok_and(|ties| ties.folder.is_some());
            let again = match original {
                Original::Folder(_) if is_set_up => command(["passmate", "sync"]),
                _ => original.command(),
            };
            warn(app, &again, &problem);
        }
    }
}

fn question(original: &Original) -> String {
    match original {
        Original::Vault { path, .. } => format!(
            "Import the records of {}, which the original Passmate program made? The file is not \
             changed.",
            path.display()
        ),
        Original::Folder(path) => format!(
            "Take part in the shared folder {}, so that you and the original program stay synced?",
            path.display()
        ),
    }
}

fn warn(app: &App, again: &Command, Problem { message, hint, .. }: &Problem) {
    app.out.warn(&format!("{message}; {hint}"));
    app.out
        .warn(&format!("the vault was made; {again} tries that again"));
}

/// Imports the vault of an original program. Most people have the same passphrase as before, so
/// that one is tried first.
fn adopt(
    app: &App,
    vault: &mut dyn VaultApi,
    passphrase: &Passphrase,
    format: Format,
    path: &std::path::Path,
) -> Result<(), Problem> {
    let bytes = importing::read(path)?;
    let mut parsed = match parse(format, &bytes, ReadOptions::default()) {
        Err(ImportError::SecretNeeded) => {
            parse(format, &bytes, ReadOptions::with_secret(Some(passphrase)))
        }
        parsed => parsed,
    };
    for number in 0..TRIES {
        if !matches!(parsed, Err(ImportError::WrongSecret)) || !app.ask.has_person() {
            break;
        }
        if number > 0 {
            app.out.warn("wrong passphrase, try again");
        }
        let name = escape(&path.display().to_string());
        let typed = app
            .ask
            .hidden(&format!("Passphrase of {name}: "), "passphrase")?;
        parsed = parse(format, &bytes, ReadOptions::with_secret(Some(&typed)));
    }
    let imported = parsed.map_err(|error| problem_of(&error, format))?;
    importing::bring_in(app, vault, &Report::of(format, &imported), imported)
}
