//! Asks a person where no terminal is, by a pinentry program: a small window of the desktop, as GnuPG
//! has it.

use std::path::{Path, PathBuf};

use passmate_core::problem::{Problem, ProblemKind};
use passmate_vault::Passphrase;
use pinentry::{ConfirmationDialog, Error, PassphraseInput};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

/// The program where the settings name none.
const DEFAULT: &str = "pinentry";
/// How long a person may take, in seconds.
const PATIENCE: u16 = 120;
const TITLE: &str = "Passmate";

/// A pinentry program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogs {
    program: PathBuf,
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
        // It looks the program up.
        PassphraseInput::with_binary(program)?;
        Some(Self {
            program: program.to_owned(),
        })
    }

    /// Asks for a passphrase.
    ///
    /// # Errors
    /// The person gave up, took too long, or the program failed.
    pub fn passphrase(&self, prompt: &str) -> Result<Passphrase, Problem> {
        let input = PassphraseInput::with_binary(&self.program);
        let mut input = input.ok_or_else(|| self.failed("it is gone"))?;
        input.with_title(TITLE);
        input.with_prompt(prompt).with_timeout(PATIENCE);
        let typed = input.interact().map_err(|error| self.problem(&error))?;
        Ok(Passphrase::from(typed.expose_secret().to_owned()))
    }

    /// Asks whether a secret may be used. `text` says by whom and for what; it must be escaped.
    ///
    /// # Errors
    /// The person took too long, or the program failed.
    pub fn decide(&self, text: &str, a_while: &str) -> Result<Decision, Problem> {
        let dialog = ConfirmationDialog::with_binary(&self.program);
        let mut dialog = dialog.ok_or_else(|| self.failed("it is gone"))?;
        dialog.with_title(TITLE).with_timeout(PATIENCE);
        dialog
            .with_ok("Allow once")
            .with_not_ok(a_while)
            .with_cancel("Refuse");
        match dialog.confirm(text) {
            Ok(true) => Ok(Decision::Once),
            Ok(false) => Ok(Decision::ForAWhile),
            Err(Error::Cancelled) => Ok(Decision::Refused),
            Err(error) => Err(self.problem(&error)),
        }
    }

    fn problem(&self, error: &Error) -> Problem {
        match error {
            Error::Cancelled => Problem::new(
                ProblemKind::Cancelled,
                "no passphrase was typed",
                "run it again and type the passphrase into the window that opens",
            ),
            Error::Timeout => Problem::new(
                ProblemKind::Locked,
                format!("nobody answered within {PATIENCE} seconds"),
                "run it again and answer in the window that opens",
            ),
            error => self.failed(&error.to_string()),
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
