//! Arguments and variables that no person types.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

const NO_TEXT: &[u8] = b"\xff\xfe";

/// Runs the program in an empty home folder.
fn run(args: &[&OsStr], variable: Option<(&str, &OsStr)>) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_passmate"));
    command
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .current_dir(home.path());
    if let Some((name, value)) = variable {
        command.env(name, value);
    }
    command.output().unwrap()
}

/// It says what is wrong and what to do about it.
#[track_caller]
fn has_two_lines(output: &Output, what: &dyn std::fmt::Debug) {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said.lines().collect();
    assert!(
        matches!(lines.as_slice(), [error, hint]
            if error.starts_with("passmate: error: ") && hint.starts_with("passmate: hint: ")),
        "{what:?}: {output:?}"
    );
}

/// The names in a list of `--help`.
fn listed(args: &[&str], begin: &str) -> BTreeSet<String> {
    let args: Vec<_> = args.iter().map(OsStr::new).collect();
    let help = String::from_utf8(run(&args, None).stdout).unwrap();
    let words = help.lines().filter_map(|line| {
        let word = line.strip_prefix(begin)?.split_whitespace().next()?;
        let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
        let is_option = begin.len() > 2;
        (word.starts_with('-') == is_option && word.chars().all(is_name)).then(|| word.to_owned())
    });
    words.collect()
}

#[test]
fn arguments_that_are_no_text_are_two_lines_in_every_command() {
    let bytes = OsStr::from_bytes(NO_TEXT);
    let commands = listed(&["--help"], "  ");
    assert!(
        commands.contains("set") && commands.contains("sync"),
        "{commands:?}"
    );
    for command in commands {
        for more in [
            &[bytes][..],
            &[bytes, OsStr::new("password")],
            &[OsStr::new("x"), bytes],
        ] {
            let args = [&[OsStr::new(&command)], more].concat();
            let output = run(&args, None);
            has_two_lines(&output, &args);
            let code = output.status.code();
            // A path of a file may be any bytes.
            let is_path = matches!(
                command.as_str(),
                "import" | "export" | "man" | "recover" | "run" | "scan"
            );
            assert!(code == Some(2) || is_path, "{args:?}: {output:?}");
        }
    }
    for command in listed(&["sync", "--help"], "  ") {
        let args = ["sync", &command].map(OsStr::new);
        let output = run(&[&args[..], &[bytes]].concat(), None);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        has_two_lines(&output, &command);
    }
}

#[test]
fn without_a_command_and_a_terminal_it_is_an_error_of_usage() {
    let output = run(&[], None);
    assert_eq!(output.status.code(), Some(2));
    let help = String::from_utf8(output.stderr).unwrap();
    assert!(help.contains("Commands:"), "{help}");
    for option in ["--no-input", "--json", "--color=always"] {
        let output = run(&[OsStr::new(option)], None);
        assert_eq!(output.status.code(), Some(2), "{option}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            said.lines().count(),
            2 - usize::from(option == "--json"),
            "{said}"
        );
        assert!(!said.contains("clipboard-holder"), "{said}");
    }
}

#[test]
fn options_that_are_no_text_are_two_lines() {
    let bytes = OsStr::from_bytes(NO_TEXT);
    let options = listed(&["--help"], "      ");
    assert!(
        options.contains("--vault") && options.contains("--color"),
        "{options:?}"
    );
    // An error is one JSON object where that is wanted.
    for option in options.iter().filter(|option| *option != "--json") {
        let output = run(&[OsStr::new(option), bytes, OsStr::new("ls")], None);
        if output.status.code() != Some(0) {
            has_two_lines(&output, &option);
        }
    }
}

#[test]
fn variables_that_are_no_text_are_two_lines() {
    let bytes = OsStr::from_bytes(NO_TEXT);
    for name in [
        "PASSMATE_VAULT",
        "PASSMATE_PROFILE",
        "PASSMATE_CONFIG",
        "PASSMATE_PASSPHRASE_FILE",
        "PASSMATE_PASSPHRASE_COMMAND",
        "HOME",
        "XDG_DATA_HOME",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
        "TMPDIR",
        "NO_COLOR",
        "LANG",
        "TZ",
        "EDITOR",
    ] {
        let args = [OsStr::new("edit"), OsStr::new("web/shop")];
        let output = run(&args, Some((name, bytes)));
        has_two_lines(&output, &name);
    }
}

#[test]
fn what_may_have_been_meant_by_a_wrong_argument_is_named() {
    for (args, hint) in [
        (&["gen", "x", "-l", "24"][..], "did you mean --length?"),
        (&["set", "x", "url", "foo"], "a value is never an argument"),
        (&["show", "x", "y", "z"], "`passmate show --help`"),
        (&["sync", "status", "x"], "`passmate sync status --help`"),
        (&["show", "x", "--revael"], "'--reveal'"),
    ] {
        let words: Vec<_> = args.iter().map(OsStr::new).collect();
        let output = run(&words, None);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        has_two_lines(&output, &args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(hint), "{said}");
    }
}

#[test]
fn an_option_that_an_alias_has_may_be_given_again() {
    for option in ["--no-input", "--json", "--yes", "--offline", "-q", "-v"] {
        let words = [option, "profiles", option].map(OsStr::new);
        let output = run(&words, None);
        assert_eq!(output.status.code(), Some(0), "{option}: {output:?}");
    }
}
