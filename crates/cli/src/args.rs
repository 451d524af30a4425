//! The command line.

use clap::{Parser, Subcommand};

use crate::clipboard::HOLDER;
use crate::commands::{
    add, agent, audit, code, completions, config, copy, docker_credential, doctor, edit, export,
    find, generate, git_credential, history, import, init, inject, list, log, man, passwd,
    profiles, purge, qr, read, record, recover, restore, run, scan, shell, show, sync, undo,
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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    #[command(visible_alias = "list")]
    Ls(list::Args),
    #[command(visible_alias = "get")]
    Show(show::Args),
    Add(add::Args),
    New(record::NewArgs),
    Set(record::SetArgs),
    Unset(record::UnsetArgs),
    Gen(generate::Args),
    Mv(record::MvArgs),
    Cp(record::CpArgs),
    #[command(visible_alias = "delete")]
    Rm(record::RmArgs),
    Edit(edit::Args),
    Find(find::Args),
    #[command(visible_alias = "clip")]
    Copy(copy::Args),
    #[command(visible_alias = "otp")]
    Code(code::Args),
    Qr(qr::Args),
    Read(read::Args),
    Run(run::Args),
    Inject(inject::Args),
    Scan(scan::Args),
    GitCredential(git_credential::Args),
    DockerCredential(docker_credential::Args),
    History(history::Args),
    Restore(restore::Args),
    Undo(undo::UndoArgs),
    Redo(undo::RedoArgs),
    Purge(purge::Args),
    Audit(audit::Args),
    Export(export::Args),
    Import(import::Args),
    Passwd(passwd::Args),
    Recover(recover::Args),
    Profiles(profiles::Args),
    Doctor(doctor::Args),
    Config(config::Args),
    Sync(sync::Args),
    Unlock(agent::UnlockArgs),
    Lock(agent::LockArgs),
    Log(log::Args),
    Agent(agent::Args),
    Shell(shell::Args),
    Completions(completions::Args),
    Man(man::Args),
    /// Hold what stands on standard input in the clipboard
    #[command(name = HOLDER, hide = true)]
    ClipboardHolder {
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }
}
