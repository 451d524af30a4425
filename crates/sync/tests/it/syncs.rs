//! Devices that sync with a server in memory.

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
    first.sync(&mut Way::to(&cloud)).unwrap();
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
    let Preview {
        report,
        vault,
        held,
        ..
    } = second.preview(&mut Way::to(&cloud)).unwrap();
    assert_eq!((counts(&report), held), ((1, 3, 1), None));
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
fn a_sync_that_only_sent_remembers_its_time() {
    // Confirmed at once, or found on the server by the next exchange.
    for faults in [vec![], vec![Fault::CommitThenCut]] {
        let cloud = Cloud::new(Layout::One);
        let (mut first, _) = two_devices(&cloud);
        first.set("mail", "password", "new");
        first.now += 1000;
        let report = first.sync(&mut Way::with(&cloud, faults)).unwrap();
        assert_eq!(counts(&report), (0, 1, 0));
        let last = first.file.1.clone().unwrap().last.unwrap();
        assert_eq!((last.time, last.sent.len()), (first.now, 1));
    }
}

#[test]
fn a_sync_that_would_change_too_much_is_held_back() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    for number in 0..39 {
        first.set(&format!("record {number}"), "f", "1");
    }
    first.sync(&mut Way::to(&cloud)).unwrap();
    let sync = |device: &mut Device| device.sync(&mut Way::to(&cloud));
    sync(&mut second).unwrap();
    // 9 of 40 records are more than 20 %, but fewer than 10, so they pass.
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
    sync(&mut second).unwrap();
    // The tenth counts together with them.
    delete(&mut first, 9..10);
    let before = second.clone();
    let held = held_back(sync(&mut second));
    assert_eq!(
        (held.records.len(), held.of, held.earlier),
        (1, 31, 9),
        "{held}"
    );
    assert_eq!(held.records.first().unwrap().effect, Effect::Deleted);
    assert_eq!(
        (&second.vault, &second.account, second.writes),
        (&before.vault, &before.account, before.writes)
    );
    // Agreement to this is no agreement to more.
    let agreed_to_one = deciding(Decision::Agree(held.into()));
    delete(&mut first, 10..11);
    let held = held_back(second.sync_with(&mut Way::to(&cloud), &agreed_to_one));
    assert_eq!(held.records.len(), 2);
    let agreed = deciding(Decision::Agree(held.into()));
    second.sync_with(&mut Way::to(&cloud), &agreed).unwrap();
    assert_eq!(first.vault, second.vault);
    // From here on it is counted anew.
    delete(&mut first, 11..20);
    sync(&mut second).unwrap();
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
        let report = first.sync_with(&mut Way::to(&cloud), &replace).unwrap();
        assert_eq!((counts(&report), report.rollback), ((0, 2, 0), None));
        assert_eq!(first.remote(&cloud), first.vault);
    }
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
        fn device_name(&self) -> DeviceText {
            self.0.device_name()
        }
        fn baseline(&self) -> Option<&Baseline> {
            self.0.baseline()
        }
        fn merge(&mut self, admitted: &Admitted) -> MergeSummary {
            self.0.merge(admitted)
        }
        fn resolve(&mut self) {
            self.0.resolve();
        }
        fn truncate(&mut self, since: i64) {
            self.0.truncate(since);
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
    let result = client.sync(&Options::default());
    assert!(matches!(result, Err(SyncError::SetUpChanged)), "{result:?}");
    assert_eq!(cloud.borrow().uploads, uploads);
}
