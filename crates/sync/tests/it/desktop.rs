//! Accounts that the original desktop client shares: it can read what our devices store, and what
//! it leaves out is not mistaken for a rollback.

use format::btoken;
use passmate_vault::compat::Original;
use passmate_vault::format::{BtokenShape, decode_btoken, encode_desktop_btoken};
use passmate_vault::{Secret, Shape};

use super::*;

/// A model of the desktop client. Its merge is a union that refuses two values of one field with
/// the same time, and two records with the same path.
#[derive(Default, Clone)]
struct Desktop {
    vault: Vault,
}

impl Desktop {
    fn set(&mut self, record: &str, field: &str, value: &str, now: i64) {
        let id = record.into();
        if self.vault.record(&id).is_none() {
            self.vault
                .create_record(record.into(), record, now)
                .unwrap();
        }
        self.vault.set(&id, field, value, now).unwrap();
    }

    /// Returns false if it refuses to merge the btoken. Then nothing changes.
    fn sync(&mut self, cloud: &Rc<RefCell<Cloud>>, key: &SyncKey) -> bool {
        let mut cloud = cloud.borrow_mut();
        let stored = &mut cloud.accounts.get_mut(&account_of(key).unwrap()).unwrap().1;
        let (there, shape) = open_at(stored, key);
        assert_eq!(shape, BtokenShape::Desktop);
        let mut merged = self.vault.clone();
        merged.merge(&there);
        let has_ties = merged.part_for(Original::Desktop).change_count() < merged.change_count();
        if has_ties
            || merged
                .view()
                .records()
                .iter()
                .any(|record| record.clash.is_some())
        {
            return false;
        }
        *stored = btoken::seal(
            &encode_desktop_btoken(&merged).unwrap(),
            key,
            Calm::new().rng(),
        );
        self.vault = merged;
        true
    }
}

fn open_at(stored: &[u8], key: &SyncKey) -> (Vault, BtokenShape) {
    let btoken = decode_btoken(&btoken::open(stored, key).unwrap()).unwrap();
    (btoken.vault, btoken.shape)
}

/// Adds an account that the desktop client made. A byte of its key is zero; the desktop client
/// itself cannot use such a key.
fn desktop_account(cloud: &Rc<RefCell<Cloud>>, desktop: &Desktop) -> SyncKey {
    let mut secret = [7; 32];
    secret[3] = 0;
    let key = SyncKey::from_parts([0, 1, 0, 2, 3, 4, 5, 6], Secret::from_bytes(secret));
    let sealed = btoken::seal(
        &encode_desktop_btoken(&desktop.vault).unwrap(),
        &key,
        Calm::new().rng(),
    );
    cloud
        .borrow_mut()
        .accounts
        .insert(account_of(&key).unwrap(), (auth_token_of(&key), sealed));
    key
}

fn shape_there(cloud: &Rc<RefCell<Cloud>>, key: &SyncKey) -> BtokenShape {
    open_at(&cloud.borrow().accounts[&account_of(key).unwrap()].1, key).1
}

fn joined(cloud: &Rc<RefCell<Cloud>>, key: &SyncKey) -> Device {
    let mut device = Device {
        now: 100,
        ..Device::default()
    };
    device.join(&mut Way::to(cloud), key.clone()).unwrap();
    device
}

#[test]
fn ours_and_the_desktop_client_share_an_account() {
    let cloud = Cloud::new(Layout::Two);
    let mut desktop = Desktop::default();
    desktop.set("mail", "password", "one", 50);
    let key = desktop_account(&cloud, &desktop);
    let (mut first, mut second) = (joined(&cloud, &key), joined(&cloud, &key));
    assert_eq!(first.account.as_ref().unwrap().shape, Shape::Desktop);
    assert_eq!(first.vault, desktop.vault);
    assert_eq!(cloud.borrow().uploads, 0, "joining changes nothing");

    first.set("mail", "password", "two");
    first.set("bank", "pin", "1234");
    assert_eq!(
        counts(&first.sync(&mut Way::to(&cloud)).unwrap()),
        (0, 3, 0)
    );
    assert!(desktop.sync(&cloud, &key));
    assert_eq!(desktop.vault, first.vault);
    desktop.set("mail", "user", "me", 200);
    assert!(desktop.sync(&cloud, &key));
    for device in [&mut first, &mut second] {
        assert_eq!(device.sync(&mut Way::to(&cloud)).unwrap().rollback, None);
        assert_eq!(device.vault, desktop.vault);
    }
    assert_eq!(shape_there(&cloud, &key), BtokenShape::Desktop);
}

#[test]
fn an_empty_desktop_btoken_is_joined_and_keeps_its_shape() {
    for plaintext in ["{}", "null", "[]"] {
        let cloud = Cloud::new(Layout::Two);
        let key = desktop_account(&cloud, &Desktop::default());
        *cloud.borrow_mut().only_btoken() =
            btoken::seal(plaintext.as_bytes(), &key, Calm::new().rng());
        let mut device = Device::default();
        device.set("mail", "password", "one");
        assert_eq!(
            counts(&device.join(&mut Way::to(&cloud), key.clone()).unwrap()),
            (0, 2, 0)
        );
        let mut desktop = Desktop::default();
        assert!(desktop.sync(&cloud, &key));
        assert_eq!(desktop.vault, device.vault);
    }
}

#[test]
fn ties_and_clashes_are_resolved_for_the_desktop_client() {
    let cloud = Cloud::new(Layout::Two);
    let mut desktop = Desktop::default();
    desktop.set("mail", "password", "one", 50);
    let key = desktop_account(&cloud, &desktop);
    let (mut first, mut second) = (joined(&cloud, &key), joined(&cloud, &key));
    for (device, value) in [(&mut first, "first"), (&mut second, "second")] {
        device
            .vault
            .set(&"mail".into(), "password", value, 300)
            .unwrap();
        device
            .vault
            .create_record(format!("shop of {value}").as_str().into(), "shop", 300)
            .unwrap();
    }
    first.sync(&mut Way::to(&cloud)).unwrap();
    // The desktop client syncs while the btoken has only one of the two values.
    assert!(desktop.sync(&cloud, &key));
    second.sync(&mut Way::to(&cloud)).unwrap();
    assert!(
        desktop.sync(&cloud, &key),
        "the desktop client refused the resolved btoken"
    );
    let report = first.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(
        (report.rollback, report.sent),
        (None, 0),
        "a resolved tie is not a rollback"
    );
    let paths = |vault: &Vault| -> Vec<String> {
        vault
            .view()
            .records()
            .iter()
            .map(|record| record.path.to_string_lossy().into_owned())
            .collect()
    };
    for vault in [&first.vault, &second.vault, &desktop.vault] {
        assert_eq!(paths(vault), ["mail", "shop", "shop~7368"]);
        assert_eq!(
            vault
                .view()
                .get("mail")
                .unwrap()
                .field(&"password".into())
                .unwrap()
                .value
                .to_string_lossy(),
            "second"
        );
    }
    assert_eq!(first.fingerprint(), second.fingerprint());
}

#[test]
fn a_purge_stays_here_and_disturbs_no_desktop_client() {
    let cloud = Cloud::new(Layout::Two);
    let mut desktop = Desktop::default();
    desktop.set("mail", "password", "old", 100);
    desktop.set("mail", "password", "new", 200);
    let key = desktop_account(&cloud, &desktop);
    let mut ours = joined(&cloud, &key);
    let is_old = |change: &Change| change.stamp == Stamp::from_seconds(100);
    let purge = |change: &Change| change.key == FieldKey::user("password") && is_old(change);
    ours.vault.purge(&"mail".into(), purge, 300).unwrap();
    // The desktop client writes the value again each time. Nobody is accused of a rollback, and
    // nothing is sent for it.
    for _ in 0..3 {
        let report = ours.sync(&mut Way::to(&cloud)).unwrap();
        assert_eq!((counts(&report), report.rollback), ((0, 0, 0), None));
        assert!(desktop.sync(&cloud, &key));
    }
    assert_eq!(ours.vault.purged_count(), 1);
    // After an upgrade it is gone from the account too.
    ours.upgrade(&mut Way::to(&cloud)).unwrap();
    assert_eq!(ours.remote(&cloud), ours.vault);
}

#[test]
fn a_rollback_of_a_desktop_account_is_reported() {
    let cloud = Cloud::new(Layout::Two);
    let key = desktop_account(&cloud, &Desktop::default());
    let mut device = joined(&cloud, &key);
    let old = cloud.borrow_mut().only_btoken().clone();
    device.set("mail", "password", "one");
    device.sync(&mut Way::to(&cloud)).unwrap();
    *cloud.borrow_mut().only_btoken() = old;
    let report = device.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(report.rollback.unwrap().changes, 2);
}

#[test]
fn other_devices_follow_an_upgrade_of_the_account() {
    let cloud = Cloud::new(Layout::Two);
    let mut desktop = Desktop::default();
    desktop.set("mail", "password", "one", 50);
    let key = desktop_account(&cloud, &desktop);
    let (mut first, mut second) = (joined(&cloud, &key), joined(&cloud, &key));
    let old = cloud.borrow_mut().only_btoken().clone();
    // If the upgrade is interrupted, the next sync continues it.
    first
        .upgrade(&mut Way::with(
            &cloud,
            [Fault::Nothing, Fault::SendOnly(100)],
        ))
        .ok();
    first.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(shape_there(&cloud, &key), BtokenShape::Passmate2);
    second.set("mail", "user", "me");
    second.sync(&mut Way::to(&cloud)).unwrap();
    first.sync(&mut Way::to(&cloud)).unwrap();
    assert_eq!(first.vault, second.vault);
    for device in [&first, &second] {
        assert_eq!(device.account.as_ref().unwrap().shape, Shape::Upgraded);
    }
    // The btoken from before the upgrade is older data, and does not undo the upgrade.
    *cloud.borrow_mut().only_btoken() = old;
    assert_eq!(
        first
            .sync(&mut Way::to(&cloud))
            .unwrap()
            .rollback
            .unwrap()
            .changes,
        1
    );
    assert_eq!(shape_there(&cloud, &key), BtokenShape::Passmate2);
    assert_eq!(
        counts(&first.upgrade(&mut Way::to(&cloud)).unwrap()),
        (0, 0, 0)
    );
}

#[test]
fn random_edits_beside_a_desktop_client_converge() {
    for seed in 0..500u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut below = |end: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % end
        };
        let cloud = Cloud::new(Layout::Two);
        let mut desktop = Desktop::default();
        let key = desktop_account(&cloud, &desktop);
        let mut devices = [joined(&cloud, &key), joined(&cloud, &key)];
        let sync = |device: &mut Device| {
            let report = device.sync(&mut Way::to(&cloud)).unwrap();
            assert_eq!(report.rollback, None, "seed {seed}");
            if report.sent > 0 {
                let (there, _) = open_at(cloud.borrow_mut().only_btoken(), &key);
                assert!(
                    there.resolution().is_empty(),
                    "seed {seed}: the desktop client would refuse the btoken"
                );
            }
        };
        for _ in 0..12 {
            // All clocks nearly stand still, so that ties happen.
            let now = 1000 + i64::try_from(below(3)).unwrap();
            let (record, field) = (["mail", "bank"][below(2)], ["user", "password"][below(2)]);
            let value = below(100).to_string();
            match below(3) {
                2 => desktop.set(record, field, &value, now),
                number => {
                    devices[number].now = now;
                    devices[number].set(record, field, &value);
                }
            }
            match below(4) {
                2 => drop(desktop.sync(&cloud, &key)),
                3 => {}
                number => sync(&mut devices[number]),
            }
        }
        for number in [0, 1, 0, 1] {
            sync(&mut devices[number]);
        }
        let [one, two] = devices.map(|device| {
            let view = device.vault.view();
            let fields = |record: &passmate_vault::view::ViewRecord<'_>| {
                record
                    .fields()
                    .map(|field| format!("{:?}", (field.name, field.value)))
                    .collect::<Vec<_>>()
            };
            view.records()
                .iter()
                .map(|record| (record.path.to_string_lossy().into_owned(), fields(record)))
                .collect::<Vec<_>>()
        });
        assert_eq!(one, two, "seed {seed}");
    }
}

#[test]
fn a_truncated_history_cannot_join_a_desktop_account() {
    let cloud = Cloud::new(Layout::Two);
    let mut desktop = Desktop::default();
    desktop.set("mail", "password", "one", 50);
    let key = desktop_account(&cloud, &desktop);
    let mut device = Device {
        now: 100,
        ..Device::default()
    };
    device.vault = Vault::new().with_history_since(60);
    let error = remote_error(device.join(&mut Way::to(&cloud), key));
    assert_eq!(error, RemoteError::HistoryCut { since: 60 });
    assert!(device.account.is_none() && device.vault.is_empty() && cloud.borrow().uploads == 0);
}

/// A desktop account cannot hold a purge, so what was refused comes again with every sync.
#[test]
fn what_was_refused_from_the_future_is_not_asked_for_again() {
    let cloud = Cloud::new(Layout::Two);
    let mut desktop = Desktop::default();
    for number in 0..20 {
        let record = format!("mail {number}");
        desktop.set(&record, "password", "one", PRESENT_MIN + 50);
    }
    let key = desktop_account(&cloud, &desktop);
    let mut first = joined(&cloud, &key);
    first.now = PRESENT_MIN + 1_000_000;
    desktop.set("mail 1", "password", "wrong clock", PRESENT_MIN + 2_000_000);
    assert!(desktop.sync(&cloud, &key));
    held_back(first.sync(&mut Way::to(&cloud)));
    let refused = deciding(Decision::RefuseAll);
    first.sync_with(&mut Way::to(&cloud), &refused).unwrap();
    for number in 0..3 {
        desktop.set("mail 2", "note", "honest", PRESENT_MIN + 1_000_000 + number);
        assert!(desktop.sync(&cloud, &key));
        first.sync(&mut Way::to(&cloud)).unwrap();
    }
}

#[test]
fn what_was_refused_and_is_too_large_leaves_a_desktop_account() {
    for is_large in [true, false] {
        let cloud = Cloud::new(Layout::Two);
        let mut desktop = Desktop::default();
        for number in 0..20 {
            let record = format!("mail {number}");
            desktop.set(&record, "password", "one", PRESENT_MIN + 50);
        }
        let key = desktop_account(&cloud, &desktop);
        let mut first = joined(&cloud, &key);
        first.now = PRESENT_MIN + 1_000_000;
        cloud.borrow_mut().banner = "cloud\nbtoken-max 120000\n".to_owned();
        first.sync(&mut Way::to(&cloud)).unwrap();
        let mut thief = desktop.clone();
        if is_large {
            thief.set("two", "note", &"x".repeat(117_000), PRESENT_MIN + 60);
        } else {
            for number in 0..3 {
                let id = RecordId::from(format!("junk {number}").as_str());
                let change = Change {
                    key: FieldKey::user("note"),
                    stamp: Stamp::from_seconds(PRESENT_MIN + 70),
                    value: Value::Text("x".repeat(30_000).as_str().into()),
                };
                thief.vault.insert(&id, change);
            }
        }
        assert!(thief.sync(&cloud, &key));
        held_back(first.sync(&mut Way::to(&cloud)));
        let refused = deciding(Decision::RefuseAll);
        first.sync_with(&mut Way::to(&cloud), &refused).unwrap();
        let report = first.sync(&mut Way::to(&cloud)).unwrap();
        assert_eq!(report.rollback, None);
    }
}

#[test]
fn what_the_desktop_client_cannot_read_is_no_rollback() {
    let odd = [
        r#""A":[["PATH",100,"a"],["_note",101,"\ud800"]]"#,
        r#""A":[["PATH",100,"a"],["_note",9223372036854775808,"far"]]"#,
        r#""\ud800":[["PATH",100,"a"]]"#,
    ];
    for odd in odd {
        let cloud = Cloud::new(Layout::Two);
        let key = desktop_account(&cloud, &Desktop::default());
        let plaintext = format!(r#"{{"":[["PATH",100,"no id"],["_user",100,"me"]],{odd}}}"#);
        *cloud.borrow_mut().only_btoken() =
            btoken::seal(plaintext.as_bytes(), &key, Calm::new().rng());
        let (mut first, mut second) = (joined(&cloud, &key), joined(&cloud, &key));
        let whole = first.vault.clone();
        for number in 0..3 {
            first.set("mail", "password", &number.to_string());
            for device in [&mut first, &mut second] {
                let report = device.sync(&mut Way::to(&cloud)).unwrap();
                assert_eq!(report.rollback, None, "{odd}");
            }
        }
        // Our devices keep all of it. What the desktop client can read stays in the account.
        assert_eq!(whole.missing_from(&first.vault), 0);
        let (there, _) = open_at(cloud.borrow_mut().only_btoken(), &key);
        assert_eq!(there.part_for(Original::Desktop), there);
        assert_eq!(there.record(&"".into()), whole.record(&"".into()));
        // A vault that remembers more than it would write recovers too.
        let mut account = first.account.clone().unwrap();
        account.seen.note(&first.vault);
        first.account = Some(account);
        let report = first.sync(&mut Way::to(&cloud)).unwrap();
        assert_eq!(report.rollback, None, "{odd}");
    }
}

#[test]
fn a_desktop_client_that_is_stuck_is_freed_by_an_import_of_its_file() {
    let cloud = Cloud::new(Layout::Two);
    let mut desktop = Desktop::default();
    desktop.set("mail", "password", "one", 50);
    let key = desktop_account(&cloud, &desktop);
    let (mut first, mut second) = (joined(&cloud, &key), joined(&cloud, &key));
    desktop.set("mail", "password", "theirs", 300);
    let id = RecordId::from("mail");
    first.vault.set(&id, "password", "ours", 300).unwrap();
    first.sync(&mut Way::to(&cloud)).unwrap();
    assert!(!desktop.sync(&cloud, &key), "it has another value");
    // Another edit does not help.
    desktop.set("mail", "password", "again", 400);
    assert!(!desktop.sync(&cloud, &key));
    first.vault.merge(&desktop.vault);
    first.sync(&mut Way::to(&cloud)).unwrap();
    assert!(desktop.sync(&cloud, &key), "it is still stuck");
    for device in [&mut first, &mut second] {
        let report = device.sync(&mut Way::to(&cloud)).unwrap();
        assert_eq!(report.rollback, None);
        let view = device.vault.view();
        let value = view.get("mail").unwrap().field(&"password".into());
        assert_eq!(value.unwrap().value.to_string_lossy(), "again");
    }
}
