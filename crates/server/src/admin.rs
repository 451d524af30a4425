//! The operator commands. They work while a server runs, unless their help says otherwise.

mod account;
mod actor;
mod backup;
mod cert;
mod check;
mod config;
mod import_spr;
mod invite;
mod limits;
mod log;
mod migrate_store;
mod running;
mod users;

use std::fmt;
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::process::ExitCode;

use clap::{ArgMatches, Command, FromArgMatches, Subcommand};
use serde_json::json;

use crate::backup::BackupError;
use crate::config::{Config, ConfigError, Environment, Sources, all_args, place_args};
use crate::exit::{Code, complain, note, warn};
use crate::store::{EngineError, Inspector, Operator, StoreError, StoreUrl, Unrecorded};
use crate::text::{printable, printable_json};

/// The length of the longest note, in characters.
const NOTE_LEN_MAX: usize = 200;

/// Why a command failed.
#[derive(Debug)]
struct Failure {
    code: Code,
    message: String,
    hint: String,
}

impl Failure {
    fn new(code: Code, message: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.to_string(),
            hint: hint.into(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Code::Usage, &error, error.hint())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::InUse { .. }
            | StoreError::Restoring { .. }
            | StoreError::Engine(EngineError::Busy) => Code::InUse,
            StoreError::NotEmpty { .. } => Code::Exists,
            StoreError::Missing { .. } | StoreError::NoDatabase { .. } => Code::NotFound,
            StoreError::NewerSchema { .. }
            | StoreError::OlderSchema { .. }
            | StoreError::Unfinished { .. }
            | StoreError::NotOfPostgres { .. } => Code::NotSupported,
            StoreError::NotOurs { .. } | StoreError::Engine(EngineError::Damaged(_)) => {
                Code::Damaged
            }
            StoreError::Open { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Engine(EngineError::Full) => Code::File,
            StoreError::Engine(
                EngineError::Failed(_) | EngineError::Moved(_) | EngineError::Unavailable(_),
            )
            | StoreError::NotDurable { .. }
            | StoreError::OutcomeUnknown
            | StoreError::Closed
            | StoreError::WriterEnded
            | StoreError::ReadAborted => Code::Other,
        };
        Self::new(code, &error, error.hint())
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let (code, hint) = match error {
            BackupError::Store(error) => return error.into(),
            BackupError::StoreDamaged(_) => (
                Code::Damaged,
                "run `passmate-server verify`, which names all faults; then restore a backup, or \
                 delete the damaged account: a device \
                 that has its vault sets it up again",
            ),
            BackupError::Io { .. } => (Code::File, "check the path, its mode, and the disk"),
            BackupError::NotOurs(_) => (
                Code::Damaged,
                "name a file that `passmate-server backup` wrote",
            ),
            BackupError::Damaged { .. } => (
                Code::Damaged,
                "use another backup; `passmate-server verify FILE` verifies one",
            ),
            BackupError::Newer { .. } | BackupError::NewerSchema { .. } => (
                Code::NotSupported,
                "restore it with that version or a newer one",
            ),
        };
        Self::new(code, error, hint)
    }
}

/// Standard output is closed, or goes to a full disk.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(
            Code::Other,
            format_args!("cannot write the output: {error}"),
            "check where standard output goes",
        )
    }
}

/// The commands other than `serve`.
#[derive(Debug, Subcommand)]
enum Admin {
    #[command(subcommand)]
    Account(account::Accounts),
    #[command(subcommand)]
    Invite(invite::Invites),
    Check(check::CheckArgs),
    #[command(subcommand)]
    Cert(cert::Certs),
    #[command(subcommand)]
    Config(config::Configs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Verify(backup::VerifyArgs),
    ImportSpr(import_spr::ImportSprArgs),
    MigrateStore(migrate_store::MigrateStoreArgs),
    #[command(subcommand)]
    Limits(limits::Limits),
    Log(log::LogArgs),
}

/// Adds the operator commands.
pub(crate) fn add_commands(command: Command) -> Command {
    let mut command = Admin::augment_subcommands(command);
    let names: Vec<String> = command
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    for name in names.iter().filter(|name| *name != "serve") {
        command = command.mut_subcommand(name, |one| {
            let json = clap::Arg::new("json")
                .long("json")
                .global(true)
                .action(clap::ArgAction::SetTrue);
            let one = one.arg(json.help("Print a JSON object"));
            // These commands look at what `serve` would do with the same options.
            match name.as_str() {
                "check" => one.args(all_args()),
                "cert" | "config" => one.args(all_args().map(|arg| arg.global(true))),
                _ => one.args(place_args()),
            }
        });
    }
    command
}

/// What every command needs.
struct App {
    config: Config,
    is_json: bool,
}

impl App {
    /// The store, to change it.
    fn operator(&self) -> Result<Recorded, Failure> {
        operator_of(&self.config.store).map_err(|failure| self.say_where_servers_are(failure))
    }

    /// The store, to look at it.
    fn inspector(&self) -> Result<Box<dyn Inspector>, Failure> {
        let opened = self.config.store.inspector();
        opened.map_err(|error| self.say_where_servers_are(error.into()))
    }

    /// Where there is no store or no server, another data dir may be meant.
    fn say_where_servers_are(&self, failure: Failure) -> Failure {
        match running::elsewhere(&self.config).filter(|_| failure.code == Code::NotFound) {
            Some(servers) => Failure {
                hint: format!(
                    "a server runs with another data dir, {servers}: give that with --data-dir or \
                     --config, or set data-dir in /etc/passmate/server.toml"
                ),
                ..failure
            },
            None => failure,
        }
    }

    /// Says on standard error which place a command speaks of.
    fn say_place(&self, command: &Admin) {
        let place = match command {
            Admin::Config(_) | Admin::MigrateStore(_) => return,
            Admin::Verify(args) if args.is_of_file() => return,
            Admin::Cert(_) | Admin::Limits(_) => {
                format!("data dir {}", self.config.data_dir.display())
            }
            _ => match self.config.store.file() {
                Some(file) => format!("store {}", file.display()),
                None => format!("store {}", self.config.store),
            },
        };
        if !self.is_json {
            note(&place);
        }
    }

    /// Prints the result as text, or as a JSON object. Neither acts on a terminal. A reader that goes
    /// away, such as `head`, has what it wants.
    fn answer(&self, text: &str, object: serde_json::Value) -> Result<(), Failure> {
        match self.print(text, object) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => Ok(printed?),
        }
    }

    fn print(&self, text: &str, object: serde_json::Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.is_json {
            let mut object = object;
            if let Some(members) = object.as_object_mut() {
                members.insert("version".to_owned(), json!(1));
            }
            writeln!(out, "{}", printable_json(&object.to_string()))?;
        } else {
            for line in text.split_inclusive('\n') {
                let (line, end) = line
                    .strip_suffix('\n')
                    .map_or((line, ""), |line| (line, "\n"));
                write!(out, "{}{end}", printable(line))?;
            }
        }
        out.flush()
    }
}

/// Reads an operator's note.
fn parse_note(text: &str) -> Result<String, String> {
    if text.chars().count() > NOTE_LEN_MAX {
        return Err(format!("a note has at most {NOTE_LEN_MAX} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("a note is one line without control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// Opens a store to change it as the user that runs this command.
fn operator_of(store: &StoreUrl) -> Result<Recorded, Failure> {
    Ok(Recorded(store.operator(actor::of_process())?))
}

/// An opened store. Dropping it warns if what the command did was not recorded.
struct Recorded(Box<dyn Operator>);

impl Deref for Recorded {
    type Target = dyn Operator;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl DerefMut for Recorded {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.0
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        match self.0.unrecorded() {
            None => {}
            Some(Unrecorded::OlderSchema) => warn(
                &"`passmate-server log` will not show this: the store has the schema of an older \
                  version, and the next start of the server upgrades it",
            ),
            Some(Unrecorded::Damaged) => warn(
                &"`passmate-server log` will not show this: the record in the store is damaged, \
                  and `passmate-server verify` says where",
            ),
        }
    }
}

/// Runs a command other than `serve`.
pub(crate) fn run(matches: &ArgMatches, environment: Environment) -> ExitCode {
    match try_run(matches, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure {
            code,
            message,
            hint,
        }) => complain(code, &message, &hint),
    }
}

fn try_run(matches: &ArgMatches, environment: Environment) -> Result<(), Failure> {
    let command = Admin::from_arg_matches(matches).map_err(|error| {
        Failure::new(
            Code::Usage,
            error,
            "`passmate-server --help` shows the commands",
        )
    })?;
    // Global options are known to the innermost subcommand.
    let mut leaf = matches;
    while let Some((_, next)) = leaf.subcommand() {
        leaf = next;
    }
    let sources = Sources::from_matches(leaf, environment);
    let config = match Config::gather(&sources) {
        Err(error) if matches!(command, Admin::Check(_)) => {
            return Err(check::unconfigured(&error, leaf.get_flag("json")));
        }
        gathered => gathered?,
    };
    let app = App {
        config,
        is_json: leaf.get_flag("json"),
    };
    app.say_place(&command);
    match command {
        Admin::Account(command) => account::run(&app, &command),
        Admin::Invite(command) => invite::run(&app, &command),
        Admin::Cert(command) => cert::run(&app, &command),
        Admin::Check(_) => check::run(&app, &sources),
        Admin::Config(command) => config::run(&app, &sources, &command),
        Admin::Backup(args) => backup::back_up(&app, &args),
        Admin::Restore(args) => backup::restore(&app, &sources, &args),
        Admin::Verify(args) => backup::verify(&app, &args),
        Admin::ImportSpr(args) => import_spr::run(&app, &args),
        Admin::MigrateStore(args) => migrate_store::run(&app, &args),
        Admin::Limits(command) => limits::run(&app, &command),
        Admin::Log(args) => log::run(&app, &args),
    }
}
