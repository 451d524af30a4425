//! Cuts, lost races and silent servers: nothing that was confirmed is lost, and no sync reports
//! more than it knows.

use proptest::prelude::*;

use super::*;

#[test]
fn an_upload_that_arrived_unconfirmed_is_found_by_a_fetch() {
    for layout in LAYOUTS {
        for fault in [Fault::CommitThenCut, Fault::CommitThenSilence] {
            let cloud = Cloud::new(layout);
            let (mut first, _) = two_devices(&cloud);
            first.set("mail", "user", "me");
            let uploads = cloud.borrow().uploads;
            let mut way = Way::with(&cloud, [fault]);
            assert_eq!(counts(&first.sync(&mut way).unwrap()), (0, 1, 0));
            assert_eq!((way.exchanges, cloud.borrow().uploads), (2, uploads + 1));
        }
    }
}

#[test]
fn an_unknown_upload_is_never_reported_as_synced() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    first.set("mail", "user", "me");
    let mut way = Way::with(
        &cloud,
        [Fault::LoseRace, Fault::CommitThenCut, Fault::Unreachable],
    );
    let error = remote_error(first.sync(&mut way));
    assert_eq!(
        error,
        RemoteError::OutcomeUnknown(Box::new(RemoteError::NoConnection(unreachable())))
    );
    assert_eq!(error.kind(), SyncErrorKind::Unknown);
    assert_eq!(
        counts(&first.sync(&mut Way::to(&cloud)).unwrap()),
        (0, 0, 0),
        "the upload had arrived"
    );
}

#[test]
fn only_layout_1_needs_close_notify_to_confirm() {
    for (layout, exchanges) in [(Layout::Two, 1), (Layout::One, 2)] {
        let cloud = Cloud::new(layout);
        let (mut first, _) = two_devices(&cloud);
        first.set("mail", "user", "me");
        let mut way = Way::with(&cloud, [Fault::NoCloseNotify]);
        assert_eq!(counts(&first.sync(&mut way).unwrap()), (0, 1, 0));
        assert_eq!(way.exchanges, exchanges);
    }
}

#[test]
fn lost_races_are_retried_with_growing_pauses_and_a_limit() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    first.set("mail", "user", "me");
    let mut calm = Calm::new();
    let mut way = Way::with(&cloud, vec![Fault::LoseRace; 15]);
    assert_eq!(
        counts(
            &first
                .client(&mut way, &mut calm)
                .sync(&Options::default())
                .unwrap()
        ),
        (0, 1, 0)
    );
    assert_eq!(way.exchanges, 16);
    assert_eq!(calm.slept.len(), 15);
    assert!(
        calm.slept[0] < Duration::from_millis(151) && calm.slept[14] >= Duration::from_millis(1500)
    );
    assert!(
        calm.slept
            .iter()
            .all(|pause| *pause <= Duration::from_millis(4500))
    );

    first.set("mail", "user", "you");
    let uploads = cloud.borrow().uploads;
    let mut way = Way::with(&cloud, vec![Fault::LoseRace; 100]);
    assert_eq!(
        remote_error(first.sync(&mut way)),
        RemoteError::Unconfirmed(16)
    );
    assert_eq!(
        (way.exchanges, cloud.borrow().uploads - uploads),
        (17, 16),
        "the last exchange only fetches"
    );
}

#[test]
fn the_last_fetch_still_finds_an_upload_that_arrived() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    first.set("mail", "user", "me");
    let faults = vec![Fault::LoseRace; 15]
        .into_iter()
        .chain([Fault::CommitThenCut]);
    let mut way = Way::with(&cloud, faults);
    assert_eq!(counts(&first.sync(&mut way).unwrap()), (0, 1, 0));
    assert_eq!(way.exchanges, 17);
}

#[test]
fn a_silent_server_gets_few_retries() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    for (number, faults) in [
        vec![Fault::CommitThenSilence; 9],
        vec![Fault::SendOnly(60); 9],
    ]
    .into_iter()
    .enumerate()
    {
        first.set("mail", "user", &number.to_string());
        let mut way = Way::with(&cloud, faults);
        let _ = first.sync(&mut way);
        assert!(way.exchanges <= 6, "{} exchanges", way.exchanges);
    }
}

#[test]
fn a_lost_race_receives_the_changes_of_the_other_device() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    first.set("mail", "user", "me");
    second.set("bank", "pin", "1234");
    second.sync(&mut Way::to(&cloud)).unwrap();
    let report = first
        .sync(&mut Way::with(&cloud, [Fault::LoseRace, Fault::LoseRace]))
        .unwrap();
    assert_eq!((counts(&report), report.common), ((2, 1, 0), 5));
}

#[test]
fn a_btoken_over_the_limit_is_reported_and_nothing_lost() {
    for (banner, known) in [("x\nbtoken-max 9000\n", true), ("an old server", false)] {
        let cloud = Cloud::new(Layout::One);
        let (mut first, mut second) = two_devices(&cloud);
        second.set("bank", "pin", "1234");
        second.sync(&mut Way::to(&cloud)).unwrap();
        let (limit, value_len) = if known {
            (9000, 9000)
        } else {
            (2 * 1024 * 1024, 2 * 1024 * 1024)
        };
        cloud.borrow_mut().banner = banner.to_owned();
        cloud.borrow_mut().btoken_len_max = Some(limit);
        let uploads = cloud.borrow().uploads;
        first.set("mail", "note", &noise(1, value_len));
        let error = remote_error(first.sync(&mut Way::to(&cloud)));
        let RemoteError::TooLarge {
            len,
            limit: told,
            known: is_known,
        } = error
        else {
            panic!("{error:?}")
        };
        assert!(len > value_len && told == limit && is_known == known);
        assert_eq!(cloud.borrow().uploads, uploads);
        assert_eq!(
            second.vault.missing_from(&first.file.0),
            0,
            "received changes are saved all the same"
        );
    }
}

#[test]
fn a_busy_server_is_distinguished_from_a_wrong_key() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    let mut way = Way::with(&cloud, vec![Fault::CutBeforeHello; 9]);
    assert_eq!(remote_error(first.sync(&mut way)), RemoteError::Busy);
    assert_eq!(way.exchanges, 6);
    first
        .sync(&mut Way::with(&cloud, vec![Fault::CutBeforeHello; 5]))
        .unwrap();
    let mut way = Way::with(&cloud, [Fault::Refuse, Fault::Refuse]);
    assert_eq!(remote_error(first.sync(&mut way)), RemoteError::Refused);
    first.sync(&mut Way::with(&cloud, [Fault::Refuse])).unwrap();
}

/// Syncs with this fault in every exchange, and then without faults.
fn check_cut(layout: Layout, fault: &Fault) -> Result<Report, SyncError> {
    let cloud = Cloud::new(layout);
    let (mut first, mut second) = two_devices(&cloud);
    first.set("mail", "user", "me");
    second.set("bank", "pin", "1234");
    second.sync(&mut Way::to(&cloud)).unwrap();
    let result = first.sync(&mut Way::with(&cloud, vec![fault.clone(); 40]));
    if let Ok(report) = &result {
        assert_eq!(
            (counts(report), first.remote(&cloud)),
            ((2, 1, 0), first.vault.clone()),
            "{fault:?}"
        );
    }
    first.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(first.remote(&cloud), first.vault);
    assert_eq!(second.vault.missing_from(&first.vault), 0);
    assert_eq!(first.vault.change_count(), 5);
    result
}

#[test]
fn a_cut_at_any_byte_loses_nothing_and_claims_nothing() {
    for layout in LAYOUTS {
        // Every byte of the hello, the action and the credentials, of the server's hello and the
        // banner length, and around the ends of the btokens and the last rows.
        let (head, btoken) = (24 + 1 + 40, 4 + 4096 + 48);
        let greeting = 28 + if layout == Layout::Two { 2 } else { 0 };
        let sends = (0..head + 8).chain(head + btoken - 8..head + btoken + 9);
        let receives = (0..greeting + 8).chain(greeting + btoken - 8..greeting + btoken + 9);
        let mut last = None;
        for len in sends {
            last = Some(check_cut(layout, &Fault::SendOnly(len)));
        }
        last.unwrap().unwrap();
        let mut last = None;
        for len in receives {
            last = Some(check_cut(layout, &Fault::ReceiveOnly(len)));
        }
        last.unwrap().unwrap();
    }
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::Nothing),
        1 => Just(Fault::Unreachable),
        1 => Just(Fault::CutBeforeHello),
        1 => Just(Fault::Refuse),
        2 => Just(Fault::LoseRace),
        2 => Just(Fault::CommitThenCut),
        1 => Just(Fault::CommitThenSilence),
        1 => Just(Fault::NoCloseNotify),
        1 => (0..4300_usize).prop_map(Fault::ReceiveOnly),
        1 => (0..4300_usize).prop_map(Fault::SendOnly),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Set(usize, u8, u8),
    Sync(usize, Vec<Fault>),
    Fill(usize, bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize, 0..4_u8, any::<u8>()).prop_map(|(device, record, value)| Step::Set(device, record, value)),
        3 => (0..3_usize, prop::collection::vec(any_fault(), 0..6)).prop_map(|(device, faults)| Step::Sync(device, faults)),
        1 => (0..3_usize, any::<bool>()).prop_map(|(device, full)| Step::Fill(device, full)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn three_devices_lose_nothing_under_random_faults(two in any::<bool>(), steps in prop::collection::vec(any_step(), 0..24)) {
        let cloud = Cloud::new(if two { Layout::Two } else { Layout::One });
        let (first, second) = two_devices(&cloud);
        let mut third = Device::default();
        third.join(&mut Way::to(&cloud), first.key()).unwrap();
        let mut devices = [first, second, third];
        let mut all = devices[0].vault.clone();
        for step in steps {
            match step {
                Step::Set(device, record, value) => {
                    devices[device].set(&record.to_string(), "f", &format!("{device}:{value}"));
                    all.merge(&devices[device].vault);
                }
                Step::Fill(device, full) => devices[device].is_full = full,
                Step::Sync(number, faults) => {
                    let device = &mut devices[number];
                    let before = (device.vault.clone(), device.remote(&cloud));
                    let result = device.sync(&mut Way::with(&cloud, faults));
                    let remote = device.remote(&cloud);
                    prop_assert_eq!(before.0.missing_from(&device.vault), 0, "the device lost a change");
                    prop_assert_eq!(before.1.missing_from(&remote), 0, "the server lost a change");
                    if let Ok(report) = result {
                        prop_assert_eq!(&remote, &device.vault);
                        prop_assert_eq!(&device.file.0, &device.vault);
                        prop_assert_eq!(report.common, remote.change_count());
                        prop_assert_eq!(report.sent, remote.change_count() - before.1.change_count());
                        prop_assert_eq!(report.received, device.vault.change_count() - before.0.change_count());
                    }
                }
            }
        }
        for number in [0, 1, 2, 0, 1] {
            devices[number].is_full = false;
            devices[number].sync(&mut Way::to(&cloud)).unwrap();
        }
        for device in &devices {
            prop_assert_eq!(&device.vault, &all);
        }
        prop_assert_eq!(devices[0].remote(&cloud), all);
    }
}
