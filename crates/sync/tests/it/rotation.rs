//! A new account with a new key, and a history that is truncated.

use super::*;

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
            } else if first.account.as_ref().unwrap().retired.is_empty() {
                assert_eq!(remote_error(late), RemoteError::Refused, "{what}");
            }
            let account = first.file.1.clone().unwrap();
            assert_eq!(
                (account.retired, account.confirmed),
                (vec![], true),
                "{what}"
            );
            assert!(!cloud.borrow().accounts.contains_key(&old), "{what}");
            assert_eq!(first.remote(&cloud), first.vault, "{what}");
            assert_eq!(
                remote_error(second.sync(&mut Way::to(&cloud))),
                RemoteError::Refused
            );
            // The other device joins with the new key, and sends what it could not store before.
            leave(&mut second).unwrap();
            second
                .join_with(&mut Way::to(&cloud), first.key(), &agreed())
                .unwrap();
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
        first.set("mail", "password", &noise(number, 100));
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
    // What is cut off here needs a yes.
    let held = held_back(second.clone().join(&mut Way::to(&cloud), key.clone()));
    assert_eq!((held.cut, held.records.len()), (Some(middle), 0));
    second
        .join_with(&mut Way::to(&cloud), key, &agreed())
        .unwrap();
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
                let joined = device.join_with(&mut Way::to(&cloud), key.clone(), &agreed());
                joined.unwrap();
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
