//! Asks the person, or takes what a script gives instead.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use passmate_agent::dialogs::Dialogs;
use passmate_core::command::command;
use passmate_core::escape::escape;
use passmate_core::exposure::is_open_to_others;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_vault::Passphrase;
use passmate_vault::login::{FieldRole, role_of};
use zeroize::Zeroizing;

use crate::output::Output;
use crate::terminal::{Shown, Terminal};

/// Longest passphrase, in bytes.
const PASSPHRASE_LEN_MAX: usize = 64 * 1024;
/// Longest value of a field, in bytes.
const VALUE_LEN_MAX: usize = 16 * 1024 * 1024;
/// How often a secret that is typed twice may differ from itself.
const TRIES: usize = 3;

/// Where the master passphrase comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PassphraseSource {
    /// The person types it.
    Terminal,
    /// The first line of standard input.
    Stdin,
    /// The first line of a file.
    File(PathBuf),
    /// The first line of what a command writes.
    Command(String),
}

impl PassphraseSource {
    /// Where a passphrase came from that nobody typed.
    pub(crate) fn origin(&self) -> Option<String> {
        match self {
            Self::Terminal => None,
            Self::Stdin => Some("the first line of standard input".to_owned()),
            Self::File(path) => Some(format!("the first line of {}", path.display())),
            Self::Command(_) => Some("what the passphrase command prints".to_owned()),
        }
    }

    /// The source that a path names: `-` is standard input. A person who types it there is asked,
    /// so that it is not on the screen.
    pub(crate) fn of_path(path: &Path, no_input: bool) -> Self {
        if path != Path::new("-") {
            Self::File(path.to_owned())
        } else if io::stdin().is_terminal() && !no_input {
            Self::Terminal
        } else {
            Self::Stdin
        }
    }
}

/// How a value is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typing {
    /// It is on the screen.
    Seen,
    Hidden,
    /// Twice, because nobody sees what they type.
    HiddenTwice,
}

impl Typing {
    /// How the value of a secret field is typed. The secret of one-time codes is pasted, checked at
    /// once, and the site asks for a code of it.
    pub(crate) fn of_secret(field: &str) -> Self {
        match role_of(field) {
            Some(FieldRole::Otp) => Self::Hidden,
            _ => Self::HiddenTwice,
        }
    }
}

/// Who is asked, and whether.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) no_input: bool,
    pub(crate) yes: bool,
    pub(crate) passphrase: PassphraseSource,
    pub(crate) terminal: Terminal,
    /// The program that asks where no terminal is, if the settings name one.
    pub(crate) pinentry: Option<PathBuf>,
    pub(crate) out: Output,
}

impl Ask {
    /// Whether there is a person at standard input who may be asked.
    pub(crate) fn has_person(&self) -> bool {
        !self.no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether a person can be asked for the passphrase, on a terminal or in a window.
    pub(crate) fn can_type_passphrase(&self) -> bool {
        self.passphrase == PassphraseSource::Terminal
            && (self.has_person() || self.dialogs().is_some())
    }

    /// What asks a person who has no terminal.
    fn dialogs(&self) -> Option<Dialogs> {
        if self.no_input || File::open("/dev/tty").is_ok() {
            return None;
        }
        Dialogs::find(self.pinentry.as_deref())
    }

    /// The master passphrase.
    pub(crate) fn passphrase(&self, prompt: &str) -> Result<Passphrase, Problem> {
        match &self.passphrase {
            PassphraseSource::Terminal => match self.dialogs() {
                Some(dialogs) => dialogs.passphrase(prompt),
                None => self.hidden(prompt, "passphrase"),
            },
            PassphraseSource::Stdin => first_line(io::stdin().lock(), "standard input"),
            PassphraseSource::File(path) => {
                let file = File::open(path).map_err(|error| {
                    Problem::new(
                        ProblemKind::File,
                        format!(
                            "cannot read the passphrase file {}: {error}",
                            path.display()
                        ),
                        "check --passphrase-file and PASSMATE_PASSPHRASE_FILE",
                    )
                })?;
                let read = first_line(
                    io::BufReader::new(file),
                    &format!("the passphrase file {}", path.display()),
                )?;
                self.warn_of_file(path, &read);
                Ok(read)
            }
            PassphraseSource::Command(command) => run_passphrase_command(command),
        }
    }

    /// Says what is probably not meant about a file with a passphrase.
    fn warn_of_file(&self, path: &Path, read: &Passphrase) {
        if read.as_bytes().ends_with(b"\r") {
            self.out.warn(&format!(
                "the passphrase file {} has the line ends of Windows, so the passphrase ends with \
                 a carriage return; save it with line feeds alone if that is not meant",
                path.display()
            ));
        }
        warn_if_open(&self.out, path, "passphrase file");
    }

    /// A new master passphrase, typed twice where it is typed.
    pub(crate) fn new_passphrase(&self) -> Result<Passphrase, Problem> {
        const PROMPT: &str = "New master passphrase: ";
        let passphrase = if self.passphrase == PassphraseSource::Terminal {
            let typed = self.typed_twice(PROMPT, "passphrase", PASSPHRASE_LEN_MAX)?;
            Passphrase::from_bytes(typed.to_vec())
        } else {
            self.passphrase(PROMPT)?
        };
        check_not_empty(passphrase)
    }

    /// The passphrase that replaces the one that the vault was opened with.
    pub(crate) fn replacing_passphrase(&self) -> Result<Passphrase, Problem> {
        if self.has_person() {
            return Self {
                passphrase: PassphraseSource::Terminal,
                ..self.clone()
            }
            .new_passphrase();
        }
        check_not_empty(first_line(io::stdin().lock(), "standard input")?)
    }

    /// The same, but what is empty keeps the one that the vault was opened with.
    pub(crate) fn replacing_or_same_passphrase(&self) -> Result<Option<Passphrase>, Problem> {
        const PROMPT: &str = "New master passphrase (Enter keeps the present one): ";
        let passphrase = if self.has_person() {
            let typed = self.typed_twice(PROMPT, "passphrase", PASSPHRASE_LEN_MAX)?;
            Passphrase::from_bytes(typed.to_vec())
        } else {
            let mut input = io::stdin().lock();
            let is_there = !input.fill_buf().unwrap_or_default().is_empty();
            match is_there {
                true => first_line(input, "standard input")?,
                false => return Ok(None),
            }
        };
        Ok(Some(passphrase).filter(|passphrase| !passphrase.as_bytes().is_empty()))
    }

    /// A secret line that is not seen while it is typed; `what` is its name in an error.
    pub(crate) fn hidden(&self, prompt: &str, what: &str) -> Result<Passphrase, Problem> {
        let typed = self.typed(prompt, Shown::No, what, PASSPHRASE_LEN_MAX)?;
        Ok(Passphrase::from_bytes(typed.to_vec()))
    }

    /// A secret that is typed twice, because nobody sees what they type; an empty one only once.
    fn typed_twice(
        &self,
        prompt: &str,
        what: &str,
        len_max: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let mut prompt = prompt.to_owned();
        for _ in 0..TRIES {
            let first = self.typed(&prompt, Shown::No, what, len_max)?;
            if first.is_empty() {
                return Ok(first);
            }
            let again = self.typed("The same again: ", Shown::No, what, len_max)?;
            if first == again {
                return Ok(first);
            }
            if !prompt.starts_with("The two differ") {
                prompt = format!("The two differ. {prompt}");
            }
        }
        Err(Problem::new(
            ProblemKind::Cancelled,
            format!("the two {what}s differ"),
            "nothing was changed; try again",
        ))
    }

    /// A line as it is typed on the terminal.
    fn typed(
        &self,
        prompt: &str,
        shown: Shown,
        what: &str,
        len_max: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Problem> {
        if self.no_input {
            return Err(nobody_to_type(what));
        }
        let typed = self.terminal.ask(&escape(prompt), shown, len_max);
        typed.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Problem::new(
                ProblemKind::Locked,
                format!("no {what} was typed"),
                format!("run the command again and type the {what}"),
            ),
            io::ErrorKind::FileTooLarge => Problem::new(
                ProblemKind::TooLarge,
                format!("the {what} is longer than {} KiB", len_max / 1024),
                "keep large files elsewhere",
            ),
            _ => nobody_to_type(what),
        })
    }

    /// A field's value: typed where a person is, else all of standard input without one line feed
    /// at its end.
    pub(crate) fn value(
        &self,
        prompt: &str,
        typing: Typing,
        is_empty_meant: bool,
    ) -> Result<Zeroizing<String>, Problem> {
        if is_empty_meant {
            return Ok(Zeroizing::default());
        }
        let text = if self.has_person_for_value() {
            self.optional(prompt, typing)?
        } else {
            text_of(&value_of_stdin()?)?
        };
        if text.is_empty() {
            return Err(Problem::usage(
                "the value is empty",
                "an empty value unsets the field: use `passmate unset`, or --empty if you mean it",
            ));
        }
        Ok(text)
    }

    /// Whether there is a person to type values. Where the passphrase comes from standard input, so
    /// do they.
    pub(crate) fn has_person_for_value(&self) -> bool {
        self.has_person() && self.passphrase != PassphraseSource::Stdin
    }

    /// A value that a person may leave out; empty then.
    pub(crate) fn optional(
        &self,
        prompt: &str,
        typing: Typing,
    ) -> Result<Zeroizing<String>, Problem> {
        let bytes = match typing {
            Typing::Seen => self.typed(prompt, Shown::Yes, "value", VALUE_LEN_MAX)?,
            Typing::Hidden => self.typed(prompt, Shown::No, "value", VALUE_LEN_MAX)?,
            Typing::HiddenTwice => self.typed_twice(prompt, "value", VALUE_LEN_MAX)?,
        };
        text_of(&bytes)
    }

    /// All of standard input, without one line feed at its end.
    pub(crate) fn input(&self) -> Result<Zeroizing<Vec<u8>>, Problem> {
        value_of_stdin()
    }

    /// The same as text.
    pub(crate) fn input_text(&self) -> Result<Zeroizing<String>, Problem> {
        text_of(&value_of_stdin()?)
    }

    /// A line that may be seen while it is typed; empty if nothing was typed.
    pub(crate) fn line(&self, prompt: &str) -> Result<String, Problem> {
        if !self.has_person() {
            return Err(cancelled("there is no terminal to ask on"));
        }
        let typed = self
            .terminal
            .ask(&escape(prompt), Shown::Yes, PASSPHRASE_LEN_MAX);
        match typed {
            Ok(typed) => Ok(String::from_utf8_lossy(&typed).trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(String::new()),
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Asks for a yes; `--yes` has said it already.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), Problem> {
        if self.yes {
            return Ok(());
        }
        if !self.has_person() {
            return Err(cancelled(
                "this needs a confirmation, but there is no terminal to ask on",
            ));
        }
        match self
            .line(&format!("{question} [y/N] "))?
            .to_lowercase()
            .as_str()
        {
            "y" | "yes" => Ok(()),
            _ => Err(declined()),
        }
    }

    /// Asks whether to go on where most people want to: Enter is a yes.
    pub(crate) fn confirm_unless_no(&self, question: &str) -> Result<(), Problem> {
        match self
            .line(&format!("{question} [Y/n] "))?
            .to_lowercase()
            .as_str()
        {
            "" | "y" | "yes" => Ok(()),
            _ => Err(declined()),
        }
    }
}

fn declined() -> Problem {
    Problem::new(ProblemKind::Cancelled, "cancelled", "nothing was changed")
}

fn text_of(bytes: &[u8]) -> Result<Zeroizing<String>, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Problem::usage(
            "the value is not UTF-8 text",
            "encode it first, for example with base64",
        )
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// All of standard input without one line feed at its end.
fn value_of_stdin() -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut bytes = Zeroizing::new(Vec::new());
    io::stdin()
        .lock()
        .take(VALUE_LEN_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() > VALUE_LEN_MAX {
        return Err(Problem::new(
            ProblemKind::TooLarge,
            "the value is longer than 16 MiB",
            "keep large files elsewhere",
        ));
    }
    Ok(bytes)
}

fn cancelled(message: &str) -> Problem {
    Problem::new(
        ProblemKind::Cancelled,
        message,
        "add --yes to confirm, or run it on a terminal",
    )
}

/// Something that is typed is needed, and there is no terminal.
fn nobody_to_type(what: &str) -> Problem {
    let hint = match what {
        "passphrase" => {
            "run `passmate unlock` in a terminal first, or give --passphrase-file or \
             --passphrase-command"
        }
        _ => "run it on a terminal",
    };
    Problem::new(
        ProblemKind::Locked,
        format!("a {what} is needed, but there is no terminal to ask for it"),
        hint,
    )
}

fn unreadable(error: io::Error) -> Problem {
    Problem::new(
        ProblemKind::File,
        format!("cannot read standard input: {error}"),
        "check where the input comes from",
    )
}

fn check_not_empty(passphrase: Passphrase) -> Result<Passphrase, Problem> {
    if passphrase.is_empty() {
        return Err(Problem::usage(
            "the passphrase is empty",
            "choose one; several random words are strong",
        ));
    }
    Ok(passphrase)
}

/// The first line without its line feed and otherwise as it is.
fn first_line(reader: impl BufRead, whose: &str) -> Result<Passphrase, Problem> {
    let mut line = Vec::with_capacity(256);
    let mut limited = reader.take(PASSPHRASE_LEN_MAX as u64);
    limited.read_until(b'\n', &mut line).map_err(|error| {
        Problem::new(
            ProblemKind::File,
            format!("cannot read {whose}: {error}"),
            "check where the passphrase comes from",
        )
    })?;
    match line.last() {
        None => Err(Problem::new(
            ProblemKind::Locked,
            format!("{whose} is empty"),
            "its first line must be the passphrase",
        )),
        Some(b'\n') => {
            line.pop();
            Ok(Passphrase::from_bytes(line))
        }
        Some(_) if limited.limit() == 0 => Err(Problem::usage(
            format!("the first line of {whose} is longer than 64 KiB"),
            "give a file whose first line is the passphrase",
        )),
        Some(_) => Ok(Passphrase::from_bytes(line)),
    }
}

fn run_passphrase_command(command: &str) -> Result<Passphrase, Problem> {
    let failed = |why: String| {
        Problem::new(
            ProblemKind::Locked,
            format!("the passphrase command failed: {why}"),
            "check --passphrase-command and PASSMATE_PASSPHRASE_COMMAND",
        )
    };
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        // What a pipe brings is the value, not the command's.
        .stdin(if io::stdin().is_terminal() {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let passphrase = child.stdout.take().map(|stdout| {
        let mut output = io::BufReader::new(stdout);
        let passphrase = first_line(&mut output, "the output of the passphrase command");
        // A command that is not read to its end may fail for that alone.
        let _ = io::copy(&mut output.take(VALUE_LEN_MAX as u64), &mut io::sink());
        passphrase
    });
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    passphrase.unwrap_or_else(|| Err(failed("it has no output".to_owned())))
}

/// Says so if others can read a file that holds a secret.
pub(crate) fn warn_if_open(out: &Output, path: &Path, what: &str) {
    if is_open_to_others(path) {
        out.warn(&format!(
            "other users can read or write the {what} {}; {} closes it to them",
            path.display(),
            command(["chmod", "600"]).arg(path)
        ));
    }
}

/// All of a small file, such as a sync key; `-` is standard input.
pub(crate) fn read_small(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let read = if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(PASSPHRASE_LEN_MAX as u64)
            .read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| {
            file.take(PASSPHRASE_LEN_MAX as u64 + 1)
                .read_to_end(&mut bytes)
        })
    };
    read.map_err(|error| {
        Problem::new(
            ProblemKind::File,
            format!("cannot read {}: {error}", path.display()),
            "check the path and the file's mode",
        )
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_the_first_line_and_nothing_is_trimmed_from_it() {
        let read =
            |text: &[u8]| first_line(text, "x").map(|passphrase| passphrase.as_bytes().to_vec());
        assert_eq!(read(b" a b \nsecond").unwrap(), b" a b ");
        assert_eq!(read(b"no newline").unwrap(), b"no newline");
        assert_eq!(read(b"\nsecond").unwrap(), b"");
        assert_eq!(read(b"bytes \xFF\r\n").unwrap(), b"bytes \xFF\r");
        assert_eq!(read(b"").unwrap_err().kind, ProblemKind::Locked);
        assert_eq!(read(&[b'x'; 70_000]).unwrap_err().kind, ProblemKind::Usage);
    }

    #[test]
    fn a_passphrase_command_gives_its_first_line_or_says_why_not() {
        let run = |command: &str| {
            run_passphrase_command(command).map(|passphrase| passphrase.as_bytes().to_vec())
        };
        assert_eq!(run("printf 'one\\ntwo\\n'").unwrap(), b"one");
        assert_eq!(run("echo x; exit 3").unwrap_err().kind, ProblemKind::Locked);
        assert_eq!(run("true").unwrap_err().kind, ProblemKind::Locked);
    }
}
