//! The life of an account: create, join, sync, rotate, delete, and what can go wrong.

use super::*;

#[test]
fn two_devices_reach_equal_vaults_over_both_layouts() {
    for layout in LAYOUTS {
        let cloud = Cloud::new(layout);
        let (mut first, mut second) = two_devices(&cloud);
        assert_eq!(first.vault, second.vault);
        first.set("mail", "user", "me");
        second.set("mail", "password", "second");
        second.set("bank", "pin", "1234");

        assert_eq!(
            counts(&first.sync(&mut Way::to(&cloud)).unwrap()),
            (0, 1, 0)
        );
        let report = second.sync(&mut Way::to(&cloud)).unwrap();
        assert_eq!(counts(&report), (1, 3, 0));
        assert_eq!(report.greeting.layout, Some(layout));
        assert_eq!(report.common, 6);
        let report = first.sync(&mut Way::to(&cloud)).unwrap();
        assert_eq!((counts(&report), report.common), ((3, 0, 0), 6));
        assert_eq!(first.vault, second.vault);
        assert_eq!(
            (first.file.0, second.remote(&cloud)),
            (second.vault.clone(), second.vault)
        );
    }
}

#[test]
fn a_sync_without_changes_writes_and_sends_nothing() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    let state_of = |first: &Device, second: &Device| {
        let mut cloud = cloud.borrow_mut();
        (
            first.writes,
            second.writes,
            cloud.uploads,
            cloud.only_btoken().clone(),
        )
    };
    let before = state_of(&first, &second);
    for device in [&mut first, &mut second] {
        assert_eq!(
            counts(&device.sync(&mut Way::to(&cloud)).unwrap()),
            (0, 0, 0)
        );
    }
    assert_eq!(before, state_of(&first, &second));
}

#[test]
fn a_rollback_is_reported_and_missing_changes_sent_again() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    let old = cloud.borrow_mut().only_btoken().clone();
    first.set("mail", "user", "me");
    first.set("bank", "pin", "1234");
    assert_eq!(first.sync(&mut Way::to(&cloud)).unwrap().rollback, None);
    *cloud.borrow_mut().only_btoken() = old.clone();

    // The second device never saw those changes, so it cannot miss them.
    assert_eq!(second.sync(&mut Way::to(&cloud)).unwrap().rollback, None);
    let report = first.sync(&mut Way::to(&cloud)).unwrap();
    // `Device` counts its own seconds: the three changes were made in the second and the third.
    assert_eq!(
        report.rollback,
        Some(Rollback {
            changes: 3,
            times: Some((2, 3))
        })
    );
    assert_eq!(report.sent, 3);
    assert_eq!(
        first.remote(&cloud),
        first.vault,
        "the changes are on the server again"
    );
    assert_eq!(first.sync(&mut Way::to(&cloud)).unwrap().rollback, None);
    second.sync(&mut Way::to(&cloud)).unwrap();
    *cloud.borrow_mut().only_btoken() = old;
    assert_eq!(
        second
            .sync(&mut Way::to(&cloud))
            .unwrap()
            .rollback
            .unwrap()
            .changes,
        3
    );
}

#[test]
fn a_server_cannot_hide_a_rollback_by_a_later_fault() {
    for fault in [Fault::SendOnly(80), Fault::LoseRace] {
        let cloud = Cloud::new(Layout::One);
        let (mut first, _) = two_devices(&cloud);
        let old = cloud.borrow_mut().only_btoken().clone();
        first.set("mail", "user", "me");
        first.sync(&mut Way::to(&cloud)).unwrap();
        *cloud.borrow_mut().only_btoken() = old;
        match first.sync(&mut Way::with(&cloud, std::iter::repeat_n(fault, 100))) {
            Err(SyncError::RolledBack { rollback, then }) => {
                assert_eq!(rollback.changes, 1);
                assert!(matches!(*then, SyncError::Remote(_)), "{then}");
            }
            other => panic!("{other:?}"),
        }
        // The rollback is reported again until the changes are back on the server.
        assert_eq!(
            first
                .sync(&mut Way::to(&cloud))
                .unwrap()
                .rollback
                .unwrap()
                .changes,
            1
        );
    }
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    let old = cloud.borrow_mut().only_btoken().clone();
    first.set("mail", "user", "me");
    first.sync(&mut Way::to(&cloud)).unwrap();
    *cloud.borrow_mut().only_btoken() = old;
    cloud.borrow_mut().banner = "x\nbtoken-max 10\n".to_owned();
    let error = first.sync(&mut Way::to(&cloud)).unwrap_err();
    assert_eq!(error.kind(), SyncErrorKind::Older, "{error}");
}

#[test]
fn a_preview_reports_what_a_sync_would_do_and_does_nothing() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    first.set("mail", "password", "new");
    first.sync(&mut Way::to(&cloud)).unwrap();
    second.now = first.now + 1;
    second.set("mail", "password", "newer");
    second.set("bank", "pin", "1");
    second.save().unwrap();
    let (before, uploads) = (second.clone(), cloud.borrow().uploads);
    let Preview { report, vault } = second.preview(&mut Way::to(&cloud)).unwrap();
    assert_eq!(counts(&report), (1, 3, 1));
    let details = vault.report(&report.delta);
    assert_eq!(
        details
            .iter()
            .map(|record| record.path.to_string_lossy())
            .collect::<Vec<_>>(),
        ["bank", "mail"]
    );
    assert_eq!(
        (&second.vault, &second.account, second.writes),
        (&before.vault, &before.account, before.writes)
    );
    assert_eq!(cloud.borrow().uploads, uploads);
    // The sync does what the preview reported, and remembers it.
    let done = second.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(counts(&done), (1, 3, 1));
    let last = second.file.1.clone().unwrap().last.unwrap();
    assert_eq!(second.vault.report(&last), details);
    second.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(
        second.file.1.clone().unwrap().last,
        Some(last),
        "a sync without changes does not replace the last report"
    );
}

#[test]
fn a_sync_that_would_change_too_much_is_held_back() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    for number in 0..39 {
        first.set(&format!("record {number}"), "f", "1");
    }
    first.sync(&mut Way::to(&cloud)).unwrap();
    let guarded = Options {
        guard: Some(Guard::default()),
        ..Options::default()
    };
    let sync_guarded = |device: &mut Device| device.sync_with(&mut Way::to(&cloud), guarded);
    sync_guarded(&mut second).unwrap();
    // 9 of 40 records are more than 20 %, but fewer than 10, so the guard lets them pass.
    let delete = |first: &mut Device, numbers: std::ops::Range<usize>| {
        for number in numbers {
            first
                .vault
                .delete(&format!("record {number}").as_str().into(), 1000)
                .unwrap();
        }
        first.sync(&mut Way::to(&cloud)).unwrap();
    };
    delete(&mut first, 0..9);
    sync_guarded(&mut second).unwrap();
    delete(&mut first, 9..19);
    let before = second.clone();
    let SyncError::HeldBack(altered) = sync_guarded(&mut second).unwrap_err() else {
        panic!("the sync was not held back")
    };
    assert_eq!((altered.deleted, altered.changed, altered.of), (10, 0, 31));
    assert_eq!(
        (&second.vault, &second.account, second.writes),
        (&before.vault, &before.account, before.writes)
    );
    second.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(first.vault, second.vault);
    // A device that joins has no records that could change.
    let mut third = Device::default();
    third.join(&mut Way::to(&cloud), first.key()).unwrap();
}

#[test]
fn an_unreadable_btoken_is_replaced_only_on_request() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    for garbage in [vec![7; 4144], Vec::new()] {
        *cloud.borrow_mut().only_btoken() = garbage.clone();
        remote_error(first.sync(&mut Way::to(&cloud)));
        assert_eq!(*cloud.borrow_mut().only_btoken(), garbage);
        let replace = Options {
            replace_remote: true,
            ..Options::default()
        };
        let report = first.sync_with(&mut Way::to(&cloud), replace).unwrap();
        assert_eq!((counts(&report), report.rollback), ((0, 2, 0), None));
        assert_eq!(first.remote(&cloud), first.vault);
    }
}

#[test]
fn a_change_from_the_future_is_reported() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    first.now = 200_000;
    first.set("mail", "user", "me");
    first.sync(&mut Way::to(&cloud)).unwrap();
    let ahead = second.sync(&mut Way::to(&cloud)).unwrap().ahead;
    assert_eq!(
        ahead,
        [Ahead {
            record: "mail".into(),
            field: FieldKey::user("user"),
            time: 200_001
        }]
    );
    second.now = 200_001 - 24 * 3600;
    first.set("mail", "user", "you");
    first.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(
        second.sync(&mut Way::to(&cloud)).unwrap().ahead.len(),
        1,
        "the change is one second beyond the limit"
    );
    assert_eq!(
        second.sync(&mut Way::to(&cloud)).unwrap().ahead,
        [],
        "a change is reported only once"
    );
}

#[test]
fn an_interrupted_rotation_continues_and_loses_nothing() {
    let faults = [
        Fault::Unreachable,
        Fault::CommitThenCut,
        Fault::CommitThenSilence,
        Fault::ForgetAccount,
        Fault::LoseRace,
        Fault::SendOnly(80),
        Fault::ReceiveOnly(60),
    ];
    for (fault, times) in faults
        .into_iter()
        .flat_map(|fault| [(fault.clone(), 1), (fault, 40)])
    {
        for (number, keep_since) in (0..8).flat_map(|number| [(number, None), (number, Some(1))]) {
            let cloud = Cloud::new(Layout::One);
            let (mut first, mut second) = two_devices(&cloud);
            let old = cloud.borrow().only_account();
            second.set("bank", "pin", "1");
            second.sync(&mut Way::to(&cloud)).unwrap();
            first.set("mail", "user", "me");
            first.set("mail", "password", "second");
            let calm = std::iter::repeat_n(Fault::Nothing, number);
            let mut way = Way::with(
                &cloud,
                calm.chain(std::iter::repeat_n(fault.clone(), times)),
            );
            let what = format!("{fault:?} {times} times after {number} exchanges, {keep_since:?}");
            let outcome = first.rotate(&mut way, keep_since);
            // Until the rotation continues, another device may still use the old account.
            second.set("zoo", "f", "late");
            let late = second.sync(&mut Way::to(&cloud));
            if outcome.is_err() {
                first
                    .rotate(&mut Way::to(&cloud), keep_since)
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
            } else if first.account.as_ref().unwrap().retired.is_none() {
                assert_eq!(remote_error(late), RemoteError::Refused, "{what}");
            }
            let account = first.file.1.clone().unwrap();
            assert_eq!((account.retired, account.confirmed), (None, true), "{what}");
            assert!(!cloud.borrow().accounts.contains_key(&old), "{what}");
            assert_eq!(first.remote(&cloud), first.vault, "{what}");
            assert_eq!(
                remote_error(second.sync(&mut Way::to(&cloud))),
                RemoteError::Refused
            );
            // The other device joins with the new key, and sends what it could not store before.
            leave(&mut second).unwrap();
            second.join(&mut Way::to(&cloud), first.key()).unwrap();
            first.sync(&mut Way::to(&cloud)).unwrap();
            assert_eq!(first.vault, second.vault, "{what}");
            let view = first.vault.view();
            assert!(
                ["bank", "mail", "zoo"]
                    .iter()
                    .all(|path| view.get(path).is_some()),
                "{what}"
            );
        }
    }
}

#[test]
fn a_vault_that_outgrew_its_server_truncates_its_history() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    cloud.borrow_mut().btoken_len_max = Some(20_000);
    cloud.borrow_mut().banner = "cloud\nbtoken-max 20000".to_owned();
    for number in 0..200 {
        first.set("mail", "password", &format!("{number:0100}"));
    }
    let middle = first.now;
    first.set("mail", "password", "now");
    assert!(matches!(
        remote_error(first.sync(&mut Way::to(&cloud))),
        RemoteError::TooLarge { .. }
    ));
    second.set("bank", "pin", "1234");
    second.sync(&mut Way::to(&cloud)).unwrap();

    first.rotate(&mut Way::to(&cloud), Some(middle)).unwrap();
    assert_eq!(first.vault.history_since(), Some(middle));
    assert_eq!(
        first.remote(&cloud),
        first.vault,
        "the btoken has the start of the history too"
    );
    assert_eq!(
        first.vault.change_count(),
        5,
        "two paths, the pin, and the password with its previous value"
    );

    let key = first.key();
    leave(&mut second).unwrap();
    second
        .vault
        .merge(&first.vault.clone().with_whole_history());
    second.join(&mut Way::to(&cloud), key).unwrap();
    assert_eq!(second.vault, first.vault);
    // The truncation lasts: no device sends the truncated changes again.
    for device in [&mut first, &mut second] {
        let report = device.sync(&mut Way::to(&cloud)).unwrap();
        assert_eq!((counts(&report), report.rollback), ((0, 0, 0), None));
    }
}

/// Devices with wrong clocks truncate the history at random times. All devices reach the same
/// vault, none reports a rollback, and no current value is lost.
#[test]
fn devices_with_wrong_clocks_agree_on_a_history() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut roll = |below: u64| Rng::next_u64(&mut dice) % below;
        let cloud = Cloud::new(Layout::One);
        let (first, second) = two_devices(&cloud);
        let mut devices = [first.clone(), second, first];
        let mut whole = Vault::new();
        for _ in 0..3 {
            let rotating = usize::try_from(roll(3)).unwrap();
            for _ in 0..12 {
                let device = &mut devices[usize::try_from(roll(3)).unwrap()];
                device.now = i64::try_from(roll(30)).unwrap();
                let (record, field) = (
                    ["mail", "bank"][usize::try_from(roll(2)).unwrap()],
                    ["a", "b"],
                );
                device.set(
                    record,
                    field[usize::try_from(roll(2)).unwrap()],
                    &roll(100).to_string(),
                );
                whole.merge(&device.vault.clone().with_whole_history());
                if roll(2) == 0 {
                    let report = device.sync(&mut Way::to(&cloud)).unwrap();
                    assert_eq!(report.rollback, None, "seed {seed}");
                }
            }
            let since = i64::try_from(roll(40)).unwrap();
            devices[rotating]
                .rotate(&mut Way::to(&cloud), Some(since))
                .unwrap();
            let key = devices[rotating].key();
            for device in devices.iter_mut().filter(|device| device.key() != key) {
                leave(device).unwrap();
                device.join(&mut Way::to(&cloud), key.clone()).unwrap();
            }
        }
        for _ in 0..2 {
            for device in &mut devices {
                assert_eq!(
                    device.sync(&mut Way::to(&cloud)).unwrap().rollback,
                    None,
                    "seed {seed}"
                );
            }
        }
        for device in &devices {
            assert_eq!(device.vault, devices[0].vault, "seed {seed}");
            assert_eq!(device.remote(&cloud), device.vault, "seed {seed}");
            let since = device.vault.history_since().unwrap();
            assert_eq!(
                device.vault,
                whole.clone().with_history_since(since),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn a_history_truncated_in_the_future_is_refused() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    let since = 10 * 365 * 24 * 3600;
    first.now = since;
    first.vault = first.vault.clone().with_history_since(since);
    first.sync(&mut Way::to(&cloud)).unwrap();
    let before = second.vault.clone();
    assert_eq!(
        remote_error(second.sync(&mut Way::to(&cloud))),
        RemoteError::CutInFuture { since }
    );
    assert_eq!(
        (second.vault.clone(), second.file.0.clone()),
        (before.clone(), before)
    );
    second.now = since;
    second.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(second.vault, first.vault);
}

#[test]
fn a_fork_is_reported_when_its_branches_meet() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    let common = cloud.borrow_mut().only_btoken().clone();
    first.set("mail", "user", "me");
    first.sync(&mut Way::to(&cloud)).unwrap();
    // The server shows the second device its own branch.
    *cloud.borrow_mut().only_btoken() = common;
    second.set("bank", "pin", "1234");
    assert_eq!(second.sync(&mut Way::to(&cloud)).unwrap().rollback, None);
    assert_eq!(
        first
            .sync(&mut Way::to(&cloud))
            .unwrap()
            .rollback
            .unwrap()
            .changes,
        1
    );
    second.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(first.vault, second.vault);
}

#[test]
fn an_unconfirmed_upload_is_not_a_rollback() {
    for fault in [Fault::LoseRace, Fault::SendOnly(80)] {
        let cloud = Cloud::new(Layout::One);
        let (mut first, _) = two_devices(&cloud);
        first.set("mail", "user", "me");
        let report = first.sync(&mut Way::with(&cloud, [fault])).unwrap();
        assert_eq!(report.rollback, None);
    }
}

#[test]
fn an_empty_vault_creates_an_account_without_an_upload() {
    let cloud = Cloud::new(Layout::One);
    let mut device = Device::default();
    assert_eq!(
        counts(&device.create(&mut Way::to(&cloud)).unwrap()),
        (0, 0, 0)
    );
    assert_eq!(cloud.borrow().uploads, 0);
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
        let plaintext =
            passmate_vault::format::btoken::open(btoken, account.key.granted().unwrap()).unwrap();
        passmate_vault::format::decode_btoken(&plaintext)
            .unwrap()
            .0
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
    passmate_vault::format::btoken::seal(plaintext, key, Calm::new().rng())
}

#[test]
fn received_changes_are_saved_before_an_upload() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    first.set("mail", "user", "me");
    first.sync(&mut Way::to(&cloud)).unwrap();
    second.set("bank", "pin", "1234");
    second.is_full = true;
    let uploads = cloud.borrow().uploads;
    assert!(is_disk_full(&second.sync(&mut Way::to(&cloud))));
    assert_eq!(cloud.borrow().uploads, uploads);

    second.is_full = false;
    remote_error(
        second.sync(&mut Way::with(
            &cloud,
            [Fault::Nothing; 0]
                .into_iter()
                .chain(vec![Fault::LoseRace; 17]),
        )),
    );
    assert_eq!(
        first.vault.missing_from(&second.file.0),
        0,
        "received changes are saved although nothing was sent"
    );
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
            Err(SyncError::NotSetUp)
        ));
    }
}

#[test]
fn leaving_changes_nothing_on_the_server() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    leave(&mut first).unwrap();
    assert_eq!(first.file.1, None);
    assert!(matches!(leave(&mut first), Err(SyncError::NotSetUp)));
    second.sync(&mut Way::to(&cloud)).unwrap();
}

#[test]
fn a_vault_whose_account_changed_meanwhile_is_not_sent() {
    /// A replica whose account another program changes while this one waits for the server.
    struct Meddled<'a>(&'a mut Device);
    impl Replica for Meddled<'_> {
        fn vault(&self) -> &Vault {
            self.0.vault()
        }
        fn account(&self) -> Option<&Account> {
            self.0.account()
        }
        fn now(&self) -> i64 {
            self.0.now
        }
        fn set_account(&mut self, account: Option<Account>) {
            self.0.set_account(account);
        }
        fn merge(&mut self, other: &Vault) -> MergeSummary {
            self.0.merge(other)
        }
        fn save(&mut self) -> Result<(), SaveError> {
            self.0.account = None;
            self.0.save()
        }
        fn save_more(&mut self) -> Result<(), SaveError> {
            self.save()
        }
    }
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    first.set("mail", "password", "new");
    let uploads = cloud.borrow().uploads;
    let mut client = SyncClient {
        replica: &mut Meddled(&mut first),
        transport: &mut Way::to(&cloud),
        env: &mut Calm::new(),
    };
    let result = client.sync(Options::default());
    assert!(matches!(result, Err(SyncError::SetUpChanged)), "{result:?}");
    assert_eq!(cloud.borrow().uploads, uploads);
}
