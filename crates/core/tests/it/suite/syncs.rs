//! Syncs with a shared folder, and what they need of a person.

use passmate_core::audit::AuditRules;

use super::*;

/// Two vaults that share a folder.
pub(super) fn sharing<I: Implementation>() -> (tempfile::TempDir, I, I, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cloud");
    std::fs::create_dir(&folder).unwrap();
    let (one, two) = (I::new(), I::new());
    let mut sealing = Sealing::AsFound;
    for vault in [&one, &two] {
        let mut vault = open(vault);
        let synced = vault.set_up_folder(&folder, &sealing, &SyncRequest::default());
        synced.unwrap().result.unwrap();
        sealing = Sealing::Key(vault.folder_key().unwrap());
    }
    (dir, one, two, folder)
}

pub(crate) fn a_shared_folder_syncs_two_vaults<I: Implementation>() {
    let (_dir, one, two, folder) = sharing::<I>();
    let (mut one, mut two) = (open(&one), open(&two));
    let tie = one.ties().unwrap().folder.unwrap();
    assert_eq!((Some(&*tie.path), tie.has_key), (folder.to_str(), true));
    assert_eq!(one.folder_key().unwrap(), two.folder_key().unwrap());
    change(&mut *one, &set("a", "password", "one"));
    let preview = one.preview_sync().unwrap().folder.unwrap().unwrap();
    assert_eq!((preview.report.report.sent, preview.records.len()), (2, 1));
    one.sync(&SyncRequest::default()).unwrap();
    let answer = two.sync(&SyncRequest::default()).unwrap();
    assert!(answer.has_received() && answer.server.is_none());
    assert_eq!(value(&mut *two, "a", "password").as_deref(), Some("one"));
    let last = two.last_syncs().unwrap().folder.unwrap();
    assert_eq!(last.records.len(), 1);
    let [one_standing, two_standing] = [&mut one, &mut two].map(|vault| vault.standing().unwrap());
    assert_eq!(
        one_standing.content.fingerprint,
        two_standing.content.fingerprint
    );
    // It syncs, but with no server.
    for refused in [
        two.sync_key().map(drop),
        two.rotate(Reason::Renewal, None, &Consent::none())
            .map(drop),
        two.upgrade(&Consent::none()).map(drop),
    ] {
        assert_eq!(
            refused.unwrap_err().into_problem().message,
            "this vault has no account on a server"
        );
    }
    let untied = two
        .untie(Untie::Any, true, &Consent::to_everything())
        .unwrap();
    assert!(matches!(untied, Untied::Folder { .. }));
    assert_eq!(two.ties().unwrap().folder, None);
    // It comes back with the key, or else without any.
    let join = |two: &mut dyn VaultApi, sealing: &Sealing| {
        two.set_up_folder(&folder, sealing, &SyncRequest::default())
            .map(|synced| synced.result.unwrap())
    };
    assert!(matches!(
        join(&mut *two, &Sealing::AsFound),
        Err(Halt::Needs(Need::FolderKey(path))) if path == folder
    ));
    join(&mut *two, &Sealing::Key(one.folder_key().unwrap())).unwrap();
    two.untie(Untie::Folder, true, &Consent::to_everything())
        .unwrap();
    join(&mut *two, &Sealing::Passphrases).unwrap();
    assert_eq!(kind_of(two.folder_key()), ProblemKind::NotFound);
}

pub(crate) fn changes_sync_only_where_the_settings_say_so<I: Implementation>() {
    let (_dir, one, two, _) = sharing::<I>();
    let auto = SyncSettings {
        auto: true,
        ..SyncSettings::default()
    };
    let mut quiet = open(&one);
    let changed = quiet
        .change(&set("a", "user", "x"), &Consent::none(), &mut |_| {})
        .unwrap();
    assert!(changed.synced.folder.is_none());
    let mut keen = one.open(passphrase(), auto.clone());
    let changed = keen
        .change(&set("a", "user", "y"), &Consent::none(), &mut |_| {})
        .unwrap();
    assert!(changed.synced.folder.unwrap().result.is_ok());
    let mut other = two.open(passphrase(), auto);
    change(&mut *other, &set("b", "user", "z"));
    assert_eq!(
        paths(&mut *other),
        ["a", "b"],
        "the sync brought the other's"
    );
}

pub(crate) fn a_change_is_reported_before_its_sync<I: Implementation>() {
    let (_dir, one, _, folder) = sharing::<I>();
    let auto = SyncSettings {
        auto: true,
        ..SyncSettings::default()
    };
    let mut one = one.open(passphrase(), auto);
    one.sync(&SyncRequest::default()).unwrap();
    let copies = || {
        let files = std::fs::read_dir(&folder).unwrap();
        let mut files: Vec<_> = files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect();
        files.sort();
        files
    };
    let before = copies();
    let mut calls = 0;
    let edit = set("a", "user", "x");
    one.change(&edit, &Consent::none(), &mut |edited| {
        calls += 1;
        assert_eq!(edited.changes, 1);
        assert!(copies() == before, "nothing is in the folder yet");
    })
    .unwrap();
    assert_eq!(calls, 1);
    assert!(copies() != before);
}

/// A vault with 12 records. Another one deleted 10 of them, and put that into the shared folder.
fn after_a_large_deletion<I: Implementation>() -> ((tempfile::TempDir, I), Box<dyn VaultApi>) {
    let (dir, one, implementation, _) = sharing::<I>();
    let (mut one, mut two) = (open(&one), open(&implementation));
    for number in 0..12 {
        change(&mut *one, &set(&format!("r{number}"), "user", "x"));
    }
    one.sync(&SyncRequest::default()).unwrap();
    two.sync(&SyncRequest::default()).unwrap();
    for number in 0..10 {
        let path = format!("r{number}");
        change(&mut *one, &Edit::Delete { paths: vec![path] });
    }
    one.sync(&SyncRequest::default()).unwrap();
    ((dir, implementation), two)
}

pub(crate) fn a_large_deletion_is_held_back_until_a_person_decides<I: Implementation>() {
    let (_kept, mut two) = after_a_large_deletion::<I>();
    let answer = two.sync(&SyncRequest::default()).unwrap();
    let Some(Need::Confirmation(question @ Question::HeldBack { place, held })) = answer.need()
    else {
        panic!("{answer:?}");
    };
    assert_eq!((held.records.len(), held.of), (10, 12));
    assert_eq!(paths(&mut *two).len(), 12, "nothing was changed");
    let preview = two.preview_sync().unwrap().folder.unwrap().unwrap();
    assert_eq!(preview.held.as_ref(), Some(held));
    // An answer counts for its place alone.
    let mut elsewhere = SyncRequest::default();
    let Place::Folder(path) = place else {
        panic!("{place:?}");
    };
    let (place, held) = (Place::Server(path.clone()), held.clone());
    elsewhere.consent.give(Question::HeldBack { place, held });
    let answer = two.sync(&elsewhere).unwrap();
    assert_eq!(answer.need(), Some(&Need::Confirmation(question.clone())));
    // Refused, it is undone for good.
    let mut refusal = SyncRequest::default();
    refusal.consent.refuse(question.clone());
    assert!(two.sync(&refusal).unwrap().need().is_none());
    assert_eq!(paths(&mut *two).len(), 12);
    for number in 0..10 {
        let path = format!("r{number}");
        change(&mut *two, &Edit::Delete { paths: vec![path] });
    }
    two.sync(&SyncRequest::default()).unwrap();
    assert_eq!(paths(&mut *two).len(), 2);
}

pub(crate) fn a_held_back_sync_goes_on_when_agreed_to<I: Implementation>() {
    let (_kept, mut two) = after_a_large_deletion::<I>();
    let answer = two.sync(&SyncRequest::default()).unwrap();
    let Some(Need::Confirmation(question)) = answer.need() else {
        panic!("{answer:?}");
    };
    let mut request = SyncRequest::default();
    request.consent.give(question.clone());
    assert!(two.sync(&request).unwrap().need().is_none());
    assert_eq!(paths(&mut *two).len(), 2);
}

pub(crate) fn a_vault_without_a_place_to_sync_says_so<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    let consent = Consent::to_everything();
    assert_eq!(
        kind_of(vault.sync(&SyncRequest::default())),
        ProblemKind::NotFound
    );
    assert_eq!(kind_of(vault.preview_sync()), ProblemKind::NotFound);
    assert_eq!(kind_of(vault.last_syncs()), ProblemKind::NotFound);
    assert_eq!(kind_of(vault.standing()), ProblemKind::NotFound);
    assert_eq!(kind_of(vault.sync_key()), ProblemKind::NotFound);
    assert_eq!(
        kind_of(vault.rotate(Reason::Loss, None, &consent)),
        ProblemKind::NotFound
    );
    assert_eq!(kind_of(vault.upgrade(&consent)), ProblemKind::NotFound);
    for what in [Untie::Any, Untie::Folder] {
        let reply = vault.untie(what, false, &consent);
        assert_eq!(kind_of(reply), ProblemKind::NotFound);
    }
}

pub(crate) fn offline_forbids_every_call_that_needs_the_network<I: Implementation>() {
    let settings = SyncSettings {
        offline: true,
        ..SyncSettings::default()
    };
    let implementation = I::new();
    let mut vault = implementation.open(passphrase(), settings);
    let setup = ServerSetup {
        address: Address::new("localhost", 1).unwrap(),
        trust: None,
        key: None,
        consent: Consent::none(),
    };
    assert_eq!(kind_of(vault.set_up_server(&setup)), ProblemKind::Network);
    let code = vault.request_account(&setup).unwrap();
    assert_eq!(vault.request_account(&setup).unwrap(), code, "a key stays");
    assert!(vault.ties().unwrap().server.unwrap().pending);
    let consent = Consent::to_everything();
    assert_eq!(
        kind_of(vault.sync(&SyncRequest::default())),
        ProblemKind::Network
    );
    assert_eq!(kind_of(vault.preview_sync()), ProblemKind::Network);
    let online = AuditRules {
        online: Some("http://192.0.2.1/".to_owned()),
        ..AuditRules::default()
    };
    assert_eq!(kind_of(vault.audit(&online)), ProblemKind::Network);
    assert_eq!(
        kind_of(vault.rotate(Reason::Loss, None, &consent)),
        ProblemKind::Network
    );
    assert_eq!(kind_of(vault.upgrade(&consent)), ProblemKind::Network);
    let delete = vault.untie(Untie::Any, true, &consent);
    assert_eq!(kind_of(delete), ProblemKind::Network);
    vault.untie(Untie::Any, false, &consent).unwrap();
}
