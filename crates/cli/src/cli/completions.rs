use clap::CommandFactory;
use clap_complete::Shell;

use super::error::Failure;
use super::{App, Cli};

/// Print completions for a shell
///
/// For bash: passmate completions bash > ~/.local/share/bash-completion/completions/passmate
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "passmate", &mut script);
    app.out.value(String::from_utf8_lossy(&script).trim_end())
}
