use passmate_core::problem::Problem;
use passmate_core::share::qr::Qr;
use serde_json::json;

use crate::app::App;
use crate::completing;
use crate::naming::with_record;
use crate::viewer::{can_view, view_picture};

/// Show a field as a QR code, for another device's camera
///
/// Without FIELD, the code holds the password; for a record with a field `ssid`, it holds the
/// wireless network as phones scan it. The secret of one-time codes becomes the address that
/// authenticator apps scan.
///
/// On a terminal, the code is gone from it, and from its scrollback, when you leave it with Enter or
/// q.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record
    #[arg(add = completing::record())]
    path: String,
    /// Name of the field
    #[arg(add = completing::field())]
    field: Option<String>,
    /// Print like any other answer; it stays in the scrollback
    #[arg(long)]
    no_pager: bool,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let text = with_record(app, &mut *vault, &args.path, |vault, path| {
        vault.qr_text(path, args.field.as_deref())
    })?;
    match args.no_pager {
        true => show(app, &text),
        false => show_secret(app, &text),
    }
}

/// Shows a secret as a QR code that leaves no trace on a terminal.
pub(crate) fn show_secret(app: &App, text: &str) -> Result<(), Problem> {
    if app.out.json || !can_view(app) {
        return show(app, text);
    }
    let code = Qr::new(text)?;
    warn_if_narrow(app, &code);
    view_picture(app, &code.to_blocks(app.out.is_colored()))
}

/// Shows a text as a QR code.
pub(crate) fn show(app: &App, text: &str) -> Result<(), Problem> {
    let code = Qr::new(text)?;
    if app.out.json {
        return app.out.object(json!({ "text": text, "rows": code.rows() }));
    }
    warn_if_narrow(app, &code);
    app.out.picture(&code.to_blocks(app.out.is_colored()))
}

fn warn_if_narrow(app: &App, code: &Qr) {
    if let Some(columns) = app.out.columns().filter(|columns| *columns < code.width()) {
        app.out.warn(&format!(
            "the code is {} columns wide and the terminal {columns}: make the window wider, or the \
             letters smaller",
            code.width()
        ));
    }
}
