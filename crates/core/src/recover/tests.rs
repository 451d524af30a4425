//! Vaults that are missing or damaged in every way that a disk or a person does it.

use std::os::unix::fs::symlink;

use super::*;
use crate::disk::RealDisk;
use crate::disk::tests::FailingDisk;
use crate::problem::ProblemKind;
use crate::session::tests::{location, passphrase};

fn add(session: &mut Session, path: &str) {
    let id = session.make_record_id();
    session
        .edit(|vault, now| vault.create_record(id, path, now))
        .unwrap();
    session.save().unwrap();
}

/// A vault with two records, whose previous copy has one.
fn vault() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(location(&dir), passphrase()).unwrap();
    add(&mut session, "a");
    add(&mut session, "b");
    dir
}

fn file(dir: &tempfile::TempDir, suffix: &str) -> PathBuf {
    beside(&dir.path().join("vault.pmdb"), suffix)
}

fn hint(dir: &tempfile::TempDir) -> (ProblemKind, String, String) {
    let problem = open(OpenFor::Changing, location(dir), passphrase()).unwrap_err();
    (problem.kind, problem.message, problem.hint)
}

/// A way in which a vault file is lost: its name, the kind of the error, and what does it.
type Loss = (&'static str, ProblemKind, fn(&Path));

fn losses() -> Vec<Loss> {
    let cut = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, bytes.get(..50).unwrap()).unwrap();
    };
    let flipped = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    };
    vec![
        ("missing", ProblemKind::NotFound, |path| {
            fs::remove_file(path).unwrap();
        }),
        ("empty", ProblemKind::Damaged, |path| {
            fs::write(path, "").unwrap();
        }),
        ("filled with zeros", ProblemKind::Damaged, |path| {
            fs::write(path, [0; 4096]).unwrap();
        }),
        ("cut off", ProblemKind::Damaged, cut),
        ("one bit flipped", ProblemKind::Damaged, flipped),
        ("a folder", ProblemKind::File, |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("a link to nothing", ProblemKind::NotFound, |path| {
            fs::remove_file(path).unwrap();
            symlink("vault.pmdb.gone", path).unwrap();
        }),
    ]
}

#[test]
fn every_lost_vault_is_named_with_the_command_that_brings_it_back() {
    for (name, kind, lose) in losses() {
        let dir = vault();
        lose(&file(&dir, ""));
        let (found, message, hint) = hint(&dir);
        assert_eq!(found, kind, "{name}");
        assert!(
            message.contains(&file(&dir, "").display().to_string()),
            "{name}: {message}"
        );
        let command = format!("`passmate recover {}`", file(&dir, ".prev").display());
        assert!(hint.contains(&command), "{name}: {hint}");
    }
}

#[test]
fn a_lost_vault_is_brought_back_and_what_stood_there_is_kept() {
    for (name, _, lose) in losses() {
        let dir = vault();
        lose(&file(&dir, ""));
        let stood_there = file(&dir, "").symlink_metadata().is_ok();
        let copy = file(&dir, ".prev");
        let before = fs::read(&copy).unwrap();
        let brought = bring_back(&location(&dir), &copy, &passphrase(), &Consent::none()).unwrap();
        assert_eq!(brought.content.records, 1, "{name}");
        assert_eq!(fs::read(&copy).unwrap(), before, "{name}");
        let session = open(OpenFor::Changing, location(&dir), passphrase()).unwrap();
        assert_eq!(session.vault().view().records().len(), 1, "{name}");
        // The file that a link leads to takes the missing file's place, and the link stays.
        let is_link = name == "a link to nothing";
        assert_eq!(brought.aside.is_some(), stood_there && !is_link, "{name}");
        assert_eq!(file(&dir, "").is_symlink(), is_link);
    }
}

#[test]
fn a_copy_that_is_brought_back_does_not_cost_another_one() {
    let dir = vault();
    let old = fs::read(file(&dir, ".prev")).unwrap();
    fs::write(file(&dir, ".bak"), &old).unwrap();
    let mut session = open(OpenFor::Changing, location(&dir), passphrase()).unwrap();
    for path in ["c", "d"] {
        add(&mut session, path);
    }
    fs::rename(file(&dir, ""), file(&dir, ".new")).unwrap();
    let worth = |suffix| {
        let content = examine(&location(&dir), &file(&dir, suffix), &passphrase());
        content.unwrap().records
    };
    assert_eq!((worth(".bak"), worth(".prev"), worth(".new")), (1, 3, 4));
    // The newest of what saves leave is named.
    let times = [(".prev", 1_000), (".new", 2_000)];
    for (suffix, seconds) in times {
        let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let opened = fs::File::options()
            .write(true)
            .open(file(&dir, suffix))
            .unwrap();
        opened.set_modified(written).unwrap();
    }
    assert!(hint(&dir).2.contains("vault.pmdb.new` brings back a copy"));
    assert!(matches!(
        Session::create(location(&dir), passphrase()),
        Err(SessionError::CopyExists { .. })
    ));
    let copy = file(&dir, ".bak");
    bring_back(&location(&dir), &copy, &passphrase(), &Consent::none()).unwrap();
    let mut session = open(OpenFor::Changing, location(&dir), passphrase()).unwrap();
    add(&mut session, "e");
    add(&mut session, "f");
    let found = find(&location(&dir)).into_iter();
    let records = found.map(|copy| {
        examine(&location(&dir), &copy.path, &passphrase())
            .unwrap()
            .records
    });
    let mut records: Vec<_> = records.collect();
    records.sort_unstable();
    assert_eq!(records, [1, 2, 3, 3, 4]);
    // What a purge or another passphrase does not reach is named.
    let untouched = untouched(&location(&dir));
    for suffix in [".bak", ".kept", ".kept-2"] {
        assert!(untouched.contains(&file(&dir, suffix)), "{suffix}");
    }
}

#[test]
fn copies_beside_a_link_are_found_and_nothing_is_made_where_a_disk_is_away() {
    let dir = vault();
    let (link, elsewhere) = (file(&dir, ""), dir.path().join("away/vault.pmdb"));
    fs::remove_file(&link).unwrap();
    symlink(&elsewhere, &link).unwrap();
    assert!(
        hint(&dir)
            .2
            .starts_with("mount or bring back what the link leads to")
    );
    let copy = file(&dir, ".prev");
    let away = bring_back(&location(&dir), &copy, &passphrase(), &Consent::none());
    assert!(away.is_err() && !elsewhere.parent().unwrap().exists());
    fs::create_dir(elsewhere.parent().unwrap()).unwrap();
    let command = format!("`passmate recover {}`", copy.display());
    assert!(hint(&dir).2.contains(&command));
    bring_back(&location(&dir), &copy, &passphrase(), &Consent::none()).unwrap();
    assert!(elsewhere.is_file() && link.is_symlink());
}

#[test]
fn a_folder_in_the_place_of_the_previous_copy_is_named() {
    let dir = vault();
    fs::remove_file(file(&dir, ".prev")).unwrap();
    fs::create_dir(file(&dir, ".prev")).unwrap();
    let mut session = open(OpenFor::Changing, location(&dir), passphrase()).unwrap();
    let id = session.make_record_id();
    session
        .edit(|vault, now| vault.create_record(id, "x", now))
        .unwrap();
    let error = session.save().unwrap_err().to_string();
    assert!(error.contains("vault.pmdb.prev is a folder"), "{error}");
    assert!(!file(&dir, ".prev.new").exists());
}

#[test]
fn a_new_vault_does_not_take_the_place_of_a_previous_copy() {
    let dir = vault();
    fs::remove_file(file(&dir, "")).unwrap();
    let before = fs::read(file(&dir, ".prev")).unwrap();
    let error = Session::create(location(&dir), passphrase()).unwrap_err();
    assert!(matches!(error, SessionError::CopyExists { .. }), "{error}");
    assert!(Problem::from(error).hint.contains("vault.pmdb.prev`"));
    assert_eq!(fs::read(file(&dir, ".prev")).unwrap(), before);
    fs::rename(file(&dir, ".prev"), file(&dir, ".mine")).unwrap();
    Session::create(location(&dir), passphrase()).unwrap();
}

#[test]
fn all_copies_are_found_and_tell_how_far_they_open() {
    let dir = vault();
    let vault = fs::read(file(&dir, "")).unwrap();
    fs::write(file(&dir, ".new"), vault.get(..200).unwrap()).unwrap();
    fs::write(dir.path().join("vault.history-2026-01-01.pmdb"), &vault).unwrap();
    fs::write(dir.path().join("vault (copy).pmdb"), "text").unwrap();
    // Files of the vault that hold no records.
    for suffix in [".state", ".log"] {
        fs::write(file(&dir, suffix), "{}").unwrap();
    }
    assert!(file(&dir, ".lock").exists());
    fs::create_dir(file(&dir, ".folder")).unwrap();
    symlink("vault.pmdb", file(&dir, ".link")).unwrap();
    fs::write(dir.path().join("other.pmdb"), &vault).unwrap();
    let found = find(&location(&dir));
    let kinds: Vec<_> = found.iter().map(|copy| copy.kind).collect();
    assert_eq!(
        kinds,
        [
            CopyKind::Vault,
            CopyKind::Previous,
            CopyKind::Interrupted,
            CopyKind::Archive,
            CopyKind::Other
        ]
    );
    let opened = found.iter().map(|copy| {
        let content = examine(&location(&dir), &copy.path, &passphrase());
        content.map_or_else(
            |error| error.to_string(),
            |content| content.records.to_string(),
        )
    });
    let opened: Vec<_> = opened.collect();
    assert_eq!(opened.first().unwrap(), "2");
    assert_eq!(opened.get(1).unwrap(), "1");
    assert!(opened.get(2).unwrap().ends_with("the file is damaged"));
    assert_eq!(opened.get(3).unwrap(), "2");
    assert!(opened.last().unwrap().contains("vault (copy).pmdb: "));
    let wrong = Passphrase::from("x".to_owned());
    let copy = &found.get(1).unwrap().path;
    assert!(matches!(
        examine(&location(&dir), copy, &wrong),
        Err(SessionError::WrongPassphrase)
    ));
}

#[test]
fn a_sound_vault_is_replaced_only_with_consent_and_is_kept() {
    let dir = vault();
    let (location, copy) = (location(&dir), file(&dir, ".prev"));
    let before = fs::read(location.path()).unwrap();
    let asked = bring_back(&location, &copy, &passphrase(), &Consent::none());
    let Err(Halt::Needs(Need::Confirmation(question))) = asked else {
        panic!("{asked:?}");
    };
    assert!(matches!(
        question,
        Question::ReplaceVault {
            records: Some(2),
            ..
        }
    ));
    assert_eq!(fs::read(location.path()).unwrap(), before);
    let mut consent = Consent::none();
    consent.give(question);
    for number in ["", "-2"] {
        let brought = bring_back(&location, &copy, &passphrase(), &consent);
        let aside = match brought {
            Ok(brought) => brought.aside.unwrap(),
            // The copy is in place now: another question.
            Err(_) => {
                let consent = Consent::to_everything();
                let brought = bring_back(&location, &copy, &passphrase(), &consent).unwrap();
                brought.aside.unwrap()
            }
        };
        assert_eq!(aside, file(&dir, &format!(".replaced{number}")));
    }
    assert_eq!(fs::read(file(&dir, ".replaced")).unwrap(), before);
    let itself = bring_back(&location, location.path(), &passphrase(), &consent);
    assert!(itself.is_err());
}

#[test]
fn whatever_fails_while_a_copy_is_brought_back_nothing_is_lost() {
    for number in 1.. {
        let dir = vault();
        let damaged = b"damaged".to_vec();
        fs::write(file(&dir, ""), &damaged).unwrap();
        let copy = file(&dir, ".prev");
        let before = fs::read(&copy).unwrap();
        let disk = FailingDisk::failing_at(number, true);
        let failing = location(&dir).with_disk(disk.clone());
        let result = bring_back(&failing, &copy, &passphrase(), &Consent::none());
        assert_eq!(fs::read(&copy).unwrap(), before, "operation {number}");
        let names = fs::read_dir(dir.path()).unwrap().flatten();
        let contents: Vec<_> = names.map(|entry| fs::read(entry.path()).unwrap()).collect();
        assert!(contents.contains(&damaged), "operation {number}");
        let again = location(&dir).with_disk(RealDisk);
        if result.is_err() {
            let consent = Consent::to_everything();
            bring_back(&again, &copy, &passphrase(), &consent).unwrap();
        }
        open(OpenFor::Changing, again, passphrase()).unwrap();
        if !disk.has_failed() {
            assert!(number > 5);
            return;
        }
    }
}
