//! The examples at the end of each command's help. A test runs them one after the other, as one
//! session of a person (`crates/e2e/tests/it/examples.rs`).

use clap::Command;

/// A command of this program, without the program's name, and its two examples.
pub type Example = (&'static str, [&'static str; 2]);

/// All examples, in the order in which the commands are listed.
pub const EXAMPLES: &[Example] = &[
    ("init", ["passmate init", "passmate --profile work init"]),
    ("ls", ["passmate ls web", "passmate ls --deleted"]),
    (
        "show",
        [
            "passmate show web/shop --reveal",
            "passmate show web/shop password | wc -c",
        ],
    ),
    (
        "add",
        [
            "passmate add web/forum --user bob --url https://forum.example --generate",
            "echo 'The key is under the mat' | passmate add home/key --template note",
        ],
    ),
    (
        "new",
        [
            "passmate new web/later",
            "passmate new 'home/wi-fi of the neighbours'",
        ],
    ),
    (
        "set",
        [
            "passmate set web/shop user < user.txt",
            "printf 'money, work' | passmate set web/bank tags",
        ],
    ),
    (
        "unset",
        [
            "passmate unset web/shop notes",
            "passmate unset web/bank tags",
        ],
    ),
    (
        "gen",
        [
            "passmate gen web/shop --length 24",
            "passmate gen home/alarm --words 6",
        ],
    ),
    (
        "mv",
        [
            "passmate mv web/forum web/old/forum",
            "passmate mv home/key home/alarm keys/",
        ],
    ),
    (
        "cp",
        ["passmate cp web/shop web/shop2", "passmate cp keys copies/"],
    ),
    (
        "rm",
        ["passmate rm web/shop2 --yes", "passmate rm copies/ --yes"],
    ),
    (
        "edit",
        [
            "passmate edit web/shop",
            "EDITOR='code --wait' passmate edit web/shop",
        ],
    ),
    (
        "find",
        ["passmate find shp", "passmate find 'shop alice' --json"],
    ),
    (
        "copy",
        ["passmate copy web/shop", "passmate copy web/shop --otp"],
    ),
    (
        "type",
        [
            "passmate type web/shop",
            "passmate type web/shop --otp --enter",
        ],
    ),
    (
        "code",
        ["passmate code web/shop", "passmate code web/shop --json"],
    ),
    ("qr", ["passmate qr web/shop", "passmate qr web/shop user"]),
    (
        "read",
        [
            "passmate read passmate://web/shop/password",
            "psql \"postgres://app:$(passmate read passmate://web/shop/password)@localhost/app\"",
        ],
    ),
    (
        "run",
        [
            "passmate run --env TOKEN=passmate://web/shop/password -- ./deploy",
            "passmate run --env-file .env -- ./deploy",
        ],
    ),
    (
        "inject",
        [
            "passmate inject -i config.tpl -o config.toml",
            "passmate inject -i config.tpl | ./deploy",
        ],
    ),
    ("scan", ["passmate scan src", "passmate scan . --json"]),
    (
        "git-credential",
        [
            "git config --global credential.helper '!passmate git-credential'",
            "printf 'protocol=https\\nhost=shop.example\\n\\n' | passmate git-credential get",
        ],
    ),
    (
        "docker-credential",
        [
            "passmate docker-credential list",
            "echo https://index.example | passmate docker-credential get",
        ],
    ),
    (
        "history",
        [
            "passmate history web/shop",
            "passmate history web/shop password --reveal",
        ],
    ),
    (
        "restore",
        [
            "passmate restore web/shop2",
            "passmate restore web/shop password --at 2",
        ],
    ),
    ("undo", ["passmate undo", "passmate undo --json"]),
    ("redo", ["passmate redo", "passmate redo --json"]),
    (
        "purge",
        [
            "passmate purge web/shop password --at 2 --yes",
            "passmate purge web/shop2 --yes",
        ],
    ),
    (
        "audit",
        [
            "passmate audit",
            "passmate audit --breached hashes.txt --json",
        ],
    ),
    (
        "export",
        [
            "passmate export kdbx all.kdbx",
            "passmate export csv - --yes | head -1",
        ],
    ),
    (
        "import",
        [
            "passmate import export.csv --dry-run",
            "passmate import keepass-csv export.csv",
        ],
    ),
    (
        "passwd",
        [
            "passmate passwd < new.txt",
            "passmate --profile work passwd --log-n 18 < new.txt",
        ],
    ),
    ("recover", ["passmate recover", "passmate recover --json"]),
    (
        "profiles",
        ["passmate profiles", "passmate profiles --json"],
    ),
    ("doctor", ["passmate doctor", "passmate doctor --json"]),
    (
        "config",
        [
            "passmate config show --origin",
            "passmate config set lock.after-idle 30m",
        ],
    ),
    (
        "config get",
        [
            "passmate config get lock.after-idle",
            "passmate config get sync.auto",
        ],
    ),
    (
        "config set",
        [
            "passmate config set sync.auto true",
            "passmate config set clipboard.clear-after 20s",
        ],
    ),
    (
        "config unset",
        [
            "passmate config unset sync.auto",
            "passmate config unset clipboard.clear-after",
        ],
    ),
    (
        "config show",
        [
            "passmate config show",
            "passmate config show --origin --json",
        ],
    ),
    (
        "sync setup",
        [
            "passmate sync setup localhost --pin $PIN",
            "passmate sync setup --folder ~/Sync/passmate",
        ],
    ),
    ("sync", ["passmate sync", "passmate sync --dry-run"]),
    (
        "sync key",
        ["passmate sync key --out key", "passmate sync key --qr"],
    ),
    (
        "sync status",
        ["passmate sync status", "passmate sync status --json"],
    ),
    (
        "sync trust",
        [
            "passmate sync trust --pin $NEXT_PIN",
            "passmate sync trust --pin $NEXT_PIN --json",
        ],
    ),
    (
        "sync rotate",
        [
            "passmate sync rotate --yes",
            "passmate sync rotate --keep-history 1y --yes",
        ],
    ),
    (
        "sync upgrade",
        ["passmate sync upgrade", "passmate sync upgrade --yes"],
    ),
    (
        "sync leave",
        [
            "passmate sync leave --folder --yes",
            "passmate sync leave --yes",
        ],
    ),
    (
        "unlock",
        ["passmate unlock", "passmate --profile work unlock"],
    ),
    ("lock", ["passmate lock", "passmate lock --json"]),
    ("log", ["passmate log", "passmate log -n 5 --json"]),
    ("agent", ["passmate agent status", "passmate agent stop"]),
    (
        "agent status",
        ["passmate agent status", "passmate agent status --json"],
    ),
    (
        "agent stop",
        ["passmate agent stop", "passmate agent stop --json"],
    ),
    (
        "agent approve",
        ["passmate agent approve", "passmate agent approve --json"],
    ),
    (
        "agent run",
        ["passmate agent run", "setsid passmate agent run &"],
    ),
    ("shell", ["passmate shell", "passmate --profile work shell"]),
    (
        "completions",
        [
            "passmate completions bash > ~/.local/share/bash-completion/completions/passmate",
            "passmate completions fish > ~/.config/fish/completions/passmate.fish",
        ],
    ),
    ("man", ["passmate man pages", "man pages/passmate-sync.1"]),
];

/// The same commands, each with its examples at the end of its help.
#[must_use]
pub fn with_examples(program: Command) -> Command {
    below(program, "")
}

fn below(command: Command, path: &str) -> Command {
    command.mut_subcommands(|command| {
        let path = format!("{path} {}", command.get_name());
        let path = path.trim_start();
        let command = below(command, path);
        match EXAMPLES.iter().find(|(name, _)| *name == path) {
            Some((_, [one, two])) => command.after_help(format!("Examples:\n  {one}\n  {two}")),
            None => command,
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn names(command: &Command, path: &str, names: &mut Vec<String>) {
        for below in command
            .get_subcommands()
            .filter(|below| !below.is_hide_set())
        {
            let path = format!("{path} {}", below.get_name());
            self::names(below, &path, names);
            names.push(path.trim_start().to_owned());
        }
    }

    #[test]
    fn every_command_has_two_examples_of_its_own() {
        let mut commands = Vec::new();
        names(&Cli::command(), "", &mut commands);
        let mut explained: Vec<_> = EXAMPLES
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        commands.sort();
        explained.sort();
        assert_eq!(commands, explained);
        for (name, [one, two]) in EXAMPLES {
            assert_ne!(one, two, "{name}");
        }
    }
}
