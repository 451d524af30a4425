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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn check_pages(command: &clap::Command, name: &str, dir: &std::path::Path) {
        let page = std::fs::read_to_string(dir.join(format!("{name}.1")));
        assert!(page.is_ok_and(|page| page.contains(".TH ")), "{name}");
        for below in command
            .get_subcommands()
            .filter(|below| !below.is_hide_set())
        {
            check_pages(below, &format!("{name}-{}", below.get_name()), dir);
        }
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let dir = tempfile::tempdir().unwrap();
        let args = Args {
            dir: dir.path().to_owned(),
        };
        run(&args, Cli::command()).unwrap();
        check_pages(&Cli::command(), "passmate", dir.path());
        let args = Args {
            dir: dir.path().join("none"),
        };
        let problem = run(&args, Cli::command()).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::File);
    }
}
