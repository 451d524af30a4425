//! The clipboard. The rules are:
//!  - a process of its own holds the value and takes it away by ending, so that it goes in time
//!    whatever becomes of the program that copied it, and only if it is still there;
//!  - clipboard managers are told that it is a secret;
//!  - the value reaches that process through a pipe.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use arboard::Clipboard as DesktopClipboard;
#[cfg(target_os = "macos")]
use arboard::SetExtApple;
#[cfg(not(target_os = "macos"))]
use arboard::SetExtLinux;
use data_encoding::BASE64;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::settings::ClipboardSettings;
use rustix::process::setsid;
use zeroize::Zeroizing;

/// The hidden command that [`hold`]s a value.
pub(crate) const HOLDER: &str = "clipboard-holder";
/// The longest value, in bytes.
const LEN_MAX: u64 = 1 << 20;
/// The longest value that is given to a terminal, in bytes. Many take no more.
const TERMINAL_LEN_MAX: usize = 48 * 1024;
/// The longest answer of a holder, in bytes.
const ANSWER_LEN_MAX: u64 = 1024;
const READY: &str = "ready";

/// Puts a value into the clipboard for a time.
///
/// # Errors
/// There is no clipboard, or it does not take the value.
pub(crate) fn copy(value: &str, time: Duration) -> Result<(), Problem> {
    if value.len() as u64 > LEN_MAX {
        return Err(too_long());
    }
    if !has_display() {
        return Err(Problem::new(
            ProblemKind::Other,
            "there is no clipboard: neither WAYLAND_DISPLAY nor DISPLAY is set",
            "over SSH, `passmate copy --osc52` gives the value to the clipboard of your terminal",
        ));
    }
    let failed = |error: io::Error| unusable(&error.to_string());
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args([HOLDER, "--seconds", &time.as_secs().to_string()])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // A holder that is gone already has said why.
        let _ = input.write_all(value.as_bytes());
    }
    let mut answer = String::new();
    if let Some(output) = child.stdout.take() {
        let read = BufReader::new(output.take(ANSWER_LEN_MAX)).read_line(&mut answer);
        read.map_err(failed)?;
    }
    match answer.trim_end() {
        READY => Ok(()),
        "" => Err(unusable("the process that holds it ended at once")),
        why => Err(unusable(why)),
    }
}

/// Holds what stands on standard input in the clipboard for a time, and ends this process.
pub(crate) fn hold(time: Duration) -> ! {
    // The terminal of the program that copied the value may go.
    let _ = setsid();
    let answer = |text: &str| {
        let mut out = io::stdout();
        let _ = out.write_all(format!("{text}\n").as_bytes());
        let _ = out.flush();
    };
    let mut value = Zeroizing::new(String::new());
    let read = io::stdin().take(LEN_MAX).read_to_string(&mut value);
    let set = read.map_err(|error| error.to_string()).and_then(|_| {
        let mut clipboard = DesktopClipboard::new().map_err(|error| error.to_string())?;
        let set = clipboard.set().exclude_from_history();
        set.text(value.as_str())
            .map_err(|error| error.to_string())?;
        Ok(clipboard)
    });
    let clipboard = match set {
        Ok(clipboard) => clipboard,
        Err(why) => {
            answer(&why.replace('\n', " "));
            std::process::exit(1);
        }
    };
    answer(READY);
    thread::sleep(time);
    // Dropped, it would hand the value over to a clipboard manager.
    std::mem::forget(clipboard);
    std::process::exit(0);
}

/// A place from which a person pastes a secret.
pub(crate) trait Clipboard {
    /// Puts a text there.
    fn put(&mut self, text: &str) -> Result<(), Problem>;

    /// How long a text stays there.
    fn keeps(&self) -> Duration;

    /// Whether the text goes away by itself, also if this program has ended. If not, this program
    /// calls [`clear`](Self::clear) in time, or when it ends.
    fn clears_itself(&self) -> bool;

    /// Takes the text away that was put there last.
    fn clear(&mut self) -> Result<(), Problem>;
}

/// The clipboard that these settings and this environment want.
pub(crate) fn clipboard_of(settings: ClipboardSettings) -> Box<dyn Clipboard> {
    let time = settings.clear_after;
    if has_display() && !settings.osc52 {
        Box::new(Desktop { time })
    } else {
        Box::new(Osc52 { time })
    }
}

/// The clipboard of the desktop, for a time.
struct Desktop {
    time: Duration,
}

impl Clipboard for Desktop {
    fn put(&mut self, text: &str) -> Result<(), Problem> {
        copy(text, self.time)
    }

    fn keeps(&self) -> Duration {
        self.time
    }

    fn clears_itself(&self) -> bool {
        true
    }

    fn clear(&mut self) -> Result<(), Problem> {
        Ok(())
    }
}

/// The clipboard of the terminal, also at the other end of an SSH connection. The terminal may
/// ignore what it is asked for, and does not say what its clipboard holds.
pub(crate) struct Osc52 {
    time: Duration,
}

/// Gives a text to the clipboard of the terminal.
///
/// # Errors
/// There is no terminal, or the text is too long.
pub(crate) fn give_to_terminal(text: &str) -> Result<(), Problem> {
    if text.len() > TERMINAL_LEN_MAX {
        return Err(too_long());
    }
    tell_terminal(&sequence(text))
}

impl Clipboard for Osc52 {
    fn put(&mut self, text: &str) -> Result<(), Problem> {
        give_to_terminal(text)
    }

    fn keeps(&self) -> Duration {
        self.time
    }

    fn clears_itself(&self) -> bool {
        false
    }

    fn clear(&mut self) -> Result<(), Problem> {
        // A blank takes the place of the secret, also where the terminal cannot empty its
        // clipboard; `!` is no base64, which empties it.
        tell_terminal(&Zeroizing::new(format!(
            "{}\x1b]52;c;!\x07",
            *sequence(" ")
        )))
    }
}

/// Asks the terminal to put a text into its clipboard.
fn sequence(text: &str) -> Zeroizing<String> {
    let mut sequence = Zeroizing::new(String::with_capacity(16 + text.len() / 3 * 4));
    sequence.push_str("\x1b]52;c;");
    BASE64.encode_append(text.as_bytes(), &mut sequence);
    sequence.push('\x07');
    sequence
}

fn tell_terminal(sequence: &str) -> Result<(), Problem> {
    let told = File::options()
        .write(true)
        .open("/dev/tty")
        .and_then(|mut terminal| terminal.write_all(sequence.as_bytes()));
    told.map_err(|error| {
        Problem::new(
            ProblemKind::Other,
            format!("there is no terminal to give the value to: {error}"),
            "run it on a terminal, or without --osc52",
        )
    })
}

fn has_display() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || is_set("WAYLAND_DISPLAY") || is_set("DISPLAY")
}

fn too_long() -> Problem {
    Problem::new(
        ProblemKind::TooLarge,
        "the value is too long for a clipboard",
        "`passmate show PATH FIELD > FILE` writes it into a file",
    )
}

fn unusable(why: &str) -> Problem {
    Problem::new(
        ProblemKind::Other,
        format!("the clipboard cannot be used: {why}"),
        "`passmate show PATH FIELD --reveal` shows the value, `passmate copy --osc52` gives it to \
         the clipboard of your terminal",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_goes_to_the_clipboard_of_the_terminal() {
        assert_eq!(*sequence("hunter2"), "\x1b]52;c;aHVudGVyMg==\x07");
        // Nothing of a value acts on the terminal.
        assert_eq!(*sequence("\x1b\x07"), "\x1b]52;c;Gwc=\x07");
    }
}
