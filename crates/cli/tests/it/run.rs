//! `run`: values in the environment of a program, masked in what it writes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Home, answer};

fn home() -> Home {
    Home::with(&[
        ("web/shop", "password", "battery staple"),
        ("web/shop", "user", "alice"),
        ("web/shop", "otp", "GEZDGNBVGY3TQOJQ"),
        ("web/shop", "pin", "123"),
        (
            "key",
            "private key",
            "-----BEGIN-----\nabcdef\n-----END-----\n",
        ),
    ])
}

#[test]
fn a_program_gets_values_and_their_output_is_masked() {
    let home = home();
    home.write(
        ".env",
        "export A=\"x{{ passmate://web/shop/password }}y\"\nB='plain $A'\nC=file\nD=file\n",
    );
    let script = "echo $A, $B, $C, $D, $E; echo $A >&2; [ ${#E} = 14 ] && [ ${#F} = 6 ] && echo $F";
    let mut command = home.command(&["run", "--env-file", ".env"]);
    command
        .args(["--env", "D=passmate://web/shop/user"])
        .args(["--env", "F=passmate://web/shop/otp?code"])
        .args(["--", "sh", "-c", script])
        .env("C", "passmate://none/in-the-vault")
        .env("E", "passmate://web/shop/password");
    let output = command.output().unwrap();
    let said = |bytes| String::from_utf8(bytes).unwrap();
    assert_eq!(
        said(output.stdout),
        "x********y, plain $A, file, alice, ********\n********\n"
    );
    assert_eq!(said(output.stderr), "x********y\n");
    // The program itself has the value.
    home.answer(&[
        "run",
        "--env",
        "A=passmate://web/shop/password",
        "--",
        "sh",
        "-c",
        "printf %s \"$A\" > got",
    ]);
    let got = fs::read_to_string(home.path().join("got")).unwrap();
    assert_eq!(got, "battery staple");
}

#[test]
fn a_value_is_masked_line_by_line_and_in_other_forms() {
    let home = home();
    let script = "printf 'batt'; printf 'ery sta'; echo 'ple'; echo \"$K\"; \
                  printf %s \"$P\" | od -An -tx1 | wc -l; echo YmF0dGVyeSBzdGFwbGU=; echo battery%20staple";
    let args = ["run", "--env", "P=passmate://web/shop/password"];
    let mut command = home.command(&args);
    command.args([
        "--env",
        "K=passmate://key/private%20key",
        "sh",
        "-c",
        script,
    ]);
    let said = answer(&mut command, "");
    let expected = "********\n********\n********\n********\n1\n********U=\n********\n";
    // `echo` ends the last line of the key.
    assert_eq!(said.replace("\n\n", "\n"), expected);
}

#[test]
fn without_masking_the_program_takes_the_place_of_this_one() {
    let home = home();
    let args = [
        "run",
        "--no-masking",
        "--env",
        "A=passmate://web/shop/password",
    ];
    let script = "echo $A; tr '\\0' ' ' < /proc/$$/cmdline";
    let mut command = home.command(&args);
    command.args(["--", "sh", "-c", script]);
    let said = answer(&mut command, "");
    assert!(said.starts_with("battery staple\nsh -c "), "{said}");
    assert_eq!(said.matches("battery staple").count(), 1);
}

#[test]
fn a_short_value_is_not_masked_and_that_is_said() {
    let home = home();
    let output = home.run(&[
        "run",
        "--env",
        "A=passmate://web/shop/pin",
        "sh",
        "-c",
        "echo $A",
    ]);
    assert_eq!(output.stdout, b"123\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("passmate://web/shop/pin is shorter than 4 bytes"));
}

#[test]
fn the_exit_code_is_that_of_the_program() {
    let home = home();
    let code = |script: &str| home.run(&["run", "--", "sh", "-c", script]).status.code();
    assert_eq!(code("exit 7"), Some(7));
    assert_eq!(code("kill -TERM $$"), Some(143));
    assert_eq!(code("kill -KILL $$"), Some(137));
    assert_eq!(home.failure(&["run", "--", "no-such-program"]).0, 10);
    assert_eq!(home.failure(&["run", "--", "."]).0, 7);
}

#[test]
fn nothing_runs_if_a_reference_cannot_be_read() {
    let home = home();
    home.write(".env", "A=1\nB=\"\n{{ passmate://web/shop }}\"\n");
    for (args, code, what) in [
        (
            ["--env", "A=passmate://web/none/x"],
            10,
            "variable A: there is no record web/none",
        ),
        (["--env", "A=battery"], 2, "the value of A is no reference"),
        (["--env", "passmate://web/shop/user"], 2, "needs a name"),
        (
            ["--env-file", ".env"],
            10,
            "variable B: line 2: there is no record web",
        ),
        (["--env-file", "none"], 7, "cannot read none"),
    ] {
        let args = [&["run"][..], &args, &["--", "touch", "ran"]].concat();
        let (found, said) = home.failure(&args);
        assert_eq!(found, code, "{said}");
        assert!(said.contains(what), "{said}");
    }
    let mut command = home.command(&["run", "touch", "ran"]);
    let output = command.env("X", "passmate://web").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!home.path().join("ran").exists());
}

/// A script that runs, with a pipe on each side.
fn start(home: &Home, script: &str) -> Child {
    let args = ["run", "--env", "A=passmate://web/shop/password"];
    let mut command = home.command(&args);
    command.args(["--", "sh", "-c", script]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    piped.spawn().unwrap()
}

#[test]
fn a_question_is_seen_before_its_answer() {
    let home = home();
    // Its end may be the begin of the value.
    for (question, rest) in [
        ("name: b", "attery staple\n"),
        ("name: batt", "ery staple\n"),
    ] {
        let script = format!("printf '{question}'; read x; echo \"$x\"");
        let mut child = start(&home, &script);
        let mut seen = vec![0; question.len()];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut seen).unwrap();
        assert_eq!(seen, question.as_bytes());
        let mut input = child.stdin.take().unwrap();
        input.write_all(rest.as_bytes()).unwrap();
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        assert_eq!(said, "********\n");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_signal_is_passed_on() {
    let home = home();
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
    ] {
        let script = format!(
            "trap 'echo got; kill $!; exit 5' {name}; sleep 60 > sleep 2>&1 & echo ready; wait"
        );
        let mut child = start(&home, &script);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let pid = Pid::from_child(&child);
        kill_process(pid, signal).unwrap();
        line.clear();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "got\n");
        assert_eq!(child.wait().unwrap().code(), Some(5));
    }
}

#[test]
fn a_program_whose_output_nobody_reads_ends() {
    let home = home();
    let mut child = start(&home, "yes");
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    // SIGPIPE is 13.
    assert_eq!(child.wait().unwrap().code(), Some(141));
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    let home = home();
    let run = |script: &str| {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let Ok(full) = full else {
            eprintln!("not run: there is no /dev/full");
            return None;
        };
        let mut command = home.command(&["run", "--", "sh", "-c", script]);
        command.stdout(full).status().unwrap().code()
    };
    if let Some(code) = run("echo x") {
        assert_eq!(code, 7);
        assert_eq!(run("echo x; exit 5"), Some(5));
    }
}

#[test]
fn what_a_program_leaves_in_the_background_is_told_and_a_signal_ends_the_wait() {
    let home = home();
    let script = "sleep 60 & echo $!";
    let mut command = home.command(&["run", "--", "sh", "-c", script]);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let left: i32 = line.trim().parse().unwrap();
    let mut told = String::new();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    errors.read_line(&mut told).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = child.wait().unwrap();
    kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
    assert!(told.contains("left in the background"), "{told}");
    assert_eq!(ended.code(), None);
}
