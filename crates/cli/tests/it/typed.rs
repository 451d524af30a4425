//! A person with a vault, and a terminal that runs the program.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use passmate_core::session::{Session, VaultLocation};
use passmate_vault::Passphrase;
use passmate_vault::format::container::Params;
use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};
use tempfile::TempDir;

use crate::support::PROGRAM;

const PASSPHRASE: &str = "correct horse battery";
const ROWS: NonZeroU16 = NonZeroU16::new(24).unwrap();
const COLUMNS: NonZeroU16 = NonZeroU16::new(80).unwrap();
/// The longest wait for output. A busy machine answers late.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that nobody else can look into, so that no file in it is open to others.
fn private_folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .unwrap()
}

/// A home directory with a vault that opens at once.
pub(crate) struct Home {
    dir: TempDir,
    variables: BTreeMap<&'static str, PathBuf>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = private_folder();
        let path = std::env::var_os("PATH").unwrap();
        let variables = [
            ("HOME", dir.path().to_owned()),
            ("PATH", path.into()),
            ("PASSMATE_PASSPHRASE_FILE", dir.path().join("passphrase")),
        ];
        let variables = variables.into();
        let home = Self { dir, variables };
        fs::write(home.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        let passphrase = Passphrase::from(PASSPHRASE.to_owned());
        let location = VaultLocation::new(home.vault());
        let location = location.with_params(Params::new(4, 1, 1).unwrap());
        Session::create(location, passphrase).unwrap();
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.path().join(".local/share/passmate/vault.pmdb")
    }

    /// Sets a variable of the environment, or removes it.
    pub(crate) fn variable(&mut self, name: &'static str, value: Option<PathBuf>) {
        match value {
            Some(value) => self.variables.insert(name, value),
            None => self.variables.remove(name),
        };
    }

    /// With this as standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// The standard output of a command that succeeds.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.ok_with(args, "")
    }

    #[track_caller]
    pub(crate) fn ok_with(&self, args: &[&str], input: &str) -> String {
        let output = self.run_with(args, input);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The two lines of a command that ends with this code.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, args: &[&str], input: &str) -> String {
        let output = self.run_with(args, input);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// A terminal in which the program runs.
pub(crate) struct Terminal {
    screen: vt100::Parser,
    /// All bytes that were written to it.
    pub(crate) raw: Vec<u8>,
    written: Receiver<Vec<u8>>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
}

impl Terminal {
    pub(crate) fn start(home: &Home, args: &[&str]) -> Self {
        let size = PtySize {
            rows: ROWS.get(),
            cols: COLUMNS.get(),
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(PROGRAM);
        command.env_clear();
        command.env("TERM", "xterm-256color");
        for (name, value) in &home.variables {
            command.env(name, value);
        }
        command.args(args);
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

    /// The text on the screen. Lines that the program broke between words are one again.
    pub(crate) fn text(&self) -> String {
        self.screen.screen().contents().replace("\n          ", " ")
    }

    /// Whether the alternate screen is shown.
    pub(crate) fn is_alternate(&self) -> bool {
        self.screen.screen().alternate_screen()
    }

    /// The id of the program's process.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        while !self.text().contains(text) {
            let read = self.read();
            assert!(
                read.is_ok() || self.text().contains(text),
                "no {text:?} on the screen ({read:?}):\n{}",
                self.text()
            );
        }
    }

    pub(crate) fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the question and answers it.
    #[track_caller]
    pub(crate) fn answer(&mut self, question: &str, answer: &str) {
        self.wait_for(question);
        self.screen.process(b"\x1b[2J\x1b[H");
        self.type_keys(&format!("{answer}\n"));
    }

    /// Waits for the program to end. Returns the screen and the exit code.
    pub(crate) fn finish(&mut self) -> (String, u32) {
        while self.read().is_ok() {}
        let code = self.child.wait().unwrap().exit_code();
        (self.text(), code)
    }

    fn read(&mut self) -> Result<(), RecvTimeoutError> {
        let bytes = self.written.recv_timeout(PATIENCE)?;
        self.screen.process(&bytes);
        self.raw.extend(bytes);
        Ok(())
    }
}

/// A test that fails leaves no program behind.
impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
