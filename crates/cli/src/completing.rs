//! What the Tab key finds in the vault: paths of records, and names of fields. The rules are:
//!  - only an agent that holds the vault is asked. Without one, and where it is locked or busy,
//!    nothing is found, and nobody is asked anything;
//!  - no value of a field is ever a candidate.

use std::ffi::OsStr;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use clap::{Command, CommandFactory, FromArgMatches};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;
use passmate_agent::client::{Agent, Client};
use passmate_agent::place::AgentPlace;
use passmate_core::api::VaultApi;
use passmate_core::escape::escape;

use crate::args::{Cli, with_named_alone};
use crate::config::{Global, gather};

/// The variable by which a shell's script asks for candidates; its value is the shell.
pub(crate) const VARIABLE: &str = "PASSMATE_COMPLETE";
/// The variable in which bash says how the word stands on the line, with its quote.
pub(crate) const WORD: &str = "_PASSMATE_WORD";
/// How long a person waits for the Tab key at most. An agent may be busy for longer.
const PATIENCE: Duration = Duration::from_millis(300);

/// Answers a shell that asks for candidates, and ends the program then.
pub(crate) fn answer_shell() {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// The command line as far as the words before name it: to make more takes longer than to ask the
/// agent. Without options where nobody began to type one: a list of records has none in it.
fn command() -> Command {
    let (words, index) = words();
    let is_option = words.get(index).is_some_and(|word| word.starts_with('-'));
    let command = named(&words, index).unwrap_or_else(|| Cli::command().mut_subcommands(name_of));
    match is_option {
        true => command,
        false => without_options(command),
    }
}

/// The command that the words before this one name, alone.
fn named(words: &[String], index: usize) -> Option<Command> {
    with_named_alone(words.get(..index)?)
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

/// Completes the name of a field of the record whose path is the word before.
pub(crate) fn field() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        candidates(typed, |vault, typed| {
            let Some(path) = path_before() else {
                return Vec::new();
            };
            let names = vault.fields(&path).unwrap_or_default().into_iter();
            let is_meant = |name: &String| name.starts_with(typed) && escape(name) == *name;
            names.filter(is_meant).collect()
        })
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
    let found = found.iter().filter_map(|name| match is_bash() {
        true => in_bash(name, open_quote()),
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
    let app = gather(&Global::from_arg_matches(&named).ok()?).ok()?;
    let agent = Agent::connect(&AgentPlace::of_user()?).ok()??;
    agent.vault(app.location.path(), app.sync).ok()
}

/// The words of the command line that is completed, and which of them is.
fn words() -> (Vec<String>, usize) {
    let args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let words: Vec<_> = args.skip_while(|arg| arg != "--").skip(1).collect();
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok();
    let index = index.and_then(|index| index.parse().ok());
    let last = words.len().saturating_sub(1);
    (words, index.unwrap_or(last))
}

/// The last word before the one that is completed, without options.
fn path_before() -> Option<String> {
    let (words, index) = words();
    let mut before = words.into_iter().take(index);
    let word = before.rfind(|word| !word.starts_with('-'))?;
    Some(unquoted(&word))
}

/// Whether the shell takes candidates as they stand: bash writes them to the line, and the others
/// quote them.
fn is_bash() -> bool {
    std::env::var_os("_CLAP_COMPLETE_COMP_TYPE").is_some()
}

/// The quote in which the person types the word, which bash keeps to itself.
fn open_quote() -> Option<char> {
    let word = std::env::var(WORD).ok()?;
    word.chars()
        .next()
        .filter(|first| matches!(first, '\'' | '"'))
}

/// A word as bash takes it within this quote; `None` if it cannot stand there.
fn in_bash(word: &str, quote: Option<char>) -> Option<String> {
    let Some(quote) = quote else {
        return Some(quoted(word));
    };
    let fits = match quote {
        '"' => !word.contains(['"', '\\', '$', '`', '!']),
        quote => !word.contains(quote),
    };
    // What bash replaces begins with the quote.
    fits.then(|| format!("{quote}{word}"))
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

/// A word with a backslash before each character that has a meaning in bash.
fn quoted(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len());
    for character in word.chars() {
        let is_bare = character.is_alphanumeric() || "/._-+@%,=:".contains(character);
        if !is_bare {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_come_and_go() {
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
        for word in ["web/shop", "my bank", "it's $HOME `x` \\", "a;b&c|d"] {
            assert_eq!(unquoted(&quoted(word)), word);
        }
        assert_eq!(quoted("my bank"), "my\\ bank");
        let inside = |word, quote| in_bash(word, Some(quote));
        assert_eq!(inside("my bank", '\'').as_deref(), Some("'my bank"));
        assert_eq!(inside("it's", '"').as_deref(), Some("\"it's"));
        assert_eq!(inside("it's", '\''), None);
        assert_eq!(inside("$HOME", '"'), None);
    }
}
