use clap_complete::Shell;
use passmate_core::problem::Problem;

use crate::app::App;

/// Print completions for a shell
///
/// For bash: passmate completions bash > ~/.local/share/bash-completion/completions/passmate
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(app: &App, args: &Args, mut program: clap::Command) -> Result<(), Problem> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "passmate", &mut script);
    app.out.value(String::from_utf8_lossy(&script).trim_end())
}
