//! What scripts use: `read`, alone and with the programs that docs/scripts.md names.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::support::{Home, answer};

#[test]
fn read_prints_the_bare_value_of_a_reference() {
    let home = Home::with(&[
        ("web/shop", "password", "battery staple"),
        ("mail", "private key", "two\nlines"),
    ]);
    assert_eq!(
        home.answer(&["read", "passmate://web/shop/password"]),
        "battery staple\n"
    );
    assert_eq!(
        home.answer(&["read", "-n", "passmate://mail/private%20key"]),
        "two\nlines"
    );
    let json = home.answer(&["read", "--json", "passmate://web/shop/password"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["reference"], "passmate://web/shop/password");
    assert_eq!(json["value"], "battery staple");
    assert_eq!(home.failure(&["read", "web/shop"]).0, 2);
    assert_eq!(
        home.failure(&["read", "passmate://web/none/password"]).0,
        10
    );
    let (code, said) = home.failure(&["read", "passmate://web/shop"]);
    assert_eq!(code, 10);
    assert!(said.contains("did you mean passmate://web/shop/password?"));
}

/// A section of the document.
fn section(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scripts.md");
    let text = fs::read_to_string(file).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {name}\n")).unwrap();
    rest.split("\n## ").next().unwrap().to_owned()
}

#[test]
fn ansible_reads_the_password_of_its_vault() {
    let home = Home::with(&[("ansible", "password", "battery staple")]);
    let script = "#!/bin/sh\nexec passmate --no-input read passmate://ansible/password\n";
    assert!(section("Ansible").replace("\n    ", "\n").contains(script));
    let path = home.write("vault-password", script);
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    home.write("secret.yml", "a: 1\n");
    let ansible = |operation: &str| {
        let mut command = home.program("ansible-vault");
        let args = [
            operation,
            "--vault-password-file",
            "./vault-password",
            "secret.yml",
        ];
        command.args(args);
        command
    };
    if ansible("encrypt").output().is_err() {
        eprintln!("not run: ansible-vault is not installed");
        return;
    }
    let file = home.path().join("secret.yml");
    assert!(fs::read(&file).unwrap().starts_with(b"$ANSIBLE_VAULT;"));
    assert_eq!(answer(&mut ansible("view"), ""), "a: 1\n");
}

#[test]
fn systemd_creds_encrypts_a_value() {
    let home = Home::with(&[("db", "password", "battery staple")]);
    let command = "passmate read -n passmate://db/password | systemd-creds encrypt --name=db - ";
    assert!(section("systemd").contains(command));
    // Without it, root would make the key of this machine.
    if fs::read("/var/lib/systemd/credential.secret").is_err() {
        eprintln!("not run: systemd-creds has no key that this user can read");
        return;
    }
    let sh = |script: &str| {
        let mut command = home.program("sh");
        command.args(["-c", script]);
        answer(&mut command, "")
    };
    sh(&format!("{command} made"));
    assert_eq!(
        sh("systemd-creds decrypt --name=db made -"),
        "battery staple"
    );
}

#[test]
fn a_list_of_nothing_is_an_error_if_something_was_looked_for() {
    let home = Home::with(&[("web/shop", "user", "bob")]);
    assert_eq!(home.answer(&["ls", "SHOP", "--flat"]), "web/shop\n");
    for args in [
        &["ls", "nosuch"][..],
        &["ls", "nosuch", "--flat"],
        &["ls", "shop", "--deleted"],
    ] {
        assert_eq!(home.failure(args).0, 10, "{args:?}");
    }
    assert_eq!(Home::with(&[]).answer(&["ls"]), "");
}

#[test]
fn nothing_asks_a_person_where_no_input_is_wanted() {
    let home = Home::with(&[("web/shop", "user", "bob")]);
    let mut command = home.command(&["edit", "web/shop", "--no-input"]);
    let output = command.env("EDITOR", "touch ran; true").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(!home.path().join("ran").exists());
}

#[test]
fn an_error_in_json_is_one_object_with_the_warnings_before_it() {
    let home = Home::with(&[("web/shop", "user", "bob")]);
    let passphrase = home.path().join("passphrase");
    fs::set_permissions(passphrase, Permissions::from_mode(0o644)).unwrap();
    let output = home.run(&["show", "none", "--json"]);
    assert_eq!(output.status.code(), Some(10));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["code"], 10);
    let warning = error["warnings"][0].as_str().unwrap();
    assert!(warning.contains("other users can read"), "{warning}");
    // Without an error they are lines.
    let output = home.run(&["ls", "--json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("passmate: warning: other users"), "{said}");
}

#[test]
fn an_edit_that_moves_times_to_the_present_says_so_to_scripts_too() {
    let home = Home::with(&[("web/shop", "user", "bob")]);
    home.set_in_the_future("web/shop", "user", "eve");
    let mut command = home.command(&["set", "web/shop", "user"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"amy").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("if the clock of this device is behind"),
        "{said}"
    );
}
