//! A record as a text, in the person's editor. The rules are:
//!  - the text is in memory, readable by its owner alone, and deleted however the editor ends; what
//!    a killed `edit` leaves is deleted by the next command;
//!  - an editor that is known saves no copy elsewhere, and an unknown one is named;
//!  - only what the person changed is stored, so that an edit made elsewhere meanwhile stays.

mod folder;
mod keep;
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use passmate_core::edit::RecordText;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::settings::toml_fault;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use self::folder::Folder;
pub(crate) use self::folder::delete_leftovers;
pub(crate) use self::keep::{Kept, kept};
use self::program::{KNOWN, Program};
use crate::app::App;

/// Longest text that is read back, in bytes.
const TEXT_LEN_MAX: u64 = 32 * 1024 * 1024;

/// A record as a text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    path: String,
    #[serde(default)]
    fields: BTreeMap<String, Zeroizing<String>>,
}

/// A record in the person's editor, until what they made of it is accepted.
pub(crate) struct Editor<'a> {
    app: &'a App,
    /// The folder that gets a folder for the text.
    place: PathBuf,
    program: Program,
    /// The text as the person left it.
    text: Zeroizing<String>,
}

impl<'a> Editor<'a> {
    pub(crate) fn new(app: &'a App, record: RecordText) -> Result<Self, Problem> {
        let program = Program::of_person();
        if !program.is_known() {
            app.out.note(&format!(
                "the editor `{}` is not known here, or its options may ask for that: it may save \
                 copies of the text elsewhere, such as backups, undo files or a history, and this \
                 program cannot keep it from that; {KNOWN} are known without further options",
                program.name()
            ));
        }
        Ok(Self {
            app,
            place: place(app)?,
            program,
            text: page_to_edit(record)?,
        })
    }

    /// Runs the editor until the text is a record. Without a person, a text that is none is kept in
    /// a file.
    pub(crate) fn edit(&mut self) -> Result<RecordText, Problem> {
        loop {
            self.text = self.run()?;
            let error = match toml::from_str::<Page>(&self.text) {
                Ok(after) => return Ok(after.into()),
                Err(error) => error,
            };
            let fault = toml_fault(&self.text, &error, &[]);
            let problem = Problem::usage(
                format!("this is not a valid record: {fault}"),
                "nothing was changed; keep the format of the file",
            );
            if !self.app.ask.has_person() || self.app.ask.yes {
                return Err(kept(self.app, problem, &self.text));
            }
            self.app.out.warn(&problem.message);
            self.app.ask.confirm_unless_no("Edit it again?")?;
        }
    }

    /// Runs the editor once, and deletes its file.
    fn run(&self) -> Result<Zeroizing<String>, Problem> {
        let lent = self.app.ask.terminal.lend();
        let lent = lent.map_err(|error| no_folder(&error))?;
        let edited = {
            let folder = Folder::new(&self.place).map_err(|error| no_folder(&error))?;
            edit_file(&folder, &self.program, &self.text)
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

/// A record as a text.
pub(crate) fn page(record: RecordText) -> Result<Zeroizing<String>, Problem> {
    let page = toml::to_string_pretty(&Page::from(record)).map_err(|error| {
        Problem::new(
            ProblemKind::Other,
            format!("the record cannot be written as a text: {error}"),
            "use `passmate set`",
        )
    })?;
    Ok(Zeroizing::new(page))
}

/// The same with a few words about how to edit it.
fn page_to_edit(record: RecordText) -> Result<Zeroizing<String>, Problem> {
    let page = page(record)?;
    Ok(Zeroizing::new(format!(
        "# Save and close to store what you change here; to unset a field, delete its line.\n\
         # Names and values are in quotes; text of several lines stands between \"\"\" and \
         \"\"\".\n\n{}",
        *page
    )))
}

/// Lets the person edit a text in this folder.
fn edit_file(folder: &Folder, program: &Program, text: &str) -> Result<Zeroizing<String>, Problem> {
    let failed = |error: io::Error| {
        Problem::new(
            ProblemKind::File,
            format!("cannot write or read the text: {error}"),
            "nothing was changed",
        )
    };
    let path = folder.text();
    let mut file = fs::OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed)?;
    let status = program.command(&path, &folder.state()).status();
    let status = status.map_err(|error| {
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
    let file = fs::File::open(&path).map_err(failed)?;
    file.take(TEXT_LEN_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

/// Where a text is for a while: in memory, or on the disk after a yes.
fn place(app: &App) -> Result<PathBuf, Problem> {
    if let Some(place) = folder::in_memory() {
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
