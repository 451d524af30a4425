use passmate_core::problem::Problem;
use serde_json::json;

use crate::app::App;
use crate::commands::qr;
use crate::report::plain;

/// Show the key that other devices join with
///
/// Anyone who has the key can read and change every record. On a terminal, asks before it shows the
/// key.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print a link with server, pin and key, for `passmate sync setup --key-file`
    #[arg(long)]
    link: bool,
    /// Print the link as a QR code, for the camera of another device
    #[arg(long)]
    qr: bool,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let link = plain(app.open()?.sync_key())?;
    if app.out.is_terminal() {
        app.ask
            .confirm("Anyone who sees this key can read and change all your passwords. Show it?")?;
    }
    if args.qr {
        return qr::show(app, &link.to_text());
    }
    let (member, text) = if args.link {
        ("link", link.to_text())
    } else {
        ("key", link.key.to_text())
    };
    if app.out.json {
        return app.out.object(json!({ member: *text }));
    }
    app.out.value(&text)
}
