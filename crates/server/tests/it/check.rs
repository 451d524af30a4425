//! The commands `check` and `config`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::start;

fn operate(data_dir: &Path, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_passmate-server"));
    command
        .env_clear()
        .envs(variables.iter().copied())
        .args(words)
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// The exit code and the findings of `check --json`.
fn check(data_dir: &Path, more: &[&str]) -> (i32, Vec<String>) {
    let output = operate(data_dir, &[&["check", "--json"], more].concat(), &[]);
    let object: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let findings = object["findings"].as_array().unwrap().iter();
    let findings = findings.map(|one| {
        assert!(one["do"].as_str().unwrap().len() > 10, "{one}");
        one["what"].as_str().unwrap().to_owned()
    });
    // The disk of the machine that runs the tests may be nearly full.
    let (disk, findings): (Vec<_>, Vec<_>) =
        findings.partition(|what| what.starts_with("the disk has "));
    let code = match output.status.code().unwrap() {
        31 if findings.is_empty() && !disk.is_empty() => 0,
        code => code,
    };
    (code, findings)
}

const GOOD: [&str; 4] = ["--registration", "invite", "--listen", "127.0.0.1:29556"];

#[test]
fn check_finds_each_fault_and_nothing_on_a_sound_server() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = start(dir.path(), &[]);
    program.create(b"sealed");
    let (code, found) = check(dir.path(), &GOOD);
    assert_eq!(code, 31);
    assert!(
        found.iter().any(|what| what.contains("no backup is known")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|what| what.contains("only copy of the TLS key")),
        "{found:?}"
    );
    let file = place.path().join("backup");
    assert!(
        operate(
            dir.path(),
            &["backup", file.to_str().unwrap(), "--with-key"],
            &[]
        )
        .status
        .success()
    );
    assert_eq!(check(dir.path(), &GOOD), (0, vec![]));
    let output = operate(dir.path(), &[&["check"], GOOD.as_slice()].concat(), &[]);
    let is_full = output.status.code() == Some(31);
    assert!(
        is_full || String::from_utf8_lossy(&output.stdout).contains("nothing to do"),
        "{output:?}"
    );

    let finds = |more: &[&str], part: &str| {
        let (code, found) = check(dir.path(), &[GOOD.as_slice(), more].concat());
        assert_eq!(code, 31, "{part}");
        assert!(
            found.iter().any(|what| what.contains(part)),
            "{part}: {found:?}"
        );
    };
    // Giving a flag twice is an error, so these leave out the flag that they replace.
    let (code, found) = check(dir.path(), &["--listen", "[::]:29556"]);
    assert!(
        code == 31 && found[0].contains("may make accounts"),
        "{found:?}"
    );
    finds(&["--connections-max", "900000"], "file descriptors allow");
    finds(
        &["--admin-listen", "0.0.0.0:9556"],
        "not a loopback address",
    );
    fs::set_permissions(
        dir.path().join("key.pem"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    finds(&[], "other users may read the TLS key");
    fs::set_permissions(
        dir.path().join("key.pem"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    finds(&[], "other users may read the data dir");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.path().join("last-backup"), "1700000000\n").unwrap();
    finds(&[], "old, of 2023-11-14");
    // The server's own certificate, followed by an unrelated one.
    let other = tempfile::tempdir().unwrap();
    drop(start(other.path(), &[]));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=other",
            "-keyout",
        ])
        .args([
            place.path().join("k.pem"),
            "-out".into(),
            place.path().join("other.pem"),
        ])
        .output();
    if made.is_ok_and(|made| made.status.success()) {
        let (chain, key) = (
            place.path().join("chain.pem"),
            place.path().join("chain-key.pem"),
        );
        let behind = fs::read(place.path().join("other.pem")).unwrap();
        fs::write(
            &chain,
            [fs::read(other.path().join("cert.pem")).unwrap(), behind].concat(),
        )
        .unwrap();
        fs::write(&key, fs::read(other.path().join("key.pem")).unwrap()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        finds(
            &[
                "--tls-cert",
                chain.to_str().unwrap(),
                "--tls-key",
                key.to_str().unwrap(),
            ],
            "was not issued by the next one",
        );
    }
    finds(
        &[
            "--tls-cert",
            "/nowhere/c.pem",
            "--tls-key",
            "/nowhere/k.pem",
        ],
        "/nowhere/c.pem",
    );
    drop(program);
    let database = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
    database
        .execute_batch("UPDATE account SET changed_at = 99999999999")
        .unwrap();
    drop(database);
    finds(&[], "the clock is behind");
    // The clock is right now.
    let corrected = operate(dir.path(), &["account", "correct-times"], &[]).stdout;
    let corrected = String::from_utf8_lossy(&corrected).into_owned();
    assert_eq!(corrected, "the times of 1 accounts are corrected\n");
    let (_, found) = check(dir.path(), &GOOD);
    assert!(
        !found.iter().any(|what| what.contains("clock")),
        "{found:?}"
    );
    let database = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
    let damage = "PRAGMA writable_schema = ON; PRAGMA ignore_check_constraints = ON;
        UPDATE sqlite_schema SET sql = replace(sql, 'STRICT, ', '') WHERE name = 'account';";
    database.execute_batch(damage).unwrap();
    drop(database);
    let database = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
    database
        .execute_batch("UPDATE account SET changed_at = x'00'")
        .unwrap();
    drop(database);
    finds(&[], "the accounts cannot be listed");
    fs::write(dir.path().join("passmate.db"), "nothing of ours").unwrap();
    finds(&[], "the store cannot be used");
}

#[test]
fn an_unusable_configuration_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    fs::write(&file, "idle-timout = \"30s\"\n").unwrap();
    let output = operate(
        dir.path(),
        &["check", "--config", file.to_str().unwrap()],
        &[],
    );
    assert_eq!(output.status.code(), Some(31));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("idle-timeout") && text.contains("hint: "),
        "{text}"
    );
    let (code, found) = check(dir.path(), &["--config", file.to_str().unwrap()]);
    assert!(code == 31 && found[0].contains("idle-timout"), "{found:?}");
}

#[test]
fn each_setting_is_shown_with_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    fs::write(&file, "idle-timeout = \"45s\"\naccounts-max = 7\n").unwrap();
    let words = [
        "config",
        "show",
        "--origin",
        "--config",
        file.to_str().unwrap(),
        "--listen",
        "127.0.0.1:1",
    ];
    let output = operate(dir.path(), &words, &[("PASSMATE_SERVER_ACCOUNTS_MAX", "9")]);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |name: &str| {
        text.lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{text}"))
    };
    assert!(
        line("idle-timeout").ends_with(&format!(
            "45s   [`idle-timeout` in {}, line 1]",
            file.display()
        )),
        "{text}"
    );
    assert!(
        line("accounts-max").ends_with("9   [PASSMATE_SERVER_ACCOUNTS_MAX]"),
        "{text}"
    );
    assert!(
        line("listen").ends_with("127.0.0.1:1   [--listen]"),
        "{text}"
    );
    assert!(
        line("session-timeout").ends_with("120s   [default]"),
        "{text}"
    );
    assert!(
        line("store").contains(&format!("sqlite:{}/passmate.db", dir.path().display())),
        "{text}"
    );
}

#[test]
fn the_example_has_every_setting_and_changes_none() {
    let dir = tempfile::tempdir().unwrap();
    let example =
        String::from_utf8(operate(dir.path(), &["config", "print-example"], &[]).stdout).unwrap();
    let shown = |file: &Path| {
        let words = [
            "config",
            "show",
            "--json",
            "--config",
            file.to_str().unwrap(),
        ];
        let output = operate(dir.path(), &words, &[]);
        assert!(output.status.success(), "{output:?}");
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        object["settings"].as_object().unwrap().clone()
    };
    let (as_it_is, taken_in, filled) = (
        dir.path().join("a"),
        dir.path().join("b"),
        dir.path().join("c"),
    );
    fs::write(&as_it_is, &example).unwrap();
    let defaults = shown(&as_it_is);
    let is_setting = |line: &str, begin: &str| {
        line.strip_prefix(begin)
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
            .map(str::to_owned)
    };
    let lines: Vec<String> = example
        .lines()
        .filter_map(|line| is_setting(line, "# ").filter(|rest| rest.contains(" = ")))
        .collect();
    let more: Vec<String> = example
        .lines()
        .filter_map(|line| is_setting(line, "#: "))
        .collect();
    assert_eq!(
        lines.len() + more.len(),
        defaults.len(),
        "every setting appears once"
    );
    fs::write(&taken_in, lines.join("\n")).unwrap();
    shown(&taken_in);
    // All examples form a valid configuration, with one of the two banners, and without ACME beside
    // the files of a certificate.
    let more: Vec<String> = more
        .into_iter()
        .filter(|line| {
            !["banner-file", "acme"]
                .iter()
                .any(|name| line.starts_with(name))
        })
        .collect();
    fs::write(
        &filled,
        lines
            .iter()
            .chain(&more)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n"),
    )
    .unwrap();
    assert!(
        shown(&filled)
            .values()
            .filter(|value| value["origin"] != "default")
            .count()
            > 24
    );
    assert!(more.len() > 6);
}

#[test]
fn check_asks_the_running_server_about_exempt_sources() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let about_exempt = || {
        let (_, found) = check(dir.path(), &GOOD);
        found.into_iter().find(|what| what.contains("exempt"))
    };
    assert_eq!(about_exempt(), None);
    for _ in 0..25 {
        program.create(b"sealed");
    }
    let found = about_exempt().unwrap();
    assert!(
        found.contains("made 5 accounts and were refused 0"),
        "{found}"
    );
    program.stop();
    assert_eq!(about_exempt(), None);
}

/// Whether a check with these options has a finding with this part.
fn finds(data_dir: &Path, more: &[&str], part: &str) -> bool {
    let (_, found) = check(data_dir, &[GOOD.as_slice(), more].concat());
    found.iter().any(|what| what.contains(part))
}

#[test]
fn a_place_without_a_server_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nothing");
    assert!(finds(&missing, &[], "there is no data dir at"));
    assert!(!missing.exists(), "a check makes nothing");
    assert!(finds(dir.path(), &[], "there is no store at"));
}

/// A certificate with this issuer, or with itself as the issuer, and its key.
fn certificate(
    name: &str,
    issuer: Option<&(rcgen::CertificateParams, rcgen::KeyPair)>,
) -> (String, rcgen::CertificateParams, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![format!("{name}.example")]).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let made = match issuer {
        None => params.self_signed(&key).unwrap(),
        Some((params_of_issuer, key_of_issuer)) => {
            let issuer = rcgen::Issuer::from_params(params_of_issuer, key_of_issuer);
            params.signed_by(&key, &issuer).unwrap()
        }
    };
    (made.pem(), params, key)
}

#[test]
fn what_an_authority_needs_and_has_not_issued_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path(), &[]).stop();
    let acme = ["--acme=sync.example.test"];
    let none = "no certificate is issued for sync.example.test yet";
    assert!(finds(dir.path(), &acme, none));
    assert!(!finds(dir.path(), &[], "no certificate is issued"));
    let hook = dir.path().join("hook");
    let given = format!("--acme-dns-hook={}", hook.display());
    let with_hook = [acme[0], given.as_str()];
    let refused = "the program of --acme-dns-hook";
    assert!(finds(dir.path(), &with_hook, refused));
    fs::write(&hook, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(finds(dir.path(), &with_hook, refused));
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(!finds(dir.path(), &with_hook, refused));
    let given = format!("--acme-ca-file={}", dir.path().join("none.pem").display());
    let with_file = [acme[0], given.as_str()];
    assert!(finds(
        dir.path(),
        &with_file,
        "the certificate of --acme-ca-file"
    ));
}

#[test]
fn a_certificate_without_its_chain_is_a_finding() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, params, key) = certificate("root", None);
    let (leaf, _, leaf_key) = certificate("leaf", Some(&(params, key)));
    let (file, key) = (place.path().join("leaf.pem"), place.path().join("key.pem"));
    fs::write(&key, leaf_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let options = [
        "--tls-cert",
        file.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let is_found = || finds(dir.path(), &options, "has no certificate of its issuer");
    fs::write(&file, &leaf).unwrap();
    assert!(is_found());
    fs::write(&file, [leaf, root].concat()).unwrap();
    assert!(!is_found());
}

#[test]
fn what_the_servers_user_cannot_read_is_a_finding() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    start(dir.path(), &[]).stop();
    let give =
        |path: &Path, uid, gid| std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for entry in fs::read_dir(dir.path()).unwrap() {
        give(&entry.unwrap().path(), 65_534, 65_534);
    }
    give(dir.path(), 65_534, 65_534);
    for file in ["cert.pem", "key.pem"] {
        fs::copy(dir.path().join(file), place.path().join(file)).unwrap();
    }
    let (file, key) = (place.path().join("cert.pem"), place.path().join("key.pem"));
    let options = [
        "--tls-cert",
        file.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let cannot = |part: &str| finds(dir.path(), &options, part);
    mode(place.path(), 0o755);
    mode(&file, 0o644);
    mode(&key, 0o600);
    assert!(cannot("cannot read the TLS key") && !cannot("cannot read the certificate"));
    give(&key, 0, 65_534);
    mode(&key, 0o640);
    assert!(!cannot("cannot read"));
    // As certbot makes its folders.
    mode(place.path(), 0o700);
    assert!(cannot("cannot read the TLS key") && cannot("cannot read the certificate"));
    let config = place.path().join("server.toml");
    fs::write(&config, "").unwrap();
    let config = ["--config", config.to_str().unwrap()];
    assert!(finds(
        dir.path(),
        &config,
        "cannot read the configuration file"
    ));
    assert!(!finds(dir.path(), &[], "cannot read"));
    give(&dir.path().join("passmate.db"), 0, 0);
    assert!(finds(dir.path(), &[], "cannot read and write the store"));
}
