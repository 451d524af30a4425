//! What scripts use: `read`, alone and with the programs that docs/scripts.md names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
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
