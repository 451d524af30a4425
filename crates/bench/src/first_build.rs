//! How long a newcomer waits: from a fresh clone to a server that is ready.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::report::{Figure, Goal, table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Clone this repository
    #[arg(long, default_value = ".")]
    repository: PathBuf,
    /// Folder for the clone and the build
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
}

/// Prints figure 17. What crates.io sends is fetched before the clock starts.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.dir)?;
    let dir = tempfile::Builder::new()
        .prefix("first-build-")
        .tempdir_in(args.dir.canonicalize()?)?;
    let clone = dir.path().join("passmate");
    let mut git = Command::new("git");
    git.args(["clone", "--quiet", "--no-hardlinks"])
        .arg(&args.repository)
        .arg(&clone);
    finish(&mut git)?;
    finish(cargo(&clone).args(["fetch", "--locked"]))?;

    let begun = Instant::now();
    let mut serve = cargo(&clone);
    serve
        .args([
            "run",
            "--release",
            "--locked",
            "-p",
            "passmate-server",
            "--",
        ])
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path().join("data"));
    let mut server = serve.stdout(Stdio::piped()).spawn()?;
    let lines = server.stdout.take().context("it has no standard output")?;
    let is_ready = BufReader::new(lines)
        .lines()
        .map_while(Result::ok)
        .any(|line| line.starts_with("listening on "));
    let ready_after = begun.elapsed();
    // On Unix, cargo has become the server.
    server.kill()?;
    server.wait()?;
    ensure!(is_ready, "the server was not built or did not start");

    let begun = Instant::now();
    finish(cargo(&clone).args(["build", "--release", "--locked", "-p", "passmate"]))?;
    let both_after = ready_after + begun.elapsed();

    let minutes = |name, goal, took: Duration| {
        let mut figure = Figure::new("17", name, "min", Goal::AtMost(goal));
        figure.add(took.as_secs_f64() / 60.0, 1.0);
        figure
    };
    let figures = [
        minutes("from a fresh clone to a ready server", 3.0, ready_after),
        minutes(
            "to both programs, one command after the other",
            4.0,
            both_after,
        ),
    ];
    println!("{}", table(&figures));
    Ok(())
}

/// Cargo in the clone, with settings of its own alone.
fn cargo(clone: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(clone);
    for (name, _) in std::env::vars_os() {
        let is_of_cargo = name.to_str().is_some_and(|name| name.starts_with("CARGO"));
        if is_of_cargo && name != "CARGO_HOME" {
            command.env_remove(name);
        }
    }
    command
}

fn finish(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
