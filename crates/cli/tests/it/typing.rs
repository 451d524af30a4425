//! `type` types into another program, under X11.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::clipboard::{Display, has};
use crate::support::Home;

/// A busy machine opens a window late.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "pa ss'$W0rd";

/// A window in which a program reads lines, and says into a file what it got.
struct Window(Child);

impl Drop for Window {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(file: &Path) -> String {
    let begun = Instant::now();
    while !file.exists() {
        assert!(begun.elapsed() < PATIENCE, "no {}", file.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::read_to_string(file).unwrap()
}

/// Types into a terminal, which this command line opens on the display for a shell's script.
fn check(display: &Display, password: &str, terminal: &[&str], focus: &[&str]) {
    let home = Home::with(&[
        ("web/shop", "password", password),
        ("web/shop", "user", "ada"),
        ("web/shop", "notes", "two\nlines"),
    ]);
    let (ready, got) = (home.path().join("ready"), home.path().join("got"));
    let script = format!(
        "touch {}; read -r one; read -r two; printf '%s\\n' \"$one\" \"$two\" > {1}.new; mv {1}.new {1}",
        ready.display(),
        got.display()
    );
    let mut window = display.command(terminal);
    window.args(["sh", "-c", &script]).env("LC_ALL", "C.UTF-8");
    window.stdout(Stdio::null()).stderr(Stdio::null());
    let _window = Window(window.spawn().unwrap());
    wait_for(&ready);
    assert!(display.command(focus).status().unwrap().success());
    let types = |args: &[&str]| {
        let mut command = home.command(&[&["type", "web/shop"], args].concat());
        let output = command.envs(display.variables.iter().cloned()).output();
        output.unwrap()
    };
    let typed = types(&["--enter"]);
    assert!(typed.status.success(), "{typed:?}");
    let typed = types(&["user", "--enter", "--json"]);
    assert!(String::from_utf8_lossy(&typed.stdout).contains("\"typed\":\"user\""));
    assert_eq!(wait_for(&got), format!("{password}\nada\n"));
    let lines = types(&["notes"]);
    assert_eq!(lines.status.code(), Some(2), "{lines:?}");
}

#[test]
fn a_field_is_typed_into_the_window_that_has_the_keyboard_of_x11() {
    if !has("xdotool") || !has("xterm") {
        return;
    }
    let Some(display) = Display::x11() else {
        return;
    };
    // Without a window manager, the window below the pointer has the keyboard.
    let focus = ["xdotool", "mousemove", "50", "30"];
    let terminal = ["xterm", "-u8", "-geometry", "40x5+0+0", "-e"];
    check(&display, SECRET, &terminal, &focus);
}

#[test]
fn a_field_is_typed_into_the_window_that_has_the_keyboard_of_wayland() {
    if !has("wtype") || !has("foot") {
        return;
    }
    let Some(display) = Display::wayland() else {
        return;
    };
    // Every desktop has a keyboard, and this one needs another than that of the program that types.
    let mut keyboard = display.command(&["wtype", "-s", "60000", "-k", "Shift_L"]);
    let _keyboard = Window(keyboard.spawn().unwrap());
    let until = |what: &str| {
        let sway = "swaymsg -s \"$XDG_RUNTIME_DIR\"/sway-ipc.*.sock";
        format!("until {sway} {what}; do sleep 0.05; done")
    };
    let has_keyboard = until("-t get_inputs | grep -q keyboard");
    let waited = display.command(&["sh", "-c", &has_keyboard]).status();
    assert!(waited.unwrap().success());
    // A window has the keyboard once it is there.
    let has_window = until("-q '[app_id=foot] focus'");
    let password = format!("{SECRET}\u{e4}");
    check(&display, &password, &["foot"], &["sh", "-c", &has_window]);
}

#[test]
fn without_a_display_nothing_is_typed() {
    let home = Home::with(&[("a", "password", SECRET)]);
    let (code, said) = home.failure(&["type", "a"]);
    assert_eq!(code, 1);
    assert!(said.contains("no window to type into"), "{said}");
}
