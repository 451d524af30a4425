//! Another program reads the clipboard, under X11 and under Wayland.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::Home;

/// A user who owns nothing.
const NOBODY: u32 = 65534;
/// A busy machine starts a compositor late.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "pa ss\u{e4}";

/// A display that nobody sees.
pub(crate) struct Display {
    server: Child,
    /// What programs need to reach it.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What prints the text of the clipboard, what lists its types, and what copies.
    paste: &'static [&'static str],
    types: &'static [&'static str],
    copy: &'static [&'static str],
    _runtime: TempDir,
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap();
    let has = std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    if !has {
        eprintln!("not run: there is no {program}");
    }
    has
}

impl Display {
    pub(crate) fn x11() -> Option<Self> {
        if !has("Xvfb") || !has("xclip") {
            return None;
        }
        let mut server = Command::new("Xvfb")
            .args([
                "-displayfd",
                "1",
                "-screen",
                "0",
                "320x200x8",
                "-nolisten",
                "tcp",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let number = first_line(server.stdout.take().unwrap());
        Some(Self {
            server,
            variables: vec![("DISPLAY", format!(":{}", number.trim()))],
            paste: &["xclip", "-selection", "clipboard", "-o"],
            types: &["xclip", "-selection", "clipboard", "-o", "-t", "TARGETS"],
            copy: &["xclip", "-selection", "clipboard", "-i"],
            _runtime: tempfile::tempdir().unwrap(),
        })
    }

    pub(crate) fn wayland() -> Option<Self> {
        if !has("sway") || !has("wl-paste") {
            return None;
        }
        let runtime = tempfile::tempdir().unwrap();
        let ready = runtime.path().join("ready");
        let config = runtime.path().join("config");
        let name = ready.display();
        let script =
            format!("exec sh -c 'echo $WAYLAND_DISPLAY > {name}.new; mv {name}.new {name}'");
        std::fs::write(&config, format!("{script}\n")).unwrap();
        let mut server = Command::new("sway");
        // It refuses to run as root.
        if rustix::process::getuid().is_root() {
            std::os::unix::fs::chown(runtime.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            server.uid(NOBODY).gid(NOBODY);
        }
        let mut server = server
            .arg("--config")
            .arg(&config)
            .env("XDG_RUNTIME_DIR", runtime.path())
            .env("WLR_BACKENDS", "headless")
            .env("WLR_LIBINPUT_NO_DEVICES", "1")
            .env("WLR_RENDERER", "pixman")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !ready.exists() {
            let is_alive = server.try_wait().unwrap().is_none();
            assert!(is_alive && begun.elapsed() < PATIENCE, "sway did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        let display = std::fs::read_to_string(&ready).unwrap();
        Some(Self {
            server,
            variables: vec![
                ("WAYLAND_DISPLAY", display.trim().to_owned()),
                (
                    "XDG_RUNTIME_DIR",
                    runtime.path().to_str().unwrap().to_owned(),
                ),
            ],
            paste: &["wl-paste", "--no-newline"],
            types: &["wl-paste", "--list-types"],
            copy: &["wl-copy"],
            _runtime: runtime,
        })
    }

    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let (program, args) = command.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(args).envs(self.variables.iter().cloned());
        command
    }

    /// What another program finds; empty if there is nothing.
    fn run(&self, command: &[&str]) -> String {
        let output = self.command(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// A program that holds a value for a second.
    fn hold(&self, value: &str) -> Child {
        let holder = [
            env!("CARGO_BIN_EXE_passmate"),
            "clipboard-holder",
            "--seconds",
            "1",
        ];
        let mut holder = self.command(&holder);
        let holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        let mut input = holder.stdin.take().unwrap();
        input.write_all(value.as_bytes()).unwrap();
        drop(input);
        assert_eq!(first_line(holder.stdout.take().unwrap()), "ready\n");
        holder
    }
}

fn first_line(output: ChildStdout) -> String {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).unwrap();
    line
}

fn check(display: Option<Display>) {
    let Some(display) = display else {
        return;
    };
    let home = Home::with(&[
        ("web/shop", "password", SECRET),
        ("web/shop", "user", "ada"),
    ]);
    let copy = |args: &[&str]| {
        let output = home
            .command(&[&["copy", "web/shop"], args].concat())
            .envs(display.variables.iter().cloned())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains(SECRET));
    };
    copy(&[]);
    assert_eq!(display.run(display.paste), SECRET);
    assert!(
        display
            .run(display.types)
            .contains("x-kde-passwordManagerHint")
    );
    copy(&["user"]);
    assert_eq!(display.run(display.paste), "ada");

    let mut holder = display.hold("for a moment");
    assert_eq!(display.run(display.paste), "for a moment");
    assert!(holder.wait().unwrap().success());
    assert_eq!(display.run(display.paste), "");

    let mut holder = display.hold("for a moment");
    let other = display.command(display.copy).stdin(Stdio::piped()).spawn();
    let mut other = other.unwrap();
    other
        .stdin
        .take()
        .unwrap()
        .write_all(b"of another")
        .unwrap();
    other.wait().unwrap();
    assert!(holder.wait().unwrap().success());
    assert_eq!(display.run(display.paste), "of another");
}

#[test]
fn a_copied_secret_leaves_the_clipboard_of_x11_in_time() {
    check(Display::x11());
}

#[test]
fn a_copied_secret_leaves_the_clipboard_of_wayland_in_time() {
    check(Display::wayland());
}

#[test]
fn without_a_display_copy_says_what_else_works() {
    let home = Home::with(&[("a", "password", SECRET)]);
    let (code, said) = home.failure(&["copy", "a"]);
    assert_eq!(code, 1);
    assert!(said.contains("--osc52"), "{said}");
    assert_eq!(home.failure(&["copy", "a", "none"]).0, 10);
    assert_eq!(
        home.failure(&["copy", "a", "--osc52"]).0,
        1,
        "there is no terminal"
    );
}
