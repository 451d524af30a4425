//! The program of this crate, for the test kit.

use std::path::Path;
use std::process::{Command, Output};

pub(crate) use passmate_testkit::process::{Program, failed, ok, text};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_passmate-server");

/// `passmate-server serve` on this data dir.
pub(crate) fn command(data_dir: &Path) -> Command {
    passmate_testkit::process::command(PROGRAM, data_dir)
}

/// A running server on a free port of 127.0.0.1, layout 1.
pub(crate) fn start(data_dir: &Path, more: &[&str]) -> Program {
    Program::start(PROGRAM, data_dir, more)
}

/// Runs an operator command on a data dir.
pub(crate) fn operate(data_dir: &Path, words: &[&str]) -> Output {
    passmate_testkit::process::operate(PROGRAM, data_dir, words)
}
