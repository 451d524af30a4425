//! The one-time codes of records.
//!
//! A code that follows the time is computed. A code that follows a counter is used up: the address
//! with the next counter is stored before the code is shown, as a change of the record. A field
//! of this device never uses a counter twice, also after an *undo* or after another device stored a
//! lower one: the next counter is the highest of the field's history for this secret.

use passmate_vault::login::find_otp;
use passmate_vault::record::{Domain, Text};
use passmate_vault::{EditError, RecordId, Vault};

use crate::answer::Reply;
use crate::command::command;
use crate::otp::{COUNTER_MAX, Counted, CountedCode, IMPORT_MIGRATION, Otp, OtpError};
use crate::problem::{Problem, ProblemKind};
use crate::records::find_one;
use crate::session::Session;

/// What makes the codes of a record.
pub(crate) struct CodeSource {
    id: RecordId,
    name: Text,
    /// What its value says.
    pub(crate) otp: Otp,
}

/// What makes the codes of a record: the named field, or the one that holds the secret.
pub(crate) fn code_source(vault: &Vault, path: &str, field: Option<&str>) -> Reply<CodeSource> {
    let record = find_one(vault, path)?;
    let field = match field {
        Some(name) => record
            .field(&name.into())
            .ok_or_else(|| Problem::no_field(path, name))?,
        None => find_otp(&record).ok_or_else(|| {
            Problem::new(
                ProblemKind::NotFound,
                format!("{path} has no field for one-time codes"),
                format!(
                    "put the secret into its field otp: {}",
                    command(["passmate", "set"]).arg(path).arg("otp")
                ),
            )
        })?,
    };
    let otp = Otp::parse(&field.value.to_string_lossy()).map_err(|error| {
        let name = field.name.to_string_lossy();
        let hint = match error {
            OtpError::Migration => IMPORT_MIGRATION,
            _ => "set it to the otpauth address or the secret that the site gives",
        };
        let message = format!("{name} of {path} makes no one-time codes: {error}");
        Problem::new(ProblemKind::Other, message, hint)
    })?;
    Ok(CodeSource {
        id: record.id.clone(),
        name: field.name.clone(),
        otp,
    })
}

/// Uses up the next counter of a record's codes, and returns its code. The session must hold what
/// is stored until it is saved.
pub(crate) fn use_counter(
    session: &mut Session,
    path: &str,
    field: Option<&str>,
) -> Reply<CountedCode> {
    let CodeSource { id, name, otp } = code_source(session.vault(), path, field)?;
    let Otp::Counted(counted) = otp else {
        return Err(Problem::usage(
            format!("the codes of {path} follow the time, not a counter"),
            format!(
                "{} shows the present one",
                command(["passmate", "code"]).arg(path)
            ),
        )
        .into());
    };
    let counter = highest_counter(session.vault(), &id, &name, &counted)?;
    let next = Some(counter + 1).filter(|next| *next < COUNTER_MAX);
    let next = next.ok_or_else(|| {
        Problem::new(
            ProblemKind::Other,
            format!("the counter of {path} is at its end"),
            "set the address that the site gives for a new secret",
        )
    })?;
    let address = counted.address_with(next);
    session.edit(|vault, now| vault.set(&id, name, address.as_str(), now))?;
    Ok(counted.code(counter))
}

/// A counter that is set must not be lower than one that the field had for this secret: it would
/// not be used.
pub(crate) fn check_counter(vault: &Vault, id: &RecordId, field: &str, value: &str) -> Reply<()> {
    let Ok(Otp::Counted(counted)) = Otp::parse(value) else {
        return Ok(());
    };
    let highest = highest_counter(vault, id, &Text::from(field), &counted)?;
    if highest == counted.counter {
        return Ok(());
    }
    Err(Problem::usage(
        format!(
            "{field} had the counter {highest} for this secret, so {} would not be used",
            counted.counter
        ),
        "if the higher one was a mistake, remove it first with `passmate purge PATH FIELD`",
    )
    .into())
}

/// The highest counter that a field ever had for this secret.
fn highest_counter(vault: &Vault, id: &RecordId, name: &Text, counted: &Counted) -> Reply<u64> {
    let record = vault.record(id).ok_or(EditError::NoSuchRecord)?;
    let past = record.history(Domain::User, name).iter();
    let counters = past.filter_map(|change| {
        let value = change.value.shown()?;
        match Otp::parse(&value.to_string_lossy()) {
            Ok(Otp::Counted(past)) if past.has_secret_of(counted) => Some(past.counter),
            _ => None,
        }
    });
    Ok(counters.fold(counted.counter, u64::max))
}
