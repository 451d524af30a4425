//! Creating, joining, leaving and deleting an account.

use super::*;

#[test]
fn an_empty_vault_creates_an_account() {
    let cloud = Cloud::new(Layout::One);
    let mut device = Device::default();
    assert_eq!(
        counts(&device.create(&mut Way::to(&cloud)).unwrap()),
        (0, 0, 0)
    );
    assert_eq!(cloud.borrow().uploads, 1, "the entry of the device");
    let account = device.account.unwrap();
    assert!(account.confirmed);
    assert_eq!((account.host.as_str(), account.port), ("cloud.example", 1));
    assert_eq!(
        account.key.granted().unwrap().account(),
        *cloud.borrow().only_account().as_bytes()
    );
}

#[test]
fn an_account_number_is_saved_and_then_confirmed_by_a_fetch() {
    for layout in LAYOUTS {
        let cloud = Cloud::new(layout);
        let mut device = Device::default();
        device.set("mail", "password", "x");
        let mut way = Way::with(&cloud, [Fault::NoCloseNotify, Fault::Unreachable]);
        let error = remote_error(device.create(&mut way));
        assert_eq!(
            error,
            RemoteError::AccountUnknown(Box::new(RemoteError::NoConnection(unreachable())))
        );
        let kept = device.file.1.clone().unwrap();
        assert!(!kept.confirmed);
        assert_eq!(
            kept.key.granted().unwrap().account(),
            *cloud.borrow().only_account().as_bytes()
        );

        assert!(matches!(
            device.create(&mut Way::to(&cloud)),
            Err(SyncError::AlreadySetUp { .. })
        ));
        assert_eq!(
            counts(&device.sync(&mut Way::to(&cloud)).unwrap()),
            (0, 2, 0)
        );
        assert!(device.file.1.clone().unwrap().confirmed);
        assert_eq!(
            cloud
                .borrow()
                .requests
                .iter()
                .filter(|action| **action == ActionKind::Create)
                .count(),
            1
        );
        assert_eq!(device.remote(&cloud), device.vault);
    }
}

#[test]
fn an_account_that_was_never_stored_stays_unconfirmed() {
    let cloud = Cloud::new(Layout::One);
    let mut device = Device::default();
    let mut way = Way::with(&cloud, [Fault::ForgetAccount]);
    let error = remote_error(device.create(&mut way));
    assert_eq!(
        error,
        RemoteError::AccountUnknown(Box::new(RemoteError::Refused))
    );
    assert_eq!(way.exchanges, 3, "one create and two fetches");
    assert!(!device.file.1.clone().unwrap().confirmed);
    leave(&mut device).unwrap();
    device.create(&mut way).unwrap();
}

#[test]
fn an_account_number_that_cannot_be_saved_ends_the_setup() {
    let cloud = Cloud::new(Layout::One);
    let mut device = Device {
        is_full: true,
        ..Device::default()
    };
    let mut way = Way::to(&cloud);
    assert!(is_disk_full(&device.create(&mut way)));
    assert!(device.account.is_none());
    assert_eq!(way.exchanges, 1);
}

#[test]
fn a_refused_create_is_retried_once() {
    let cloud = Cloud::new(Layout::Two);
    let mut device = Device::default();
    let mut way = Way::with(&cloud, [Fault::Refuse, Fault::Refuse]);
    assert_eq!(
        remote_error(device.create(&mut way)),
        RemoteError::CreateRefused
    );
    assert_eq!((way.exchanges, &device.account), (2, &None));
    device
        .create(&mut Way::with(&cloud, [Fault::Refuse]))
        .unwrap();
    assert_eq!(cloud.borrow().accounts.len(), 1);
}

#[test]
fn a_create_whose_answer_was_lost_stored_no_records() {
    let cloud = Cloud::new(Layout::One);
    let mut device = Device::default();
    device.set("mail", "password", "x");
    device
        .create(&mut Way::with(&cloud, [Fault::CommitThenCut]))
        .unwrap();
    let account = device.account.clone().unwrap();
    let cloud = cloud.borrow();
    let opened = cloud.accounts.values().map(|(_, btoken)| {
        let plaintext = format::btoken::open(btoken, account.key.granted().unwrap()).unwrap();
        format::decode_btoken(&plaintext)
            .unwrap()
            .vault
            .change_count()
    });
    assert_eq!(opened.collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_wrong_account_or_key_sends_and_saves_nothing() {
    let cloud = Cloud::new(Layout::One);
    let (first, _) = two_devices(&cloud);
    let good = first.key();
    let state_of = |cloud: &mut Cloud| (cloud.only_btoken().clone(), cloud.uploads);
    let before = state_of(&mut cloud.borrow_mut());
    let mut device = Device::default();
    device.set("mine", "f", "v");

    let mut way = Way::to(&cloud);
    let other = SyncKey::from_parts([9; 8], good.key().clone());
    assert_eq!(
        remote_error(device.join(&mut way, other)),
        RemoteError::Refused
    );
    assert_eq!(
        way.exchanges, 2,
        "a cut after the credentials is retried once"
    );

    // The server accepts this auth token, but the btoken was sealed with another key.
    let stranger = SyncKey::from_parts(good.account(), passmate_vault::Secret::from_bytes([1; 32]));
    let account = account_of(&good).unwrap();
    cloud.borrow_mut().accounts.get_mut(&account).unwrap().0 = auth_token_of(&stranger);
    let error = remote_error(device.join(&mut Way::to(&cloud), stranger));
    assert_eq!(error, RemoteError::Unopenable(BtokenError::NotAuthentic));

    let nobody = SyncKey::from_parts([0; 8], good.key().clone());
    assert!(matches!(
        device.join(&mut Way::to(&cloud), nobody),
        Err(SyncError::KeyWithoutAccount)
    ));
    assert_eq!((&device.account, device.writes), (&None, 0));
    assert_eq!(before, state_of(&mut cloud.borrow_mut()));
}

#[test]
fn an_unreadable_btoken_is_not_overwritten() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    first.set("mail", "password", "new");
    let key = first.key();
    let foreign = btoken_of(b"{\"version\":7}", &key);
    for (bad, kind) in [
        (Vec::new(), "Length"),
        (vec![0; 4096 + 48], "NotAuthentic"),
        (foreign, "NoVault"),
        (btoken_of(b"text", &key), "NoVault"),
    ] {
        cloud.borrow_mut().only_btoken().clone_from(&bad);
        let error = remote_error(first.sync(&mut Way::to(&cloud)));
        assert!(format!("{error:?}").contains(kind), "{error:?}");
        assert_eq!(error.kind(), SyncErrorKind::RemoteDamaged);
        assert_eq!(*cloud.borrow_mut().only_btoken(), bad);
    }
}

fn btoken_of(plaintext: &[u8], key: &SyncKey) -> Vec<u8> {
    format::btoken::seal(plaintext, key, Calm::new().rng())
}

#[test]
fn a_server_that_refuses_incorrectly_is_not_used() {
    let cloud = Cloud::new(Layout::One);
    let check = |fault: Fault| {
        probe(&mut Way::with(&cloud, [fault]), &mut Calm::new())
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(check(Fault::RefuseCleanly), RemoteError::TlsEnded);
    assert_eq!(check(Fault::LetIn), RemoteError::LetsAnyoneIn);
    assert_eq!(
        check(Fault::Unreachable),
        RemoteError::NoConnection(unreachable())
    );
    cloud.borrow_mut().banner = "hello\n".to_owned();
    let mut way = Way::with(&cloud, [Fault::CutBeforeHello, Fault::ReceiveOnly(30)]);
    let probed = probe(&mut way, &mut Calm::new()).unwrap();
    assert_eq!(
        (probed.greeting().banner.as_slice(), way.exchanges),
        (&b"hello\n"[..], 3)
    );
    assert!(cloud.borrow().accounts.is_empty());
}

#[test]
fn the_next_pin_replaces_the_current_one_once_it_is_shown() {
    let cloud = Cloud::new(Layout::One);
    let (mut device, _) = two_devices(&cloud);
    device.sync(&mut Way::to(&cloud)).unwrap();
    let [old, new] = [1, 2].map(|byte| Pin::from_bytes([byte; 32]));
    let pins = |current, next| Trust::Pins { current, next };
    assert_eq!(
        trust_pin(&mut device, old).unwrap(),
        pins(old, None),
        "a pin replaces a trust store"
    );
    assert_eq!(trust_pin(&mut device, new).unwrap(), pins(old, Some(new)));
    let writes = device.writes;
    cloud.borrow_mut().shown = Some(old);
    device.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(device.file.1.clone().unwrap().trust, pins(old, Some(new)));
    assert_eq!(device.writes, writes);
    cloud.borrow_mut().shown = Some(new);
    device.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(device.file.1.clone().unwrap().trust, pins(new, None));

    assert_eq!(trust_pin(&mut device, old).unwrap(), pins(new, Some(old)));
    assert_eq!(
        trust_pin(&mut device, new).unwrap(),
        pins(new, None),
        "a next pin can be revoked"
    );
    device.is_full = true;
    trust_pin(&mut device, old).unwrap_err();
    assert_eq!(device.account.unwrap().trust, pins(new, None));
}

#[test]
fn a_deletion_is_confirmed_or_reported_as_unknown() {
    for layout in LAYOUTS {
        let cloud = Cloud::new(layout);
        let (mut first, mut second) = two_devices(&cloud);
        let vault = first.vault.clone();
        let mut way = Way::with(&cloud, [Fault::CommitThenCut]);
        let error = remote_error(first.delete(&mut way));
        assert_eq!(
            (error, way.exchanges),
            (RemoteError::DeletedOrUnreachable, 2)
        );
        assert!(cloud.borrow().accounts.is_empty());
        assert!(
            first.account.is_some() && first.vault == vault,
            "the device keeps its vault"
        );
        assert_eq!(
            remote_error(second.sync(&mut Way::to(&cloud))),
            RemoteError::Refused
        );
        assert_eq!(second.vault, vault);

        let cloud = Cloud::new(layout);
        let (mut first, _) = two_devices(&cloud);
        let mut way = Way::with(&cloud, [Fault::CommitThenCut, Fault::Unreachable]);
        let error = remote_error(first.delete(&mut way));
        assert_eq!(
            error,
            RemoteError::OutcomeUnknown(Box::new(RemoteError::NoConnection(unreachable())))
        );

        let cloud = Cloud::new(layout);
        let (mut first, _) = two_devices(&cloud);
        first
            .delete(&mut Way::with(&cloud, [Fault::Refuse]))
            .unwrap();
        assert!(cloud.borrow().accounts.is_empty());
        assert!(first.file.1.is_none() && first.vault == vault);
        assert!(matches!(
            first.sync(&mut Way::to(&cloud)),
            Err(SyncError::NoAccount)
        ));
    }
}

#[test]
fn leaving_changes_nothing_on_the_server() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    leave(&mut first).unwrap();
    assert_eq!(first.file.1, None);
    assert!(matches!(leave(&mut first), Err(SyncError::NoAccount)));
    second.sync(&mut Way::to(&cloud)).unwrap();
}

#[test]
fn an_account_that_the_server_lost_is_made_anew_and_the_others_follow() {
    let cloud = Cloud::new(Layout::One);
    cloud.borrow_mut().derives_numbers = true;
    let (mut first, mut second) = two_devices(&cloud);
    first.set("mail", "user", "bob");
    first.sync(&mut Way::to(&cloud)).unwrap();
    assert!(matches!(
        first.create_again(&mut Way::to(&cloud)),
        Err(SyncError::AccountExists { .. })
    ));
    let key = first.key();
    cloud.borrow_mut().accounts.clear();
    assert_eq!(
        remote_error(first.sync(&mut Way::to(&cloud))),
        RemoteError::Refused
    );
    second.set("bank", "password", "two");
    let (report, same_key) = first.create_again(&mut Way::to(&cloud)).unwrap();
    assert_eq!((same_key, report.rollback), (SameKey::Yes, None));
    assert!(report.anomalies.is_empty());
    assert_eq!(first.key(), key);
    // The second device knows nothing of all that.
    second.sync(&mut Way::to(&cloud)).unwrap();
    first.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(first.vault, second.vault);
    assert_eq!(first.remote(&cloud), first.vault);
}

#[test]
fn a_server_that_gives_another_number_makes_another_key() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    cloud.borrow_mut().accounts.clear();
    let (_, same_key) = first.create_again(&mut Way::to(&cloud)).unwrap();
    assert_eq!(same_key, SameKey::No);
    assert_eq!(
        remote_error(second.sync(&mut Way::to(&cloud))),
        RemoteError::Refused
    );
    let key = first.key();
    second.account = None;
    second.file.1 = None;
    second.join(&mut Way::to(&cloud), key).unwrap();
    assert_eq!(first.vault, second.vault);
}

#[test]
fn no_account_is_made_for_a_vault_that_is_too_large() {
    for (banner, limit) in [("cloud\nbtoken-max 2000", 2_000), ("", 2 * 1024 * 1024)] {
        let cloud = Cloud::new(Layout::One);
        cloud.borrow_mut().banner = banner.to_owned();
        cloud.borrow_mut().btoken_len_max = Some(limit);
        let mut device = Device::default();
        let len = usize::try_from(limit).unwrap();
        device.set("mail", "notes", &noise(1, len));
        let error = remote_error(device.create(&mut Way::to(&cloud)));
        assert!(matches!(error, RemoteError::TooLarge { .. }), "{error}");
        assert_eq!(device.account, None);
        assert!(cloud.borrow().accounts.is_empty());
    }
}
