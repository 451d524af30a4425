use std::path::PathBuf;

use passmate_core::problem::{Problem, ProblemKind};

/// Write the manual pages of all commands to a folder
///
/// To read one: passmate man /tmp/pages && man /tmp/pages/passmate-sync.1
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder that exists; earlier pages in it are replaced
    dir: PathBuf,
}

pub(crate) fn run(args: &Args, program: clap::Command) -> Result<(), Problem> {
    clap_mangen::generate_to(program, &args.dir).map_err(|error| {
        Problem::new(
            ProblemKind::File,
            format!(
                "cannot write manual pages to {}: {error}",
                args.dir.display()
            ),
            "name a folder that exists and that you may write to",
        )
    })
}
