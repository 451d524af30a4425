//! Secrets in files, pipes and messages, and names of records in commands to paste.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::Server;
use crate::support::program::{Home, finish};
use crate::support::terminal::Terminal;

fn home() -> Home {
    let home = Home::new();
    home.run(&["init"]).ok();
    home
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_passphrase_command_does_not_read_the_value() {
    let home = home();
    let greedy = format!(
        "cat > /dev/null; cat {}",
        home.path().join("passphrase").display()
    );
    let mut command = home.command();
    command.env_remove("PASSMATE_PASSPHRASE_FILE").args([
        "set",
        "web/shop",
        "--passphrase-command",
        &greedy,
    ]);
    finish(&mut command, "battery staple\n").ok();
    let shown = home.run(&["show", "web/shop", "password"]).ok();
    assert_eq!(shown, "battery staple\n");
}

#[test]
fn an_error_of_the_settings_names_line_and_key_and_no_value() {
    let home = home();
    for text in [
        "vault = \"x\"\ncolor = \"hunter2\"\n",
        "vault = \"x\"\ncolor = hunter2\n",
        "vault = \"x\"\ncolor = [\"hunter2\"]\n",
    ] {
        let file = home.write("settings.toml", text);
        let error = home
            .run(&["ls", "--config", file.to_str().unwrap()])
            .failed(2);
        assert!(
            error.contains("settings.toml, line 2, key `color`: "),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
    // The text of a record is full of secrets.
    home.run_with(&["set", "web/shop", "pin"], "x\n").ok();
    let mut command = home.command();
    command
        .args(["edit", "web/shop"])
        .env("EDITOR", "sed -i 's/^pin = .*/pin = 98765/'");
    let error = finish(&mut command, "").failed(2);
    assert!(
        error.contains("line 7, key `pin`: the value is wrong"),
        "{error}"
    );
    assert!(!error.contains("98765"), "{error}");
}

#[test]
fn a_passphrase_file_that_is_open_or_has_windows_line_ends_is_named() {
    let home = home();
    let file = home.path().join("passphrase");
    let warning = "other users can read or write the passphrase file";
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    for (mode, is_named) in [(0o644, true), (0o640, true), (0o600, false)] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let said = home.run(&["ls"]);
        assert_eq!(said.code, 0);
        assert_eq!(said.err.contains(warning), is_named, "{said:?}");
    }
    home.write("passphrase", "correct horse battery staple\r\n");
    let said = home.run(&["ls"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains("the line ends of Windows"), "{said:?}");
}

#[test]
fn a_sync_key_is_written_to_a_file_that_nobody_else_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = home();
    let (address, pin) = (server.address().to_string(), server.pin.to_string());
    home.run(&["sync", "setup", &address, "--pin", &pin]).ok();
    let shown = home.run(&["sync", "key"]).ok();
    let file = home.path().join("key");
    let to_file = ["sync", "key", "--out", file.to_str().unwrap()];
    assert_eq!(home.run(&to_file).ok(), "");
    assert_eq!(fs::read_to_string(&file).unwrap(), shown);
    assert_eq!(mode(&file), 0o600);
    let error = home.run(&to_file).failed(12);
    assert!(error.contains("already exists"), "{error}");

    // A redirection makes a file with the rights that the shell gives.
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    for (mode, is_named) in [(0o644, true), (0o600, false)] {
        let path = home.write("redirected", "");
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let mut command = home.command();
        let output = command
            .args(["sync", "key"])
            .stdout(File::create(&path).unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(
            said.contains("other users can read the file"),
            is_named,
            "{said}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), shown);
    }
}

/// The command between the first and the last backtick.
fn suggested(text: &str) -> &str {
    let (_, rest) = text.split_once('`').unwrap_or_else(|| panic!("{text}"));
    rest.rsplit_once('`').unwrap_or_else(|| panic!("{text}")).0
}

#[test]
fn a_suggested_command_runs_nothing_that_a_name_holds() {
    let home = home();
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_e2e-passmate"), bin.join("passmate")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for name in [
        "a; touch owned #",
        "$(touch owned)",
        "`touch owned`",
        "it's; touch owned",
        "-rf",
    ] {
        home.run_with(&["set", "--", name, name], "x\n").ok();
        for words in [
            &["restore", "--at", "99", "--", name, name][..],
            &["purge", "--yes", "--at", "99", "--", name, name],
            &["restore", "--at", "1980-01-01", "--", name],
        ] {
            let said = home.run(words);
            assert_eq!(said.code, 10, "{said:?}");
            let line = suggested(said.err.lines().last().unwrap());
            assert!(line.starts_with("passmate history "), "{line}");
            let ran = Command::new("sh")
                .args(["-c", line])
                .current_dir(home.path())
                .env("HOME", home.path())
                .env("PATH", &path)
                .env("PASSMATE_PASSPHRASE_FILE", home.path().join("passphrase"))
                .output()
                .unwrap();
            assert!(ran.status.success(), "{line}: {ran:?}");
            assert!(!home.path().join("owned").exists(), "{line}");
        }
    }
}

#[test]
fn the_memory_of_a_command_is_in_no_core_file() {
    let home = home();
    let mut terminal = Terminal::start(&home, &["ls"]);
    terminal.wait_for("Master passphrase: ");
    let proc = format!("/proc/{}", terminal.process_id());
    if let Ok(limits) = fs::read_to_string(format!("{proc}/limits")) {
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        let values: Vec<&str> = line.split_whitespace().skip(4).take(2).collect();
        assert_eq!(values, ["0", "0"], "{line}");
        // A process that must not be dumped belongs to root in /proc, which other users notice.
        if !rustix::process::geteuid().is_root() {
            assert!(fs::read_link(format!("{proc}/exe")).is_err());
        }
    }
    terminal.interrupt();
    terminal.finish();
}
