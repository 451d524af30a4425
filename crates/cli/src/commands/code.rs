use passmate_core::problem::Problem;
use serde_json::json;

use crate::app::App;
use crate::report::plain;

/// Show the one-time code of a record
///
/// The code is made from the field `otp` (or `totp`, `2fa`), or from any field with an otpauth
/// address: what a site shows as a QR code, or the secret below it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The record
    path: String,
    /// Another field
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
