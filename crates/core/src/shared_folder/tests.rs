//! Shared folders on a real disk: `vectors/pmdb_sync` by the live original program, and what else
//! may lie there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use passmate_vault::compat::Original;
use passmate_vault::format::container::{Params, make_container, open_container};
use passmate_vault::format::{Version, decode_vault_file, encode_sync_copy};
use passmate_vault::{Passphrase, SharedFolder};
use serde_json::Value;
use tempfile::TempDir;

use getrandom::SysRng;
use passmate_sync::Content;
use rand_core::UnwrapErr;

use super::*;
use crate::answer::Halt;
use crate::api::VaultApi;
use crate::log_n::LogN;
use crate::problem::{Problem, ProblemKind};
use crate::session::{Session, SessionError, VaultLocation};

fn counts(report: &Report) -> (usize, usize, usize) {
    (report.received, report.sent, report.conflicts_resolved)
}

/// Keys that cost nothing, for what these tests write themselves.
pub(super) fn cheap() -> Params {
    Params::new(4, 8, 1).unwrap()
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/pmdb_sync")
}

pub(super) fn passphrase(text: &str) -> Passphrase {
    Passphrase::from(text.to_owned())
}

/// A device with a vault of its own and a part in a folder.
pub(super) fn device(dir: &TempDir, host: &str, shared: &Path, secret: &str) -> Session {
    let place = VaultLocation::new(dir.path().join(format!("{host}.pmdb")))
        .with_params(cheap())
        .with_clock(|| 2_000_000_000);
    let mut session = Session::create(place, passphrase(secret)).unwrap();
    session.set_folder(Some(SharedFolder::new(
        shared.to_str().unwrap().to_owned(),
        host.to_owned(),
    )));
    session.save().unwrap();
    session
}

pub(super) fn sync_folder(session: &mut Session, typed: &[Passphrase]) -> FolderReport {
    let agreed = Options {
        policy: Policy {
            decision: Decision::AgreeToAll,
            ..Policy::default()
        },
        ..Options::default()
    };
    let mut found = take_in(session, typed, &agreed).unwrap();
    give_out(session, &mut found).unwrap();
    found
}

pub(super) fn set(session: &mut Session, record: &str, field: &str, value: &str, now: i64) {
    session.edit(|vault, _| {
        if vault.record(&record.into()).is_none() {
            vault.create_record(record.into(), record, now).unwrap();
        }
        vault.set(&record.into(), field, value, now).unwrap();
    });
    session.save().unwrap();
}

pub(super) fn view_of(vault: &Vault) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = |text: &passmate_vault::Text| text.to_string_lossy().into_owned();
    let records = vault.view();
    let records = records.records().iter();
    records
        .map(|record| {
            (
                text(&record.path),
                record
                    .fields()
                    .map(|field| (text(field.name), text(&field.value)))
                    .collect(),
            )
        })
        .collect()
}

pub(super) fn copy_there(shared: &Path, host: &str, secret: &str) -> Vault {
    let file = fs::read(shared.join(format!("{host}.pmdb"))).unwrap();
    let document = decode_vault_file(&open_container(&file, &passphrase(secret)).unwrap()).unwrap();
    assert_eq!(document.version, Version::Passmate2);
    document.vault
}

/// A copy of a case's folder; git keeps no empty folders.
fn shared_of(case: &Path, dir: &TempDir) -> PathBuf {
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    for entry in fs::read_dir(case.join("shared")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), shared.join(entry.file_name())).unwrap();
        }
    }
    if case.ends_with("directory_named_pmdb") {
        fs::create_dir(shared.join("dir.pmdb")).unwrap();
    }
    shared
}

#[test]
fn where_the_original_program_merges_we_agree_and_where_it_fails_we_merge() {
    let (mut cases, mut agreed, mut mended) = (0, 0, 0);
    for case in fs::read_dir(vectors()).unwrap() {
        let case = case.unwrap().path();
        let Ok(expected) = fs::read(case.join("expected.json")) else {
            continue;
        };
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let name = case.file_name().unwrap().to_str().unwrap();
        cases += 1;
        for (host, result) in expected["result_of_sync_per_host"].as_object().unwrap() {
            let secret = expected["passphrases"][host].as_str().unwrap();
            let dir = tempfile::tempdir().unwrap();
            let shared = shared_of(&case, &dir);
            let mut session = device(&dir, host, &shared, secret);
            let local = fs::read(case.join(format!("{host}.local.pmdb"))).unwrap();
            let local = decode_vault_file(&open_container(&local, &passphrase(secret)).unwrap())
                .unwrap()
                .vault;
            session.edit(|vault, _| vault.merge(&local));
            let found = sync_folder(&mut session, &[]);
            let skipped: Vec<&str> = found
                .skipped
                .iter()
                .map(|skipped| skipped.name.as_str())
                .collect();

            if let Some(view) = result
                .get("view")
                .filter(|_| result.get("sync_error").is_none())
            {
                let view: BTreeMap<String, BTreeMap<String, String>> =
                    serde_json::from_value(view.clone()).unwrap();
                assert_eq!(view_of(session.vault()), view, "{name}, {host}");
                let document = serde_json::to_vec(&result["json_after"]).unwrap();
                assert_eq!(
                    *session.vault(),
                    decode_vault_file(&document).unwrap().vault,
                    "{name}, {host}"
                );
                agreed += 1;
            } else {
                mended += 1;
            }
            // Whatever it is that the original cannot get over: all of the others is merged.
            let (there, nothing): (&[&str], &[&str]) = match name {
                "damaged_bitflip" | "damaged_empty" | "damaged_truncated" | "not_json_inside"
                | "wrong_schema" => (&["p"], &["beta.pmdb"]),
                "damaged_garbage" => (&["p", "q"], &["notes.pmdb"]),
                "directory_named_pmdb" => (&["p", "q"], &["dir.pmdb"]),
                "other_passphrase" if host == "alpha" => (&["p", "r"], &["beta.pmdb"]),
                "other_passphrase" => (&["q"], &["alpha.pmdb", "gamma.pmdb"]),
                "conflict_after_partial" => (&["from-beta", "p"], &[]),
                _ => (&[], &[]),
            };
            assert_eq!(skipped, nothing, "{name}, {host}");
            let paths: Vec<String> = view_of(session.vault()).into_keys().collect();
            assert!(
                there.is_empty() || paths == there,
                "{name}, {host}: {paths:?}"
            );
            // And what it then finds is nothing that it could not get over.
            let copy = copy_there(&shared, host, secret);
            assert_eq!(view_of(&copy), view_of(session.vault()), "{name}, {host}");
            assert!(copy.resolution().is_empty(), "{name}, {host}");
            assert_eq!(copy.part_for(Original::Passmate2), copy);
        }
    }
    assert_eq!((cases, agreed, mended), (17, 10, 15));
}

#[test]
fn devices_agree_through_a_folder_and_read_and_write_only_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let (mut one, mut two) = (
        device(&dir, "one", &shared, "a"),
        device(&dir, "two", &shared, "a"),
    );
    set(&mut one, "mail", "user", "me", 100);
    set(&mut two, "mail", "password", "secret", 100);
    assert_eq!(counts(&sync_folder(&mut one, &[]).report), (0, 2, 0));
    assert_eq!(counts(&sync_folder(&mut two, &[]).report), (1, 1, 0));
    assert_eq!(counts(&sync_folder(&mut one, &[]).report), (1, 0, 0));
    assert_eq!(one.vault(), two.vault());
    sync_folder(&mut two, &[]);
    let written = |host: &str| fs::read(shared.join(format!("{host}.pmdb"))).unwrap();
    let stored = |host: &str| fs::read(dir.path().join(format!("{host}.pmdb"))).unwrap();
    let before = (written("one"), written("two"), stored("one"), stored("two"));
    for _ in 0..2 {
        assert_eq!(counts(&sync_folder(&mut one, &[]).report), (0, 0, 0));
        assert_eq!(counts(&sync_folder(&mut two, &[]).report), (0, 0, 0));
    }
    assert_eq!(
        before,
        (written("one"), written("two"), stored("one"), stored("two")),
        "nothing is written"
    );
    let last = two.folder().unwrap().last.clone().unwrap();
    assert_eq!(two.vault().report(&last).len(), 1);

    // A tie and a clash are resolved the same on both.
    for (session, value) in [(&mut one, "1"), (&mut two, "2")] {
        set(session, "mail", "password", value, 300);
        session.edit(|vault, _| vault.create_record(value.into(), "shop", 300).unwrap());
        sync_folder(session, &[]);
    }
    sync_folder(&mut one, &[]);
    sync_folder(&mut two, &[]);
    assert_eq!(view_of(one.vault()), view_of(two.vault()));
    let [first, second] =
        [&one, &two].map(|session| Content::of_folder(session.vault()).unwrap().fingerprint);
    assert_eq!(first, second);
    assert_eq!(view_of(one.vault())["mail"]["password"], "2");
    assert_eq!(
        view_of(one.vault()).into_keys().collect::<Vec<_>>(),
        ["mail", "shop", "shop~2"]
    );
}

#[test]
fn a_value_of_several_lines_comes_to_rest_in_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let mut one = device(&dir, "one", &shared, "a");
    let mut two = device(&dir, "two", &shared, "a");
    set(&mut one, "mail", "user", "me", 100);
    let lines = passmate_vault::record::Value::from_lines(vec!["a".into(), "b".into()]);
    let key = passmate_vault::record::FieldKey::user("note");
    one.edit(|vault, _| {
        let id = "mail".into();
        vault
            .change_value(&id, key.clone(), lines.clone(), 200)
            .unwrap()
    });
    for _ in 0..2 {
        sync_folder(&mut one, &[]);
        sync_folder(&mut two, &[]);
    }
    let before = (one.vault().clone(), two.vault().clone());
    for _ in 0..3 {
        for session in [&mut one, &mut two] {
            assert_eq!(counts(&sync_folder(session, &[]).report), (0, 0, 0));
        }
    }
    assert_eq!(before, (one.vault().clone(), two.vault().clone()));
    let record = one.vault().record(&"mail".into()).unwrap();
    let newest = record.newest(key.domain, &key.name).unwrap();
    assert_eq!(newest.value, lines, "the lines stay apart");
    assert_eq!(view_of(two.vault())["mail"]["note"], "a\nb");
}

#[test]
fn another_passphrase_is_remembered_and_a_new_one_seals_the_copy_anew() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let (mut one, mut two) = (
        device(&dir, "one", &shared, "a"),
        device(&dir, "two", &shared, "b"),
    );
    set(&mut one, "mail", "user", "me", 100);
    sync_folder(&mut one, &[]);
    let found = sync_folder(&mut two, &[passphrase("wrong")]);
    assert!(
        matches!(
            found.skipped.as_slice(),
            [Skipped {
                why: Why::Locked,
                ..
            }]
        ),
        "{found:?}"
    );
    assert!(two.folder().unwrap().passphrases.is_empty());
    assert_eq!(
        counts(&sync_folder(&mut two, &[passphrase("wrong"), passphrase("a")]).report),
        (2, 0, 0)
    );
    set(&mut one, "mail", "user", "you", 200);
    sync_folder(&mut one, &[]);
    let found = sync_folder(&mut two, &[]);
    assert_eq!(
        (found.report.received, found.skipped.len()),
        (1, 0),
        "it is remembered"
    );
    two.change_passphrase(passphrase("c"), None).unwrap();
    assert_eq!(counts(&sync_folder(&mut two, &[]).report), (0, 0, 0));
    assert_eq!(copy_there(&shared, "two", "c"), *two.vault());
}

#[test]
fn a_copy_that_somebody_else_wrote_under_our_name_is_merged_before_it_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let mut one = device(&dir, "one", &shared, "a");
    set(&mut one, "mail", "user", "me", 100);
    sync_folder(&mut one, &[]);
    // A device that was copied whole has the same name.
    let mut twin = one.vault().clone();
    twin.set(&"mail".into(), "user", "twin", 200).unwrap();
    let container = make_container(
        &encode_sync_copy(&twin).unwrap(),
        &passphrase("a"),
        cheap(),
        &mut UnwrapErr(SysRng),
    );
    fs::write(shared.join("one.pmdb"), container.unwrap()).unwrap();
    assert_eq!(sync_folder(&mut one, &[]).report.received, 1);
    assert_eq!(*one.vault(), twin);
    // Its own copy is gone, or an old one came back.
    fs::remove_file(shared.join("one.pmdb")).unwrap();
    sync_folder(&mut one, &[]);
    assert_eq!(copy_there(&shared, "one", "a"), twin);
}

#[test]
fn what_would_change_too_much_is_held_back_and_a_dry_run_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let (mut one, mut two) = (
        device(&dir, "one", &shared, "a"),
        device(&dir, "two", &shared, "a"),
    );
    for number in 0..30 {
        set(&mut one, &format!("r{number}"), "f", "1", 100);
    }
    sync_folder(&mut one, &[]);
    sync_folder(&mut two, &[]);
    for number in 0..20 {
        one.edit(|vault, _| {
            vault
                .delete(&format!("r{number}").as_str().into(), 200)
                .unwrap()
        });
    }
    sync_folder(&mut one, &[]);
    let before = two.vault().clone();
    assert!(matches!(
        take_in(&mut two, &[], &Options::default()),
        Err(FolderError::HeldBack(_))
    ));
    let preview = preview(&two, &Policy::default()).unwrap();
    assert_eq!((preview.report.report.received, two.vault()), (20, &before));
    assert_eq!(preview.held.unwrap().records.len(), 20);
    assert_eq!(preview.vault.view().records().len(), 10);
}

#[test]
fn a_folder_that_is_not_there_is_named_and_made_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    let mut one = device(&dir, "one", &shared, "a");
    let error = take_in(&mut one, &[], &Options::default()).unwrap_err();
    assert!(matches!(error, FolderError::Io { .. }), "{error}");
    assert!(!shared.exists());
    let error = leave_folder(&mut one, true).unwrap_err();
    assert!(matches!(error, FolderError::Write { .. }), "{error}");
    leave_folder(&mut one, false).unwrap();
    let error = set_up_folder(&mut one, &shared, "laptop", 7, &Sealing::AsFound).unwrap_err();
    assert!(matches!(error, FolderError::Io { .. }), "{error}");
    assert_eq!(one.folder(), None);
    fs::create_dir(&shared).unwrap();
    set_up_folder(&mut one, &shared, "my läptop.local", 7, &Sealing::AsFound).unwrap();
    assert_eq!(one.folder().unwrap().host_id, "mylptoplocal-000007");
    assert!(matches!(
        set_up_folder(&mut one, &shared, "laptop", 7, &Sealing::AsFound),
        Err(FolderError::AlreadySetUp(_))
    ));
}

/// Under passphrases, no device opens a copy that costs less than its own.
#[test]
fn a_dearer_vault_needs_a_folder_with_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let mut one = device(&dir, "one", &shared, "a");
    let log_n = LogN::try_from(18).unwrap();
    let Err(Halt::Failed(problem)) = VaultApi::change_passphrase(&mut one, None, Some(log_n))
    else {
        panic!("the copies are under passphrases");
    };
    assert_eq!(problem.kind, ProblemKind::Usage, "{problem:?}");
    assert!(problem.hint.contains("--new-key"), "{problem:?}");
    leave_folder(&mut one, true).unwrap();
    VaultApi::change_passphrase(&mut one, None, Some(log_n)).unwrap();
    let error = set_up_folder(&mut one, &shared, "one", 7, &Sealing::Passphrases).unwrap_err();
    assert!(matches!(error, FolderError::Dearer(_)), "{error}");
    set_up_folder(&mut one, &shared, "one", 7, &Sealing::NewKey).unwrap();
}

#[test]
fn a_folder_that_vanishes_before_the_copy_is_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let mut one = device(&dir, "one", &shared, "a");
    set(&mut one, "mail", "user", "me", 100);
    let mut found = take_in(&mut one, &[], &Options::default()).unwrap();
    fs::remove_dir_all(&shared).unwrap();
    let problem = Problem::from(give_out(&mut one, &mut found).unwrap_err());
    assert_eq!(problem.kind, ProblemKind::File, "{problem:?}");
    assert!(problem.message.contains(shared.to_str().unwrap()));
    assert!(!problem.hint.contains("init"), "{problem:?}");
    // The next sync writes the copy.
    fs::create_dir(&shared).unwrap();
    sync_folder(&mut one, &[]);
    assert_eq!(copy_there(&shared, "one", "a"), *one.vault());
}

#[test]
fn a_disk_that_fails_at_any_step_loses_nothing_and_the_next_sync_mends_it() {
    use crate::disk::tests::FailingDisk;
    for fails_at in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        let (mut one, mut two) = (
            device(&dir, "one", &shared, "a"),
            device(&dir, "two", &shared, "a"),
        );
        set(&mut one, "mail", "user", "me", 100);
        set(&mut two, "bank", "pin", "1", 100);
        sync_folder(&mut one, &[]);
        let disk = FailingDisk::default();
        let place = VaultLocation::new(dir.path().join("two.pmdb"))
            .with_params(cheap())
            .with_disk(disk.clone());
        let mut failing = Session::open(place, passphrase("a")).unwrap();
        disk.fail_after(fails_at);
        let outcome = take_in(&mut failing, &[], &Options::default())
            .and_then(|mut found| give_out(&mut failing, &mut found));
        let has_failed = disk.has_failed();
        if outcome.is_ok() && !has_failed {
            assert!(fails_at > 5);
            return;
        }
        drop(failing);
        let place = VaultLocation::new(dir.path().join("two.pmdb")).with_params(cheap());
        let mut two = Session::open(place, passphrase("a"))
            .unwrap_or_else(|error: SessionError| panic!("{error}"));
        assert!(two.vault().view().get("bank").is_some());
        sync_folder(&mut two, &[]);
        assert_eq!(
            view_of(&copy_there(&shared, "two", "a"))
                .into_keys()
                .collect::<Vec<_>>(),
            ["bank", "mail"]
        );
    }
}

#[test]
fn a_call_that_cannot_be_saved_has_changed_nothing_in_memory_either() {
    use passmate_sync::leave;
    use passmate_vault::{
        Account, AccountKey, RollCall, Secret, SeenChanges, Shape, SyncKey, Trust,
    };

    use crate::disk::tests::FailingDisk;

    fn fails_as_a_whole(call: fn(&mut Session) -> bool) {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        let mut one = device(&dir, "one", &shared, "a");
        set(&mut one, "mail", "user", "me", 100);
        sync_folder(&mut one, &[]);
        for fails_at in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let mut two = device(&dir, "two", &shared, "a");
            set(&mut two, "bank", "pin", "1", 100);
            set(&mut two, "bank", "pin", "2", 200);
            Replica::set_account(
                &mut two,
                Some(Account {
                    host: "cloud.example".to_owned(),
                    port: 1,
                    key: AccountKey::Granted(SyncKey::from_parts(
                        [1; 8],
                        Secret::from_bytes([1; 32]),
                    )),
                    trust: Trust::System,
                    confirmed: true,
                    seen: SeenChanges::new(),
                    last: None,
                    retired: Vec::new(),
                    is_lost: false,
                    shape: Shape::Modern,
                    device: None,
                    devices: RollCall::new(),
                }),
            );
            two.save().unwrap();
            let disk = FailingDisk::default();
            let place = VaultLocation::new(dir.path().join("two.pmdb"))
                .with_params(cheap())
                .with_disk(disk.clone());
            let mut two = Session::open(place, passphrase("a")).unwrap();
            let held = |session: &Session| {
                let account = Replica::account(session).cloned();
                (session.vault().clone(), session.folder().cloned(), account)
            };
            let before = held(&two);
            disk.fail_after(fails_at);
            let is_done = call(&mut two);
            let has_failed = disk.has_failed();
            if !is_done {
                // What a call saved before it failed stays.
                let place = VaultLocation::new(dir.path().join("two.pmdb"));
                let stored = Session::open(place, passphrase("a")).unwrap();
                let after = held(&two);
                assert!(has_failed, "operation {fails_at}");
                assert!(
                    after == before || after == held(&stored),
                    "operation {fails_at}"
                );
            }
            if !has_failed {
                assert!(is_done && held(&two) != before && fails_at > 3);
                return;
            }
        }
    }

    fails_as_a_whole(|session| leave_folder(session, false).is_ok());
    fails_as_a_whole(|session| take_in(session, &[], &Options::default()).is_ok());
    fails_as_a_whole(|session| give_out(session, &mut FolderReport::default()).is_ok());
    fails_as_a_whole(|session| leave(session).is_ok());
    // As a rotation cuts the history.
    fails_as_a_whole(|session| {
        let changes = session.vault().change_count();
        session.truncate(300);
        session.vault().change_count() == changes - 1 && Replica::save_more(session).is_ok()
    });
}
