use std::path::{Path, PathBuf};

use passmate_core::answer::{Halt, Need};
use passmate_core::clock::local_time;
use passmate_core::command::shell_word;
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::recover::{self, CopyContent, FoundCopy, bring_back, examine};
use passmate_core::session::SessionError;
use passmate_vault::Passphrase;
use serde_json::json;

use crate::app::{Answer, App};

/// Bring back a vault that is missing or damaged
///
/// Without COPY, lists the vault file and the copies beside it, and tells how far each one opens:
/// the previous copy (.prev), archives of a truncated history, and files that you copied yourself.
/// With COPY, puts that copy in the place of the vault. The copy stays as it is, and what had the
/// vault's name is renamed, never overwritten. Afterwards `passmate sync` fetches what the copy
/// lacks.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The copy to bring back
    copy: Option<PathBuf>,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    match &args.copy {
        Some(copy) => restore(app, copy),
        None => list(app),
    }
}

fn list(app: &App) -> Result<(), Problem> {
    let found = recover::find(&app.location);
    if found.is_empty() {
        let problem = recover::check(&app.location).err().unwrap_or_else(|| {
            let path = app.location.path().to_owned();
            SessionError::NotFound { path }.into()
        });
        if app.location.exists() {
            return Err(problem);
        }
        return Err(problem.with_hint(
            "there is no copy of it either: restore a backup, or make a new vault with `passmate \
             init` and fetch the records with `passmate sync setup` and the sync key",
        ));
    }
    // A copy may be under an older passphrase, so a wrong one is told with each copy.
    let passphrase = app.ask.passphrase("Master passphrase: ")?;
    let examined = examine_all(app, &found, &passphrase);
    let found = found.iter().zip(examined);
    if app.out.json {
        let copies: Vec<_> = found.map(|(copy, content)| object(copy, content)).collect();
        let vault = app.location.path().display().to_string();
        return app.out.object(json!({ "vault": vault, "copies": copies }));
    }
    for (copy, content) in found {
        let name = escape(&copy.path.display().to_string());
        let time = copy.modified.map_or_else(String::new, local_time);
        app.out.line(&format!(
            "{:<11}  {time:<19}  {name}: {}",
            copy.kind.name(),
            told(content)
        ))?;
    }
    app.out
        .note("`passmate recover COPY` puts one of them in the place of the vault");
    Ok(())
}

fn examine_all(
    app: &App,
    found: &[FoundCopy],
    passphrase: &Passphrase,
) -> Vec<Result<CopyContent, SessionError>> {
    let examined = found
        .iter()
        .map(|copy| examine(&app.location, &copy.path, passphrase));
    examined.collect()
}

fn told(content: Result<CopyContent, SessionError>) -> String {
    match content {
        Ok(content) => summary(&content),
        Err(error) => short(error),
    }
}

/// An error without the path, which stands before it.
fn short(error: SessionError) -> String {
    match error {
        SessionError::Container { error, .. } => error.to_string(),
        SessionError::Codec { error, .. } => error.to_string(),
        error => error.to_string(),
    }
}

fn summary(content: &CopyContent) -> String {
    let records = match content.records {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    };
    match content.last_change {
        Some(time) => format!("{records}, changed last at {}", local_time(time)),
        None => records,
    }
}

fn object(copy: &FoundCopy, content: Result<CopyContent, SessionError>) -> serde_json::Value {
    let (content, error) = match content {
        Ok(content) => (Some(content), None),
        Err(error) => (None, Some(short(error))),
    };
    json!({
        "path": copy.path.display().to_string(),
        "kind": copy.kind.name(),
        "bytes": copy.len,
        "modified": copy.modified,
        "records": content.as_ref().map(|content| content.records),
        "deleted": content.as_ref().map(|content| content.deleted),
        "last_change": content.as_ref().and_then(|content| content.last_change),
        "server": content.as_ref().and_then(|content| content.server.as_ref()),
        "error": error,
    })
}

fn restore(app: &App, copy: &Path) -> Result<(), Problem> {
    // A name is that of a copy beside the vault, as the list shows it, if there is no such file
    // here.
    let beside = recover::find(&app.location).into_iter();
    let mut beside = beside.filter(|found| found.path.file_name() == Some(copy.as_os_str()));
    let beside = beside.next().filter(|_| !copy.exists());
    let copy = beside.as_ref().map_or(copy, |found| &found.path);
    if copy.symlink_metadata().is_err() {
        return Err(Problem::new(
            ProblemKind::NotFound,
            format!("there is no file {}", escape(&copy.display().to_string())),
            "`passmate recover` lists the copies beside the vault",
        ));
    }
    let mut consent = app.consent();
    let brought = app.with_passphrase(|passphrase| {
        loop {
            match bring_back(&app.location, copy, passphrase, &consent) {
                Err(Halt::Needs(Need::Confirmation(question))) => {
                    match app.ask_about(&question)? {
                        Answer::Agreed => consent.give(question),
                        Answer::Refused => consent.refuse(question),
                    }
                }
                reply => return reply.map_err(Halt::into_problem),
            }
        }
    })?;
    if app.out.json {
        return app.out.object(json!({
            "vault": brought.path.display().to_string(),
            "records": brought.content.records,
            "aside": brought.aside.map(|aside| aside.display().to_string()),
        }));
    }
    let path = escape(&brought.path.display().to_string());
    app.out
        .note(&format!("{path} is back: {}", summary(&brought.content)));
    if let Some(aside) = &brought.aside {
        let aside = shell_word(aside);
        app.out.note(&format!("what stood there is now {aside}"));
    }
    app.out.note(if brought.content.server.is_some() {
        "`passmate sync` fetches what it lacks"
    } else {
        "it is not tied to a server; `passmate import passmate2 COPY` adds what another copy has"
    });
    Ok(())
}
