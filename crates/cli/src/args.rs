//! The command line.

use std::ffi::{OsStr, OsString};

use clap::{Args, FromArgMatches, Parser, Subcommand};

use crate::clipboard::HOLDER;
use crate::commands::{
    add, agent, audit, code, completions, config, copy, docker_credential, doctor, edit, export,
    find, generate, git_credential, history, import, init, inject, list, log, man, passwd,
    profiles, purge, qr, read, record, recover, restore, run, scan, shell, show, sync, type_field,
    undo,
};
use crate::config::Global;

/// A password manager that syncs one encrypted vault between devices, through a server that cannot
/// read it.
///
/// The whole vault is on this device; only a sync needs a network.
///
/// On a terminal, `passmate` without a command is a full screen: a tree of the records, the record,
/// and a search.
#[derive(Debug, Parser)]
#[command(name = "passmate", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 ok, 1 another error, 2 usage, 3 cancelled, 4 locked, 5 wrong \
        passphrase, \
        6 damaged, 7 file error, \
8 in use, 10 not found, 11 ambiguous, 12 already exists, 20 network, 21 server not trusted, 22 refused by the \
server, 23 too large, \
24 layout or version not supported, 25 the server returned older data, 26 held back, 27 sync key \
mistyped, 30 findings of an audit or a scan, 31 findings of doctor."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The commands, from one list: with all of them, and each alone.
macro_rules! commands {
    ($($command:ident($args:ty) = $name:literal $(| $alias:literal)?,)*) => {
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $(
                #[command(name = $name, $(visible_alias = $alias)?)]
                $command($args),
            )*
            /// Hold what stands on standard input in the clipboard
            #[command(name = HOLDER, hide = true)]
            ClipboardHolder {
                #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
                seconds: u64,
            },
        }

        /// The command of this name, with its arguments, for people.
        fn command_named(name: &str) -> Option<clap::Command> {
            match name {
                $(
                    $name $(| $alias)? => {
                        let command = <$args as clap::Args>::augment_args(clap::Command::new($name));
                        $(let command = command.visible_alias($alias);)?
                        Some(command)
                    }
                )*
                _ => None,
            }
        }
    };
}

commands! {
    Init(init::Args) = "init",
    Ls(list::Args) = "ls" | "list",
    Show(show::Args) = "show" | "get",
    Add(add::Args) = "add",
    New(record::NewArgs) = "new",
    Set(record::SetArgs) = "set",
    Unset(record::UnsetArgs) = "unset",
    Gen(generate::Args) = "gen",
    Mv(record::MvArgs) = "mv",
    Cp(record::CpArgs) = "cp",
    Rm(record::RmArgs) = "rm" | "delete",
    Edit(edit::Args) = "edit",
    Find(find::Args) = "find",
    Copy(copy::Args) = "copy" | "clip",
    Type(type_field::Args) = "type",
    Code(code::Args) = "code" | "otp",
    Qr(qr::Args) = "qr",
    Read(read::Args) = "read",
    Run(run::Args) = "run",
    Inject(inject::Args) = "inject",
    Scan(scan::Args) = "scan",
    GitCredential(git_credential::Args) = "git-credential",
    DockerCredential(docker_credential::Args) = "docker-credential",
    History(history::Args) = "history",
    Restore(restore::Args) = "restore",
    Undo(undo::UndoArgs) = "undo",
    Redo(undo::RedoArgs) = "redo",
    Purge(purge::Args) = "purge",
    Audit(audit::Args) = "audit",
    Export(export::Args) = "export",
    Import(import::Args) = "import",
    Passwd(passwd::Args) = "passwd",
    Recover(recover::Args) = "recover",
    Profiles(profiles::Args) = "profiles",
    Doctor(doctor::Args) = "doctor",
    Config(config::Args) = "config",
    Sync(sync::Args) = "sync",
    Unlock(agent::UnlockArgs) = "unlock",
    Lock(agent::LockArgs) = "lock",
    Log(log::Args) = "log",
    Agent(agent::Args) = "agent",
    Shell(shell::Args) = "shell",
    Completions(completions::Args) = "completions",
    Man(man::Args) = "man",
}

/// The command line with the one command that these words name, if they name one. To make all
/// commands takes longer than to read a record.
pub(crate) fn with_named_alone<S: AsRef<OsStr>>(words: &[S]) -> Option<clap::Command> {
    let words = words.iter().skip(1);
    let mut names = words.filter_map(|word| word.as_ref().to_str());
    let named = names.find_map(command_named)?;
    Some(Global::augment_args(clap::Command::new("passmate")).subcommand(named))
}

impl Cli {
    /// Reads a command line.
    ///
    /// # Errors
    /// It is not one of this program's, or asks for help.
    pub(crate) fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        // The first word that is no option, and no value of one, is the command with the others too.
        let alone = with_named_alone(words).and_then(|alone| {
            let matches = alone.try_get_matches_from(words).ok()?;
            Self::from_arg_matches(&matches).ok()
        });
        // What is wrong is said in view of all commands.
        alone.map_or_else(|| Self::try_parse_from(words), Ok)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    /// All that a command takes, below it too.
    fn shape(command: &clap::Command) -> String {
        let names: Vec<_> = command.get_all_aliases().collect();
        let arguments: Vec<_> = command.get_arguments().collect();
        let below: Vec<_> = command.get_subcommands().map(shape).collect();
        let name = command.get_name();
        let about = command.get_about();
        format!("{name} {names:?} {about:?} {arguments:?} {below:?}")
    }

    #[test]
    fn a_command_alone_is_the_one_among_all() {
        let all = Cli::command();
        let for_people = all.get_subcommands().filter(|one| !one.is_hide_set());
        for command in for_people {
            for name in [command.get_name()]
                .into_iter()
                .chain(command.get_all_aliases())
            {
                let words = ["passmate", "--profile", "x", name];
                let alone = with_named_alone(&words).unwrap();
                let found = alone.find_subcommand(name).unwrap();
                assert_eq!(shape(found), shape(command));
                let global = |command: &clap::Command| {
                    let arguments: Vec<_> = command.get_arguments().collect();
                    format!("{arguments:?}")
                };
                assert_eq!(global(&alone), global(&all));
            }
        }
        assert!(with_named_alone(&["show"]).is_none());
        assert!(with_named_alone(&["passmate", "--json", "shwo"]).is_none());
    }

    #[test]
    fn a_line_is_read_as_with_all_commands() {
        for line in [
            "passmate show a b --reveal",
            "passmate --profile show ls --flat",
            "passmate --vault=show get x",
            "passmate -q sync status --json",
            "passmate --profile show",
            "passmate",
            "passmate ls -- --flat",
            "passmate clip",
            "passmate help show",
            "passmate show --help",
            "passmate --version",
            "passmate sync setup --key-file",
            "passmate show a --no-such",
            "passmate -- show a",
            "passmate clipboard-holder",
        ] {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            let said = |read: Result<Cli, clap::Error>| match read {
                Ok(cli) => format!("{cli:?}"),
                Err(error) => error.render().to_string(),
            };
            assert_eq!(
                said(Cli::read(&words)),
                said(Cli::try_parse_from(&words)),
                "{line}"
            );
        }
    }
}
