//! What somebody who can only write to the folder gets out of a sync.

use std::fs;
use std::path::PathBuf;

use getrandom::SysRng;
use passmate_sync::Options;
use passmate_vault::format::container::make_container;
use passmate_vault::format::encode_sync_copy;
use rand_core::UnwrapErr;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::super::take_in;
use super::super::tests::{cheap, copy_there, device, passphrase, set, sync_folder, view_of};
use super::*;

/// A device with a record in an own vault, and the folder that it shares.
fn sharing() -> (TempDir, PathBuf, Session) {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let mut one = device(&dir, "one", &shared, "a");
    set(&mut one, "mail", "user", "me", 100);
    sync_folder(&mut one, &[]);
    (dir, shared, one)
}

/// The container of a copy with one record of this name.
fn copy_of(name: &str, secret: &str, params: Params) -> Vec<u8> {
    let mut vault = Vault::new();
    vault.create_record(name.into(), name, 100).unwrap();
    let plaintext = encode_sync_copy(&vault).unwrap();
    make_container(
        &plaintext,
        &passphrase(secret),
        params,
        &mut UnwrapErr(SysRng),
    )
    .unwrap()
}

fn read(session: &Session, typed: &[Passphrase], derivations: u64) -> Found {
    let budget = Budget {
        work: derivations * cheap().work(),
        ..Budget::of_sync()
    };
    read_copies(session, session.folder().unwrap(), typed, budget).unwrap()
}

/// The reasons for which copies are skipped.
fn reasons(found: &Found) -> Vec<&Why> {
    found.skipped.iter().map(|skipped| &skipped.why).collect()
}

#[test]
fn a_copy_that_is_cheap_or_expensive_to_open_is_not_opened() {
    let (_dir, shared, mut one) = sharing();
    // Under the right passphrase: whoever made it has guessed it.
    let oracle = copy_of("guessed", "a", Params::new(1, 8, 1).unwrap());
    fs::write(shared.join("cheap.pmdb"), oracle).unwrap();
    let mut header = copy_of("x", "a", cheap());
    header.truncate(264);
    header[7] = 20;
    let sum = Sha256::digest(&header[..48]);
    header[48..64].copy_from_slice(&sum[..16]);
    for name in ["e1.pmdb", "e2.pmdb", "e3.pmdb"] {
        fs::write(shared.join(name), &header).unwrap();
    }
    let found = read(&one, &[], 0);
    assert!(
        matches!(
            reasons(&found).as_slice(),
            [
                Why::TooCheap,
                Why::TooExpensive,
                Why::TooExpensive,
                Why::TooExpensive
            ]
        ),
        "{:?}",
        found.skipped
    );
    sync_folder(&mut one, &[]);
    assert_eq!(view_of(one.vault()).len(), 1);
}

#[test]
fn an_attempt_that_failed_is_not_made_again_until_the_copy_changes() {
    let (dir, shared, mut one) = sharing();
    let (locked, damaged) = (shared.join("locked.pmdb"), shared.join("torn.pmdb"));
    fs::write(&locked, copy_of("x", "b", cheap())).unwrap();
    let mut torn = copy_of("y", "a", cheap());
    torn.pop();
    fs::write(&damaged, &torn).unwrap();
    assert_eq!(sync_folder(&mut one, &[]).skipped.len(), 2);
    let stored = || fs::read(dir.path().join("one.pmdb")).unwrap();
    let before = stored();
    sync_folder(&mut one, &[]);
    assert_eq!(stored(), before, "nothing is new to remember");
    // Nothing is derived, so no budget is needed.
    let found = read(&one, &[], 0);
    assert!(
        matches!(reasons(&found).as_slice(), [Why::Locked, Why::Useless]),
        "{:?}",
        found.skipped
    );
    // A typed passphrase costs one derivation, and nothing of it is remembered.
    let found = read(&one, &[passphrase("typed")], 1);
    assert!(matches!(
        reasons(&found).as_slice(),
        [Why::Locked, Why::Useless]
    ));
    assert_eq!(found.tried, one.folder().unwrap().tried);
    let opened = read(&one, &[passphrase("b")], 1);
    assert_eq!(opened.good_passphrases, [passphrase("b")]);
    // Another version of each is tried again.
    fs::write(&locked, copy_of("x", "b", cheap())).unwrap();
    fs::write(&damaged, copy_of("y", "a", cheap())).unwrap();
    let found = read(&one, &[], 1);
    assert_eq!(
        found.skipped.len() + view_of(&found.union).len(),
        2,
        "one is read, and one is left"
    );
    let found = read(&one, &[], 2);
    assert!(matches!(reasons(&found).as_slice(), [Why::Locked]));
    // What is gone is forgotten.
    fs::remove_file(&locked).unwrap();
    fs::remove_file(&damaged).unwrap();
    sync_folder(&mut one, &[]);
    assert!(one.folder().unwrap().tried.is_empty());
}

#[test]
fn a_sync_derives_no_more_than_its_budget_and_the_next_one_goes_on() {
    let (_dir, shared, mut one) = sharing();
    for number in 0..5 {
        let name = format!("r{number}");
        let copy = copy_of(&name, "a", cheap());
        fs::write(shared.join(format!("{name}.pmdb")), copy).unwrap();
    }
    let found = read(&one, &[], 3);
    let is_postponed = |why: &&Why| matches!(why, Why::Postponed);
    assert_eq!(view_of(&found.union).len(), 3);
    assert_eq!(reasons(&found).into_iter().filter(is_postponed).count(), 2);
    let mut folder = one.folder().unwrap().clone();
    folder.merged = found.merged;
    one.set_folder(Some(folder));
    let found = read(&one, &[], 2);
    assert_eq!((view_of(&found.union).len(), found.skipped.len()), (2, 0));
}

#[test]
fn a_sync_reads_no_more_bytes_than_its_budget_and_forgets_nothing() {
    let (_dir, shared, mut one) = sharing();
    for name in ["x", "y", "z"] {
        fs::write(
            shared.join(format!("{name}.pmdb")),
            copy_of(name, "a", cheap()),
        )
        .unwrap();
    }
    sync_folder(&mut one, &[]);
    let known = one.folder().unwrap().merged.clone();
    assert_eq!(known.len(), 3);
    let budget = Budget {
        bytes: 1,
        ..Budget::of_sync()
    };
    let found = read_copies(&one, one.folder().unwrap(), &[], budget).unwrap();
    assert_eq!((found.skipped.len(), found.merged), (3, known));
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let (dir, shared, mut one) = sharing();
    let outside = dir.path().join("outside.pmdb");
    fs::write(&outside, copy_of("x", "a", cheap())).unwrap();
    std::os::unix::fs::symlink(&outside, shared.join("link.pmdb")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", shared.join("zero.pmdb")).unwrap();
    let found = sync_folder(&mut one, &[]);
    let told: Vec<String> = found
        .skipped
        .iter()
        .map(|skipped| skipped.why.to_string())
        .collect();
    let link = "it cannot be read: a symbolic link, which is not followed";
    assert_eq!(told, [link, link]);
    assert_eq!(view_of(one.vault()).len(), 1);
    // This device's copy replaces a link in its place.
    fs::remove_file(shared.join("one.pmdb")).unwrap();
    std::os::unix::fs::symlink(&outside, shared.join("one.pmdb")).unwrap();
    sync_folder(&mut one, &[]);
    assert_eq!(copy_there(&shared, "one", "a"), *one.vault());
    assert!(!shared.join("one.pmdb").is_symlink());
    assert!(!view_of(one.vault()).contains_key("x"));
}

#[test]
fn an_attempt_is_remembered_though_the_sync_is_held_back() {
    let (_dir, shared, mut one) = sharing();
    let mut theirs = one.vault().clone();
    let far = one.now() + 1_000_000;
    theirs.set(&"mail".into(), "user", "x", far).unwrap();
    let plaintext = encode_sync_copy(&theirs).unwrap();
    let rng = &mut UnwrapErr(SysRng);
    let ahead = make_container(&plaintext, &passphrase("a"), cheap(), rng).unwrap();
    fs::write(shared.join("ahead.pmdb"), ahead).unwrap();
    fs::write(shared.join("locked.pmdb"), copy_of("x", "b", cheap())).unwrap();
    assert!(matches!(
        take_in(&mut one, &[], &Options::default()),
        Err(FolderError::HeldBack(_))
    ));
    // Only the copy that is held back is opened again.
    let found = read(&one, &[], 1);
    assert!(matches!(reasons(&found).as_slice(), [Why::Locked]));
}
