use passmate_core::escape::escape;
use passmate_core::log_n::LogN;
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
///
/// With --log-n, each unlock of this file takes more memory and time from then on, and so does each
/// guess of somebody who has it; an empty passphrase keeps the present one. It cannot be taken back,
/// and other devices keep their own price. A vault that uses a shared folder without a key cannot be
/// made dearer: it would not open the copies of the others.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// log2 of scrypt's N: 18, 19 or 20; a vault has 17 (128 MiB), and each step doubles memory and
    /// time
    #[arg(long, value_name = "N", value_parser = log_n)]
    log_n: Option<LogN>,
}

fn log_n(text: &str) -> Result<LogN, String> {
    let number: u8 = text
        .parse()
        .map_err(|_| "it can be 18, 19 or 20".to_owned())?;
    LogN::try_from(number).map_err(|error| error.to_string())
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open_with_passphrase()?;
    if let Some(log_n) = args.log_n {
        app.out.note(&format!(
            "each unlock will take {} MiB of memory and {} times the standard time",
            log_n.memory_mib(),
            log_n.times_standard()
        ));
    }
    let passphrase = match args.log_n {
        Some(_) => app.ask.replacing_or_same_passphrase()?,
        None => Some(app.ask.replacing_passphrase()?),
    };
    if let Some(passphrase) = &passphrase {
        warn_if_weak(app, passphrase);
    }
    let is_held = app.look_in_agent().is_some();
    let change = plain(vault.change_passphrase(passphrase.as_ref(), args.log_n))?;
    // Another passphrase locked it there.
    if let Some(passphrase) = passphrase.filter(|_| is_held) {
        app.let_agent_hold(&passphrase, false);
    }
    for path in &change.archives {
        let path = escape(&path.display().to_string());
        app.out.note(&format!("{path} has the new passphrase too"));
    }
    for (path, error) in &change.left {
        let (path, error) = (escape(&path.display().to_string()), escape(&error.message));
        app.out.warn(&format!(
            "{path}, which has history of this vault, may keep the passphrase that it had: {error}; \
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
    match args.log_n {
        Some(log_n) => app.out.note(&format!(
            "an unlock now takes {} MiB of memory and {:.1} s on this machine; backups keep the \
             old price",
            log_n.memory_mib(),
            change.unlock.as_secs_f64()
        )),
        None => app
            .out
            .note("the passphrase was changed; backups keep the old one"),
    }
    if plain(vault.ties())?.folder.is_some_and(|tie| !tie.has_key) {
        app.out
            .note("the next `passmate sync` re-encrypts this device's copy in the shared folder");
    }
    app.done()
}
