use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use passmate_core::problem::Problem;
use serde_json::json;

use crate::app::App;
use crate::commands::copy::{Named, value_of};
use crate::completing;
use crate::naming::with_record;
use crate::typist::{Then, check, type_text};

/// Type a field into the window that has the keyboard
///
/// For a form that takes nothing from a clipboard, or a key of your desktop that runs this command.
/// Without FIELD that is the password. It needs xdotool under X11 and wtype under Wayland. Whatever
/// window has the keyboard gets the text: on a terminal the command waits 3 seconds, in which you go
/// to the right one. Nothing presses Enter unless you say --enter. Under X11, a character that your
/// keyboard has no key for may get lost.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record
    #[arg(add = completing::record())]
    path: String,
    /// Name of the field
    #[arg(add = completing::field())]
    field: Option<String>,
    /// Type the one-time code; FIELD is the field of its secret
    #[arg(long)]
    otp: bool,
    /// Press Enter afterwards
    #[arg(long)]
    enter: bool,
    /// Seconds to wait before it types [default: 3 on a terminal, else 0]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=60))]
    after: Option<u64>,
}

/// The seconds in which a person leaves the terminal.
const ON_TERMINAL: u64 = 3;

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    // Before a person is asked for anything.
    check("")?;
    let mut vault = app.open()?;
    let Named { path, name, value } = with_record(app, &mut *vault, &args.path, |vault, path| {
        value_of(vault, path, args.field.as_deref(), args.otp)
    })?;
    drop(vault);
    check(&value)?;
    let is_watched = io::stderr().is_terminal();
    let after = args
        .after
        .unwrap_or(if is_watched { ON_TERMINAL } else { 0 });
    if after > 0 {
        app.out.note(&format!(
            "{name} of {path} is typed in {after} seconds: go to the window; Ctrl-C stops it"
        ));
        thread::sleep(Duration::from_secs(after));
    }
    let then = if args.enter {
        Then::Enter
    } else {
        Then::Nothing
    };
    type_text(&value, then)?;
    if app.out.json {
        return app.out.object(json!({ "path": path, "typed": name }));
    }
    Ok(())
}
