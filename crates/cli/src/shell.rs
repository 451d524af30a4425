//! `passmate shell`: one line after the other, with the commands and the habits of the original
//! Passmate program, and with all commands of this one.
//!
//! A line becomes the arguments of a command, so that the rules of the commands are the shell's. No
//! value is ever typed into a line, and no line is kept after the shell has ended.

mod complete;
mod line;

use std::cell::RefCell;
use std::ffi::OsString;

use clap::{CommandFactory, Parser};
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{CompletionType, Config, Editor};

use crate::app::App;
use crate::args::{Cli, Command};
use crate::config::gather;
use crate::naming::with_record;
use crate::program::{end, run as run_command, usage};
use complete::{Completing, Helper};
use line::{NAMES, Place, Step, Then, understand};

/// Type commands one after the other, with the names of the original Passmate program
///
/// `open PATH`, or the path alone, opens a record; `show`, `set FIELD`, `gen FIELD`, `rename PATH` and
/// `del` are about the open record, and an empty line closes it. `help` lists them all. Every other
/// command of passmate works too. The Tab key completes names, paths and fields.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// A shell and the record that is open in it.
struct Shell {
    editor: Editor<Helper, MemHistory>,
    /// The options that stood before or behind `shell`: they hold for each line.
    options: Vec<String>,
}

pub(crate) fn run(app: &App) -> Result<(), Problem> {
    if !app.ask.has_person() {
        return Err(Problem::usage(
            "the shell needs a terminal",
            "scripts call the commands themselves: `passmate --help` lists them",
        ));
    }
    let vault = app.open()?;
    if app.look_in_agent().is_none() {
        app.out
            .warn("no agent holds the vault, so each command asks for the passphrase");
    }
    let names = Cli::command();
    let names = names
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let completing = Completing {
        vault,
        open: None,
        commands: names.map(|command| command.get_name().to_owned()).collect(),
    };
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .build();
    let editor = Editor::with_history(config, MemHistory::new()).map_err(|error| failed(&error))?;
    let words = std::env::args().skip(1);
    let mut shell = Shell {
        editor,
        options: words.filter(|word| word != "shell").collect(),
    };
    shell
        .editor
        .set_helper(Some(Helper(RefCell::new(completing))));
    app.out
        .note("`help` lists the commands, the Tab key completes, Ctrl-D ends");
    while let Some(line) = shell.next_line()? {
        // Every line is on its own: one that fails ends nothing.
        if !shell.take(app, &line) {
            break;
        }
    }
    Ok(())
}

fn failed(error: &ReadlineError) -> Problem {
    Problem::new(
        ProblemKind::Other,
        format!("the terminal cannot be read: {error}"),
        "run the commands without the shell",
    )
}

impl Shell {
    fn open(&self) -> Option<String> {
        let completing = self.editor.helper()?.0.borrow();
        completing.open.clone()
    }

    fn set_open(&self, path: Option<String>) {
        if let Some(helper) = self.editor.helper() {
            helper.0.borrow_mut().open = path;
        }
    }

    /// The next line; `None` at the end.
    fn next_line(&mut self) -> Result<Option<String>, Problem> {
        let prompt = match self.open() {
            Some(path) => format!("{}> ", escape(&path)),
            None => "passmate> ".to_owned(),
        };
        match self.editor.readline(&prompt) {
            Ok(line) => {
                // A history that is full forgets its oldest line.
                let _ = self.editor.add_history_entry(line.trim());
                Ok(Some(line))
            }
            // The line is given up, and not the shell.
            Err(ReadlineError::Interrupted) => Ok(Some(GIVEN_UP.to_owned())),
            Err(ReadlineError::Eof) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Does what a line asks for. Returns whether there may be another one.
    fn take(&self, app: &App, line: &str) -> bool {
        if line == GIVEN_UP {
            return true;
        }
        let open = self.open();
        let commands = |word: &str| {
            let helper = self.editor.helper();
            helper.is_some_and(|helper| {
                let names = &helper.0.borrow().commands;
                names.iter().any(|name| name == word)
            })
        };
        let done = match understand(line, open.as_deref(), commands) {
            Step::Nothing => Ok(()),
            Step::Exit => return false,
            Step::Help => help(app, open.is_some()),
            Step::Close => {
                self.set_open(None);
                Ok(())
            }
            Step::Open(path) => self.open_record(app, &path),
            Step::Run(words, then) => self.run(&words, then),
            Step::Unclear(why) => Err(Problem::usage(why, "`help` lists the commands")),
        };
        if let Err(problem) = done {
            app.out.problem(&problem);
        }
        true
    }

    fn open_record(&self, app: &App, path: &str) -> Result<(), Problem> {
        let mut vault = app.open()?;
        let path = with_record(app, &mut *vault, path, |vault, path| {
            vault.fields(path).map(|_| path.to_owned())
        })?;
        drop(vault);
        self.set_open(Some(path.clone()));
        self.run(&["show".to_owned(), "--".to_owned(), path], Then::Stay)
    }

    /// Runs a command of `passmate`, which says itself what went wrong.
    fn run(&self, words: &[String], then: Then) -> Result<(), Problem> {
        let words = self.options.iter().chain(words).map(OsString::from);
        let words: Vec<_> = std::iter::once("passmate".into()).chain(words).collect();
        let cli = match Cli::try_parse_from(&words) {
            Ok(cli) => cli,
            Err(error) => {
                usage(&error, &words);
                return Ok(());
            }
        };
        let Some(command) = cli.command else {
            return Ok(());
        };
        if matches!(command, Command::Shell(_)) {
            return Err(Problem::usage("this is the shell", "`exit` leaves it"));
        }
        let app = gather(&cli.global)?;
        let done = run_command(&app, &cli.global, &command);
        match (&done, then) {
            (Ok(_), Then::Open(path)) => self.set_open(Some(path)),
            (Ok(_), Then::Close) => self.set_open(None),
            _ => {}
        }
        end(&app.out, done);
        Ok(())
    }
}

/// Stands for a line that was given up with Ctrl-C.
const GIVEN_UP: &str = "\u{3}";

fn help(app: &App, has_record: bool) -> Result<(), Problem> {
    let names = NAMES.iter();
    for name in names.filter(|name| name.place == Place::Anywhere || has_record) {
        let usage = format!("{} {}", name.name, name.argument);
        app.out
            .line(&format!("  {:20} {}", usage.trim_end(), name.about))?;
    }
    if !has_record {
        app.out.line("  With a record open there are more.")?;
    }
    app.out
        .line("  Every other command of passmate works too: `--help` lists them.")
}
