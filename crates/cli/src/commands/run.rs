use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use passmate_core::leak::mask::{is_maskable, masked};
use passmate_core::leak::needles::NEEDLE_LEN_MIN;
use passmate_core::problem::Problem;
use passmate_core::reference::environment::{Environment, Filled};

use crate::app::App;
use crate::child::{program, replace, run_masked};
use crate::input::read_text;
use crate::report::plain;

/// Run a program with values of the vault in its environment
///
/// Variables whose value is a reference, passmate://PATH/FIELD, or holds some in double braces, get
/// the value that it names. They come from the environment, from --env-file, and from --env; a later
/// one counts more. The vault is opened once, and not at all without a reference.
///
/// Secret values in what the program writes are masked, so it writes to a pipe. With --no-masking it
/// has the terminal to itself. Values shorter than 4 bytes are not masked. The exit code is that of
/// the program, or 128 and the number of the signal that ended it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take variables from this .env file; may be repeated
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Set a variable to the value of a reference; may be repeated
    #[arg(long, value_name = "NAME=REF")]
    env: Vec<String>,
    /// Mask nothing, and let the program have the terminal
    #[arg(long)]
    no_masking: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<ExitCode, Problem> {
    let mut command = program(&args.command)?;
    let filled = fill(app, args)?;
    command.envs(filled.pairs());
    if args.no_masking {
        app.out.tell_held();
        return Err(replace(command));
    }
    for (reference, value) in filled.secrets() {
        if !is_maskable(value) {
            app.out.warn(&format!(
                "the value of {reference} is shorter than {NEEDLE_LEN_MIN} bytes, and is not masked"
            ));
        }
    }
    let needles = masked(filled.secrets().map(|(_, value)| value));
    drop(filled);
    run_masked(command, &needles, &app.out)
}

/// The variables with their values.
fn fill(app: &App, args: &Args) -> Result<Filled, Problem> {
    let mut environment = Environment::inherited(std::env::vars_os())?;
    for file in &args.env_file {
        environment.add_file(file, &read_text(file)?)?;
    }
    for assignment in &args.env {
        environment.add(assignment)?;
    }
    if !environment.has_references() {
        app.out
            .note("no variable is a reference, so the vault is not opened");
    }
    plain(environment.fill(|| app.open()))
}
