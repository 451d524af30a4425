//! Commands that a person may paste into a shell. Names of records, paths of files and whatever a
//! peer supplied are words of such a command and nothing more: [`Command`] quotes them. Every hint
//! with a command that is not a fixed text is made here; a test looks for others.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::escape::escape;

/// A command, which is shown in backticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    words: Vec<String>,
    /// No word behind this is an option.
    options_ended: bool,
}

/// A command that begins with these words.
#[must_use]
pub fn command<const N: usize>(words: [&'static str; N]) -> Command {
    Command {
        words: words.map(str::to_owned).into(),
        options_ended: false,
    }
}

impl Command {
    /// Adds a word that came from a record, a file, a peer or a person.
    #[must_use]
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        let word = word.as_ref();
        if word.as_bytes().starts_with(b"-") && !self.options_ended {
            self.words.push("--".to_owned());
            self.options_ended = true;
        }
        self.words.push(shell_word(word));
        self
    }

    /// Adds a word of our own, such as an option.
    #[must_use]
    pub fn word(mut self, word: &'static str) -> Self {
        self.words.push(word.to_owned());
        self
    }

    /// The command without backticks.
    #[must_use]
    pub fn text(&self) -> String {
        self.words.join(" ")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text())
    }
}

/// A text as one word of a shell, in quotes only where it needs them. Nothing in the result acts on
/// a terminal; such characters, and bytes that are no text, are written by their numbers.
#[must_use]
pub fn shell_word(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if is_bare(text) => text.to_owned(),
        Ok(text) if escape(text) == text => format!("'{}'", text.replace('\'', "'\\''")),
        _ => {
            let mut quoted = String::from("$'");
            for chunk in bytes.utf8_chunks() {
                chunk
                    .valid()
                    .chars()
                    .for_each(|c| push_quoted(&mut quoted, c));
                push_numbers(&mut quoted, chunk.invalid());
            }
            quoted.push('\'');
            quoted
        }
    }
}

fn is_bare(text: &str) -> bool {
    let is_bare = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    !text.is_empty() && text.chars().all(is_bare)
}

fn push_quoted(quoted: &mut String, c: char) {
    let mut buffer = [0; 4];
    let text: &str = c.encode_utf8(&mut buffer);
    if matches!(c, '\'' | '\\') {
        quoted.push('\\');
        quoted.push(c);
    } else if escape(text) == text {
        quoted.push(c);
    } else {
        push_numbers(quoted, text.as_bytes());
    }
}

fn push_numbers(quoted: &mut String, bytes: &[u8]) {
    for byte in bytes {
        quoted.push_str(&format!("\\{byte:03o}"));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process;

    use super::*;

    const HOSTILE: [&str; 12] = [
        "a; touch owned",
        "$(touch owned)",
        "`touch owned`",
        "it's",
        "a\nb",
        "\u{1b}]0;x\u{7}",
        "\u{202e}evil",
        "-rf",
        "~/x",
        "!!",
        "",
        "back\\slash\n",
    ];

    #[test]
    fn a_word_is_quoted_only_if_it_must_be() {
        assert_eq!(shell_word("/home/jürg/.pmate"), "/home/jürg/.pmate");
        assert_eq!(shell_word("web/shop"), "web/shop");
        assert_eq!(shell_word("/tmp/ho me"), "'/tmp/ho me'");
        assert_eq!(shell_word("/it's/$HOME"), r"'/it'\''s/$HOME'");
        assert_eq!(shell_word("~/x"), "'~/x'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("a\u{1b}'\\"), r"$'a\033\'\\'");
        assert_eq!(shell_word(OsStr::from_bytes(b"a\xff")), r"$'a\377'");
    }

    #[test]
    fn a_shell_reads_each_word_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        for name in HOSTILE {
            let line = command(["printf", "%s:"]).arg(name).text();
            // Not every sh knows the quotes for control characters.
            let shell = if line.contains("$'") { "bash" } else { "sh" };
            let Ok(output) = process::Command::new(shell)
                .args(["-c", &line])
                .current_dir(dir.path())
                .output()
            else {
                eprintln!("not run: {shell} is not installed");
                continue;
            };
            // printf ends its options with `--` too.
            let said = String::from_utf8(output.stdout).unwrap();
            let said = said.strip_prefix("--:").unwrap_or(&said);
            assert_eq!(said, format!("{name}:"), "{line}");
        }
        assert!(!Path::new(dir.path()).join("owned").exists());
    }

    #[test]
    fn nothing_in_a_command_acts_on_a_terminal() {
        for name in HOSTILE {
            let shown = command(["passmate", "history"]).arg(name).to_string();
            assert_eq!(escape(&shown), shown, "{name:?}");
        }
    }

    #[test]
    fn a_word_is_never_an_option() {
        let made = command(["passmate", "history"]).arg("--yes").arg("-x");
        assert_eq!(made.to_string(), "`passmate history -- --yes -x`");
        let made = command(["passmate", "sync", "setup"])
            .arg("h")
            .word("--request");
        assert_eq!(made.text(), "passmate sync setup h --request");
    }
}
