//! Saves, undo, several programs, and a disk that fails.

use std::collections::BTreeSet;
use std::fs;

use passmate_vault::format::container::container_params;
use passmate_vault::{AccountKey, RollCall, Secret, SeenChanges, Shape, SyncKey, Trust};

use super::*;
use crate::disk::RealDisk;
use crate::disk::previous_of;
use crate::disk::tests::FailingDisk;
use crate::problem::{Problem, ProblemKind};

pub(crate) fn location(dir: &tempfile::TempDir) -> VaultLocation {
    VaultLocation::new(dir.path().join("vault.pmdb"))
        .with_clock(|| 1_800_000_000)
        .with_params(Params::new(4, 1, 1).unwrap())
}

pub(crate) fn passphrase() -> Passphrase {
    Passphrase::from("correct horse".to_owned())
}

fn add(session: &mut Session, path: &str) {
    let id = session.make_record_id();
    session
        .edit(|vault, now| vault.create_record(id, path, now))
        .unwrap();
}

fn paths(session: &Session) -> Vec<String> {
    let view = session.vault().view();
    view.records()
        .iter()
        .map(|record| record.path.to_string_lossy().into_owned())
        .collect()
}

fn account(account: u8) -> Account {
    let key = SyncKey::from_parts([account; 8], Secret::from_bytes([account; 32]));
    Account {
        host: "h".to_owned(),
        port: 1,
        key: AccountKey::Granted(key),
        trust: Trust::System,
        confirmed: true,
        seen: SeenChanges::new(),
        last: None,
        retired: Vec::new(),
        is_lost: false,
        shape: Shape::Modern,
        device: None,
        devices: RollCall::new(),
    }
}

fn previous_document(session: &Session) -> Document {
    let location = VaultLocation {
        path: previous_of(session.path()),
        ..session.location.clone()
    };
    read_document(&location, &session.passphrase).unwrap().1
}

fn previous_vault(session: &Session) -> Vault {
    previous_document(session).vault
}

fn reopen(dir: &tempfile::TempDir) -> Session {
    Session::open(location(dir), passphrase()).unwrap()
}

#[test]
fn a_vault_opens_with_either_form_of_its_passphrase() {
    for (made, typed) in [
        ("m\u{fc}nze", "mu\u{308}nze"),
        ("mu\u{308}nze", "m\u{fc}nze"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let location = VaultLocation::new(dir.path().join("vault.pmdb"));
        let location = location.with_params(Params::new(4, 1, 1).unwrap());
        let passphrase = |text: &str| Passphrase::from(text.to_owned());
        Session::create(location.clone(), passphrase(made)).unwrap();
        let mut session = Session::open(location.clone(), passphrase(typed)).unwrap();
        session.edit(|vault, now| vault.create_record("A".into(), "x", now).unwrap());
        session.save().unwrap();
        // It is still under the form that it was made with.
        assert!(session.is_passphrase(&passphrase(made)));
        Session::open(location, passphrase(made)).unwrap();
    }
}

#[test]
fn what_was_saved_is_there_and_what_was_not_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    session.save().unwrap();
    add(&mut session, "b");
    assert_eq!(paths(&reopen(&dir)), ["a"]);
    session.save().unwrap();
    assert_eq!(paths(&reopen(&dir)), ["a", "b"]);
    assert!(matches!(
        Session::create(location(&dir), passphrase()),
        Err(SessionError::Exists { .. })
    ));
    let wrong = Session::open(location(&dir), Passphrase::from("x".to_owned()));
    assert!(matches!(wrong, Err(SessionError::WrongPassphrase)));
    let elsewhere = Session::open(VaultLocation::new(dir.path().join("none")), passphrase());
    assert!(matches!(elsewhere, Err(SessionError::NotFound { .. })));
}

#[test]
fn a_folder_that_vanishes_before_a_save_is_no_missing_vault() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("vaults");
    let place = VaultLocation::new(folder.join("v.pmdb")).with_params(location(&dir).params);
    let mut session = Session::create(place, passphrase()).unwrap();
    add(&mut session, "a");
    fs::remove_dir_all(&folder).unwrap();
    let problem = Problem::from(session.save().unwrap_err());
    assert_eq!(problem.kind, ProblemKind::File, "{problem:?}");
    assert!(problem.message.contains(folder.to_str().unwrap()));
    assert!(!problem.hint.contains("init"), "{problem:?}");
}

#[test]
fn a_save_without_news_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    session.save().unwrap();
    let before = fs::read(session.path()).unwrap();
    session.save().unwrap();
    let mut second = reopen(&dir);
    second.save().unwrap();
    assert_eq!(fs::read(session.path()).unwrap(), before);
}

/// As the agent holds a vault while a fork of it syncs, and another command makes it dearer.
#[test]
fn a_session_that_takes_over_a_fork_keeps_the_price_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Session::create(location(&dir), passphrase()).unwrap();
    let mut fork = held.fork();
    let dearer = Params::new(6, 8, 1).unwrap();
    let place = location(&dir).with_params(dearer);
    let mut other = Session::open(place, passphrase()).unwrap();
    add(&mut other, "a");
    other.save().unwrap();
    add(&mut fork, "b");
    fork.save().unwrap();
    held.take_over(fork);
    add(&mut held, "c");
    held.save().unwrap();
    let file = fs::read(held.path()).unwrap();
    assert_eq!(container_params(&file), Ok(dearer));
    assert_eq!(paths(&reopen(&dir)), ["a", "b", "c"]);
}

#[test]
fn a_file_that_says_the_same_in_another_form_is_no_news() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    session.save().unwrap();
    // Blanks may follow a document.
    let plaintext = encode_v3(&session.document).unwrap();
    let longer = [&plaintext[..], &[b' '; 5000]].concat();
    let theirs = session.seal(&longer).unwrap();
    fs::write(session.path(), &theirs).unwrap();
    session.refresh().unwrap();
    session.save().unwrap();
    assert_eq!(fs::read(session.path()).unwrap(), theirs);
    add(&mut session, "b");
    session.save().unwrap();
    assert_eq!(paths(&reopen(&dir)), ["a", "b"]);
}

#[test]
fn an_edit_that_changes_nothing_leaves_no_second_copy() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    session.save().unwrap();
    let id = session.vault().records().next().unwrap().0.clone();
    let record = |session: &Session| std::ptr::from_ref(session.vault().record(&id).unwrap());
    let known = session.vault().record(&id).unwrap().changes()[0].clone();
    session.edit(|vault, _| assert!(!vault.insert(&id, known.clone())));
    let stored = std::ptr::from_ref(session.stored.document.vault.record(&id).unwrap());
    assert_ne!(record(&session), stored);
    session.save().unwrap();
    assert_eq!(record(&session), stored);
}

#[test]
fn every_save_has_a_salt_and_a_key_stream_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    let mut salts = BTreeSet::new();
    for number in 0..50 {
        add(&mut session, &format!("{number}"));
        session.save().unwrap();
        let container = fs::read(session.path()).unwrap();
        salts.insert(container.get(16..48).unwrap().to_vec());
    }
    assert_eq!(salts.len(), 50);
}

#[test]
fn two_programs_that_save_in_any_order_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Session::create(location(&dir), passphrase()).unwrap();
    let mut second = reopen(&dir);
    add(&mut first, "a");
    add(&mut second, "b");
    first.save().unwrap();
    second.save().unwrap();
    assert_eq!(paths(&second), ["a", "b"]);
    // One that has nothing to save takes over what is there.
    first.save().unwrap();
    assert_eq!(paths(&first), ["a", "b"]);
    assert_eq!(paths(&reopen(&dir)), ["a", "b"]);
}

#[test]
fn a_save_never_merges_another_vault_that_took_the_place_of_the_file() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    let mut foreign = Session::create(location(&other), passphrase()).unwrap();
    add(&mut session, "own");
    session.save().unwrap();
    add(&mut foreign, "foreign");
    foreign.save().unwrap();
    fs::copy(foreign.path(), session.path()).unwrap();
    add(&mut session, "lost");
    let refused = session.save();
    assert!(matches!(refused, Err(SessionError::AnotherVault { .. })));
    assert_eq!(paths(&session), ["own"]);
    assert_eq!(paths(&reopen(&dir)), ["foreign"]);
    let refused = session.refresh();
    assert!(matches!(refused, Err(SessionError::AnotherVault { .. })));
}

#[test]
fn a_vault_without_a_key_of_its_log_is_told_by_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    session.save().unwrap();
    let without_key = |vault: Vault| {
        let plaintext = encode_v3(&Document::new(vault)).unwrap();
        let container = session.seal(&plaintext).unwrap();
        fs::write(session.path(), container).unwrap();
        session.fork().refresh()
    };
    without_key(session.vault().clone()).unwrap();
    let of_another = without_key(Vault::new());
    assert!(matches!(of_another, Err(SessionError::AnotherVault { .. })));
}

#[test]
fn what_a_fork_wrote_is_taken_over_without_decrypting_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    let mut fork = session.fork();
    add(&mut fork, "a");
    fork.save().unwrap();
    let container = fs::read(session.path()).unwrap();
    assert!(session.written_as(&container).is_some());
    session.refresh().unwrap();
    assert_eq!(paths(&session), ["a"]);
    // Under another passphrase it counts for nobody else.
    fork.change_passphrase(Passphrase::from("new".to_owned()), None)
        .unwrap();
    let refused = session.refresh();
    assert!(matches!(refused, Err(SessionError::PassphraseChanged)));
}

#[test]
fn of_two_accounts_the_first_one_saved_counts_and_one_that_only_read_undoes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Session::create(location(&dir), passphrase()).unwrap();
    let mut second = reopen(&dir);
    let mut third = reopen(&dir);
    first.set_account(Some(account(1)));
    first.save().unwrap();
    second.set_account(Some(account(2)));
    second.save().unwrap();
    assert_eq!(second.account(), Some(&account(1)));
    add(&mut third, "a");
    third.save().unwrap();
    assert_eq!(reopen(&dir).account(), Some(&account(1)));
    third.set_account(None);
    third.save().unwrap();
    assert_eq!(reopen(&dir).account(), None);
}

#[test]
fn leaving_holds_though_a_sync_saves_what_it_saw_meanwhile() {
    use passmate_sync::{SyncError, leave, trust_pin};
    use passmate_vault::Pin;
    let dir = tempfile::tempdir().unwrap();
    let mut first = Session::create(location(&dir), passphrase()).unwrap();
    first.set_account(Some(account(1)));
    first.save().unwrap();
    let sync_saves = |path: &str| {
        let mut sync = reopen(&dir);
        add(&mut sync, path);
        let mut tied = sync.account().unwrap().clone();
        tied.seen.note(sync.vault());
        sync.set_account(Some(tied));
        sync.save().unwrap();
    };
    sync_saves("a");
    let pin = Pin::from_bytes([7; 32]);
    trust_pin(&mut first, pin).unwrap();
    let tied = reopen(&dir).account().unwrap().clone();
    assert_eq!(
        (tied.trust, tied.seen.len()),
        (
            Trust::Pins {
                current: pin,
                next: None
            },
            1
        )
    );
    sync_saves("b");
    leave(&mut first).unwrap();
    assert_eq!(reopen(&dir).account(), None);
    // Somebody else sets it up again, and this one has not seen that.
    let mut other = reopen(&dir);
    other.set_account(Some(account(2)));
    other.save().unwrap();
    first.set_account(Some(account(1)));
    assert!(matches!(leave(&mut first), Err(SyncError::SetUpChanged)));
}

#[test]
fn a_new_passphrase_opens_the_vault_and_the_copy_beside_it_and_the_old_one_neither() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    session.save().unwrap();
    let mut other = reopen(&dir);
    let new = Passphrase::from("new".to_owned());
    session.change_passphrase(new.clone(), None).unwrap();
    for path in [session.path().to_owned(), previous_of(session.path())] {
        let container = fs::read(&path).unwrap();
        assert_eq!(
            open_container(&container, &passphrase()),
            Err(ContainerError::WrongPassphrase)
        );
        open_container(&container, &new).unwrap();
    }
    assert_eq!(
        previous_vault(&session),
        Vault::new(),
        "the last change can be taken back still"
    );
    // A program that still has the old one does not overwrite what it cannot read.
    add(&mut other, "b");
    assert!(matches!(other.save(), Err(SessionError::PassphraseChanged)));
    assert_eq!(paths(&Session::open(location(&dir), new).unwrap()), ["a"]);
}

#[test]
fn a_save_that_fails_anywhere_leaves_a_vault_that_opens_and_takes_the_changes_back() {
    for is_dead in [false, true] {
        for number in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let mut session = Session::create(location(&dir), passphrase()).unwrap();
            add(&mut session, "old");
            session.save().unwrap();
            let disk = FailingDisk::failing_at(number, is_dead);
            session.location = session.location.with_disk(disk.clone());
            add(&mut session, "new");
            let result = session.save();
            let there = paths(&reopen(&dir));
            assert!(there == ["old"] || there == ["new", "old"], "{there:?}");
            match result {
                Ok(()) | Err(SessionError::Unflushed { .. }) => {
                    assert_eq!(there, ["new", "old"]);
                    assert_eq!(paths(&session), there);
                }
                // A disk that is dead does not tell what it has.
                Err(error) => {
                    assert!(is_dead || there == ["old"], "{error}");
                    assert_eq!(paths(&session), ["old"]);
                }
            }
            session.location = session.location.with_disk(RealDisk);
            session.save().unwrap();
            assert_eq!(paths(&session), there);
            assert_eq!(paths(&reopen(&dir)), there);
            if disk.done() < number {
                break;
            }
        }
    }
}

#[test]
fn a_history_is_cut_off_only_when_all_of_it_was_kept_beside_the_vault_whatever_fails() {
    let values = |session: &Session| {
        let changes = session
            .vault()
            .records()
            .flat_map(|(_, record)| record.changes());
        changes
            .filter_map(|change| Some(change.value.shown()?.to_string_lossy().into_owned()))
            .collect::<Vec<_>>()
    };
    for number in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let mut session =
            Session::create(location(&dir).with_clock(|| 1000), passphrase()).unwrap();
        let id = session.make_record_id();
        session.edit(|vault, _| {
            vault.create_record(id.clone(), "mail", 100).unwrap();
            vault.set(&id, "password", "one", 200).unwrap();
            vault.set(&id, "password", "two", 300).unwrap();
        });
        session.save().unwrap();
        let disk = FailingDisk::failing_at(number, true);
        session.location = session.location.with_disk(disk.clone());
        let changes = session.vault().change_count();
        session.truncate(400);
        assert_eq!(session.vault().change_count(), changes - 1);
        let result = session.save();
        let archive = dir.path().join("vault.history-1970-01-01.pmdb");
        let stored = reopen(&dir);
        if stored.vault().history_since().is_some() {
            assert_eq!(values(&stored), ["mail", "two"], "operation {number}");
            let archive = Session::open(
                VaultLocation {
                    path: archive.clone(),
                    ..location(&dir)
                },
                passphrase(),
            )
            .unwrap();
            assert_eq!(
                (values(&archive), archive.vault().history_since()),
                (vec!["mail".into(), "one".into(), "two".into()], None)
            );
            assert_eq!(
                previous_vault(&stored),
                *archive.vault(),
                "and an undo knows what was before"
            );
        } else {
            assert_eq!(
                values(&stored),
                ["mail", "one", "two"],
                "operation {number}"
            );
        }
        if disk.done() < number {
            result.unwrap();
            assert_eq!(session.archives(), [archive]);
            // The next one does not take its place.
            session.location = session.location.with_disk(RealDisk);
            session.truncate(500);
            session.edit(|vault, _| vault.set(&id, "password", "three", 600).unwrap());
            session.truncate(700);
            session.save().unwrap();
            assert!(
                session
                    .archives()
                    .last()
                    .unwrap()
                    .ends_with("vault.history-1970-01-01-2.pmdb")
            );
            break;
        }
    }
}

#[test]
fn a_new_passphrase_opens_the_archives_too_and_names_those_that_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    session.save().unwrap();
    let new = Passphrase::from("new".to_owned());
    let plaintext = encode_v3(&session.document).unwrap();
    let write = |name: &str, secret: &Passphrase| {
        let path = dir.path().join(name);
        let container = session.location.seal(&plaintext, secret).unwrap();
        fs::write(&path, container).unwrap();
        path
    };
    let ours = [
        write("vault.history-2024-01-01.pmdb.prev", &passphrase()),
        write("vault.history-2024-01-01.pmdb", &passphrase()),
        write("elsewhere", &passphrase()),
        // A change that was interrupted got so far.
        write("vault.history-2024-01-02.pmdb", &new),
    ];
    std::os::unix::fs::symlink(&ours[2], dir.path().join("vault.history-2025.pmdb")).unwrap();
    let older = write("vault.history-2023-01-01.pmdb", &"older".to_owned().into());
    let torn = dir.path().join("vault.history-2022-01-01.pmdb");
    fs::write(&torn, b"scrypt").unwrap();
    let change = session.change_passphrase(new.clone(), None).unwrap();
    for path in ours {
        open_container(&fs::read(&path).unwrap(), &new).unwrap();
    }
    let left: Vec<_> = change.left.iter().map(|(path, _)| path).collect();
    assert_eq!((change.archives.len(), left), (4, vec![&torn, &older]));
    assert!(matches!(change.left[1].1, SessionError::WrongPassphrase));
}

#[test]
fn a_changed_passphrase_is_old_or_new_whatever_fails() {
    let new = Passphrase::from("new".to_owned());
    for is_dead in [true, false] {
        for number in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let mut session = Session::create(location(&dir), passphrase()).unwrap();
            add(&mut session, "a");
            session.save().unwrap();
            let archive = VaultLocation {
                path: dir.path().join("vault.history-2024-01-01.pmdb"),
                ..location(&dir)
            };
            fs::copy(session.path(), archive.path()).unwrap();
            let disk = FailingDisk::failing_at(number, is_dead);
            session.location = session.location.with_disk(disk.clone());
            let result = session.change_passphrase(new.clone(), None);
            let opened: Vec<_> = [passphrase(), new.clone()]
                .into_iter()
                .filter_map(|one| Session::open(location(&dir), one).ok())
                .collect();
            assert_eq!(
                opened.iter().map(paths).collect::<Vec<_>>(),
                [["a"]],
                "operation {number}"
            );
            let open = |secret: &Passphrase| Session::open(archive.clone(), secret.clone()).is_ok();
            assert!(open(&passphrase()) != open(&new), "operation {number}");
            if !is_dead {
                let is_new = Session::open(location(&dir), new.clone()).is_ok();
                assert_eq!(session.is_passphrase(&new), is_new, "{result:?}");
            }
            if let Ok(change) = &result {
                let named = change.archives.len() + change.left.len();
                let is_new = match change.left.as_slice() {
                    [(_, error)] => error.is_saved(),
                    _ => true,
                };
                assert!(named == 1 && open(&new) == is_new, "{change:?}");
            }
            if disk.done() < number {
                result.unwrap();
                break;
            }
        }
    }
}

#[test]
fn a_change_of_passphrase_that_was_cut_short_is_done_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    session.save().unwrap();
    // The copy is under the new passphrase already, the vault is not.
    let previous = session
        .location
        .seal(
            &encode_v3(&session.document).unwrap(),
            &"other".to_owned().into(),
        )
        .unwrap();
    fs::write(previous_of(session.path()), previous).unwrap();
    session
        .change_passphrase("new".to_owned().into(), None)
        .unwrap();
    assert_eq!(previous_vault(&session), *session.vault());
}

#[test]
fn what_is_kept_is_what_was_there_before_the_last_change_of_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    let previous = |session: &Session| previous_vault(session).view().records().len();
    add(&mut session, "a");
    session.save().unwrap();
    add(&mut session, "b");
    session.save().unwrap();
    session.set_account(Some(account(1)));
    session.save().unwrap();
    assert_eq!(previous(&session), 1, "an account is no change of records");
    assert_eq!(previous_document(&session).account, Some(account(1)));
    add(&mut session, "c");
    Replica::save_more(&mut session).unwrap();
    assert_eq!(previous(&session), 1, "it belongs to the change before");
    session
        .change_passphrase("new".to_owned().into(), None)
        .unwrap();
    assert_eq!(previous(&session), 1);
    add(&mut session, "d");
    session.save().unwrap();
    assert_eq!(previous(&session), 3);
    session.set_account(None);
    add(&mut session, "e");
    session.save().unwrap();
    assert_eq!(previous(&session), 4);
    assert_eq!(previous_document(&session).account, None);
}

#[test]
fn a_previous_copy_under_another_passphrase_stays_when_the_account_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    session.save().unwrap();
    let copy = b"scrypt of somebody else";
    fs::write(previous_of(session.path()), copy).unwrap();
    session.set_account(Some(account(1)));
    session.save().unwrap();
    assert_eq!(fs::read(previous_of(session.path())).unwrap(), copy);
}

#[test]
fn a_vault_of_the_original_program_is_read_and_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let location = location(&dir);
    let json = br#"{"version":2,"purpose":"primary","records":{"A":[["meta","path","p",1]]}}"#;
    let container = location.seal(json, &passphrase()).unwrap();
    fs::write(location.path(), &container).unwrap();
    let mut session = Session::open(location.clone(), passphrase()).unwrap();
    assert_eq!(paths(&session), ["p"]);
    session.save().unwrap();
    add(&mut session, "q");
    assert!(matches!(
        session.save(),
        Err(SessionError::OfOriginal { .. })
    ));
    assert!(matches!(
        session.change_passphrase(passphrase(), None),
        Err(SessionError::OfOriginal { .. })
    ));
    assert_eq!(fs::read(location.path()).unwrap(), container);
}

#[test]
fn a_link_to_a_vault_stays_a_link() {
    let dir = tempfile::tempdir().unwrap();
    drop(Session::create(location(&dir), passphrase()).unwrap());
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("vault.pmdb"), &link).unwrap();
    let linked = VaultLocation {
        path: link.clone(),
        ..location(&dir)
    };
    let mut session = Session::open(linked, passphrase()).unwrap();
    add(&mut session, "a");
    session.save().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(paths(&reopen(&dir)), ["a"]);
}

#[test]
fn a_refresh_takes_over_what_others_stored_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    let mut other = reopen(&dir);
    for (path, all) in [("a", &["a"][..]), ("b", &["a", "b"])] {
        add(&mut other, path);
        other.save().unwrap();
        let file = fs::read(session.path()).unwrap();
        session.refresh().unwrap();
        assert_eq!(paths(&session), all);
        session.refresh().unwrap();
        assert_eq!(fs::read(session.path()).unwrap(), file);
    }
    other
        .change_passphrase("new".to_owned().into(), None)
        .unwrap();
    assert!(matches!(
        session.refresh(),
        Err(SessionError::PassphraseChanged)
    ));
    assert_eq!(paths(&session), ["a", "b"]);
    fs::remove_file(session.path()).unwrap();
    session.refresh().unwrap();
    assert_eq!(paths(&session), ["a", "b"]);
}

#[test]
fn a_vault_that_was_removed_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    fs::remove_file(session.path()).unwrap();
    session.save().unwrap();
    assert_eq!(paths(&reopen(&dir)), ["a"]);
}

#[test]
fn each_save_of_a_session_has_a_key_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    Session::create(location(&dir), passphrase()).unwrap();
    let opened = Session::open_for(OpenFor::Changing, location(&dir), passphrase());
    let mut session = opened.unwrap();
    let mut salts = BTreeSet::new();
    for path in ["a", "b", "c"] {
        add(&mut session, path);
        session.save().unwrap();
        let container = session.location.read().unwrap();
        salts.insert(container[16..48].to_vec());
        assert_eq!(paths(&reopen(&dir)), paths(&session));
    }
    assert_eq!(salts.len(), 3);
}

#[test]
fn a_fork_and_its_session_lose_nothing_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    let mut fork = session.fork();
    add(&mut fork, "of the fork");
    fork.save().unwrap();
    add(&mut session, "of the session");
    session.save().unwrap();
    assert_eq!(paths(&session), ["of the fork", "of the session"]);
    // The session has saved since.
    session.take_over(fork);
    assert_eq!(paths(&session), ["of the fork", "of the session"]);

    let mut fork = session.fork();
    add(&mut fork, "later");
    fork.save().unwrap();
    assert_eq!(paths(&session).len(), 2);
    session.take_over(fork);
    assert_eq!(paths(&session).len(), 3);
    session.refresh().unwrap();
    add(&mut session, "last");
    session.save().unwrap();
    assert_eq!(paths(&reopen(&dir)).len(), 4);
}

#[test]
fn each_prepared_key_is_for_one_save() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    let mut salts = BTreeSet::new();
    for number in 0..4 {
        session.prepare_save();
        add(&mut session, &number.to_string());
        session.save().unwrap();
        assert!(session.early_key.is_none());
        let file = fs::read(session.path()).unwrap();
        salts.insert(file[16..48].to_vec());
    }
    assert_eq!(salts.len(), 4);
    assert_eq!(paths(&reopen(&dir)).len(), 4);
}
