use passmate_vault::login::find_otp;
use serde_json::json;

use super::App;
use super::error::{Code, Failure};
use super::show::{find, no_field};
use passmate_core::otp::Otp;

/// Show the one-time code of a record
///
/// It is made from the field `otp` (or `totp`, `2fa`), or from any field with an otpauth address:
/// what a site shows as a QR code, or the secret below it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The record
    path: String,
    /// The field, if it is another one
    field: Option<String>,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let view = session.vault().view();
    let record = find(&view, &args.path)?;
    let field = match &args.field {
        Some(name) => record
            .field(&name.as_str().into())
            .ok_or_else(|| no_field(&args.path, name))?,
        None => find_otp(record).ok_or_else(|| {
            let message = format!("{} has no field for one-time codes", args.path);
            Failure::new(
                Code::NotFound,
                message,
                "put the secret into its field otp: `passmate set PATH otp`",
            )
        })?,
    };
    let otp = Otp::parse(&field.value.to_string_lossy()).map_err(|error| {
        let name = field.name.to_string_lossy();
        let message = format!("{name} of {} makes no one-time codes: {error}", args.path);
        Failure::new(
            Code::Other,
            message,
            "set it to the otpauth address or the secret that the site gives",
        )
    })?;
    let code = otp.at(session.now().try_into().unwrap_or(0));
    if app.out.json {
        return app.out.object(json!({
            "path": args.path, "code": *code.digits, "valid_for": code.valid_for, "period": code.period,
        }));
    }
    app.out.value(&code.digits)?;
    app.out.note(&format!(
        "valid for {} of {} seconds",
        code.valid_for, code.period
    ));
    Ok(())
}
