//! A terminal emulator that runs `passmate`, reads its screen and types.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process_group};

use super::program::Home;

const ROWS: NonZeroU16 = NonZeroU16::new(30).unwrap();
const COLUMNS: NonZeroU16 = NonZeroU16::new(100).unwrap();
/// The longest wait for output. A busy machine answers late.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Terminal {
    screen: vt100::Parser,
    /// All bytes that were written to the terminal.
    pub(crate) raw: Vec<u8>,
    written: Receiver<Vec<u8>>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
}

impl Terminal {
    /// Starts `passmate` with these arguments. There is no passphrase file, so it asks.
    pub(crate) fn start(home: &Home, words: &[&str]) -> Self {
        Self::start_with(home, words, &[])
    }

    /// The same with these variables.
    pub(crate) fn start_with(home: &Home, words: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_program(env!("CARGO_BIN_EXE_e2e-passmate"), home, words, variables)
    }

    /// Starts a shell, in which `$PASSMATE` is the program. Its prompt is `$ `.
    pub(crate) fn start_shell(home: &Home) -> Self {
        let variables = [
            ("PASSMATE", env!("CARGO_BIN_EXE_e2e-passmate")),
            ("PATH", &std::env::var("PATH").unwrap_or_default()),
            ("PS1", "$ "),
        ];
        Self::start_program("/bin/sh", home, &["-i"], &variables)
    }

    fn start_program(
        program: &str,
        home: &Home,
        words: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let size = PtySize {
            rows: ROWS.get(),
            cols: COLUMNS.get(),
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(program);
        command.env_clear();
        command.env("HOME", home.path());
        command.env("TERM", "xterm-256color");
        for (name, value) in variables {
            command.env(name, value);
        }
        command.args(words);
        command.cwd(home.path());
        let child = pair.slave.spawn_command(command).unwrap();
        let keyboard = pair.master.take_writer().unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (sender, written) = mpsc::channel();
        std::thread::spawn(move || {
            // Keep the terminal open for as long as this thread reads it.
            let _master = pair.master;
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            screen: vt100::Parser::new(ROWS, COLUMNS, 0),
            raw: Vec::new(),
            written,
            keyboard,
            child,
        }
    }

    /// The id of the program's process.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    /// The text on the screen. Lines that the program broke between words are one again.
    pub(crate) fn text(&self) -> String {
        self.screen.screen().contents().replace("\n          ", " ")
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.text().contains(text) {
            assert!(
                begun.elapsed() < PATIENCE,
                "no {text:?} on the screen:\n{}",
                self.text()
            );
            if self.read() == Err(RecvTimeoutError::Disconnected) {
                assert!(
                    self.text().contains(text),
                    "the program ended without {text:?}:\n{}",
                    self.text()
                );
            }
        }
    }

    /// Waits until these bytes were written, without looking at the screen.
    #[track_caller]
    pub(crate) fn wait_for_raw(&mut self, bytes: &[u8]) {
        let is_there = |raw: &[u8]| raw.windows(bytes.len()).any(|found| found == bytes);
        while !is_there(&self.raw) {
            let read = self.read();
            assert!(read.is_ok(), "{read:?}:\n{}", self.text());
        }
    }

    /// Clears the screen and types a line. Without the clearing, [`wait_for`](Self::wait_for) could
    /// take an old question for a new one.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.screen.process(b"\x1b[2J\x1b[H");
        self.type_keys(&format!("{line}\n"));
    }

    /// Types without clearing the screen.
    pub(crate) fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Types Ctrl-C.
    pub(crate) fn interrupt(&mut self) {
        self.keyboard.write_all(b"\x03").unwrap();
    }

    /// Types Ctrl-D until the program answers: the terminal swallows it before the program reads.
    pub(crate) fn end_input(&mut self) {
        for _ in 0..PATIENCE.as_secs() {
            self.keyboard.write_all(b"\x04").unwrap();
            match self.written.recv_timeout(Duration::from_secs(1)) {
                Ok(bytes) => return self.show(bytes),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits for the program to end. Returns the screen, the exit code and all output.
    pub(crate) fn finish(mut self) -> (String, u32, Vec<u8>) {
        loop {
            match self.read() {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the program does not end:\n{}", self.text())
                }
            }
        }
        let code = self.child.wait().unwrap().exit_code();
        (self.text(), code, std::mem::take(&mut self.raw))
    }

    fn read(&mut self) -> Result<(), RecvTimeoutError> {
        let bytes = self.written.recv_timeout(PATIENCE)?;
        self.show(bytes);
        Ok(())
    }

    fn show(&mut self, bytes: Vec<u8>) {
        self.screen.process(&bytes);
        self.raw.extend(bytes);
    }
}

/// A test that fails leaves no program behind. Some editors outlive their terminal.
impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let group = self.child.process_id().and_then(|id| id.try_into().ok());
        if let Some(group) = group.and_then(Pid::from_raw) {
            // It leads the session of its terminal, and the editor is in its group.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
