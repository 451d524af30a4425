//! How soon a program says something on a terminal.

use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};

/// The time from the start of a program until its output contains `text`; then it is killed.
pub(crate) fn time_to(command: &Command, text: &str) -> anyhow::Result<Duration> {
    let mut builder = CommandBuilder::new(command.get_program());
    builder.args(command.get_args());
    builder.env_clear();
    // A program without a folder is looked for there.
    if let Some(path) = std::env::var_os("PATH") {
        builder.env("PATH", path);
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            builder.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        builder.cwd(folder);
    }
    let pair = native_pty_system().openpty(PtySize::default())?;
    let mut reader = pair.master.try_clone_reader()?;
    let begun = Instant::now();
    let mut child = pair.slave.spawn_command(builder)?;
    // When the program has ended, the terminal has too.
    drop(pair.slave);
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    let spent = loop {
        match reader.read(&mut buffer) {
            Ok(len @ 1..) => said.extend(buffer.get(..len).context("a read fits its buffer")?),
            _ => break None,
        }
        if String::from_utf8_lossy(&said).contains(text) {
            break Some(begun.elapsed());
        }
    };
    child.kill().ok();
    child.wait()?;
    match spent {
        Some(spent) => Ok(spent),
        None => bail!("it never said {text:?}: {}", String::from_utf8_lossy(&said)),
    }
}
