use passmate_core::escape::escape;
use passmate_core::problem::Problem;

use super::init::warn_if_weak;
use crate::app::App;
use crate::report::plain;

/// Change the master passphrase
///
/// Re-encrypts the vault, its previous copy, and the files beside it with history that was cut off.
/// Those that do not open with the old passphrase are named. Copies elsewhere, such as backups,
/// keep the old passphrase. A vault that the agent holds stays unlocked. The new passphrase is
/// asked for; if standard input is not a terminal, it is the first line of standard input.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(app: &App, _: &Args) -> Result<(), Problem> {
    let mut vault = app.open_with_passphrase()?;
    let passphrase = app.ask.replacing_passphrase()?;
    warn_if_weak(app, &passphrase);
    let is_held = app.look_in_agent().is_some();
    let change = plain(vault.change_passphrase(&passphrase))?;
    // The change locked it there.
    if is_held {
        app.let_agent_hold(&passphrase, false);
    }
    for path in &change.archives {
        let path = escape(&path.display().to_string());
        app.out.note(&format!("{path} has the new passphrase too"));
    }
    for (path, error) in &change.left {
        let (path, error) = (escape(&path.display().to_string()), escape(&error.message));
        app.out.warn(&format!(
            "{path}, which has history of this vault, keeps the passphrase that it had: {error}; \
             delete it, or name it with --vault and run `passmate passwd`"
        ));
    }
    for path in &change.copies {
        app.out.warn(&format!(
            "{}, a copy of this vault, keeps the passphrase that it had: delete it if you do not \
             need it",
            escape(&path.display().to_string())
        ));
    }
    app.out
        .note("the passphrase was changed; backups keep the old one");
    if plain(vault.ties())?.folder.is_some_and(|tie| !tie.has_key) {
        app.out
            .note("the next `passmate sync` re-encrypts this device's copy in the shared folder");
    }
    app.done()
}
