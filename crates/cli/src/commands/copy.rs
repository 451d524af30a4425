use std::time::Duration;

use passmate_core::answer::Reply;
use passmate_core::api::{OneTimeCode, VaultApi};
use passmate_core::command::command;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_vault::login::FieldRole;
use serde_json::json;
use zeroize::Zeroizing;

use crate::app::App;
use crate::clipboard;
use crate::completing;
use crate::naming::with_record;

/// Copy a field to the clipboard for 45 seconds
///
/// Without FIELD that is the password. Clipboard managers are told that it is a secret. The setting
/// `clipboard.clear-after` changes the time. What another program copies meanwhile stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record
    #[arg(add = completing::record())]
    path: String,
    /// Name of the field
    #[arg(add = completing::field())]
    field: Option<String>,
    /// Copy the one-time code; FIELD is the field of its secret
    #[arg(long)]
    otp: bool,
    /// Give the value to the clipboard of the terminal, also over SSH; nothing takes it away again
    #[arg(long)]
    osc52: bool,
}

/// A value that goes elsewhere, and what it is called.
pub(crate) struct Named {
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) value: Zeroizing<String>,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let Named { path, name, value } = with_record(app, &mut *vault, &args.path, |vault, path| {
        value_of(vault, path, args.field.as_deref(), args.otp)
    })?;
    let time = if args.osc52 || app.clipboard.osc52 {
        clipboard::give_to_terminal(&value)?;
        app.out.note(&format!(
            "{name} of {} went to the terminal's clipboard, which keeps it",
            path
        ));
        None
    } else {
        let time = app.clipboard.clear_after;
        clipboard::copy(&value, time)?;
        app.out.note(&format!(
            "{name} of {} is in the clipboard for {} seconds",
            path,
            time.as_secs()
        ));
        Some(time)
    };
    if !app.out.json {
        return Ok(());
    }
    app.out.object(json!({
        "path": path,
        "copied": name,
        "clear_after": time.as_ref().map(Duration::as_secs),
    }))
}

/// A field, which is the password if none is named, or a one-time code.
pub(crate) fn value_of(
    vault: &mut dyn VaultApi,
    path: &str,
    field: Option<&str>,
    is_code: bool,
) -> Reply<Named> {
    if is_code {
        let OneTimeCode::Timed(code) = vault.one_time_code(path, field)? else {
            return Err(Problem::new(
                ProblemKind::Usage,
                format!("the code of {path} follows a counter"),
                format!(
                    "{} makes the next one",
                    command(["passmate", "code"]).arg(path)
                ),
            )
            .into());
        };
        return Ok(Named {
            path: path.to_owned(),
            name: "the one-time code".to_owned(),
            value: code.digits,
        });
    }
    let record = vault.record(path)?;
    let field = match field {
        Some(name) => record.field(name)?,
        None => record
            .with_role(FieldRole::Password)
            .ok_or_else(|| Problem::no_field(path, FieldRole::Password.name()))?,
    };
    Ok(Named {
        name: field.name.clone(),
        value: field.value.clone(),
        path: record.path,
    })
}
