//! The commands that change records: `new`, `set`, `unset`, `mv`, `rm`.

use passmate_vault::RecordId;

use super::App;
use super::error::{Code, Failure};
use super::show::{find, no_field};
use passmate_core::session::Session;

/// Make an empty record
#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// Its path, for example web/example.org
    path: String,
}

/// Set a field, in a new record if there is none
///
/// The value is asked for and not shown. Where standard input is no terminal the value is all of
/// it, without one line feed at its end.
#[derive(Debug, clap::Args)]
pub(super) struct SetArgs {
    /// The record
    path: String,
    /// The field, for example password
    field: String,
    /// The value is empty, and that is meant
    #[arg(long)]
    empty: bool,
}

/// Take a field out of a record; its values stay in the history
#[derive(Debug, clap::Args)]
pub(super) struct UnsetArgs {
    /// The record
    path: String,
    /// The field
    field: String,
}

/// Give a record another path
#[derive(Debug, clap::Args)]
pub(super) struct MvArgs {
    /// The record
    old: String,
    /// Its new path
    new: String,
}

/// Delete a record; what it was stays in the history
#[derive(Debug, clap::Args)]
pub(super) struct RmArgs {
    /// The record
    path: String,
}

pub(super) fn new(app: &App, args: &NewArgs) -> Result<(), Failure> {
    let mut session = app.open()?;
    refuse_taken(&session, &args.path)?;
    make(&mut session, &args.path)?;
    finish(app, session, &format!("made {}", args.path))
}

pub(super) fn set(app: &App, args: &SetArgs) -> Result<(), Failure> {
    let mut session = app.open()?;
    let value = app
        .ask
        .value(&format!("{} of {}: ", args.field, args.path), args.empty)?;
    store(&mut session, &args.path, &args.field, &value)?;
    finish(
        app,
        session,
        &format!("set {} of {}", args.field, args.path),
    )
}

/// Sets a field in the record of this path, which is made if there is none.
pub(super) fn store(
    session: &mut Session,
    path: &str,
    field: &str,
    value: &str,
) -> Result<(), Failure> {
    let id = match session.vault().view().get(path) {
        Some(record) => record.id.clone(),
        None => make(session, path)?,
    };
    session.edit(|vault, now| vault.set(&id, field, value, now))?;
    Ok(())
}

pub(super) fn unset(app: &App, args: &UnsetArgs) -> Result<(), Failure> {
    let mut session = app.open()?;
    let id = {
        let view = session.vault().view();
        let record = find(&view, &args.path)?;
        record
            .field(&args.field.as_str().into())
            .ok_or_else(|| no_field(&args.path, &args.field))?;
        record.id.clone()
    };
    session.edit(|vault, now| vault.unset(&id, args.field.as_str(), now))?;
    finish(
        app,
        session,
        &format!("unset {} of {}", args.field, args.path),
    )
}

pub(super) fn mv(app: &App, args: &MvArgs) -> Result<(), Failure> {
    let mut session = app.open()?;
    let id = id_of(&session, &args.old)?;
    if args.old == args.new {
        return Err(Failure::usage(
            "old and new path are the same",
            "choose another path",
        ));
    }
    refuse_taken(&session, &args.new)?;
    session.edit(|vault, now| vault.rename(&id, args.new.as_str(), now))?;
    finish(app, session, &format!("moved {} to {}", args.old, args.new))
}

pub(super) fn rm(app: &App, args: &RmArgs) -> Result<(), Failure> {
    let mut session = app.open()?;
    let id = id_of(&session, &args.path)?;
    app.ask
        .confirm(&format!("Delete {} on all your devices?", args.path))?;
    session.edit(|vault, now| vault.delete(&id, now))?;
    finish(app, session, &format!("deleted {}", args.path))
}

fn id_of(session: &Session, path: &str) -> Result<RecordId, Failure> {
    Ok(find(&session.vault().view(), path)?.id.clone())
}

fn make(session: &mut Session, path: &str) -> Result<RecordId, Failure> {
    let id = session.make_record_id();
    session.edit(|vault, now| vault.create_record(id.clone(), path, now))?;
    Ok(id)
}

pub(super) fn refuse_taken(session: &Session, path: &str) -> Result<(), Failure> {
    match session.vault().view().get(path) {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            Code::Exists,
            format!("there is a record {path} already"),
            "choose another path",
        )),
    }
}

/// Saves, and says what was done to whoever watches.
pub(super) fn finish(app: &App, mut session: Session, done: &str) -> Result<(), Failure> {
    session.save()?;
    if !app.out.json {
        app.out.note(done);
    }
    super::sync::after_change(app, &mut session);
    if app.out.json {
        app.out.object(serde_json::json!({}))
    } else {
        Ok(())
    }
}
