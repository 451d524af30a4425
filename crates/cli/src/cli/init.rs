use super::App;
use super::adopt;
use super::error::Failure;
use passmate_core::session::{Session, SessionError};

/// Make a vault
///
/// You choose a master passphrase. It is all that protects the vault, it cannot be recovered, and
/// it is not needed to join other devices: each device has its own.
///
/// If an original Passmate program was used on this device, you are offered to take over its
/// records, and to take part in its shared folder. Its files stay as they are.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Guesses are counted for so many characters; more are strong anyway, and counting takes its time.
const JUDGED_CHARS: usize = 100;

pub(super) fn run(app: &App, _: &Args) -> Result<(), Failure> {
    if app.location.exists() {
        return Err(SessionError::Exists {
            path: app.location.path().to_owned(),
        }
        .into());
    }
    let passphrase = app.ask.new_passphrase()?;
    warn_if_weak(app, &passphrase);
    let session = Session::create(app.location.clone(), passphrase.clone())?;
    let found = adopt::find_for(app);
    if app.out.json {
        let commands: Vec<String> = found.iter().map(adopt::Original::command).collect();
        let vault = session.path().display().to_string();
        return app
            .out
            .object(serde_json::json!({ "vault": vault, "adopt": commands }));
    }
    app.out.note(&format!("made {}", session.path().display()));
    adopt::offer(app, session, &passphrase, &found);
    app.out.note("put a password in with `passmate set PATH password`, or let one be made with `passmate gen PATH`");
    Ok(())
}

/// Says so if guessing it would take a thief with the file less than months.
pub(super) fn warn_if_weak(app: &App, passphrase: &passmate_vault::Passphrase) {
    let text = zeroize::Zeroizing::new(String::from_utf8_lossy(passphrase.as_bytes()).into_owned());
    let judged: zeroize::Zeroizing<String> =
        zeroize::Zeroizing::new(text.chars().take(JUDGED_CHARS).collect());
    let guesses_log10 = zxcvbn::zxcvbn(&judged, &[]).guesses_log10();
    // A guess costs a third of a second of a processor and 128 MiB; 10^10 of them are a hundred
    // processor years.
    if guesses_log10 < 10.0 {
        app.out.warn(
            "this passphrase is weak: whoever gets hold of the vault file may guess it; \
             `passmate gen --words 6` makes a strong one, `passmate passwd` changes it",
        );
    }
}
