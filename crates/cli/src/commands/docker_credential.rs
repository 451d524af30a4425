use std::process::ExitCode;

use passmate_core::credentials::docker::{Login, erase, get, list, store};
use passmate_core::problem::{Problem, ProblemKind};
use serde_json::json;
use zeroize::Zeroizing;

use super::git_credential::read_request;
use crate::app::App;
use crate::change::change_and;
use crate::exit::code_of;
use crate::report::plain;

/// What docker takes for "there is no login".
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Give docker the logins of the vault
///
/// Docker, podman and others call the program docker-credential-NAME: make it a link to passmate, and
/// set "credsStore" to "passmate" in docker's config.json. Only records below docker/ are read and
/// written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to do with what stands on standard input
    operation: Operation,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Operation {
    /// Print the login for the registry
    Get,
    /// Store a login
    Store,
    /// Take the login for the registry away; it stays in the history
    Erase,
    /// Print the registries with their users
    List,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<ExitCode, Problem> {
    match args.operation {
        Operation::Get => return answer(app),
        Operation::Store => remember(app),
        Operation::Erase => forget(app),
        Operation::List => {
            let servers = plain(list(&mut *app.open()?))?;
            app.out.bytes(json!(servers).to_string().as_bytes())
        }
    }
    .map(|()| ExitCode::SUCCESS)
}

fn answer(app: &App) -> Result<ExitCode, Problem> {
    let server = read_request()?;
    let Some(login) = plain(get(&mut *app.open()?, server.trim()))? else {
        // Docker compares this text, and asks for many registries that need no login.
        app.out.line(NOT_FOUND)?;
        return Ok(ExitCode::from(code_of(ProblemKind::NotFound)));
    };
    let text = Zeroizing::new(login.to_json());
    app.out.bytes(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn remember(app: &App) -> Result<(), Problem> {
    let login = Login::parse(&read_request()?)?;
    let mut vault = app.open_to_change()?;
    match plain(store(&mut *vault, &login))? {
        Some(edit) => change_and(app, &mut *vault, &edit, |_| Ok(())),
        None => Ok(()),
    }
}

fn forget(app: &App) -> Result<(), Problem> {
    let server = read_request()?;
    let mut vault = app.open_to_change()?;
    for edit in plain(erase(&mut *vault, server.trim()))? {
        change_and(app, &mut *vault, &edit, |_| Ok(()))?;
    }
    Ok(())
}
