//! The Tab key in bash. The rules are:
//!  - bash writes candidates to the line as they stand, so they are quoted here;
//!  - bash takes the quote of a word away, and breaks a word at each colon; the script tells how the
//!    word stands on the line. Candidates are for the part behind the last colon.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::engine::complete;
use clap_complete::env::{self, EnvCompleter};

use super::words;

/// The variable in which the script says how the word stands on the line, with its quote.
const WORD: &str = "_PASSMATE_WORD";
/// The line of the script that tells the program which word is completed.
const INDEX: &str = "_CLAP_COMPLETE_INDEX=\"$_CLAP_COMPLETE_INDEX\" \\\n";
/// At what bash breaks a word that is none of its own operators.
const BREAK: &str = ":";

/// The Tab key in bash.
#[derive(Debug)]
pub(crate) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        env::Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        env::Bash.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        program: &str,
        completer: &str,
        script: &mut dyn io::Write,
    ) -> io::Result<()> {
        let mut plain = Vec::new();
        env::Bash.write_registration(variable, name, program, completer, &mut plain)?;
        let with_word = format!("{INDEX}        {WORD}=\"${{COMP_WORDS[COMP_CWORD]}}\" \\\n");
        let plain = String::from_utf8_lossy(&plain);
        script.write_all(plain.replace(INDEX, &with_word).as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut Command,
        _words: Vec<OsString>,
        folder: Option<&Path>,
        answer: &mut dyn io::Write,
    ) -> io::Result<()> {
        let (words, index) = words();
        let words: Vec<_> = words.into_iter().map(Into::into).collect();
        let separator = std::env::var("_CLAP_IFS").unwrap_or_else(|_| "\n".to_owned());
        for (number, candidate) in complete(command, words, index, folder)?.iter().enumerate() {
            if number > 0 {
                answer.write_all(separator.as_bytes())?;
            }
            answer.write_all(candidate.get_value().to_string_lossy().as_bytes())?;
        }
        Ok(())
    }
}

/// Whether bash asks.
pub(super) fn is_asking() -> bool {
    std::env::var_os("_CLAP_COMPLETE_COMP_TYPE").is_some()
}

/// The words as they stand on the line, and which of them is completed: bash breaks them at colons.
pub(super) fn joined(words: Vec<String>, index: usize) -> (Vec<String>, usize) {
    let at_colon = on_line().is_some_and(|word| word == BREAK);
    join(words, index, at_colon)
}

/// How the word stands on the line.
fn on_line() -> Option<String> {
    std::env::var(WORD).ok()
}

/// Joins what stands around colons. `at_colon` says that the word at `index` is one, which bash
/// gives as an empty word.
fn join(words: Vec<String>, index: usize, at_colon: bool) -> (Vec<String>, usize) {
    let mut joined: Vec<String> = Vec::with_capacity(words.len());
    let mut joined_index = index;
    let mut is_open = false;
    for (place, word) in words.into_iter().enumerate() {
        let is_break = word == BREAK || (at_colon && place == index);
        // The program's name has nothing before it.
        let glued = (is_break || is_open) && joined.len() > 1;
        is_open = is_break;
        let word = if is_break { BREAK.to_owned() } else { word };
        match joined.last_mut().filter(|_| glued) {
            Some(last) => last.push_str(&word),
            None => joined.push(word),
        }
        if place == index {
            joined_index = joined.len() - 1;
        }
    }
    (joined, joined_index)
}

/// A candidate as bash writes it to the line, in place of the part that it completes; `None` if it
/// cannot stand there.
pub(super) fn written(candidate: &str) -> Option<String> {
    let word = on_line().unwrap_or_default();
    let quote = word.chars().next();
    let quote = quote.filter(|first| matches!(first, '\'' | '"'));
    let (words, index) = words();
    let whole = words.get(index).map_or("", String::as_str);
    in_bash(behind_break(candidate, whole, quote), quote)
}

/// The part of a candidate that bash replaces: within a quote it breaks nothing.
fn behind_break<'c>(candidate: &'c str, typed: &str, quote: Option<char>) -> &'c str {
    let breaks = match quote {
        Some(_) => 0,
        None => typed.matches(BREAK).count(),
    };
    let parts = candidate.splitn(breaks + 1, BREAK);
    parts.last().unwrap_or(candidate)
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
    use super::super::unquoted;
    use super::*;

    #[test]
    fn quotes_come_and_go() {
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

    #[test]
    fn words_around_a_colon_are_one() {
        let joined = |line: &str, index, at_colon| {
            let words = line.split(' ').map(str::to_owned).collect();
            let (words, index) = join(words, index, at_colon);
            format!("{} {index}", words.join("|"))
        };
        for (line, index, at_colon, expected) in [
            ("pm read pass", 2, false, "pm|read|pass 2"),
            ("pm read passmate ", 3, true, "pm|read|passmate: 2"),
            (
                "pm read passmate : //web",
                4,
                false,
                "pm|read|passmate://web 2",
            ),
            ("pm read a : b : c -n", 6, false, "pm|read|a:b:c|-n 2"),
            ("pm show x ", 3, false, "pm|show|x| 3"),
            ("pm", 7, false, "pm 7"),
        ] {
            assert_eq!(joined(line, index, at_colon), expected, "{line}");
        }
    }

    #[test]
    fn a_candidate_goes_behind_the_last_colon() {
        let behind = |candidate, typed| behind_break(candidate, typed, None);
        assert_eq!(behind("passmate://web/", "pass"), "passmate://web/");
        assert_eq!(behind("passmate://web/", "passmate:"), "//web/");
        assert_eq!(behind("passmate://a:b/", "passmate://a:"), "b/");
        assert_eq!(behind("passmate://a:b/", "passmate://"), "//a:b/");
        assert_eq!(behind_break("a:b", "a:", Some('"')), "a:b");
    }

    #[test]
    fn the_script_has_the_line_that_is_extended() {
        let mut script = Vec::new();
        let plain = env::Bash.write_registration("V", "p", "p", "p", &mut script);
        plain.unwrap();
        let plain = String::from_utf8(script).unwrap();
        assert_eq!(plain.matches(INDEX).count(), 1, "{plain}");
        let mut script = Vec::new();
        Bash.write_registration("V", "p", "p", "p", &mut script)
            .unwrap();
        assert!(String::from_utf8(script).unwrap().contains(WORD));
    }
}
