use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use passmate_sync::Content;
use passmate_vault::format::container::Params;
use passmate_vault::{Passphrase, Shape, Trust};

use super::*;
use crate::session::Session;
use crate::state::{LastSync, LastTry};
use crate::sync_status::{DeviceStatus, Quota};

const NOW: i64 = 1_790_000_000;

fn location(dir: &tempfile::TempDir) -> VaultLocation {
    let location = VaultLocation::new(dir.path().join("v/vault.pmdb"));
    location.with_params(Params::new(4, 1, 1).unwrap())
}

fn vault() -> (tempfile::TempDir, VaultLocation) {
    let mut builder = tempfile::Builder::new();
    let builder = builder.permissions(Permissions::from_mode(0o755));
    let dir = builder.tempdir().unwrap();
    let location = location(&dir);
    Session::create(location.clone(), Passphrase::from("a".to_owned())).unwrap();
    (dir, location)
}

/// The begins of the findings.
#[track_caller]
fn check(checkup: &Checkup, expected: &[&str]) {
    // The folder of tests may be in memory.
    let found = checkup.findings.iter().map(|one| one.message.as_str());
    let found: Vec<_> = found
        .filter(|message| !message.contains("in memory"))
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (message, part) in found.iter().zip(expected) {
        assert!(message.contains(part), "{message:?}: {part:?}");
    }
    assert!(checkup.findings.iter().all(|one| one.remedy.len() > 5));
}

#[test]
fn a_vault_that_is_well_has_no_finding() {
    let (_dir, location) = vault();
    let mut checkup = Checkup::default();
    checkup.look_at_vault(&location);
    check(&checkup, &[]);
    let names: Vec<_> = checkup.facts.iter().map(|fact| fact.name).collect();
    assert_eq!(names, ["vault", "disk", "copies"]);
}

#[test]
fn rights_of_others_are_found_with_the_command_that_takes_them() {
    let (dir, location) = vault();
    let set = |path: &str, mode| {
        fs::set_permissions(dir.path().join(path), Permissions::from_mode(mode)).unwrap();
    };
    for copy in ["v/vault.pmdb.prev", "v/vault.pmdb.old"] {
        fs::write(dir.path().join(copy), "x").unwrap();
        set(copy, 0o600);
    }
    set("v/vault.pmdb", 0o644);
    set("v/vault.pmdb.old", 0o604);
    set("v", 0o777);
    let mut checkup = Checkup::default();
    checkup.look_at_vault(&location);
    let parts = ["the vault /", "the vault's folder", "copy of the vault"];
    check(&checkup, &parts);
    assert!(checkup.findings[0].remedy.starts_with("`chmod 600 "));
    let settings = dir.path().join("config.toml");
    let mut checkup = Checkup::default();
    checkup.look_at_settings(&settings);
    check(&checkup, &[]);
    fs::write(&settings, "").unwrap();
    set("config.toml", 0o646);
    checkup.look_at_settings(&settings);
    check(&checkup, &["can change the settings"]);
}

#[test]
fn a_missing_vault_is_found_and_so_is_one_that_another_program_copies() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkup = Checkup::default();
    checkup.look_at_vault(&location(&dir));
    check(&checkup, &["there is no vault"]);
    let (dir, location) = vault();
    fs::create_dir(dir.path().join(".stfolder")).unwrap();
    let mut checkup = Checkup::default();
    checkup.look_at_vault(&location);
    check(&checkup, &["Syncthing"]);
}

fn standing() -> Standing {
    let vault = passmate_vault::Vault::new();
    let content = Content::of(&vault, Shape::Modern).unwrap();
    let server = Status {
        host: "cloud.example".to_owned(),
        port: 1,
        trust: Trust::System,
        shape: Shape::Modern,
        pending: false,
        confirmed: true,
        last_sync: Some(LastSync {
            time: NOW - DAY,
            received: 0,
            sent: 0,
            conflicts_resolved: 0,
            common: 0,
            btoken_len_max: None,
        }),
        last_try: None,
        content: content.clone(),
        unsent: Some(2),
        quota: Quota::new(1000, Some(100_000)),
        lost: false,
        retired: 0,
        devices: Vec::new(),
    };
    Standing {
        server: Some(server),
        folder: None,
        content,
    }
}

#[track_caller]
fn check_server(change: impl FnOnce(&mut Status), expected: &[&str]) {
    let mut standing = standing();
    change(standing.server.as_mut().unwrap());
    let mut checkup = Checkup::default();
    checkup.look_at_standing(Some(&standing), NOW);
    check(&checkup, expected);
}

#[test]
fn what_keeps_a_vault_from_syncing_is_found() {
    check_server(|_| {}, &[]);
    check_server(
        |status| status.quota = Quota::new(95_000, Some(100_000)),
        &["fills 95 %"],
    );
    check_server(|status| status.pending = true, &["not admitted"]);
    check_server(|status| status.lost = true, &["a device was lost"]);
    let failed = LastTry {
        time: NOW,
        error: Some(passmate_sync::SyncErrorKind::Network),
    };
    check_server(
        |status| status.last_try = Some(failed),
        &["; 2 changes are not sent"],
    );
    check_server(
        |status| status.last_sync.as_mut().unwrap().time = NOW - 31 * DAY,
        &["this device did not sync"],
    );
    check_server(
        |status| {
            status.devices.push(DeviceStatus {
                name: "ph\u{1b}one".to_owned(),
                id: "A".to_owned(),
                time: 0,
                version: String::new(),
                is_this: false,
                is_silent: true,
            });
        },
        &["ph\\u{1b}one"],
    );
    // The clock went back behind a sync.
    check_server(
        |status| status.last_sync.as_mut().unwrap().time = NOW + DAY,
        &["the clock is behind"],
    );
}

#[test]
fn a_clock_that_is_behind_is_found() {
    for (now, seen, expected) in [
        (NOW, None, &[][..]),
        (NOW, Some(NOW + 60), &[]),
        (NOW, Some(NOW + 600), &["the clock is behind"]),
        (0, None, &["the clock is behind"]),
    ] {
        let mut checkup = Checkup::default();
        checkup.look_at_clock(now, seen);
        check(&checkup, expected);
    }
}
