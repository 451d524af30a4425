//! Types a text into the window that has the keyboard. The rules are:
//!  - the text reaches the program that types through a pipe, and is never an argument;
//!  - only one line is typed, so that no window takes a part of it for a command;
//!  - the program that types has a time limit.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};

/// How long the typing may take: some 80 keys a second.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// The longest text, in bytes.
const LEN_MAX: usize = 4096;
/// The longest message of a program that is passed on, in bytes.
const MESSAGE_LEN_MAX: u64 = 512;

/// A program that types what it reads from standard input.
struct Typist {
    program: &'static str,
    args: &'static [&'static str],
    /// The same, to press Enter behind the text, and what is put behind the text for that. Enter by
    /// a call of its own may be lost under Wayland: a window sees another keyboard then.
    enter: (&'static [&'static str], &'static str),
}

const WAYLAND: Typist = Typist {
    program: "wtype",
    args: &["-"],
    enter: (&["-", "-k", "Return"], ""),
};
const X11: Typist = Typist {
    program: "xdotool",
    args: XDOTOOL,
    enter: (XDOTOOL, "\n"),
};
const XDOTOOL: &[&str] = &["type", "--clearmodifiers", "--file", "-"];

/// Whether Enter is pressed behind a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    Enter,
}

/// Checks that a text can be typed at all.
///
/// # Errors
/// There is no display, or the text is long or has several lines.
pub(crate) fn check(text: &str) -> Result<(), Problem> {
    typist()?;
    if text.len() > LEN_MAX || text.chars().any(char::is_control) {
        return Err(Problem::usage(
            "only one line is typed, of 4096 bytes at most",
            "`passmate copy` puts a longer text into the clipboard",
        ));
    }
    Ok(())
}

/// Types a text.
///
/// # Errors
/// See [`check`]; or the program that types is missing, or fails.
pub(crate) fn type_text(text: &str, then: Then) -> Result<(), Problem> {
    check(text)?;
    let typist = typist()?;
    let (args, end) = match then {
        Then::Enter => typist.enter,
        Then::Nothing => (typist.args, ""),
    };
    typist.run(args, &[text, end])
}

fn typist() -> Result<&'static Typist, Problem> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match (is_set("WAYLAND_DISPLAY"), is_set("DISPLAY")) {
        (true, _) => Ok(&WAYLAND),
        (false, true) => Ok(&X11),
        (false, false) => Err(Problem::new(
            ProblemKind::Other,
            "there is no window to type into: neither WAYLAND_DISPLAY nor DISPLAY is set",
            "run it in the session of a desktop",
        )),
    }
}

impl Typist {
    fn run(&self, args: &[&str], texts: &[&str]) -> Result<(), Problem> {
        let child = Command::new(self.program)
            .args(args)
            // What it reads is UTF-8, whatever the person's language is.
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| self.failed(&error.to_string()))?;
        if let Some(mut input) = child.stdin.take() {
            for text in texts {
                // One that is gone already says why.
                let _ = input.write_all(text.as_bytes());
            }
        }
        let is_done = self.wait(&mut child)?;
        let mut message = Vec::new();
        if let Some(said) = child.stderr.take() {
            // What cannot be read is no message.
            let _ = said.take(MESSAGE_LEN_MAX).read_to_end(&mut message);
        }
        match is_done {
            true => Ok(()),
            false => Err(self.failed(String::from_utf8_lossy(&message).trim())),
        }
    }

    /// Waits for the program, and returns whether it succeeded.
    fn wait(&self, child: &mut Child) -> Result<bool, Problem> {
        let begun = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status.success()),
                Ok(None) if begun.elapsed() < PATIENCE => thread::sleep(LOOK_PAUSE),
                Ok(None) => {
                    // It may have ended just now.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(self.failed("it took longer than a minute"));
                }
                Err(error) => return Err(self.failed(&error.to_string())),
            }
        }
    }

    fn failed(&self, why: &str) -> Problem {
        let program = self.program;
        Problem::new(
            ProblemKind::Other,
            format!("{program} did not type: {}", escape(why)),
            format!(
                "install {program}, or use `passmate copy`; not every Wayland desktop lets a \
                 program type"
            ),
        )
    }
}
