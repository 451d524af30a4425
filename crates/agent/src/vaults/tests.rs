//! Locking in time, several calls, and what other programs store.

use passmate_core::answer::{Consent, Halt, Need};
use passmate_core::api::VaultApi;
use passmate_core::edit::Edit;
use passmate_core::shared_folder::Sealing;
use passmate_core::sync_all::{SyncOutcome, SyncRequest};
use passmate_vault::format::container::Params;
use tempfile::TempDir;

use super::*;

const MINUTE: u64 = 60;

fn at(minutes: u64) -> Duration {
    Duration::from_secs(minutes * MINUTE)
}

fn location(path: impl Into<PathBuf>) -> VaultLocation {
    VaultLocation::new(path).with_params(Params::new(4, 1, 1).unwrap())
}

fn holding() -> Holding {
    Holding::default()
}

fn passphrase() -> Passphrase {
    Passphrase::from("correct horse".to_owned())
}

/// A vault in a folder, unlocked at minute 0.
fn unlocked() -> (TempDir, PathBuf, Vaults) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault.pmdb");
    Session::create(location(&path), passphrase()).unwrap();
    let vaults = Vaults::new(location);
    vaults
        .unlock(&path, &passphrase(), holding(), at(0))
        .unwrap();
    (dir, path, vaults)
}

fn paths(vaults: &Vaults, path: &Path, minute: u64) -> Reply<Vec<String>> {
    let entries = vaults.call(
        path,
        SyncSettings::default(),
        || at(minute),
        |vault| vault.list(),
    )?;
    Ok(entries.into_iter().map(|entry| entry.path).collect())
}

fn is_locked<T>(reply: Reply<T>) -> bool {
    matches!(reply, Err(Halt::Needs(Need::Locked)))
}

fn create(path: &str) -> Edit {
    Edit::Create { path: path.into() }
}

#[test]
fn a_vault_locks_after_15_idle_minutes() {
    let (_dir, path, vaults) = unlocked();
    paths(&vaults, &path, 14).unwrap();
    paths(&vaults, &path, 28).unwrap();
    assert_eq!(vaults.lock_expired(at(30)), Some(at(13)));
    assert!(vaults.holds(&path, at(42)));
    assert!(is_locked(paths(&vaults, &path, 43)));
    assert_eq!(vaults.lock_expired(at(43)), None);
}

#[test]
fn a_vault_locks_after_8_hours_though_it_is_used() {
    let (_dir, path, vaults) = unlocked();
    for minute in (0..480).step_by(10) {
        paths(&vaults, &path, minute).unwrap();
    }
    assert_eq!(vaults.lock_expired(at(479)), Some(at(1)));
    assert!(is_locked(paths(&vaults, &path, 480)));
}

#[test]
fn a_clock_that_jumps_ahead_locks_before_the_next_call() {
    let (_dir, path, vaults) = unlocked();
    // The machine slept, and no timer ran.
    assert!(is_locked(paths(&vaults, &path, 10_000)));
}

#[test]
fn a_vault_that_is_locked_on_request_stays_locked() {
    let (_dir, path, vaults) = unlocked();
    vaults.lock(Some(&path));
    assert!(is_locked(paths(&vaults, &path, 1)));
    vaults
        .unlock(&path, &passphrase(), holding(), at(1))
        .unwrap();
    vaults.lock(None);
    assert!(vaults.status(at(1)).is_empty());
    assert!(is_locked(paths(&vaults, &path, 1)));
}

#[test]
fn a_lock_during_a_call_lets_the_vault_go_when_it_ends() {
    let (_dir, path, vaults) = unlocked();
    let held = Arc::clone(vaults.held.lock().values().next().unwrap());
    let reply = vaults.call(
        &path,
        SyncSettings::default(),
        || at(1),
        |vault| {
            vaults.lock(None);
            vault.change(&create("a"), &Consent::none(), &mut |_| {})
        },
    );
    assert_eq!(reply.unwrap().edited.changes, 1);
    assert!(held.session.lock().is_none());
    assert!(is_locked(paths(&vaults, &path, 1)));
    vaults
        .unlock(&path, &passphrase(), holding(), at(1))
        .unwrap();
    assert_eq!(paths(&vaults, &path, 1).unwrap(), ["a"]);
}

#[test]
fn a_wrong_passphrase_leaves_an_unlocked_vault_as_it_is() {
    let (_dir, path, vaults) = unlocked();
    let wrong = Passphrase::from("wrong".to_owned());
    let problem = vaults.unlock(&path, &wrong, holding(), at(1)).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::WrongPassphrase);
    assert!(paths(&vaults, &path, 1).unwrap().is_empty());
    vaults.lock(None);
    vaults.unlock(&path, &wrong, holding(), at(1)).unwrap_err();
    assert!(is_locked(paths(&vaults, &path, 1)));
}

#[test]
fn a_call_that_panics_locks_its_vault_alone() {
    let (dir, path, vaults) = unlocked();
    let other = dir.path().join("other.pmdb");
    Session::create(location(&other), passphrase()).unwrap();
    vaults
        .unlock(&other, &passphrase(), holding(), at(0))
        .unwrap();
    let reply: Reply<()> = vaults.call(
        &path,
        SyncSettings::default(),
        || at(1),
        |_| panic!("a test"),
    );
    assert!(matches!(reply, Err(Halt::Failed(_))));
    assert!(is_locked(paths(&vaults, &path, 1)));
    paths(&vaults, &other, 1).unwrap();
}

#[test]
fn what_another_program_stored_is_seen_before_each_call() {
    let (_dir, path, vaults) = unlocked();
    let mut other = Session::open(location(&path), passphrase()).unwrap();
    for name in ["a", "b", "c"] {
        let changed = VaultApi::change(&mut other, &create(name), &Consent::none(), &mut |_| {});
        changed.unwrap();
        assert_eq!(paths(&vaults, &path, 1).unwrap().last().unwrap(), name);
    }
}

#[test]
fn another_passphrase_of_another_program_locks_the_vault() {
    let (_dir, path, vaults) = unlocked();
    let mut other = Session::open(location(&path), passphrase()).unwrap();
    other
        .change_passphrase("new".to_owned().into(), None)
        .unwrap();
    assert!(is_locked(paths(&vaults, &path, 1)));
    assert!(vaults.status(at(1)).is_empty());
    vaults
        .unlock(&path, &"new".to_owned().into(), holding(), at(1))
        .unwrap();
}

#[test]
fn another_vault_in_the_place_of_the_file_locks_the_vault() {
    let (dir, path, vaults) = unlocked();
    let create_one = |session: &mut Session, name| {
        VaultApi::change(session, &create(name), &Consent::none(), &mut |_| {}).map(drop)
    };
    let settings = SyncSettings::default;
    let change = |vault: &mut Session| create_one(vault, "own");
    vaults.call(&path, settings(), || at(1), change).unwrap();
    let before = std::fs::read(&path).unwrap();
    let other = dir.path().join("other.pmdb");
    let mut session = Session::create(location(&other), passphrase()).unwrap();
    create_one(&mut session, "other").unwrap();
    std::fs::copy(&other, &path).unwrap();
    let problem = paths(&vaults, &path, 1).unwrap_err().into_problem();
    assert_eq!(problem.kind, ProblemKind::Locked);
    assert!(problem.message.contains("another one"), "{problem:?}");
    assert!(is_locked(paths(&vaults, &path, 1)));
    assert_eq!(
        std::fs::read(&path).unwrap(),
        std::fs::read(&other).unwrap()
    );
    // With its passphrase, it is the vault.
    vaults
        .unlock(&path, &passphrase(), holding(), at(1))
        .unwrap();
    assert_eq!(paths(&vaults, &path, 1).unwrap(), ["other"]);
    // A backup of the same vault is merged, and nothing is lost.
    std::fs::write(&path, &before).unwrap();
    assert!(paths(&vaults, &path, 1).is_err());
    vaults
        .unlock(&path, &passphrase(), holding(), at(1))
        .unwrap();
    let change = |vault: &mut Session| create_one(vault, "new");
    vaults.call(&path, settings(), || at(1), change).unwrap();
    std::fs::write(&path, &before).unwrap();
    assert_eq!(paths(&vaults, &path, 1).unwrap(), ["new", "own"]);
}

#[test]
fn a_log_that_cannot_be_written_is_told_until_it_can() {
    let (_dir, path, vaults) = unlocked();
    let fault = || vaults.look(&path, at(1)).unwrap().log_fault;
    let entry = UseEntry {
        time: 1,
        what: "read".to_owned(),
        records: Vec::new(),
        by: "a test".to_owned(),
        reason: None,
        allowed: true,
    };
    std::fs::create_dir(use_log::log_of(&path)).unwrap();
    vaults.log(&path, &entry);
    assert!(fault().is_some_and(|fault| fault.contains(".log")));
    std::fs::remove_dir(use_log::log_of(&path)).unwrap();
    vaults.log(&path, &entry);
    assert_eq!(fault(), None);
}

#[test]
fn two_paths_of_one_file_are_one_vault() {
    let (dir, path, vaults) = unlocked();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    paths(&vaults, &link, 1).unwrap();
    vaults.lock(Some(&link));
    assert!(is_locked(paths(&vaults, &path, 1)));
}

/// The outcome of the last sync in the background.
fn last_outcome(vaults: &Vaults, path: &Path, minute: u64) -> Option<SyncOutcome> {
    let status = vaults.look(path, at(minute)).unwrap();
    status.sync.last.map(|(_, outcome)| outcome)
}

fn run_due(vaults: &Arc<Vaults>, minute: u64) -> usize {
    let jobs = vaults.due_syncs(|| at(minute));
    let count = jobs.len();
    jobs.into_iter().for_each(|job| job.run(|| at(minute), 0.5));
    count
}

#[test]
fn a_shared_folder_is_synced_in_the_background_and_watched() {
    let (dir, path, vaults) = unlocked();
    let vaults = Arc::new(vaults);
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let set_up = |vault: &mut Session| {
        vault.set_up_folder(&folder, &Sealing::default(), &SyncRequest::default())
    };
    let set_up_here = vaults.call_apart(&path, SyncSettings::default(), || at(0), set_up);
    assert!(set_up_here.unwrap().result.is_ok());
    assert_eq!(run_due(&vaults, 0), 1, "it was unlocked");
    assert_eq!(run_due(&vaults, 1), 0);

    let key = |vault: &mut Session| VaultApi::folder_key(vault);
    let key = vaults.call(&path, SyncSettings::default(), || at(1), key);
    let other = dir.path().join("other.pmdb");
    let mut other = Session::create(location(other), passphrase()).unwrap();
    other
        .set_up_folder(
            &folder,
            &Sealing::Key(key.unwrap()),
            &SyncRequest::default(),
        )
        .unwrap();
    let changed = VaultApi::change(&mut other, &create("a"), &Consent::none(), &mut |_| {});
    changed.unwrap();
    VaultApi::sync(&mut other, &SyncRequest::default()).unwrap();
    vaults.look_at_folders(at(1));
    assert_eq!(run_due(&vaults, 2), 1, "another device wrote");
    let received = SyncOutcome::Done {
        received: 1,
        sent: 0,
    };
    assert_eq!(last_outcome(&vaults, &path, 2), Some(received));
    assert_eq!(paths(&vaults, &path, 2).unwrap(), ["a"]);

    let change =
        |vault: &mut Session| VaultApi::change(vault, &create("b"), &Consent::none(), &mut |_| {});
    let settings = SyncSettings::default();
    vaults.call(&path, settings, || at(2), change).unwrap();
    vaults.note_change(&path, at(2));
    assert_eq!(run_due(&vaults, 3), 1, "a change is to be sent");
    VaultApi::sync(&mut other, &SyncRequest::default()).unwrap();
    assert_eq!(other.list().unwrap().len(), 2);
}

#[test]
fn nobody_waits_for_a_call_that_waits_for_a_network() {
    let (_dir, path, vaults) = unlocked();
    let settings = SyncSettings::default;
    let slow = |vault: &mut Session| {
        // Meanwhile another client reads and writes.
        let change = |vault: &mut Session| {
            VaultApi::change(vault, &create("meanwhile"), &Consent::none(), &mut |_| {})
        };
        vaults.call(&path, settings(), || at(1), change)?;
        assert_eq!(paths(&vaults, &path, 1).unwrap(), ["meanwhile"]);
        VaultApi::change(vault, &create("slow"), &Consent::none(), &mut |_| {})
    };
    vaults
        .call_apart(&path, settings(), || at(1), slow)
        .unwrap();
    assert_eq!(paths(&vaults, &path, 1).unwrap(), ["meanwhile", "slow"]);
}

#[test]
fn a_vault_that_is_locked_during_a_sync_stays_locked() {
    let (_dir, path, vaults) = unlocked();
    let held = Arc::clone(vaults.held.lock().values().next().unwrap());
    let reply = vaults.call_apart(
        &path,
        SyncSettings::default(),
        || at(1),
        |vault| {
            vaults.lock(None);
            vault.list()
        },
    );
    reply.unwrap();
    assert!(held.session.lock().is_none());
    assert!(is_locked(paths(&vaults, &path, 1)));
}

#[test]
fn nobody_waits_for_a_call_that_reads_for_long() {
    let (_dir, path, vaults) = unlocked();
    let settings = SyncSettings::default;
    let slow = |_: &mut Session| {
        let change = |vault: &mut Session| {
            VaultApi::change(vault, &create("meanwhile"), &Consent::none(), &mut |_| {})
        };
        vaults.call(&path, settings(), || at(1), change)?;
        paths(&vaults, &path, 1)
    };
    let read = vaults.call_beside(&path, settings(), || at(1), slow);
    assert_eq!(read.unwrap(), ["meanwhile"]);
    assert_eq!(paths(&vaults, &path, 1).unwrap(), ["meanwhile"]);
}

#[test]
fn a_look_tells_that_another_program_changed_the_passphrase() {
    let (_dir, path, vaults) = unlocked();
    assert!(vaults.note_use(&path, at(14)));
    assert!(vaults.look(&path, at(20)).is_some(), "it was used");
    let mut other = Session::open(location(&path), passphrase()).unwrap();
    other
        .change_passphrase("new".to_owned().into(), None)
        .unwrap();
    assert!(vaults.look(&path, at(20)).is_none());
    assert!(!vaults.note_use(&path, at(20)));
}

#[test]
fn a_damaged_vault_is_not_read_again_and_again() {
    let (_dir, path, vaults) = unlocked();
    let vaults = Arc::new(vaults);
    std::fs::write(&path, "damaged").unwrap();
    assert_eq!(run_due(&vaults, 0), 1);
    let last = last_outcome(&vaults, &path, 0);
    assert!(matches!(last, Some(SyncOutcome::Failed(_))), "{last:?}");
    assert_eq!(run_due(&vaults, 1), 0);
}

#[test]
fn a_vault_locks_for_sleep_only_where_its_rule_says_so() {
    let (dir, path, vaults) = unlocked();
    let other = dir.path().join("other.pmdb");
    Session::create(location(&other), passphrase()).unwrap();
    let mut stays = holding();
    stays.lock.on_sleep = false;
    vaults.unlock(&other, &passphrase(), stays, at(0)).unwrap();
    vaults.lock_where(|rule| rule.on_sleep);
    assert!(is_locked(paths(&vaults, &path, 1)));
    paths(&vaults, &other, 1).unwrap();
}
