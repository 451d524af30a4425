//! Folders with a key, and what decides whether a folder has one.

use std::fs;
use std::path::PathBuf;

use passmate_sync::{Content, Replica};
use passmate_vault::format::container::make_container;
use passmate_vault::format::encode_sync_copy;
use passmate_vault::record::{Change, FieldKey, Value};
use passmate_vault::{Shape, Vault};
use tempfile::TempDir;

use super::super::tests::{cheap, device, passphrase, set, sync_folder, view_of};
use super::super::{Skipped, Why};
use super::*;

struct Folder {
    dir: TempDir,
    shared: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        Self { dir, shared }
    }

    /// A device with a passphrase of its own that takes no part yet.
    fn device(&self, name: &str) -> Session {
        let mut session = device(&self.dir, name, &self.shared, name);
        leave_folder(&mut session, false).unwrap();
        session
    }

    fn join(&self, session: &mut Session, sealing: &Sealing) -> Result<(), FolderError> {
        set_up_folder(session, &self.shared, "host", 7, sealing)
    }

    /// A device that makes a key, and one that joins with it.
    fn with_two(&self) -> [Session; 2] {
        let [mut one, mut two] = ["one", "two"].map(|name| self.device(name));
        self.join(&mut one, &Sealing::AsFound).unwrap();
        let key = key_in(&one).unwrap();
        set_up_folder(&mut two, &self.shared, "host", 8, &Sealing::Key(key)).unwrap();
        [one, two]
    }
}

fn key_in(session: &Session) -> Option<FolderKey> {
    session.folder().unwrap().key.clone()
}

fn settle(devices: &mut [Session]) {
    for _ in 0..2 {
        for session in &mut *devices {
            sync_folder(session, &[]);
        }
    }
}

#[test]
fn devices_with_one_key_and_several_passphrases_get_equal_vaults() {
    let folder = Folder::new();
    let mut devices = folder.with_two();
    set(&mut devices[0], "mail", "password", "1", 100);
    set(&mut devices[1], "mail", "password", "2", 100);
    let lines = Value::from_lines(vec!["a".into(), "b".into()]);
    devices[0].edit(|vault, _| {
        let key = FieldKey::user("notes");
        vault.change_value(&"mail".into(), key, lines, 100).unwrap();
    });
    devices[0].save().unwrap();
    settle(&mut devices);
    let [one, two] = &devices;
    assert_eq!(one.vault(), two.vault(), "lists of lines and ties included");
    assert_eq!(view_of(one.vault())["mail"]["notes"], "a\nb");
    // A device learns no passphrase of another.
    for session in &devices {
        assert!(session.folder().unwrap().passphrases.is_empty());
    }
    let fingerprint = |session: &Session| {
        let content = Content::of(session.vault(), Shape::Modern);
        content.unwrap().fingerprint
    };
    assert_eq!(fingerprint(one), fingerprint(two));
    // Then there is silence: no device writes its copy or its vault again.
    let files = || {
        let names = ["shared/host-000007.pmcopy", "shared/host-000008.pmcopy"];
        let names = names.into_iter().chain(["one.pmdb", "two.pmdb"]);
        names
            .map(|name| fs::read(folder.dir.path().join(name)).unwrap())
            .collect::<Vec<_>>()
    };
    let before = files();
    settle(&mut devices);
    assert_eq!(files(), before);
}

#[test]
fn a_purge_passes_through_a_folder_with_a_key() {
    let folder = Folder::new();
    let mut devices = folder.with_two();
    set(&mut devices[0], "mail", "password", "old", 100);
    set(&mut devices[0], "mail", "password", "new", 200);
    settle(&mut devices);
    let old = |vault: &Vault| {
        let changes = vault.record(&"mail".into()).unwrap().changes();
        changes
            .iter()
            .any(|change| change.value == Value::Text("old".into()))
    };
    assert!(old(devices[1].vault()));
    let is_old = |change: &Change| change.value == Value::Text("old".into());
    devices[1].edit(|vault, now| assert_eq!(vault.purge(&"mail".into(), is_old, now), Ok(1)));
    devices[1].save().unwrap();
    settle(&mut devices);
    assert!(!old(devices[0].vault()));
    assert_eq!(devices[0].vault(), devices[1].vault());
}

#[test]
fn what_lies_in_a_folder_decides_how_a_device_joins() {
    let folder = Folder::new();
    let [mut one, mut two] = folder.with_two();
    let key = key_in(&one).unwrap();
    assert_eq!(key_in(&two), Some(key.clone()));
    let joins = |sealing: &Sealing| {
        let mut three = folder.device("three");
        let joined = folder.join(&mut three, sealing);
        let key = joined.map(|()| key_in(&three));
        fs::remove_file(three.path()).unwrap();
        key
    };
    // Nobody has a copy there yet.
    assert!(matches!(joins(&Sealing::AsFound), Ok(Some(other)) if other != key));
    assert!(matches!(joins(&Sealing::Passphrases), Ok(None)));
    set(&mut one, "mail", "user", "me", 100);
    sync_folder(&mut one, &[]);
    sync_folder(&mut two, &[]);
    assert!(matches!(
        joins(&Sealing::AsFound),
        Err(FolderError::KeyNeeded(path)) if path == folder.shared
    ));
    let wrong = FolderKey::make(&mut UnwrapErr(SysRng));
    assert!(matches!(
        joins(&Sealing::Key(wrong)),
        Err(FolderError::WrongKey(_))
    ));
    assert_eq!(
        joins(&Sealing::Key(key.clone())).unwrap(),
        Some(key.clone())
    );
    assert!(matches!(joins(&Sealing::NewKey), Ok(Some(other)) if other != key));
    // A folder in which an original program may take part.
    let folder = Folder::new();
    let mut original = folder.device("original");
    folder.join(&mut original, &Sealing::Passphrases).unwrap();
    sync_folder(&mut original, &[]);
    let mut ours = folder.device("ours");
    folder.join(&mut ours, &Sealing::AsFound).unwrap();
    assert_eq!(key_in(&ours), None);
}

#[test]
fn in_a_folder_with_a_key_a_guessed_passphrase_opens_and_writes_nothing() {
    let folder = Folder::new();
    let [mut one, mut two] = folder.with_two();
    set(&mut one, "mail", "user", "me", 100);
    sync_folder(&mut one, &[]);
    // Whoever knows the passphrase of a device, and can write to the folder.
    let mut vault = Vault::new();
    vault.create_record("evil".into(), "evil", 100).unwrap();
    let plaintext = encode_sync_copy(&vault).unwrap();
    let rng = &mut UnwrapErr(SysRng);
    let container = make_container(&plaintext, &passphrase("two"), cheap(), rng).unwrap();
    fs::write(folder.shared.join("evil.pmdb"), &container).unwrap();
    fs::write(folder.shared.join("evil.pmcopy"), &container).unwrap();
    let copy = fs::read(folder.shared.join("host-000007.pmcopy")).unwrap();
    fs::write(folder.shared.join("torn.pmcopy"), &copy[..copy.len() - 1]).unwrap();
    let found = sync_folder(&mut two, &[]);
    let skipped = found.skipped.iter();
    let told: Vec<String> = skipped
        .map(|Skipped { name, why }| {
            assert!(matches!(why, Why::Copy(_)), "{why}");
            format!("{name}: {why}")
        })
        .collect();
    assert_eq!(
        told,
        [
            "evil.pmcopy: this is not a copy under a folder key",
            "torn.pmcopy: it is damaged or incomplete"
        ]
    );
    assert_eq!(found.others, 1);
    assert_eq!(
        view_of(two.vault()).into_keys().collect::<Vec<_>>(),
        ["mail"]
    );
}

#[test]
fn a_truncated_history_stays_so_and_is_archived_once() {
    for sealing in [Sealing::AsFound, Sealing::Passphrases] {
        let folder = Folder::new();
        let [mut one, mut two] = ["one", "two"].map(|name| folder.device(name));
        folder.join(&mut one, &sealing).unwrap();
        let other = key_in(&one).map_or(sealing, Sealing::Key);
        set_up_folder(&mut two, &folder.shared, "host", 8, &other).unwrap();
        for time in [100, 200, 300] {
            set(&mut one, "mail", "password", &time.to_string(), time);
        }
        let typed = [passphrase("one"), passphrase("two")];
        sync_folder(&mut one, &typed);
        sync_folder(&mut two, &typed);
        one.truncate(250);
        one.save().unwrap();
        assert_eq!(one.archives().len(), 1);
        for round in 0..3 {
            set(&mut two, "mail", "user", &round.to_string(), 400 + round);
            sync_folder(&mut two, &typed);
            sync_folder(&mut one, &typed);
        }
        assert_eq!(one.archives().len(), 1);
        assert_eq!(
            (one.vault().history_since(), two.vault().history_since()),
            (Some(250), None)
        );
        assert_eq!(view_of(one.vault()), view_of(two.vault()));
        assert!(one.vault().change_count() < two.vault().change_count());
    }
}
