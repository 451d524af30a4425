use passmate_core::problem::Problem;
use passmate_vault::{Pin, Trust};

use crate::app::App;
use crate::report::plain;

/// Trust the server's next key, as its operator announced it
///
/// The current key stays trusted until the server shows the new one. The pin must come from the
/// operator, never from an error message.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The pin of the next key: `sha256:` and 64 hex digits
    pin: Pin,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let trust = plain(app.open()?.trust_next(args.pin))?;
    app.out.note(match trust {
        Trust::Pins { next: Some(_), .. } => {
            "the key is trusted beside the current one, until the server shows it"
        }
        _ => "the server is trusted by this key alone",
    });
    app.done()
}
