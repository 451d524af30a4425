//! Writes answers, notes, warnings and errors. Questions are in `prompt`, exports in `export`, and
//! clap writes help and completions. The rules are:
//!  - answers go to standard output; everything else to standard error, prefixed with our name;
//!  - characters from records and from a server's banner are escaped, in text and in JSON, also
//!    where the output is no terminal: it may be read on one later. So no record can move the
//!    cursor, change a title or hide what stands beside it;
//!  - the exception is a single value that is not written to a terminal, such as that of
//!    `passmate show PATH FIELD`: a script gets the bytes that are stored.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anstyle::{AnsiColor, Style};
use passmate_core::escape::{escape, json_line};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::settings::Color;
use passmate_core::sync_all::{Level, Notice};
use zeroize::Zeroizing;

use crate::exit::code_of;
use crate::wording::{ANSWER_INDENT, keep_option, wrap, wrap_with};

/// The way out.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// Answers are one JSON object.
    pub(crate) json: bool,
    is_quiet: bool,
    is_verbose: bool,
    is_terminal: bool,
    is_colored: bool,
    /// The option by which the person named the vault.
    option: Option<String>,
    /// Warnings for a program that reads JSON: an error is one object, which has them.
    held: Arc<Mutex<Vec<String>>>,
}

impl Output {
    pub(crate) fn new(json: bool, is_quiet: bool, is_verbose: bool, color: Color) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let is_colored = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let is =
                    |name: &str, value: &str| std::env::var_os(name).is_some_and(|v| v == value);
                let has_no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
                is_terminal && !has_no_color && !is("TERM", "dumb")
            }
        };
        Self {
            json,
            is_quiet,
            is_verbose,
            is_terminal,
            is_colored,
            option: None,
            held: Arc::default(),
        }
    }

    /// Whether secrets would be seen by whoever looks over a shoulder.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// An answer: one line.
    pub(crate) fn line(&self, text: &str) -> Result<(), Problem> {
        write_out(format!("{}\n", escape(text)).as_bytes())
    }

    /// An answer in words, which a terminal gets broken between them.
    pub(crate) fn sentence(&self, text: &str) -> Result<(), Problem> {
        self.styled_sentence(&escape(text))
    }

    /// The same of parts that were escaped and styled one by one.
    pub(crate) fn styled_sentence(&self, text: &str) -> Result<(), Problem> {
        let columns = self.columns().unwrap_or(0);
        let text = wrap_with(text, columns, ANSWER_INDENT);
        write_out(format!("{text}\n").as_bytes())
    }

    /// An answer in bytes, with a line feed behind it.
    pub(crate) fn value(&self, text: &str) -> Result<(), Problem> {
        if self.is_terminal {
            return text.split('\n').try_for_each(|line| self.line(line));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
        write_out(&bytes)
    }

    /// An answer in bytes, with nothing behind it.
    pub(crate) fn bare_value(&self, text: &str) -> Result<(), Problem> {
        if self.is_terminal {
            return write_out(escape(text).as_bytes());
        }
        write_out(text.as_bytes())
    }

    /// An answer in bytes, which does not go to a terminal.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Problem> {
        write_out(bytes)
    }

    /// An answer as JSON: one object, to which a version is added.
    pub(crate) fn object(&self, mut object: serde_json::Value) -> Result<(), Problem> {
        if let Some(members) = object.as_object_mut() {
            members.insert("version".to_owned(), 1.into());
        }
        let mut line = Zeroizing::new(json_line(&object));
        line.push('\n');
        write_out(line.as_bytes())
    }

    /// The answer of a command that has none: an empty object where JSON is wanted.
    pub(crate) fn done(&self) -> Result<(), Problem> {
        match self.json {
            true => self.object(serde_json::json!({})),
            false => Ok(()),
        }
    }

    /// Something that a person may like to know while they watch; a script never sees it.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_quiet && !self.json && (self.is_verbose || io::stderr().is_terminal()) {
            self.say(text);
        }
    }

    /// Whether a person watches what goes to standard error, and may see more than errors.
    pub(crate) fn is_watched(&self) -> bool {
        !self.is_quiet && !self.json && io::stderr().is_terminal()
    }

    /// Something that matters although the command came through.
    pub(crate) fn warn(&self, text: &str) {
        if !self.is_quiet {
            self.warn_in_any_case(text);
        }
    }

    /// Something without which a person could lose what they typed.
    pub(crate) fn warn_in_any_case(&self, text: &str) {
        if self.json && !io::stderr().is_terminal() {
            self.held().push(text.to_owned());
        } else {
            self.say(&format!("warning: {text}"));
        }
    }

    /// Writes the warnings that an error would have had, before another program takes over or after
    /// the command came through.
    pub(crate) fn tell_held(&self) {
        for text in std::mem::take(&mut *self.held()) {
            self.say(&format!("warning: {text}"));
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a sync found worth telling.
    pub(crate) fn notices(&self, notices: &[Notice]) {
        for Notice { level, text } in notices {
            match level {
                Level::Warning => self.warn(text),
                Level::Note => self.note(text),
                Level::Detail if self.is_verbose => self.note(text),
                Level::Detail => {}
            }
        }
    }

    /// Text in another style, where colours are wanted. The text must be escaped already, see
    /// [`escape`].
    pub(crate) fn styled(&self, style: Style, text: &str) -> String {
        if self.is_colored {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// A line whose parts were escaped and styled one by one.
    pub(crate) fn styled_line(&self, text: &str) -> Result<(), Problem> {
        write_out(format!("{text}\n").as_bytes())
    }

    /// Whether colours are wanted.
    pub(crate) const fn is_colored(&self) -> bool {
        self.is_colored
    }

    /// How wide the terminal is that answers go to, if they go to one.
    pub(crate) fn columns(&self) -> Option<usize> {
        let size = self
            .is_terminal
            .then(|| rustix::termios::tcgetwinsize(io::stdout()).ok())
            .flatten()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    /// A picture of this program's own making, in lines.
    pub(crate) fn picture(&self, text: &str) -> Result<(), Problem> {
        write_out(text.as_bytes())
    }

    /// The same with an option that names the vault, for the commands that it suggests.
    pub(crate) fn with_option(self, option: Option<String>) -> Self {
        Self { option, ..self }
    }

    /// A sentence whose commands name the vault that the person named.
    pub(crate) fn with_vault(&self, text: &str) -> String {
        keep_option(text, self.option.as_deref()).into_owned()
    }

    /// One line to standard error. It is always escaped: logs are read on terminals later. On a
    /// terminal it is broken between words.
    fn say(&self, text: &str) {
        let text = format!("passmate: {}", escape(text));
        let text = keep_option(&text, self.option.as_deref());
        let columns = io::stderr()
            .is_terminal()
            .then(|| rustix::termios::tcgetwinsize(io::stderr()).ok())
            .flatten()
            .map_or(0, |size| usize::from(size.ws_col));
        // Without a standard error there is nobody to tell.
        let _ = writeln!(io::stderr(), "{}", wrap(&text, columns));
    }

    /// Two lines that help, or one object.
    pub(crate) fn problem(&self, problem: &Problem) {
        if self.json {
            let mut object = serde_json::json!({
                "version": 1,
                "code": code_of(problem.kind),
                "error": problem.message,
                "hint": keep_option(&problem.hint, self.option.as_deref()),
            });
            let held = std::mem::take(&mut *self.held());
            let lists = [
                ("candidates", problem.candidates.clone()),
                ("warnings", held),
            ];
            for (name, list) in lists {
                if let (Some(members), false) = (object.as_object_mut(), list.is_empty()) {
                    members.insert(name.to_owned(), list.into());
                }
            }
            let _ = writeln!(io::stderr(), "{}", json_line(&object));
            return;
        }
        self.say(&format!("error: {}", problem.message));
        self.say(&format!("hint: {}", problem.hint));
    }
}

/// The style of folders and field names.
pub(crate) const NAME: Style = AnsiColor::Blue.on_default().bold();
/// The style of what should be noticed.
pub(crate) const NOTICE: Style = AnsiColor::Yellow.on_default();

fn write_out(bytes: &[u8]) -> Result<(), Problem> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // `passmate ls | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Problem::new(
            ProblemKind::File,
            format!("cannot write the answer: {error}"),
            "check where the output goes; what the command changed is saved",
        )),
        Ok(()) => Ok(()),
    }
}
