//! How the program exits: exit codes, and the two lines of an error.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::text::printable;

/// The exit codes other than 0. They are those of `passmate`, and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Of `serve`: it could not start, or its store failed.
    Other = 1,
    /// The command line, the environment or the configuration file is wrong.
    Usage = 2,
    Cancelled = 3,
    Damaged = 6,
    File = 7,
    InUse = 8,
    NotFound = 10,
    Exists = 12,
    /// An object store cannot be reached, or does not do its work.
    #[cfg(feature = "s3")]
    Network = 20,
    /// The certificate of an object store is not trusted.
    #[cfg(feature = "s3")]
    NotTrusted = 21,
    /// An object store refuses.
    #[cfg(feature = "s3")]
    Refused = 22,
    NotSupported = 24,
    Findings = 31,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Prints a line on standard error, in which names of files do not act on a terminal. Without one, nobody reads it, and the program goes on.
pub(crate) fn note(text: &str) {
    print(&format!("passmate-server: {}\n", printable(text)));
}

/// Prints a warning on standard error. Without one, nobody reads it, and the program goes on.
pub(crate) fn warn(warning: &dyn fmt::Display) {
    note(&format!("warning: {warning}"));
}

/// Prints an error and its hint on standard error.
pub(crate) fn complain(code: Code, error: &dyn fmt::Display, hint: &str) -> ExitCode {
    // Without a standard error the exit code must be enough.
    print(&format!(
        "passmate-server: error: {}\npassmate-server: hint: {}\n",
        printable(&error.to_string()),
        printable(hint)
    ));
    code.into()
}

fn print(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
