//! One talk with a pinentry program, in the lines of the Assuan protocol. The rules are:
//!  - the program gets a socket and no pipe. Another program of the same user can open a pipe that it
//!    has through /proc and answer in its place; a socket cannot be opened there;
//!  - an answer counts only once the program has ended by itself, and with success;
//!  - lines and the time are bounded, and what is typed is wiped.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// The longest line, in bytes, with its end.
const LINE_LEN_MAX: usize = 1000;
/// The longest text that is typed, in bytes.
const TYPED_LEN_MAX: usize = 4096;
/// How often it is looked whether the talk is over.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the program may take to end.
const END_PATIENCE: Duration = Duration::from_secs(5);
const END_LOOK_EVERY: Duration = Duration::from_millis(10);

/// The codes of errors, as libgpg-error numbers them.
pub(super) const TIMEOUT: u32 = 62;
pub(super) const CANCELED: u32 = 99;
pub(super) const NOT_CONFIRMED: u32 = 114;

/// What the program answers to a request.
pub(super) enum Reply {
    /// It was done. Of a request for a text, this is the text.
    Done(Zeroizing<String>),
    /// It was not done, for the reason of this code.
    Failed(u32),
}

/// A running program. It is ended when this is dropped.
pub(super) struct Pinentry<'a> {
    process: Child,
    stream: UnixStream,
    /// What was read and is not used yet.
    read: Zeroizing<Vec<u8>>,
    is_over: &'a dyn Fn() -> bool,
    until: Instant,
}

impl<'a> Pinentry<'a> {
    /// Starts a program. The talk ends after a time, or when `is_over` says so.
    pub(super) fn start(
        program: &Path,
        time: Duration,
        is_over: &'a dyn Fn() -> bool,
    ) -> io::Result<Self> {
        let (stream, of_program) = UnixStream::pair()?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        let input = OwnedFd::from(of_program.try_clone()?);
        let mut command = Command::new(program);
        command.stdin(input).stdout(OwnedFd::from(of_program));
        let process = command.spawn()?;
        // It holds the other end of the socket too.
        drop(command);
        let mut pinentry = Self {
            process,
            stream,
            read: Zeroizing::new(Vec::with_capacity(4 * LINE_LEN_MAX)),
            is_over,
            until: Instant::now() + time,
        };
        // It greets.
        match pinentry.reply()? {
            Reply::Done(_) => Ok(pinentry),
            Reply::Failed(code) => Err(failed(code)),
        }
    }

    /// Makes a request that the program must understand.
    pub(super) fn set(&mut self, command: &str, text: &str) -> io::Result<()> {
        match self.ask(command, text)? {
            Reply::Done(_) => Ok(()),
            Reply::Failed(code) => Err(failed(code)),
        }
    }

    /// Makes a request.
    pub(super) fn ask(&mut self, command: &str, text: &str) -> io::Result<Reply> {
        self.stream.write_all(line(command, text).as_bytes())?;
        self.reply()
    }

    /// Lets the program end.
    ///
    /// # Errors
    /// It ended otherwise: somebody may have answered in its place.
    pub(super) fn end(mut self) -> io::Result<()> {
        let _ = self.stream.write_all(b"BYE\n");
        let until = Instant::now() + END_PATIENCE;
        while Instant::now() < until {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(io::Error::other(format!("it was ended early: {status}")));
                }
                None => thread::sleep(END_LOOK_EVERY),
            }
        }
        Err(ErrorKind::TimedOut.into())
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let mut typed = Zeroizing::new(String::with_capacity(TYPED_LEN_MAX));
        loop {
            let line = self.line()?;
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match word {
                "OK" => return Ok(Reply::Done(typed)),
                "ERR" => {
                    let code = rest.split(' ').next().unwrap_or_default();
                    let code: u32 = code.parse().map_err(|_| damaged())?;
                    // The upper half names the program.
                    return Ok(Reply::Failed(code & 0xFFFF));
                }
                "D" => {
                    let part = decoded(rest).ok_or_else(damaged)?;
                    if typed.len() + part.len() > TYPED_LEN_MAX {
                        return Err(damaged());
                    }
                    typed.push_str(&part);
                }
                // A state, or a remark.
                "S" => {}
                _ if word.starts_with('#') => {}
                _ => return Err(damaged()),
            }
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> io::Result<Zeroizing<String>> {
        loop {
            let end = self.read.iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let (line, rest) = self.read.split_at(end);
                let text = str::from_utf8(line).map_err(|_| damaged())?;
                let text = Zeroizing::new(text.trim_end_matches('\r').to_owned());
                let mut left = Zeroizing::new(Vec::with_capacity(self.read.capacity()));
                left.extend_from_slice(rest.get(1..).unwrap_or_default());
                self.read = left;
                return Ok(text);
            }
            if self.read.len() > LINE_LEN_MAX {
                return Err(damaged());
            }
            let mut part = Zeroizing::new([0; LINE_LEN_MAX]);
            match self.stream.read(&mut *part) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => self
                    .read
                    .extend_from_slice(part.get(..len).unwrap_or_default()),
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
            if (self.is_over)() || Instant::now() >= self.until {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }
}

impl Drop for Pinentry<'_> {
    fn drop(&mut self) {
        // One that has ended needs nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn damaged() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "it does not answer as pinentry does",
    )
}

fn failed(code: u32) -> io::Error {
    io::Error::other(format!("it failed with code {code}"))
}

/// A request as it is sent. A text that is too long is cut off.
fn line(command: &str, text: &str) -> String {
    const CUT: &str = "…";
    let mut line = String::with_capacity(LINE_LEN_MAX);
    line.push_str(command);
    if !text.is_empty() {
        line.push(' ');
    }
    for character in text.chars() {
        let mut bytes = [0; 4];
        let encoded = match character {
            '%' => "%25",
            '\n' => "%0A",
            '\r' => "%0D",
            other => other.encode_utf8(&mut bytes),
        };
        if line.len() + encoded.len() + CUT.len() + 1 > LINE_LEN_MAX {
            line.push_str(CUT);
            break;
        }
        line.push_str(encoded);
    }
    line.push('\n');
    line
}

/// The text of a line of data.
fn decoded(data: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(data.len()));
    let mut rest = data;
    while let Some((before, behind)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let (digits, behind) = behind.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    bytes.extend_from_slice(rest.as_bytes());
    str::from_utf8(&bytes)
        .ok()
        .map(|text| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_that_is_not_too_long() {
        assert_eq!(line("BYE", ""), "BYE\n");
        assert_eq!(line("SETDESC", "50 %\r\n"), "SETDESC 50 %25%0D%0A\n");
        for long in ["ü", "%", "a"] {
            let line = line("SETDESC", &long.repeat(2000));
            assert!(
                line.len() <= LINE_LEN_MAX && line.ends_with("…\n"),
                "{line}"
            );
        }
    }

    #[test]
    fn data_are_decoded_and_damaged_ones_are_none() {
        assert_eq!(decoded("a%25b%0A%C3%BC").unwrap().as_str(), "a%b\nü");
        for damaged in ["%", "%2", "%zz", "%ff", "%ü"] {
            assert!(decoded(damaged).is_none(), "{damaged}");
        }
    }
}
