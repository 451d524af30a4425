use passmate_vault::{Pin, Trust};

use crate::cli::App;
use crate::cli::error::Failure;
use passmate_core::sync::trust_pin;

/// Trust the server's next key, as its operator announced it
///
/// The key of today stays trusted until the server shows the new one. The pin must come from the
/// operator, never from an error message.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `sha256:` and 64 hex digits
    pin: Pin,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let mut session = app.open()?;
    let trust = trust_pin(&mut session, args.pin)?;
    if app.out.json {
        return app.out.object(serde_json::json!({}));
    }
    app.out.note(match trust {
        Trust::Pins { next: Some(_), .. } => {
            "the key is trusted beside the one of today, until the server shows it"
        }
        _ => "the server is trusted by this key alone",
    });
    Ok(())
}
