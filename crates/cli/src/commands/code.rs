use passmate_core::problem::Problem;
use serde_json::json;

use crate::app::App;
use crate::report::plain;

/// Show the one-time code of a record
///
/// The secret is in the field `otp`, `totp` or `2fa`, or in any field with an otpauth:// address. A
/// site shows the address as a QR code and the secret below it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record
    path: String,
    /// Name of the field that holds the secret
    field: Option<String>,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let code = plain(vault.one_time_code(&args.path, args.field.as_deref()))?;
    if app.out.json {
        return app.out.object(json!({
            "path": args.path,
            "code": *code.digits,
            "valid_for": code.valid_for,
            "period": code.period,
        }));
    }
    app.out.value(&code.digits)?;
    app.out.note(&format!(
        "valid for {} of {} seconds",
        code.valid_for, code.period
    ));
    Ok(())
}
