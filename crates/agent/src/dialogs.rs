//! Asks a person where no terminal is, by a pinentry program: a small window of the desktop, as GnuPG
//! has it.

mod assuan;

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use passmate_core::problem::{Problem, ProblemKind};
use passmate_vault::Passphrase;
use serde::{Deserialize, Serialize};

use self::assuan::{CANCELED, NOT_CONFIRMED, Pinentry, Reply, TIMEOUT};

/// The program where the settings name none.
const DEFAULT: &str = "pinentry";
/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much longer the program may take to say that.
const SLACK: Duration = Duration::from_secs(5);
/// How often the passphrase of an agreement may be wrong.
const TRIES: usize = 3;
const TITLE: &str = "Passmate";

/// A pinentry program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogs {
    program: PathBuf,
}

/// Whether a passphrase is the right one.
pub type Check = dyn Fn(&Passphrase) -> bool + Send;

/// A window that asks whether a secret may be used.
pub struct Window {
    /// What asks.
    pub dialogs: Dialogs,
    /// Whoever agrees must type the passphrase that this accepts.
    pub check: Option<Box<Check>>,
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("dialogs", &self.dialogs)
            .finish_non_exhaustive()
    }
}

impl Window {
    /// Asks whether a secret may be used. `text` says by whom and for what; it must be escaped. The
    /// window closes when `is_over` says that nobody waits for the answer any more.
    ///
    /// # Errors
    /// The person took too long, or the program failed or was ended by somebody else.
    pub fn decide(
        &self,
        text: &str,
        a_while: &str,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Decision, Problem> {
        match &self.check {
            None => self.dialogs.decide_by_button(text, a_while, is_over),
            Some(check) => self.dialogs.decide_by_passphrase(text, check, is_over),
        }
    }
}

/// What a person says to a use of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// This once.
    Once,
    /// For a while.
    ForAWhile,
    /// No.
    Refused,
}

impl Dialogs {
    /// The program that the settings name, or else the system's, if there is a display for its
    /// window.
    #[must_use]
    pub fn find(program: Option<&Path>) -> Option<Self> {
        let program = match program {
            Some(program) => program,
            None if has_display() => Path::new(DEFAULT),
            None => return None,
        };
        let program = found(program)?;
        Some(Self { program })
    }

    /// Asks for a passphrase.
    ///
    /// # Errors
    /// The person gave up, took too long, or the program failed.
    pub fn passphrase(&self, prompt: &str) -> Result<Passphrase, Problem> {
        match self.ask(&[("SETPROMPT", prompt)], "GETPIN", &|| false)? {
            Reply::Done(typed) => Ok(Passphrase::from(typed.as_str().to_owned())),
            Reply::Failed(CANCELED) => Err(Problem::new(
                ProblemKind::Cancelled,
                "no passphrase was typed",
                "run it again and type the passphrase into the window that opens",
            )),
            Reply::Failed(code) => Err(self.refused(code)),
        }
    }

    /// Asks whether a secret may be used, by the buttons of a window.
    fn decide_by_button(
        &self,
        text: &str,
        a_while: &str,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Decision, Problem> {
        let texts = [
            ("SETDESC", text),
            ("SETOK", "Allow once"),
            ("SETNOTOK", a_while),
            ("SETCANCEL", "Refuse"),
        ];
        match self.ask(&texts, "CONFIRM", is_over)? {
            Reply::Done(_) => Ok(Decision::Once),
            Reply::Failed(NOT_CONFIRMED) => Ok(Decision::ForAWhile),
            Reply::Failed(CANCELED) => Ok(Decision::Refused),
            Reply::Failed(code) => Err(self.refused(code)),
        }
    }

    /// Asks whether a secret may be used this once, and for the passphrase as the yes.
    fn decide_by_passphrase(
        &self,
        text: &str,
        check: &Check,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Decision, Problem> {
        let mut texts = vec![
            ("SETDESC", text),
            ("SETPROMPT", "Master passphrase:"),
            ("SETOK", "Allow once"),
            ("SETCANCEL", "Refuse"),
        ];
        for attempt in 0..TRIES {
            if attempt == 1 {
                texts.push(("SETERROR", "Wrong passphrase"));
            }
            match self.ask(&texts, "GETPIN", is_over)? {
                Reply::Done(typed) if check(&Passphrase::from(typed.as_str().to_owned())) => {
                    return Ok(Decision::Once);
                }
                Reply::Done(_) => {}
                Reply::Failed(CANCELED) => return Ok(Decision::Refused),
                Reply::Failed(code) => return Err(self.refused(code)),
            }
        }
        Err(self.failed("the passphrase was wrong each time"))
    }

    /// Opens a window with these texts, and waits for what a person does with it. It closes when
    /// `is_over` says that nobody waits for them any more.
    fn ask(
        &self,
        texts: &[(&str, &str)],
        request: &str,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Reply, Problem> {
        let ask = || {
            let mut pinentry = self.start(is_over)?;
            for (command, text) in texts {
                pinentry.set(command, text)?;
            }
            let reply = pinentry.ask(request, "")?;
            pinentry.end()?;
            Ok(reply)
        };
        ask().map_err(|error: io::Error| self.failed(&error.to_string()))
    }

    fn start<'a>(&self, is_over: &'a dyn Fn() -> bool) -> io::Result<Pinentry<'a>> {
        let mut pinentry = Pinentry::start(&self.program, PATIENCE + SLACK, is_over)?;
        let term = std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".to_owned());
        pinentry.set("OPTION", "ttyname=/dev/tty")?;
        pinentry.set("OPTION", &format!("ttytype={term}"))?;
        pinentry.set("SETTITLE", TITLE)?;
        pinentry.set("SETTIMEOUT", &PATIENCE.as_secs().to_string())?;
        Ok(pinentry)
    }

    fn refused(&self, code: u32) -> Problem {
        match code {
            TIMEOUT => Problem::new(
                ProblemKind::Locked,
                format!("nobody answered within {} seconds", PATIENCE.as_secs()),
                "run it again and answer in the window that opens",
            ),
            code => self.failed(&format!("code {code}")),
        }
    }

    fn failed(&self, why: &str) -> Problem {
        Problem::new(
            ProblemKind::Other,
            format!("{} did not ask: {why}", self.program.display()),
            "set `pinentry.program` in the settings to a pinentry program that works here, or run \
             it on a terminal",
        )
    }
}

fn has_display() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set("WAYLAND_DISPLAY") || is_set("DISPLAY")
}

/// The file of a program: a path, or a name that is looked up in the absolute folders of `PATH`.
fn found(program: &Path) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        let found = path.metadata();
        found.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(is_program);
    }
    let folders = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&folders).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(program)).find(is_program)
}
