//! From the arguments of this process to one command, and from its result to an exit code.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use passmate_core::command::{Command as Line, command};
use passmate_core::harden::harden;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::settings::Color;
use passmate_vault::format::container::Params;

use crate::app::App;
use crate::args::{Cli, Command, with_named_alone};
use crate::clipboard;
use crate::commands::{
    add, agent, audit, code, completions, config, copy, docker_credential, doctor, edit, export,
    find, generate, git_credential, history, import, init, inject, list, log, man, passwd,
    profiles, purge, qr, read, record, recover, restore, run, scan, show, sync, type_field, undo,
};
use crate::completing::{CommandLine, answer_shell};
use crate::config::{Global, gather};
use crate::editor::delete_leftovers;
use crate::examples::with_examples;
use crate::exit::code_of;
use crate::output::Output;
use crate::shell;
use crate::tui;

/// Runs the program on this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    main_with(Params::STANDARD)
}

/// As [`main`], with another key derivation for the vaults that it writes: tests of whole programs
/// have a cheap one. No argument and no variable sets it.
#[must_use]
pub fn main_with(cost: Params) -> ExitCode {
    harden();
    answer_shell(CommandLine {
        whole: Cli::command,
        named: with_named_alone,
    });
    let words = arguments(std::env::args_os());
    let cli = match Cli::read(&words) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &words),
    };
    // It needs neither settings nor a vault.
    if let Some(Command::ClipboardHolder { seconds }) = cli.command {
        clipboard::hold(Duration::from_secs(seconds));
    }
    let has_screen = tui::has_terminal() && !cli.global.no_input && !cli.global.json;
    if cli.command.is_none() && !has_screen {
        let needed = Cli::command()
            .arg_required_else_help(true)
            .subcommand_required(true);
        return match needed.try_get_matches() {
            // Its message would list commands that are not for people.
            Err(error) if error.kind() == ErrorKind::MissingSubcommand => {
                let problem = Problem::usage(
                    "no command is named",
                    "`passmate --help` lists the commands; on a terminal `passmate` alone is a full \
                     screen",
                );
                refuse(&cli.global.output(), &problem)
            }
            Err(error) => usage(&error, &words),
            Ok(_) => ExitCode::from(code_of(ProblemKind::Usage)),
        };
    }
    delete_leftovers();
    match execute(&cli, cost) {
        Ok(code) => code,
        Err(code) => code,
    }
}

/// Does what a command line says, and tells what went wrong.
///
/// # Errors
/// It went wrong.
fn execute(cli: &Cli, cost: Params) -> Result<ExitCode, ExitCode> {
    let out = cli.global.output();
    if let Some(done) = cli.command.as_ref().and_then(|command| lock(&out, command)) {
        if let (Ok(()), Err(problem)) = (&done, gather(&cli.global, cost)) {
            warn_of_settings(&out, &problem);
        }
        return end(&out, done.map(|()| ExitCode::SUCCESS));
    }
    match gather(&cli.global, cost) {
        Ok(app) => match &cli.command {
            Some(command) => end(&app.out, run(&app, &cli.global, command)),
            None => end(&app.out, tui::run(&app).map(|()| ExitCode::SUCCESS)),
        },
        Err(problem) => {
            let done = without_settings(&out, cli, cost, problem);
            end(&out, done.map(|()| ExitCode::SUCCESS))
        }
    }
}

/// What must work whatever the settings and the environment say: locking, and looking whether
/// something is unlocked. `None` for every other command.
fn lock(out: &Output, command: &Command) -> Option<Result<(), Problem>> {
    match command {
        Command::Lock(_) => Some(agent::lock(out)),
        Command::Agent(args) => args.run_without_settings(out),
        _ => None,
    }
}

/// What can be done although the settings or the environment are at fault.
fn without_settings(
    out: &Output,
    Cli { command, global }: &Cli,
    cost: Params,
    problem: Problem,
) -> Result<(), Problem> {
    match command {
        Some(Command::Doctor(_)) => doctor::run_without_settings(out, global, problem),
        Some(Command::Config(args)) => {
            config::run(out, global, args)?;
            warn_of_settings(out, &problem);
            Ok(())
        }
        Some(Command::Agent(args)) if args.serves() => agent::serve(out, cost),
        _ => Err(problem),
    }
}

fn warn_of_settings(out: &Output, problem: &Problem) {
    out.warn(&format!(
        "the settings are at fault: {}; `passmate doctor` says how to mend that",
        problem.message
    ));
}

/// The arguments of a process. A name under which git or docker looks for a helper stands for its
/// command.
fn arguments(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<_> = words.into_iter().collect();
    let name = words.first().and_then(|word| Path::new(word).file_name());
    let command = match name.and_then(OsStr::to_str) {
        Some("git-credential-passmate") => "git-credential",
        Some("docker-credential-passmate") => "docker-credential",
        _ => return words,
    };
    words.insert(1, command.into());
    words
}

fn refuse(out: &Output, problem: &Problem) -> ExitCode {
    out.problem(problem);
    ExitCode::from(code_of(problem.kind))
}

fn end(out: &Output, result: Result<ExitCode, Problem>) -> Result<ExitCode, ExitCode> {
    match result {
        Ok(code) => {
            out.tell_held();
            Ok(code)
        }
        Err(problem) => Err(refuse(out, &problem)),
    }
}

fn run(app: &App, global: &Global, command: &Command) -> Result<ExitCode, Problem> {
    let done = match command {
        Command::Init(args) => init::run(app, args),
        Command::Ls(args) => list::run(app, args),
        Command::Show(args) => show::run(app, args),
        Command::Add(args) => add::run(app, args),
        Command::New(args) => record::new(app, args),
        Command::Set(args) => record::set(app, args),
        Command::Unset(args) => record::unset(app, args),
        Command::Gen(args) => generate::run(app, args),
        Command::Mv(args) => record::mv(app, args),
        Command::Cp(args) => record::cp(app, args),
        Command::Rm(args) => record::rm(app, args),
        Command::Edit(args) => edit::run(app, args),
        Command::Find(args) => find::run(app, args),
        Command::Copy(args) => copy::run(app, args),
        Command::Type(args) => type_field::run(app, args),
        Command::Code(args) => code::run(app, args),
        Command::Qr(args) => qr::run(app, args),
        // It ends as the program does that it runs.
        Command::Run(args) => return run::run(app, args),
        Command::Inject(args) => inject::run(app, args),
        Command::Scan(args) => scan::run(app, args),
        Command::GitCredential(args) => git_credential::run(app, args),
        Command::DockerCredential(args) => return docker_credential::run(app, args),
        Command::Read(args) => read::run(app, args),
        Command::History(args) => history::run(app, args),
        Command::Purge(args) => purge::run(app, args),
        Command::Restore(args) => restore::run(app, args),
        Command::Undo(args) => undo::undo(app, args),
        Command::Redo(args) => undo::redo(app, args),
        Command::Audit(args) => audit::run(app, args),
        Command::Config(args) => config::run(&app.out, global, args),
        Command::Doctor(args) => doctor::run(app, global, args),
        Command::Export(args) => export::run(app, args),
        Command::Import(args) => import::run(app, args),
        Command::Passwd(args) => passwd::run(app, args),
        Command::Recover(args) => recover::run(app, args),
        Command::Profiles(args) => profiles::run(app, args),
        Command::Sync(args) => sync::run(app, args),
        Command::Unlock(args) => agent::unlock(app, args),
        Command::Lock(_) => agent::lock(&app.out),
        Command::Log(args) => log::run(app, args),
        Command::Agent(args) => agent::run(app, args),
        Command::Shell(_) => {
            let all = Cli::command();
            let names = all.get_subcommands().filter(|one| !one.is_hide_set());
            let names = names.map(|one| one.get_name().to_owned()).collect();
            shell::run(app, names, &|line| run_line(line, app.cost))
        }
        Command::Completions(args) => completions::run(app, args),
        Command::Man(args) => man::run(args, with_examples(Cli::command())),
        Command::ClipboardHolder { .. } => Ok(()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Runs a line of the shell, with the options that the shell was started with. Whether it succeeded.
fn run_line(line: &[String], cost: Params) -> bool {
    let options = std::env::args_os().skip(1);
    let options = options.filter(|word| word != "shell");
    let line = line.iter().map(OsString::from);
    let words = std::iter::once("passmate".into()).chain(options);
    let words: Vec<OsString> = words.chain(line).collect();
    let cli = match Cli::read(&words) {
        Ok(cli) => cli,
        Err(error) => {
            usage(&error, &words);
            return false;
        }
    };
    match &cli.command {
        None => false,
        Some(Command::Shell(_)) => {
            let problem = Problem::usage("this is the shell", "`exit` leaves it");
            refuse(&cli.global.output(), &problem);
            false
        }
        Some(_) => execute(&cli, cost).is_ok(),
    }
}

/// A command line that cannot be read, or the help that was asked for.
fn usage(error: &clap::Error, words: &[OsString]) -> ExitCode {
    if error.kind() == ErrorKind::DisplayHelp {
        // Only who asks for help pays for the examples.
        let with_examples = with_examples(Cli::command())
            .try_get_matches_from(words)
            .err();
        // Nobody may be reading.
        let _ = with_examples.as_ref().unwrap_or(error).print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayVersion {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(code_of(ProblemKind::Usage));
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
    let hint = match (unknown_argument(error, words), line("tip:")) {
        (Some(hint), _) => hint,
        (None, Some(tip)) => tip.to_owned(),
        (None, None) if error.kind() == ErrorKind::InvalidUtf8 => {
            "paths of records, names of fields and all other words are UTF-8 text".to_owned()
        }
        (None, None) => help_of(&named_command(words)),
    };
    let problem = Problem::usage(message.strip_prefix("error: ").unwrap_or(&message), hint);
    let is_json = words.iter().any(|word| word == "--json");
    refuse(&Output::new(is_json, false, false, Color::Never), &problem)
}

/// The command that the arguments name, with the commands above it.
fn named_command(words: &[OsString]) -> Vec<clap::Command> {
    let mut named = vec![Cli::command()];
    for word in words.iter().skip(1) {
        let found = named
            .last()
            .and_then(|command| command.find_subcommand(word));
        if let Some(found) = found.filter(|found| !found.is_hide_set()).cloned() {
            named.push(found);
        }
    }
    named
}

fn help_of(named: &[clap::Command]) -> String {
    match named {
        [_, commands @ ..] if !commands.is_empty() => {
            let names = commands.iter().map(clap::Command::get_name);
            let line = names.fold(command(["passmate"]), Line::arg);
            format!("{} shows what it takes", line.word("--help"))
        }
        _ => "`passmate --help` and `passmate COMMAND --help` show what there is".to_owned(),
    }
}

/// What may have been meant by an argument that a command does not take.
fn unknown_argument(error: &clap::Error, words: &[OsString]) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let named = named_command(words);
    let command = named.last()?;
    let mut letters = argument.strip_prefix('-').unwrap_or_default().chars();
    if let (Some(letter), None) = (letters.next(), letters.next())
        && letter.is_ascii_alphabetic()
    {
        let options = command
            .get_arguments()
            .filter(|option| !option.is_hide_set());
        let names = options.filter_map(clap::Arg::get_long);
        let meant: Vec<_> = names
            .filter(|name| name.starts_with(letter))
            .map(|name| format!("--{name}"))
            .collect();
        return Some(match meant.as_slice() {
            [] => help_of(&named),
            meant => format!("did you mean {}?", meant.join(" or ")),
        });
    }
    (command.get_name() == "set" && !argument.starts_with('-')).then(|| {
        "a value is never an argument, because other programs can read those: leave it out, and \
         type it when you are asked, or pipe it in"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_the_command_is_named() {
        let command = |name: &'static str| clap::Command::new(name);
        assert_eq!(
            help_of(&[command("passmate"), command("sync"), command("setup")]),
            "`passmate sync setup --help` shows what it takes"
        );
        assert!(help_of(&[command("passmate")]).contains("COMMAND"));
    }
}
