//! The program as its users type it: arguments to one command, one command to an exit code.

mod adopt;
mod ask;
mod code;
mod completions;
mod config;
mod edit;
mod error;
mod export;
mod find;
mod generate;
mod history;
mod import;
mod init;
mod list;
mod output;
mod passwd;
mod qr;
mod record;
mod restore;
mod show;
mod sync;
mod undo;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use self::ask::Ask;
use self::error::Failure;
use self::output::{Color, Output};
use passmate_core::session::{Session, VaultLocation};
use passmate_core::sync::Guard;

/// Passwords on all your devices, kept in step through a server that learns nothing.
///
/// Everything is in one encrypted vault on this device; without a network nothing is missing.
#[derive(Debug, Parser)]
#[command(
    name = "passmate",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 ok, 1 other, 2 usage, 3 cancelled, 4 locked, 5 wrong passphrase, 6 damaged, 7 file, \
8 in use, 10 not found, 12 exists already, 20 network, 21 server not trusted, 22 refused by the server, 23 too large, \
24 layout or version not supported, 25 the server returned older data, 26 held back, 27 sync key mistyped."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes, before or after its name.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// The vault file [env: PASSMATE_VAULT] [default: $XDG_DATA_HOME/passmate/vault.pmdb]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "profile")]
    vault: Option<PathBuf>,
    /// Another vault of yours by name [env: PASSMATE_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// Settings [env: PASSMATE_CONFIG] [default: $XDG_CONFIG_HOME/passmate/config.toml if it is
    /// there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The passphrase is this file's first line; `-` is standard input [env:
    /// PASSMATE_PASSPHRASE_FILE]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "passphrase_command"
    )]
    passphrase_file: Option<PathBuf>,
    /// The passphrase is the first line of what this shell command writes [env:
    /// PASSMATE_PASSPHRASE_COMMAND]
    #[arg(long, global = true, value_name = "CMD")]
    passphrase_command: Option<String>,
    /// Answer with one JSON object; errors too, on standard error
    #[arg(long, global = true)]
    json: bool,
    /// Never ask; what would need an answer fails
    #[arg(long, global = true)]
    no_input: bool,
    /// Never use the network
    #[arg(long, global = true)]
    offline: bool,
    /// Say yes to whatever would be asked
    #[arg(long, global = true)]
    yes: bool,
    /// Say nothing but answers and errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more
    #[arg(long, short, global = true)]
    verbose: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN")]
    color: Option<Color>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Ls(list::Args),
    Show(show::Args),
    New(record::NewArgs),
    Set(record::SetArgs),
    Unset(record::UnsetArgs),
    Gen(generate::Args),
    Mv(record::MvArgs),
    Rm(record::RmArgs),
    Edit(edit::Args),
    Find(find::Args),
    Code(code::Args),
    Qr(qr::Args),
    History(history::Args),
    Restore(restore::Args),
    Undo(undo::Args),
    Export(export::Args),
    Import(import::Args),
    Passwd(passwd::Args),
    Sync(sync::Args),
    Completions(completions::Args),
}

/// What a command works with.
struct App {
    location: VaultLocation,
    ask: Ask,
    out: Output,
    /// Nobody named another vault or profile.
    is_default_vault: bool,
    is_offline: bool,
    guard: Guard,
    /// Each command that changes records syncs afterwards.
    syncs_after_changes: bool,
}

impl App {
    /// The unlocked vault; who types a wrong passphrase may try again twice.
    fn open(&self) -> Result<Session, Failure> {
        // Nobody should type a passphrase for a vault that is not there.
        if !self.location.exists() {
            let failure = Failure::from(passmate_core::session::SessionError::NotFound {
                path: self.location.path().to_owned(),
            });
            return Err(match adopt::find_for(self).first() {
                Some(_) => Failure {
                    hint: "`passmate init` makes one, and takes over what the original program has"
                        .into(),
                    ..failure
                },
                None => failure,
            });
        }
        let mut tries_left = if self.ask.passphrase == ask::PassphraseSource::Terminal {
            2
        } else {
            0
        };
        loop {
            let passphrase = self.ask.passphrase("Master passphrase: ")?;
            match Session::open(self.location.clone(), passphrase) {
                Ok(session) => return Ok(session),
                Err(error) => {
                    let failure = Failure::from(error);
                    if failure.code != error::Code::WrongPassphrase || tries_left == 0 {
                        return Err(failure);
                    }
                    self.out.warn("wrong passphrase, try again");
                    tries_left -= 1;
                }
            }
        }
    }
}

/// Runs the program on this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    passmate_core::harden::harden();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let app = match config::gather(&cli.global) {
        Ok(app) => app,
        Err(failure) => {
            let Global {
                json,
                quiet,
                verbose,
                color,
                ..
            } = cli.global;
            return end(
                &Output::new(json, quiet, verbose, color.unwrap_or_default()),
                Err(failure),
            );
        }
    };
    end(&app.out, run(&app, &cli.command))
}

fn end(out: &Output, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(failure.code as u8)
        }
    }
}

fn run(app: &App, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::run(app, args),
        Command::Ls(args) => list::run(app, args),
        Command::Show(args) => show::run(app, args),
        Command::New(args) => record::new(app, args),
        Command::Set(args) => record::set(app, args),
        Command::Unset(args) => record::unset(app, args),
        Command::Gen(args) => generate::run(app, args),
        Command::Mv(args) => record::mv(app, args),
        Command::Rm(args) => record::rm(app, args),
        Command::Edit(args) => edit::run(app, args),
        Command::Find(args) => find::run(app, args),
        Command::Code(args) => code::run(app, args),
        Command::Qr(args) => qr::run(app, args),
        Command::History(args) => history::run(app, args),
        Command::Restore(args) => restore::run(app, args),
        Command::Undo(args) => undo::run(app, args),
        Command::Export(args) => export::run(app, args),
        Command::Import(args) => import::run(app, args),
        Command::Passwd(args) => passwd::run(app, args),
        Command::Sync(args) => sync::run(app, args),
        Command::Completions(args) => completions::run(app, args),
    }
}

/// A command line that cannot be read, or the help that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // Nobody may be reading.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(error::Code::Usage as u8);
    }
    let text = error.render().to_string();
    // Its first paragraph says what is wrong, a `tip:` what may have been meant.
    let line = |prefix: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(prefix))
            .map(str::trim)
    };
    let message: Vec<&str> = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim)
        .collect();
    let message = message.join(" ");
    let hint = line("tip:").map_or_else(
        || "`passmate --help` and `passmate COMMAND --help` show what there is".to_owned(),
        str::to_owned,
    );
    let failure = Failure::usage(message.strip_prefix("error: ").unwrap_or(&message), hint);
    end(
        &Output::new(
            std::env::args().any(|argument| argument == "--json"),
            false,
            false,
            Color::Never,
        ),
        Err(failure),
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }
}
