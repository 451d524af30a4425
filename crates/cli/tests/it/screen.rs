//! The full screen in a terminal: the bytes that it really writes, and what it leaves behind.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use passmate_core::answer::Consent;
use passmate_core::api::VaultApi;
use passmate_core::edit::{Edit, RecordText};
use passmate_core::session::{Session, VaultLocation};
use passmate_vault::format::container::Params;
use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
use tempfile::TempDir;
use vt100::MouseProtocolMode;

const ROWS: NonZeroU16 = NonZeroU16::new(24).unwrap();
const COLUMNS: NonZeroU16 = NonZeroU16::new(80).unwrap();
/// The longest wait for output. A busy machine answers late.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSPHRASE: &str = "correct horse battery";

/// A terminal with a shell's settings, in which the program runs.
struct Terminal {
    _home: TempDir,
    screen: vt100::Parser,
    written: Receiver<Vec<u8>>,
    keyboard: Box<dyn Write + Send>,
    /// The terminal's device.
    device: PathBuf,
    child: Box<dyn Child + Send + Sync>,
}

/// A home folder with a vault in it.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("passphrase"), PASSPHRASE).unwrap();
    std::fs::write(home.path().join("editor"), EDITOR).unwrap();
    let path = home.path().join(".local/share/passmate/vault.pmdb");
    let location = VaultLocation::new(&path).with_params(Params::new(4, 1, 1).unwrap());
    let mut session = Session::create(location, PASSPHRASE.to_owned().into()).unwrap();
    let record = RecordText::new("mail", [("user", "bob"), ("password", "hunter2")]);
    let edit = Edit::Add { record };
    session
        .change(&edit, &Consent::none(), &mut |_| {})
        .unwrap();
    home
}

/// Sees whether it may ask on the terminal, and changes the user.
const EDITOR: &str = "stty -a | grep -q ' echo ' && sed -i 's/bob/alice/' \"$1\"\n";

impl Terminal {
    fn start(variables: &[(&str, &str)]) -> Self {
        let home = home();
        let size = PtySize {
            rows: ROWS.get(),
            cols: COLUMNS.get(),
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_passmate"));
        command.env_clear();
        command.env("HOME", home.path());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("TERM", "xterm-256color");
        command.env("EDITOR", "sh editor");
        for (name, value) in variables {
            command.env(name, value);
        }
        command.cwd(home.path());
        let child = pair.slave.spawn_command(command).unwrap();
        let device = pair.master.tty_name().unwrap();
        let keyboard = pair.master.take_writer().unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (sender, written) = mpsc::channel();
        std::thread::spawn(move || {
            // The terminal is there for as long as the test, also after the program.
            let _pair = pair;
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            _home: home,
            screen: vt100::Parser::new(ROWS, COLUMNS, 0),
            written,
            keyboard,
            device,
            child,
        }
    }

    fn with_passphrase_file() -> Self {
        let mut terminal = Self::start(&[("PASSMATE_PASSPHRASE_FILE", "passphrase")]);
        terminal.wait_for("? help");
        terminal
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Waits until the screen is as it is wanted.
    #[track_caller]
    fn wait_until(&mut self, what: &str, is_so: impl Fn(&vt100::Screen) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self.screen.screen()) {
            let patience = end.saturating_duration_since(Instant::now());
            match self.written.recv_timeout(patience) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("{what}:\n{}", self.text()),
            }
        }
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |screen| screen.contents().contains(text));
    }

    fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.process_id().unwrap().try_into().unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits for the end of the program. The terminal is what it was, and shows nothing of the
    /// vault. Returns the exit code and the signal.
    #[track_caller]
    fn end(&mut self) -> (u32, Option<String>) {
        self.wait_until("the screen is not left", |screen| {
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && !screen.bracketed_paste()
                && screen.mouse_protocol_mode() == MouseProtocolMode::None
        });
        for text in ["mail", "bob", "hunter2"] {
            assert!(!self.text().contains(text), "{}", self.text());
        }
        let status = self.child.wait().unwrap();
        let device = File::open(&self.device).unwrap();
        let modes = tcgetattr(device).unwrap().local_modes;
        let usual = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        assert!(modes.contains(usual), "{modes:?}");
        (status.exit_code(), status.signal().map(str::to_owned))
    }
}

/// A test that fails leaves no program behind.
impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_secret_is_in_no_byte_until_it_is_asked_for() {
    let mut terminal = Terminal::start(&[]);
    terminal.wait_for("Master passphrase:");
    terminal.keys(&format!("{PASSPHRASE}\r"));
    terminal.wait_for("? help");
    assert!(terminal.screen.screen().alternate_screen());
    assert!(!terminal.text().contains("hunter2"));
    terminal.keys("\r");
    terminal.wait_for("Enter reveal");
    terminal.keys("\r");
    terminal.wait_for("hunter2");
    terminal.keys("q");
    assert_eq!(terminal.end(), (0, None));
}

#[test]
fn a_signal_that_ends_the_program_gives_the_terminal_back() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let mut terminal = Terminal::with_passphrase_file();
        terminal.signal(signal);
        let (_, ended_by) = terminal.end();
        assert!(ended_by.is_some(), "{signal:?}");
    }
}

/// Runs the screen on a terminal that goes away without a signal, and prints how it ended.
const HANG_UP: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios
signal.alarm(120)
child, terminal = pty.fork()
if child == 0:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execv(sys.argv[1], [sys.argv[1]])
shown = b""
while b"mail" not in shown:
    shown += os.read(terminal, 4096)
os.close(terminal)
print(os.waitpid(child, 0)[0] == child)
"#;

#[test]
fn the_screen_ends_with_its_terminal() {
    let home = home();
    let mut python = std::process::Command::new("python3");
    let python = python
        .args(["-c", HANG_UP, env!("CARGO_BIN_EXE_passmate")])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("TERM", "xterm-256color")
        .env("PASSMATE_PASSPHRASE_FILE", home.path().join("passphrase"));
    let Ok(output) = python.output() else {
        eprintln!("not run: there is no python3");
        return;
    };
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "True\n",
        "{output:?}"
    );
}

#[test]
fn an_editor_has_the_terminal_as_it_was_and_its_record_is_stored() {
    let mut terminal = Terminal::with_passphrase_file();
    terminal.keys("E");
    terminal.wait_for("1 change of mail");
    terminal.wait_for("alice");
    terminal.keys("u");
    terminal.wait_for("undid: edit mail");
    terminal.keys("\x03");
    assert_eq!(terminal.end(), (0, None));
}

#[test]
fn what_is_copied_goes_to_the_terminal_and_is_taken_away() {
    let mut terminal = Terminal::with_passphrase_file();
    terminal.keys("c");
    terminal.wait_for("in the clipboard for");
    terminal.keys("q");
    assert_eq!(terminal.end(), (0, None));
}

#[test]
fn no_color_has_none() {
    let variables = [
        ("PASSMATE_PASSPHRASE_FILE", "passphrase"),
        ("NO_COLOR", "1"),
    ];
    let mut terminal = Terminal::start(&variables);
    terminal.wait_for("? help");
    terminal.wait_for("bob");
    let screen = terminal.screen.screen();
    for row in 0..ROWS.get() {
        for column in 0..COLUMNS.get() {
            let cell = screen.cell(row, column).unwrap();
            assert_eq!(cell.fgcolor(), vt100::Color::Default, "{row} {column}");
        }
    }
}
