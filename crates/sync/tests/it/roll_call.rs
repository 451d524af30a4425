//! Each btoken tells which device stored it, and when.

use passmate_vault::sync::roll_call::DEVICES_MAX;
use passmate_vault::{AnomalyKind, DeviceEntry, DeviceId, RollCall};

use super::*;

fn sync(device: &mut Device, cloud: &Rc<RefCell<Cloud>>) -> Report {
    device.sync(&mut Way::to(cloud)).unwrap()
}

/// The entries that a device knows, by name.
fn entries(device: &Device) -> Vec<(String, DeviceEntry)> {
    let account = device.account.as_ref().unwrap();
    let entries = account.devices.iter();
    let mut entries: Vec<_> = entries
        .map(|(_, entry)| (entry.name.to_string(), entry.clone()))
        .collect();
    entries.sort();
    entries
}

fn names(device: &Device) -> Vec<String> {
    entries(device).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn every_device_knows_when_the_others_synced() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    second.now = PRESENT_MIN;
    second.set("bank", "pin", "1");
    sync(&mut second, &cloud);
    sync(&mut first, &cloud);
    assert_eq!(names(&first), ["laptop", "phone"]);
    let (_, phone) = &entries(&first)[1];
    assert_eq!((phone.time, phone.counter), (second.now, 2));
    assert_eq!(phone.version.as_str(), env!("CARGO_PKG_VERSION"));
    assert_ne!(phone.read, [0; 32]);
}

#[test]
fn an_entry_is_renewed_after_a_day_and_not_before() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    for device in [&mut first, &mut second] {
        device.now = PRESENT_MIN;
        sync(device, &cloud);
    }
    sync(&mut first, &cloud);
    let uploads = cloud.borrow().uploads;
    first.now += 24 * 3600 - 1;
    sync(&mut first, &cloud);
    assert_eq!(cloud.borrow().uploads, uploads);
    first.now += 1;
    let report = sync(&mut first, &cloud);
    assert_eq!(counts(&report), (0, 0, 0));
    assert_eq!(cloud.borrow().uploads, uploads + 1);
    // It is not worth an error.
    first.now += 24 * 3600;
    cloud.borrow_mut().banner = "x\nbtoken-max 10\n".to_owned();
    sync(&mut first, &cloud);
    assert_eq!(cloud.borrow().uploads, uploads + 1);
}

#[test]
fn two_branches_are_found_as_soon_as_one_entry_crosses() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    sync(&mut first, &cloud);
    sync(&mut second, &cloud);
    let common = cloud.borrow_mut().only_btoken().clone();
    let mut branches = [common.clone(), common];
    // Nobody changes a record: no change is missing anywhere.
    for round in 1..=3 {
        for (device, branch) in [&mut first, &mut second].into_iter().zip(&mut branches) {
            cloud.borrow_mut().only_btoken().clone_from(branch);
            device.now = PRESENT_MIN + round * 25 * 3600;
            let report = sync(device, &cloud);
            assert_eq!((report.rollback, report.anomalies), (None, vec![]));
            branch.clone_from(cloud.borrow_mut().only_btoken());
        }
    }
    // The first device gets the branch of the second one.
    let [_, second_branch] = branches;
    *cloud.borrow_mut().only_btoken() = second_branch;
    let report = sync(&mut first, &cloud);
    let kinds: Vec<_> = report.anomalies.iter().map(|one| one.kind).collect();
    assert!(
        matches!(kinds[..], [AnomalyKind::WentBack { .. }]),
        "{kinds:?}"
    );
    // It is told once, and the entries are on the server again.
    assert_eq!(sync(&mut first, &cloud).anomalies, []);
    assert_eq!(sync(&mut second, &cloud).anomalies, []);
}

#[test]
fn a_missing_or_forged_entry_is_reported() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    sync(&mut first, &cloud);
    let without_phone = cloud.borrow_mut().only_btoken().clone();
    second.now = PRESENT_MIN;
    sync(&mut second, &cloud);
    sync(&mut first, &cloud);
    *cloud.borrow_mut().only_btoken() = without_phone;
    assert!(!sync(&mut first, &cloud).anomalies.is_empty());
    // A btoken without any entries.
    let key = first.key();
    let plaintext = format::encode_btoken(&first.vault).unwrap();
    *cloud.borrow_mut().only_btoken() = format::btoken::seal(&plaintext, &key, &mut Dice(1));
    let kinds: Vec<_> = sync(&mut first, &cloud)
        .anomalies
        .iter()
        .map(|one| one.kind)
        .collect();
    assert_eq!(kinds, [AnomalyKind::Missing, AnomalyKind::Missing]);
}

#[test]
fn a_lost_race_or_answer_is_no_anomaly() {
    for fault in [
        Fault::LoseRace,
        Fault::CommitThenCut,
        Fault::CommitThenSilence,
        Fault::SendOnly(80),
    ] {
        let cloud = Cloud::new(Layout::One);
        let (mut first, mut second) = two_devices(&cloud);
        for round in 0..5 {
            for device in [&mut first, &mut second] {
                device.set("mail", "password", &round.to_string());
                let mut way = Way::with(&cloud, [fault.clone()]);
                let report = device.sync(&mut way).unwrap();
                assert_eq!(report.anomalies, [], "{fault:?}");
            }
        }
    }
}

#[test]
fn a_rotation_begins_a_new_roll_call() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    sync(&mut first, &cloud);
    assert_eq!(names(&first), ["laptop", "phone"]);
    first.rotate(&mut Way::to(&cloud), None).unwrap();
    assert_eq!(names(&first), ["laptop"]);
    assert_eq!(sync(&mut first, &cloud).anomalies, []);
}

#[test]
fn a_forged_roll_call_keeps_no_device_from_syncing() {
    let cloud = Cloud::new(Layout::One);
    let (mut first, _) = two_devices(&cloud);
    sync(&mut first, &cloud);
    let forge = |change: &dyn Fn(&mut RollCall)| {
        let mut cloud = cloud.borrow_mut();
        let btoken = cloud.only_btoken();
        let plaintext = format::btoken::open(btoken, &first.key()).unwrap();
        let found = format::decode_btoken(&plaintext).unwrap();
        let mut devices = found.devices;
        change(&mut devices);
        let plaintext = format::encode_btoken_with(&found.vault, &devices).unwrap();
        *btoken = format::btoken::seal(&plaintext, &first.key(), &mut Dice(1));
    };
    let own = first.account.as_ref().unwrap().device.clone().unwrap().id;
    // The last counter, and as many devices as a btoken may have, of the present and the future.
    forge(&|devices| {
        let entry = devices.get(own).unwrap().clone();
        for number in devices.len()..DEVICES_MAX {
            let id = u128::try_from(number).unwrap().to_be_bytes();
            let time = [entry.time, i64::MAX][number % 2];
            let entry = DeviceEntry {
                time,
                ..entry.clone()
            };
            devices.set(DeviceId::from_bytes(id), entry);
        }
        let counter = u64::MAX;
        devices.set(own, DeviceEntry { counter, ..entry });
    });
    first.set("mail", "password", "new");
    sync(&mut first, &cloud);
    assert_eq!(first.remote(&cloud), first.vault);
    first.set("mail", "password", "newer");
    assert_eq!(sync(&mut first, &cloud).anomalies, []);
    assert_eq!(first.remote(&cloud), first.vault);
}
