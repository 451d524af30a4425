use passmate_core::problem::Problem;

use super::init::warn_if_weak;
use crate::app::App;
use crate::report::plain;

/// Change the master passphrase
///
/// Re-encrypts the vault and its previous copy. Copies elsewhere, such as backups, keep the old
/// passphrase. The new passphrase is asked for; if standard input is not a terminal, it is the
/// first line of standard input.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(app: &App, _: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let passphrase = app.ask.replacing_passphrase()?;
    warn_if_weak(app, &passphrase);
    plain(vault.change_passphrase(&passphrase))?;
    app.out
        .note("the passphrase was changed; backups keep the old one");
    if plain(vault.ties())?.folder.is_some() {
        app.out
            .note("the next `passmate sync` re-encrypts this device's copy in the shared folder");
    }
    app.done()
}
