//! `type` types into another program, under X11.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::clipboard::{Display, has};
use crate::support::Home;

/// A busy machine opens a window late.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "pa ss'$\u{e4}W0rd";

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

#[test]
fn a_field_is_typed_into_the_window_that_has_the_keyboard() {
    if !has("xdotool") || !has("xterm") {
        return;
    }
    let Some(display) = Display::x11() else {
        return;
    };
    let home = Home::with(&[
        ("web/shop", "password", SECRET),
        ("web/shop", "user", "ada"),
        ("web/shop", "notes", "two\nlines"),
    ]);
    let (ready, got) = (home.path().join("ready"), home.path().join("got"));
    let script = format!(
        "touch {}; read -r one; read -r two; printf '%s\\n' \"$one\" \"$two\" > {}.new; mv {1}.new {1}",
        ready.display(),
        got.display()
    );
    let mut xterm = display.command(&["xterm", "-u8", "-geometry", "40x5+0+0", "-e", "sh", "-c"]);
    xterm
        .arg(script)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _window = Window(xterm.spawn().unwrap());
    wait_for(&ready);
    // Without a window manager, the window below the pointer has the keyboard.
    let moved = display
        .command(&["xdotool", "mousemove", "50", "30"])
        .status();
    assert!(moved.unwrap().success());
    let types = |args: &[&str]| {
        let mut command = home.command(&[&["type", "web/shop"], args].concat());
        let output = command.envs(display.variables.iter().cloned()).output();
        output.unwrap()
    };
    let typed = types(&["--enter"]);
    assert!(typed.status.success(), "{typed:?}");
    let typed = types(&["user", "--enter", "--json"]);
    assert!(String::from_utf8_lossy(&typed.stdout).contains("\"typed\":\"user\""));
    assert_eq!(wait_for(&got), format!("{SECRET}\nada\n"));
    let lines = types(&["notes"]);
    assert_eq!(lines.status.code(), Some(2), "{lines:?}");
}

#[test]
fn without_a_display_nothing_is_typed() {
    let home = Home::with(&[("a", "password", SECRET)]);
    let (code, said) = home.failure(&["type", "a"]);
    assert_eq!(code, 1);
    assert!(said.contains("no window to type into"), "{said}");
}
