use passmate_core::problem::Problem;
use passmate_core::share::qr::Qr;
use serde_json::json;

use crate::app::App;
use crate::completing;
use crate::naming::with_record;

/// Show a field as a QR code, for another device's camera
///
/// Without FIELD, the code holds the password; for a record with a field `ssid`, it holds the
/// wireless network as phones scan it. The secret of one-time codes becomes the address that
/// authenticator apps scan.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record
    #[arg(add = completing::record())]
    path: String,
    /// Name of the field
    #[arg(add = completing::field())]
    field: Option<String>,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let text = with_record(app, &mut *vault, &args.path, |vault, path| {
        vault.qr_text(path, args.field.as_deref())
    })?;
    show(app, &text)
}

/// Shows a text as a QR code.
pub(crate) fn show(app: &App, text: &str) -> Result<(), Problem> {
    let code = Qr::new(text)?;
    if app.out.json {
        return app.out.object(json!({ "text": text, "rows": code.rows() }));
    }
    if let Some(columns) = app.out.columns().filter(|columns| *columns < code.width()) {
        app.out.warn(&format!(
            "the code is {} columns wide and the terminal {columns}: make the window wider, or the \
             letters smaller",
            code.width()
        ));
    }
    app.out.picture(&code.to_blocks(app.out.is_colored()))
}
