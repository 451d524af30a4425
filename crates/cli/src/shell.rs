//! `passmate shell`: one line after the other, with the commands and the habits of the original
//! Passmate program, and with all commands of this one.
//!
//! A line becomes the arguments of a command, so that the rules of the commands are the shell's. No
//! value is ever typed into a line, and no line is kept after the shell has ended.

mod complete;
mod line;

use std::cell::RefCell;

use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{CompletionType, Config, Editor};

use crate::app::App;
use crate::naming::with_record;
use complete::{Completing, Helper};
use line::{NAMES, Place, Step, Then, understand};

/// A shell and the record that is open in it.
struct Shell<'a> {
    editor: Editor<Helper, MemHistory>,
    /// Runs a command, which says itself what went wrong; whether it succeeded.
    run: &'a dyn Fn(&[String]) -> bool,
}

/// Takes line after line. `commands` are the names of all commands of `passmate`, and `run` runs one
/// with its arguments and says whether it succeeded.
pub(crate) fn run(
    app: &App,
    commands: Vec<String>,
    run: &dyn Fn(&[String]) -> bool,
) -> Result<(), Problem> {
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
    let completing = Completing {
        vault,
        open: None,
        commands,
    };
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .build();
    let editor = Editor::with_history(config, MemHistory::new()).map_err(|error| failed(&error))?;
    let mut shell = Shell { editor, run };
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

impl Shell<'_> {
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
            Step::Run(words, then) => {
                self.run(&words, then);
                Ok(())
            }
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
        self.run(&["show".to_owned(), "--".to_owned(), path], Then::Stay);
        Ok(())
    }

    fn run(&self, words: &[String], then: Then) {
        if (self.run)(words) {
            match then {
                Then::Stay => {}
                Then::Open(path) => self.set_open(Some(path)),
                Then::Close => self.set_open(None),
            }
        }
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
