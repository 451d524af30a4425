//! A real server in a process of its own, and what every test does with it.

pub(crate) mod data;
pub(crate) mod device;
pub(crate) mod exchange;
pub(crate) mod program;
pub(crate) mod terminal;
pub(crate) mod transcript;

use std::ops::Deref;
use std::path::Path;
use std::process::Command;

use passmate_testkit::postgres::Database;
use passmate_testkit::process::Program;
use passmate_vault::Pin;
use program::{Said, finish};

const PROGRAM: &str = env!("CARGO_BIN_EXE_e2e-passmate-server");

/// A running `passmate-server serve`, killed when the test ends.
pub(crate) struct Server {
    process: Program,
    pub(crate) pin: Pin,
}

impl Server {
    /// On a free port of 127.0.0.1, layout 1.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &["--listen", "127.0.0.1:0"])
    }

    pub(crate) fn start_with(data_dir: &Path, arguments: &[&str]) -> Self {
        Self::spawn(Command::new(PROGRAM), data_dir, arguments)
    }

    /// In the network namespace of a process.
    pub(crate) fn start_in(process: u32, data_dir: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{process}/ns/net"));
        command.arg("--").arg(PROGRAM);
        Self::spawn(command, data_dir, arguments)
    }

    fn spawn(mut command: Command, data_dir: &Path, arguments: &[&str]) -> Self {
        command
            .env_clear()
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .args(arguments);
        if !arguments.contains(&"--store") {
            choose_engine(&mut command, data_dir);
        }
        let process = Program::spawn(command, data_dir);
        let pin = process.pin().parse().unwrap();
        Self { process, pin }
    }

    /// Kills it at once, as the system does when memory runs out.
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(self) {
        self.process.stop();
    }

    /// Stops it, and returns its whole log.
    pub(crate) fn log(self) -> String {
        self.process.log()
    }
}

impl Deref for Server {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.process
    }
}

/// Runs a command of `passmate-server` other than `serve`, as an operator does while a server runs.
pub(crate) fn operate(data_dir: &Path, words: &[&str]) -> Said {
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(words);
    command.arg("--data-dir").arg(data_dir);
    if !words.contains(&"--store") {
        choose_engine(&mut command, data_dir);
    }
    finish(&mut command, "")
}

/// The engine of this run: with `PASSMATE_TEST_ENGINE=postgres`, each data dir has a database of the
/// shared cluster in place of its file.
pub(crate) fn is_on_postgres() -> bool {
    match std::env::var("PASSMATE_TEST_ENGINE").as_deref() {
        Ok("postgres") => true,
        Ok("sqlite") | Err(_) => false,
        Ok(other) => panic!("PASSMATE_TEST_ENGINE is {other}: write sqlite or postgres"),
    }
}

fn choose_engine(command: &mut Command, data_dir: &Path) {
    if is_on_postgres() {
        command.env("PASSMATE_SERVER_STORE", Database::of(data_dir).url());
    }
}
