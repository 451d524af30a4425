//! A record as a text, in the person's editor. The rules are:
//!  - the text is in memory, readable by its owner alone, and deleted however the editor ends;
//!  - only what the person changed is stored, so that an edit made elsewhere meanwhile stays.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use passmate_core::edit::RecordText;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::settings::toml_fault;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::app::App;

/// Longest text that is read back, in bytes.
const TEXT_LEN_MAX: u64 = 32 * 1024 * 1024;

/// A record as a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    path: String,
    #[serde(default)]
    fields: BTreeMap<String, String>,
}

/// A record in the person's editor, until what they made of it is accepted.
pub(crate) struct Editor<'a> {
    app: &'a App,
    /// The folder that gets a folder for the text.
    place: PathBuf,
    /// The text as the person left it.
    text: Zeroizing<String>,
}

impl<'a> Editor<'a> {
    pub(crate) fn new(app: &'a App, record: RecordText) -> Result<Self, Problem> {
        Ok(Self {
            app,
            place: place(app)?,
            text: Page::from(record).to_text()?,
        })
    }

    /// Runs the editor until the text is a record.
    pub(crate) fn edit(&mut self) -> Result<RecordText, Problem> {
        loop {
            self.text = self.run()?;
            let error = match toml::from_str::<Page>(&self.text) {
                Ok(after) => return Ok(after.into()),
                Err(error) => error,
            };
            let fault = toml_fault(&self.text, &error);
            self.ask_again(Problem::usage(
                format!("this is not a valid record: {fault}"),
                "nothing was changed; keep the format of the file",
            ))?;
        }
    }

    /// Asks whether to mend this in the editor. Without a person it is the error.
    pub(crate) fn ask_again(&self, problem: Problem) -> Result<(), Problem> {
        if !self.app.ask.has_person() || self.app.ask.yes {
            return Err(problem);
        }
        self.app.out.warn(&problem.message);
        self.app.ask.confirm_unless_no("Edit it again?")
    }

    /// Runs the editor once, and deletes its file.
    fn run(&self) -> Result<Zeroizing<String>, Problem> {
        let lent = self.app.ask.terminal.lend();
        let lent = lent.map_err(|error| no_folder(&error))?;
        let edited = {
            let mut builder = tempfile::Builder::new();
            let folder = builder
                .prefix("passmate-")
                .permissions(fs::Permissions::from_mode(0o700))
                .tempdir_in(&self.place)
                .map_err(|error| no_folder(&error))?;
            edit_file(&folder.path().join("record.toml"), &self.text)
        };
        if lent.is_ended() {
            return Err(Problem::new(
                ProblemKind::Cancelled,
                "ended by a signal",
                "nothing was changed",
            ));
        }
        edited
    }
}

impl From<RecordText> for Page {
    fn from(RecordText { path, fields }: RecordText) -> Self {
        Self { path, fields }
    }
}

impl From<Page> for RecordText {
    fn from(Page { path, fields }: Page) -> Self {
        Self { path, fields }
    }
}

impl Page {
    fn to_text(&self) -> Result<Zeroizing<String>, Problem> {
        let page = toml::to_string_pretty(self).map_err(|error| {
            Problem::new(
                ProblemKind::Other,
                format!("the record cannot be written as a text: {error}"),
                "use `passmate set`",
            )
        })?;
        let page = Zeroizing::new(page);
        Ok(Zeroizing::new(format!(
            "# Save and close to store what you change here; to unset a field, delete its line.\n\
             # Names and values are in quotes; text of several lines stands between \"\"\" and \
             \"\"\".\n\n{}",
            *page
        )))
    }
}

/// Lets the person edit a text in this file.
fn edit_file(path: &Path, text: &str) -> Result<Zeroizing<String>, Problem> {
    let failed = |error: io::Error| {
        Problem::new(
            ProblemKind::File,
            format!("cannot write or read the text: {error}"),
            "nothing was changed",
        )
    };
    let mut file = fs::OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed)?;
    let status = editor_command(path).status().map_err(|error| {
        Problem::new(
            ProblemKind::Other,
            format!("the editor cannot be started: {error}"),
            "set VISUAL or EDITOR",
        )
    })?;
    if !status.success() {
        let message = format!("the editor ended with an error ({status})");
        return Err(Problem::new(
            ProblemKind::Cancelled,
            message,
            "nothing was changed; look at VISUAL and EDITOR",
        ));
    }
    let mut text = Zeroizing::new(String::new());
    let file = fs::File::open(path).map_err(failed)?;
    file.take(TEXT_LEN_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

/// Where the text is for a while: in memory, or on the disk after a yes.
fn place(app: &App) -> Result<PathBuf, Problem> {
    if let Some(place) = places().into_iter().find(|place| is_memory(place)) {
        return Ok(place);
    }
    let place = std::env::temp_dir();
    app.ask.confirm(&format!(
        "There is no folder in memory here; the text would be on the disk in {} for a while. Go \
         on?",
        place.display()
    ))?;
    Ok(place)
}

fn no_folder(error: &io::Error) -> Problem {
    Problem::new(
        ProblemKind::File,
        format!("cannot make a folder for the text: {error}"),
        "set XDG_RUNTIME_DIR to a folder in memory (tmpfs) that only you can read",
    )
}

fn places() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime
        .into_iter()
        .chain([PathBuf::from("/dev/shm")])
        .filter(|place| place.is_absolute())
        .collect()
}

/// Whether what is written there stays in memory.
#[cfg(target_os = "linux")]
fn is_memory(place: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58F6;
    let kind =
        rustix::fs::statfs(place).map(|found| u64::from_ne_bytes(found.f_type.to_ne_bytes()));
    matches!(kind, Ok(TMPFS | RAMFS))
}

#[cfg(not(target_os = "linux"))]
fn is_memory(_: &Path) -> bool {
    false
}

/// The editor, which may be a command with arguments, on this file. vim keeps nothing of what it
/// saw.
fn editor_command(path: &Path) -> Command {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let editor = set("VISUAL")
        .or_else(|| set("EDITOR"))
        .unwrap_or_else(|| OsString::from("vi"));
    let name = Path::new(&editor)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut line = editor;
    if matches!(name.as_str(), "vim" | "nvim" | "gvim") {
        line.push(" -n -i NONE");
    }
    line.push(" \"$1\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).arg("sh").arg(path);
    command
}
