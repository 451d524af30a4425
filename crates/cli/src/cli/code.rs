use passmate_vault::Text;
use passmate_vault::view::ViewRecord;
use serde_json::json;

use super::App;
use super::error::{Code, Failure};
use super::show::{find, no_field};
use passmate_core::otp::{FIELD_NAMES, Otp};

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
    let (name, secret) = match &args.field {
        Some(name) => {
            let field = record
                .field(&name.as_str().into())
                .ok_or_else(|| no_field(&args.path, name))?;
            (name.clone(), field.value.to_string_lossy().into_owned())
        }
        None => field_of(record).ok_or_else(|| {
            let message = format!("{} has no field for one-time codes", args.path);
            Failure::new(
                Code::NotFound,
                message,
                "put the secret into its field otp: `passmate set PATH otp`",
            )
        })?,
    };
    let otp = Otp::parse(&zeroize::Zeroizing::new(secret)).map_err(|error| {
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

fn field_of(record: &ViewRecord<'_>) -> Option<(String, String)> {
    let text = |text: &Text| text.to_string_lossy().into_owned();
    let fields = || {
        record
            .fields()
            .map(|field| (text(field.name), text(&field.value)))
    };
    let named = FIELD_NAMES
        .iter()
        .find_map(|wanted| fields().find(|(name, _)| name.eq_ignore_ascii_case(wanted)));
    let is_address = |value: &str| {
        value
            .get(..10)
            .is_some_and(|begin| begin.eq_ignore_ascii_case("otpauth://"))
    };
    named.or_else(|| fields().find(|(_, value)| is_address(value)))
}
