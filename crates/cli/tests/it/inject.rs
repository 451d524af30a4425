//! `inject`: templates become files and pipes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Home, answer};

const TEMPLATE: &str = "user: {{passmate://db/user}}\npassword: {{ passmate://db/password }}\n\
                        chart: {{ .Values.x }}\n";
const FILLED: &str = "user: alice\npassword: battery staple\nchart: {{ .Values.x }}\n";

fn home() -> Home {
    let home = Home::with(&[
        ("db", "user", "alice"),
        ("db", "password", "battery staple"),
    ]);
    home.write("template", TEMPLATE);
    home
}

#[test]
fn a_template_becomes_a_file_that_is_its_owners_alone() {
    let home = home();
    assert_eq!(home.answer(&["inject", "-i", "template"]), FILLED);
    assert_eq!(answer(&mut home.command(&["inject"]), TEMPLATE), FILLED);
    home.answer(&["inject", "-i", "template", "-o", "file"]);
    let path = home.path().join("file");
    assert_eq!(fs::read_to_string(&path).unwrap(), FILLED);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // It is replaced only after a yes.
    home.write("file", "before");
    assert_eq!(
        home.failure(&["inject", "-i", "template", "-o", "file"]).0,
        3
    );
    assert_eq!(fs::read(&path).unwrap(), b"before");
    home.answer(&["inject", "-i", "template", "-o", "file", "--yes"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), FILLED);
    let args = ["inject", "-i", "template", "-o", "./template", "--yes"];
    assert_eq!(home.failure(&args).0, 2);
}

#[test]
fn nothing_is_written_if_a_reference_cannot_be_read() {
    let home = home();
    home.write(
        "missing",
        "{{ passmate://db/user }}\n{{ passmate://none/x }}",
    );
    home.write("wrong", "\n{{ passmate://db }}");
    home.write("open", "{{ passmate://db/user");
    for (template, code, what) in [
        ("missing", 10, "missing: line 2: there is no record none"),
        ("wrong", 2, "wrong: line 2: this is no reference"),
        ("open", 2, "open: line 1: braces"),
        ("none", 7, "cannot read none"),
    ] {
        for to in ["-o", "--fifo"] {
            let (found, said) = home.failure(&["inject", "-i", template, to, "made"]);
            assert_eq!(found, code, "{said}");
            assert!(said.contains(what), "{said}");
            assert!(!home.path().join("made").exists());
        }
        assert!(home.run(&["inject", "-i", template]).stdout.is_empty());
    }
}

#[test]
fn a_pipe_gives_the_present_values_to_each_reader() {
    let home = home();
    let mut command = home.command(&["inject", "-i", "template", "--fifo", "pipe"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "each reader of pipe gets the text\n");
    let pipe = home.path().join("pipe");
    for _ in 0..3 {
        assert_eq!(fs::read_to_string(&pipe).unwrap(), FILLED);
    }
    let second = home.failure(&["inject", "-i", "template", "--fifo", "pipe"]);
    assert_eq!(second.0, 12);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!pipe.exists());
}
