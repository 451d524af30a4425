//! How sentences for people are laid out: commands in them name the vault that the person named,
//! and long lines are broken between words.

use std::borrow::Cow;

use textwrap::{Options, WordSeparator, WordSplitter};

/// Before a line that goes on, behind the name of the program.
const MESSAGE_INDENT: &str = "          ";
/// Before a line of an answer that goes on.
pub(crate) const ANSWER_INDENT: &str = "    ";
/// Narrower terminals break the lines themselves.
const COLUMNS_MIN: usize = 40;
/// Takes the place of a blank inside of a command, which is not broken: it is to be pasted.
const HARD_BLANK: &str = "\u{a0}";

/// The text with an option in each command of ours, such as `--profile=work`: pasted, it works on
/// the vault that the person named. A command that names a vault of its own stays as it is, and so
/// does a text about other devices: their vaults have other names.
pub(crate) fn keep_option<'a>(text: &'a str, option: Option<&str>) -> Cow<'a, str> {
    const COMMAND: &str = "`passmate ";
    let is_here = text.contains(COMMAND) && !text.contains("other device");
    let Some(option) = option.filter(|_| is_here) else {
        return Cow::Borrowed(text);
    };
    let mut kept = String::with_capacity(text.len() + option.len());
    let mut parts = text.split(COMMAND);
    kept.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let command = part.split('`').next().unwrap_or_default();
        let names_vault = command
            .split(' ')
            .any(|word| word.starts_with("--vault") || word.starts_with("--profile"));
        kept.push_str(COMMAND);
        if !names_vault {
            kept.push_str(option);
            kept.push(' ');
        }
        kept.push_str(part);
    }
    Cow::Owned(kept)
}

/// A message in lines of so many columns at most, unless a word or a command is longer.
pub(crate) fn wrap(text: &str, columns: usize) -> String {
    wrap_with(text, columns, MESSAGE_INDENT)
}

/// The same of any text.
pub(crate) fn wrap_with(text: &str, columns: usize, indent: &str) -> String {
    if columns < COLUMNS_MIN {
        return text.to_owned();
    }
    // Every second part is between two backticks.
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(place, part)| match place % 2 {
        1 => part.replace(' ', HARD_BLANK),
        _ => part.to_owned(),
    });
    let joined = parts.collect::<Vec<_>>().join("`");
    let options = Options::new(columns)
        .subsequent_indent(indent)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(&joined, options).replace(HARD_BLANK, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_vault_that_was_named() {
        let kept = |text| keep_option(text, Some("--profile=work")).into_owned();
        assert_eq!(
            kept("run `passmate sync`, or `passmate ls --flat`; see `sync.auto`"),
            "run `passmate --profile=work sync`, or `passmate --profile=work ls --flat`; see \
             `sync.auto`"
        );
        assert_eq!(kept("`passmate --vault x ls`"), "`passmate --vault x ls`");
        assert_eq!(kept("`passmate-server serve`"), "`passmate-server serve`");
        let elsewhere = "run `passmate sync key` on another device";
        assert_eq!(kept(elsewhere), elsewhere);
        assert_eq!(keep_option("`passmate ls`", None), "`passmate ls`");
    }

    #[test]
    fn a_line_is_broken_between_words_and_never_in_a_command() {
        let text = "passmate: hint: ask the operator, or run `passmate sync rotate --keep-history 1y` \
                    again, with-a-very-long-word-that-does-not-fit-into-any-line-of-this-width";
        let wrapped = wrap(text, 50);
        let lines: Vec<_> = wrapped.lines().collect();
        assert_eq!(
            lines,
            [
                "passmate: hint: ask the operator, or run",
                "          `passmate sync rotate --keep-history 1y`",
                "          again,",
                "          with-a-very-long-word-that-does-not-fit-into-any-line-of-this-width",
            ]
        );
        assert_eq!(wrap(text, 20), text);
        assert_eq!(wrap("short", 80), "short");
        let answer = "last sync: 2026-11-27 16:14, 12 received, 3 sent, no conflicts";
        let lines = "last sync: 2026-11-27 16:14, 12 received, 3\n    sent, no conflicts";
        assert_eq!(wrap_with(answer, 45, ANSWER_INDENT), lines);
    }
}
