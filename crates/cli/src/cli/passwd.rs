use super::App;
use super::error::Failure;

/// Change the master passphrase
///
/// The vault and the copy of its content before are encrypted anew. Copies elsewhere, such as
/// backups, keep the old one. The new passphrase is asked for; where standard input is no terminal
/// it is its first line.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(app: &App, _: &Args) -> Result<(), Failure> {
    let mut session = app.open()?;
    let passphrase = app.ask.replacing_passphrase()?;
    if session.is_passphrase(&passphrase) {
        return Err(Failure::usage(
            "the new passphrase is the old one",
            "choose another",
        ));
    }
    super::init::warn_if_weak(app, &passphrase);
    session.change_passphrase(passphrase)?;
    if app.out.json {
        return app.out.object(serde_json::json!({}));
    }
    app.out
        .note("the passphrase is changed; backups keep the old one");
    if session.folder().is_some() {
        app.out
            .note("this device's copy in the shared folder follows with the next `passmate sync`");
    }
    Ok(())
}
