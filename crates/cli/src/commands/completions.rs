use clap_complete::Shell;
use passmate_core::problem::{Problem, ProblemKind};

use crate::app::App;
use crate::completing::{SHELLS, VARIABLE};

/// Print completions for a shell
///
/// For bash: passmate completions bash > ~/.local/share/bash-completion/completions/passmate
///
/// The Tab key completes records, fields and references too while the agent holds the vault. Without
/// an agent it completes commands, options and settings alone, and asks nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

const NAME: &str = "passmate";

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let shell = SHELLS.completer(&args.shell.to_string());
    let mut script = Vec::new();
    let written =
        shell.map(|shell| shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script));
    let script = String::from_utf8_lossy(&script);
    match written {
        Some(Ok(())) => app.out.value(script.trim()),
        _ => Err(Problem::new(
            ProblemKind::NotSupported,
            format!("there are no completions for {}", args.shell),
            "there are some for bash, elvish, fish, powershell and zsh",
        )),
    }
}
