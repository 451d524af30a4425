//! `scripts/install`, the first command of the README, with the programs of this build.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/install");
const SERVER: &str = env!("CARGO_BIN_EXE_e2e-passmate-server");

/// A home folder, a folder `built` with both programs, and a folder `shims` before the PATH.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for folder in ["built", "shims"] {
        fs::create_dir(home.path().join(folder)).unwrap();
    }
    let built = home.path().join("built");
    fs::copy(env!("CARGO_BIN_EXE_e2e-passmate"), built.join("passmate")).unwrap();
    fs::copy(SERVER, built.join("passmate-server")).unwrap();
    home
}

fn shim(home: &Path, name: &str, script: &str) {
    let path = home.join("shims").join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn shell(home: &Path, line: &str, address: &str) -> Output {
    let path = std::env::var("PATH").unwrap();
    let (shims, bin) = (home.join("shims"), home.join(".local/bin"));
    Command::new("bash")
        .args(["-c", line])
        .env_clear()
        .env(
            "PATH",
            format!("{}:{}:{path}", shims.display(), bin.display()),
        )
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("PASSMATE_LISTEN", address)
        .env("PASSMATE_PASSPHRASE_FILE", home.join("passphrase"))
        .output()
        .unwrap()
}

fn install(home: &Path, address: &str) -> (String, String) {
    let built = home.join("built");
    let line = format!("{SCRIPT} --built '{}'", built.display());
    let output = shell(home, &line, address);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    (String::from_utf8(output.stdout).unwrap(), said)
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Stops the server that the script left running, also if an assertion fails.
struct Started(u32);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.to_string()).status();
    }
}

#[test]
fn one_command_makes_a_working_pair_and_prints_the_two_that_come_next() {
    let home = home();
    let home = home.path();
    shim(home, "systemctl", "exit 1");
    fs::write(home.join("passphrase"), "correct horse battery staple\n").unwrap();
    let config = home.join(".config/passmate");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), "[agent]\nstart = false\n").unwrap();

    let address = free_address();
    let (next, said) = install(home, &address);
    let (_, rest) = said.split_once("stop process ").unwrap();
    let (process, _) = rest.split_once(';').unwrap();
    let _server = Started(process.parse().unwrap());

    let lines: Vec<&str> = next.lines().collect();
    assert_eq!(lines.len(), 3, "{next}");
    assert_eq!(lines[0], "Next:");
    for line in &lines[1..] {
        let output = shell(home, line, &address);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{error}");
    }
    let helper = shell(home, "git-credential-passmate --help", &address);
    assert!(helper.status.success());

    // Again, with a newer program: the server and its data stay.
    let (again, said) = install(home, &address);
    assert_eq!(again, next);
    assert!(said.contains("listens on"), "{said}");
    assert!(shell(home, "passmate sync", &address).status.success());
}

#[test]
fn with_systemd_the_server_is_a_unit_of_the_user() {
    let home = home();
    let home = home.path();
    let log = home.join("calls");
    shim(
        home,
        "systemctl",
        &format!("echo \"$*\" >> '{}'", log.display()),
    );
    // The shim starts nothing, so there is no certificate to print the pin of.
    let built = home.join("built");
    fs::remove_file(built.join("passmate-server")).unwrap();
    shim(home, "passmate-server", "echo pin sha256:00");
    symlink(
        home.join("shims/passmate-server"),
        built.join("passmate-server"),
    )
    .unwrap();

    let (next, _) = install(home, &free_address());
    assert!(next.contains("--pin sha256:00"), "{next}");
    let calls = fs::read_to_string(log).unwrap();
    assert_eq!(
        calls,
        "--user show-environment\n--user daemon-reload\n--user enable --now passmate-server.service\n"
    );
    let unit = home.join(".config/systemd/user/passmate-server.service");
    let unit = fs::read_to_string(unit).unwrap();
    let program = home.join(".local/bin/passmate-server");
    assert!(
        unit.contains(&format!("ExecStart=\"{}\" serve", program.display())),
        "{unit}"
    );
}

#[test]
fn what_it_cannot_do_has_a_cause_and_a_next_step() {
    let home = home();
    let home = home.path();
    for (arguments, status, cause) in [
        ("--bad", 2, "'--bad' is not understood"),
        ("--built /nowhere", 1, "/nowhere does not hold passmate"),
    ] {
        let output = shell(home, &format!("{SCRIPT} {arguments}"), &free_address());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(cause) && said.contains("hint: "), "{said}");
    }
}
