use passmate_core::api::OneTimeCode;
use passmate_core::edit::{Edit, Edited};
use passmate_core::otp::Code;
use passmate_core::problem::Problem;
use serde_json::json;

use crate::app::App;
use crate::change::change_and;
use crate::completing;
use crate::naming::with_record;

/// Show the one-time code of a record
///
/// The secret is in the field `otp`, `totp` or `2fa`, or in any field with an otpauth:// address. A
/// site shows the address as a QR code and the secret below it.
///
/// The code of an otpauth://hotp/ address follows a counter: the address with the next counter is
/// stored before the code is shown, and each command shows another code.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record
    #[arg(add = completing::record())]
    path: String,
    /// Name of the field that holds the secret
    #[arg(add = completing::field())]
    field: Option<String>,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let (path, code) = with_record(app, &mut *vault, &args.path, |vault, path| {
        let code = vault.one_time_code(path, args.field.as_deref())?;
        Ok((path.to_owned(), code))
    })?;
    match code {
        OneTimeCode::Timed(code) => show_timed(app, &path, &code),
        OneTimeCode::Counted => {
            let edit = Edit::UseCounter {
                path: path.clone(),
                field: args.field.clone(),
            };
            change_and(app, &mut *vault, &edit, |edited| {
                show_counted(app, &path, edited)
            })
        }
    }
}

fn show_timed(app: &App, path: &str, code: &Code) -> Result<(), Problem> {
    if app.out.json {
        return app.out.object(json!({
            "path": path,
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

fn show_counted(app: &App, path: &str, edited: &Edited) -> Result<(), Problem> {
    let Some(code) = &edited.code else {
        return Ok(());
    };
    if app.out.json {
        return app.out.object(json!({
            "path": path,
            "code": *code.digits,
            "counter": code.counter,
        }));
    }
    app.out.value(&code.digits)?;
    app.out
        .note(&format!("valid once, for counter {}", code.counter));
    Ok(())
}
