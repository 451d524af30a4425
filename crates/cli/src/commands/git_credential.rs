use std::io::{self, Read};

use passmate_core::credentials::git::{Answer, Request, erase, get, store};
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use zeroize::Zeroizing;

use crate::app::App;
use crate::change::change_and;
use crate::report::plain;

/// Longest request of a program, in bytes.
const REQUEST_LEN_MAX: u64 = 64 * 1024;

/// Give git the logins of the vault
///
/// Tell git with `git config --global credential.helper '!passmate git-credential'`.
///
/// Git calls this command. `get` finds records by the address in their field url; `store` writes new
/// logins below git/; `erase` unsets the password of a record below git/ that was rejected.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// get, store or erase; others are ignored, as git asks for
    operation: String,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    match args.operation.as_str() {
        "get" => answer(app),
        "store" => remember(app),
        "erase" => forget(app),
        _ => Ok(()),
    }
}

fn answer(app: &App) -> Result<(), Problem> {
    let request = Request::parse(&read_request()?)?;
    match plain(get(&mut *app.open()?, &request))? {
        Answer::Found { user, password } => {
            let user = user.map(|user| format!("username={user}\n"));
            let user = user.unwrap_or_default();
            let lines = Zeroizing::new(format!("{user}password={}\n", *password));
            app.out.bytes(lines.as_bytes())
        }
        Answer::Nothing => Ok(()),
        Answer::Several(paths) => {
            let address = request.address();
            let paths: Vec<_> = paths.iter().map(|path| escape(path)).collect();
            app.out.warn(&format!(
                "{} have different logins for {address}: name the user in the address of the \
                 remote, or in git's setting credential.{address}.username",
                paths.join(", ")
            ));
            Ok(())
        }
    }
}

fn remember(app: &App) -> Result<(), Problem> {
    let request = Request::parse(&read_request()?)?;
    let mut vault = app.open_to_change()?;
    match plain(store(&mut *vault, &request))? {
        Some(edit) => change_and(app, &mut *vault, &edit, |edited| {
            app.out.note(&format!("stored {}", edited.paths.join(", ")));
            Ok(())
        }),
        None => Ok(()),
    }
}

fn forget(app: &App) -> Result<(), Problem> {
    let request = Request::parse(&read_request()?)?;
    let mut vault = app.open_to_change()?;
    let erasure = plain(erase(&mut *vault, &request))?;
    for edit in &erasure.edits {
        change_and(app, &mut *vault, edit, |_| Ok(()))?;
    }
    for path in &erasure.kept {
        app.out.warn(&format!(
            "the login of {path} was rejected; it is kept, because git did not store it"
        ));
    }
    Ok(())
}

/// What a program says on standard input.
pub(crate) fn read_request() -> Result<Zeroizing<String>, Problem> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let mut input = io::stdin().lock().take(REQUEST_LEN_MAX + 1);
    let read = input.read_to_string(&mut text).map_err(|error| {
        Problem::new(
            ProblemKind::File,
            format!("cannot read the request: {error}"),
            "git and docker call this command, and write to its standard input",
        )
    });
    match read? {
        len if len as u64 <= REQUEST_LEN_MAX => Ok(text),
        _ => Err(Problem::new(
            ProblemKind::TooLarge,
            "the request is longer than 64 KiB",
            "store a shorter login",
        )),
    }
}
