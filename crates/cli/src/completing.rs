//! What the Tab key finds in the vault: paths of records, names of fields, references. The rules are:
//!  - only an agent that holds the vault is asked. Without one, and where it is locked or busy,
//!    nothing is found, and nobody is asked anything;
//!  - no value of a field is ever a candidate.

mod bash;
mod zsh;

use std::ffi::OsStr;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use clap::{Command, FromArgMatches};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Elvish, Fish, Powershell, Shells};
use passmate_agent::client::{Agent, Client};
use passmate_agent::place::AgentPlace;
use passmate_core::api::VaultApi;
use passmate_core::escape::escape;
use passmate_core::reference::complete::continuations;
use passmate_core::settings::keys::{KEYS, Key};
use passmate_vault::format::container::Params;

use self::bash::Bash;
use self::zsh::Zsh;
use crate::config::{Global, gather};

/// The variable by which a shell's script asks for candidates; its value is the shell.
pub(crate) const VARIABLE: &str = "PASSMATE_COMPLETE";
/// The shells that have a Tab key.
pub(crate) const SHELLS: Shells<'_> = Shells(&[&Bash, &Elvish, &Fish, &Powershell, &Zsh]);
/// How long a person waits for the Tab key at most. An agent may be busy for longer.
const PATIENCE: Duration = Duration::from_millis(300);

/// The command line of the program, as far as it is needed: to make more takes longer than to ask
/// the agent.
#[derive(Debug)]
pub(crate) struct CommandLine {
    /// Makes all of it.
    pub(crate) whole: fn() -> Command,
    /// Makes it with the one command that these words name, if they name one.
    pub(crate) named: fn(&[String]) -> Option<Command>,
}

static LINE: OnceLock<CommandLine> = OnceLock::new();

/// Answers a shell that asks for candidates, and ends the program then.
pub(crate) fn answer_shell(line: CommandLine) {
    LINE.get_or_init(|| line);
    CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .shells(SHELLS)
        .complete();
}

/// The command line as far as the words before name it. Without options where nobody began to type
/// one: a list of records has none in it.
fn command() -> Command {
    let (words, index) = words();
    let is_option = words.get(index).is_some_and(|word| word.starts_with('-'));
    let whole = || {
        LINE.get()
            .map_or_else(Command::default, |line| (line.whole)())
    };
    let command = named(&words, index).unwrap_or_else(|| whole().mut_subcommands(name_of));
    match is_option {
        true => command,
        false => without_options(command),
    }
}

/// The command that the words before this one name, alone.
fn named(words: &[String], index: usize) -> Option<Command> {
    (LINE.get()?.named)(words.get(..index)?)
}

/// A command among others, of which one is to be chosen: without its arguments.
fn name_of(command: Command) -> Command {
    let name = Command::new(command.get_name().to_owned())
        .hide(command.is_hide_set())
        .visible_aliases(
            command
                .get_visible_aliases()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        );
    match command.get_about() {
        Some(about) => name.about(about.clone()),
        None => name,
    }
}

fn without_options(command: Command) -> Command {
    let command = command.disable_help_flag(true).mut_args(|arg| {
        let is_option = !arg.is_positional();
        arg.hide(is_option)
    });
    command.mut_subcommands(without_options)
}

/// Completes the path of a record.
pub(crate) fn record() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        candidates(typed, |vault, typed| {
            vault.continuations(typed).unwrap_or_default()
        })
    })
}

/// Completes the folder of a record that is to be.
pub(crate) fn folder() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        candidates(typed, |vault, typed| {
            let mut parts = vault.continuations(typed).unwrap_or_default();
            parts.retain(|part| part.ends_with('/'));
            parts
        })
    })
}

/// Completes the name of a field of the record whose path is the word before.
pub(crate) fn field() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        candidates(typed, |vault, typed| {
            let Some(path) = word_before() else {
                return Vec::new();
            };
            let names = vault.fields(&path).unwrap_or_default().into_iter();
            let is_meant = |name: &String| name.starts_with(typed) && escape(name) == *name;
            names.filter(is_meant).collect()
        })
    })
}

/// Completes a reference to a value.
pub(crate) fn reference() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        candidates(typed, |vault, typed| {
            continuations(vault, typed).unwrap_or_default()
        })
    })
}

/// Completes the name of a setting.
pub(crate) fn setting() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = KEYS.iter().map(|key| key.name);
        names.map(CompletionCandidate::new).collect()
    })
}

/// Completes a value of the setting whose name is the word before, if it has few.
pub(crate) fn value_of_setting() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let key = word_before().and_then(|name| Key::find(&name).ok());
        let values = key.map_or(&[][..], Key::values).iter();
        values.map(CompletionCandidate::new).collect()
    })
}

fn candidates(
    typed: &OsStr,
    find: impl FnOnce(&mut Client, &str) -> Vec<String> + Send + 'static,
) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str().map(unquoted) else {
        return Vec::new();
    };
    let (send, found) = channel();
    // The agent may be busy: this program ends before the thread then.
    thread::spawn(move || {
        if let Some(mut vault) = vault_of_agent() {
            // Nobody may wait any more.
            let _ = send.send(find(&mut vault, &typed));
        }
    });
    let found = found.recv_timeout(PATIENCE).unwrap_or_default();
    let found = found.iter().filter_map(|name| match bash::is_asking() {
        true => bash::written(name),
        false => Some(name.clone()),
    });
    found.map(CompletionCandidate::new).collect()
}

/// The vault that the words before name, if the agent holds it.
fn vault_of_agent() -> Option<Client> {
    let (words, index) = words();
    let named = named(&words, index)?
        .ignore_errors(true)
        .try_get_matches_from(words.into_iter().take(index))
        .ok()?;
    let app = gather(&Global::from_arg_matches(&named).ok()?, Params::STANDARD).ok()?;
    let agent = Agent::connect(&AgentPlace::of_user()?).ok()??;
    agent.vault(app.location.path(), app.sync).ok()
}

/// The words of the command line that is completed, and which of them is.
fn words() -> (Vec<String>, usize) {
    let args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let words: Vec<_> = args.skip_while(|arg| arg != "--").skip(1).collect();
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok();
    let index = index.and_then(|index| index.parse().ok());
    let index = index.unwrap_or(words.len().saturating_sub(1));
    match bash::is_asking() {
        true => bash::joined(words, index),
        false => (words, index),
    }
}

/// The last word before the one that is completed, without options.
fn word_before() -> Option<String> {
    let (words, index) = words();
    let mut before = words.into_iter().take(index);
    let word = before.rfind(|word| !word.starts_with('-'))?;
    Some(unquoted(&word))
}

/// A word as the person means it, without its quotes.
fn unquoted(word: &str) -> String {
    let mut bare = String::with_capacity(word.len());
    let mut quote = None;
    let mut characters = word.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => bare.extend(characters.next()),
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            _ => bare.push(character),
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_taken_without_its_quotes() {
        for (typed, meant) in [
            ("web/shop", "web/shop"),
            ("my\\ bank/g", "my bank/g"),
            ("'my bank/g", "my bank/g"),
            ("\"it's\\\" b", "it's\" b"),
            ("a\\", "a"),
            ("", ""),
        ] {
            assert_eq!(unquoted(typed), meant, "{typed}");
        }
    }
}
