//! The commands that describe the program to other programs: completions and manual pages.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::exit::{Code, complain};

pub(super) fn commands() -> [Command; 2] {
    let shell = Arg::new("shell")
        .value_name("SHELL")
        .value_parser(value_parser!(Shell))
        .required(true)
        .help("The shell");
    let dir = Arg::new("dir")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .required(true)
        .help("A folder that exists; earlier pages in it are replaced");
    [
        Command::new("completions")
            .about("Print completions for a shell")
            .arg(shell),
        Command::new("man")
            .about("Write the manual pages of all commands to a folder")
            .arg(dir),
    ]
}

pub(super) fn write_completions(matches: &ArgMatches) -> ExitCode {
    let shell = *matches.get_one::<Shell>("shell").expect("it is required");
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "passmate-server", &mut script);
    match std::io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = format_args!("cannot write the output: {error}");
            complain(Code::Other, &message, "check where standard output goes")
        }
    }
}

pub(super) fn write_pages(matches: &ArgMatches) -> ExitCode {
    let dir: &PathBuf = matches.get_one("dir").expect("it is required");
    match clap_mangen::generate_to(super::command(), dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = format_args!("cannot write manual pages to {}: {error}", dir.display());
            let hint = "name a folder that exists and that you may write to";
            complain(Code::File, &message, hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::super::command;

    /// The names of a command's page and of the pages below it.
    fn pages(command: &clap::Command, name: String, found: &mut Vec<String>) {
        for below in command.get_subcommands() {
            pages(below, format!("{name}-{}", below.get_name()), found);
        }
        found.push(format!("{name}.1"));
    }

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(command(), dir.path()).unwrap();
        let mut expected = Vec::new();
        pages(&command(), "passmate-server".to_owned(), &mut expected);
        assert!(expected.contains(&"passmate-server-account-delete.1".to_owned()));
        for name in expected {
            let page = std::fs::read_to_string(dir.path().join(&name));
            let page = page.unwrap_or_else(|_| panic!("{name} is missing"));
            assert!(page.contains(".TH "), "{name}");
            let home = std::env::var_os("HOME").unwrap_or_default();
            let home = home.to_string_lossy();
            assert!(
                home.len() < 3 || !page.contains(&*home),
                "{name} names a home folder"
            );
        }
        let is_page = |path: &std::path::Path| path.extension() == Some(OsStr::new("1"));
        let written = std::fs::read_dir(dir.path()).unwrap();
        assert!(written.flatten().all(|entry| is_page(&entry.path())));
    }
}
