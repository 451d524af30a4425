//! A hostile device: it holds the sync key and writes valid btokens at random. These rules must
//! hold for the devices of an honest person, who agrees to nothing:
//!  - of the records that they saw, fewer are altered than the policy allows, whatever the number
//!    of syncs;
//!  - no change from the future decides anything, and no history is truncated;
//!  - what a person refused is gone, and what they saw before is still there;
//!  - no sync fails because of what the thief wrote, except that it is held back or cannot be opened;
//!  - after a rotation because of a loss nothing of what the thief writes counts any more, and all
//!    honest devices that join reach the same vault.

use std::collections::BTreeMap;

use passmate_vault::record::{TIME_MAX, is_ahead};

use super::*;
use crate::hostile::{Chance, run_seeds};

const RECORDS: usize = 9;
const STEPS: usize = 6;

/// A small vault needs a small policy.
fn policy(decision: Decision) -> Options {
    Options {
        policy: Policy {
            records: 3,
            percent: 20,
            room: None,
            decision,
        },
        ..Options::default()
    }
}

/// What people see: the fields of each record, by id and path.
fn seen(vault: &Vault) -> BTreeMap<RecordId, (String, Vec<String>)> {
    let view = vault.view();
    let records = view.records().iter().map(|record| {
        let fields = record.fields();
        let fields = fields.map(|field| field.value.to_string_lossy().into_owned());
        let path = record.path.to_string_lossy().into_owned();
        (record.id.clone(), (path, fields.collect()))
    });
    records.collect()
}

/// A device, and what its person saw when the counting began, with their own edits since.
struct Honest {
    device: Device,
    known: BTreeMap<RecordId, (String, Vec<String>)>,
}

impl Honest {
    fn new(device: Device) -> Self {
        let known = seen(&device.vault);
        Self { device, known }
    }

    fn edit(&mut self, chance: &mut Chance) {
        let before = seen(&self.device.vault);
        let ids: Vec<&RecordId> = before.keys().collect();
        let id = ids.get(chance.below(ids.len().max(1)));
        if let Some(id) = id.filter(|_| chance.below(4) > 0) {
            self.device.now += 1;
            let value = chance.below(100).to_string();
            let set = self
                .device
                .vault
                .set(id, "password", value, self.device.now);
            set.unwrap();
        } else {
            let path = format!("own {}", chance.below(5));
            self.device.set(&path, "password", "mine");
        }
        // What the person did themselves is known to them.
        for (id, now) in seen(&self.device.vault) {
            if before.get(&id) != Some(&now) {
                self.known.insert(id, now);
            }
        }
    }

    /// From now on it is counted anew, though not among records that others brought.
    fn wait_for_a_week(&mut self) {
        self.device.now += 8 * 24 * 3600;
        let now = seen(&self.device.vault);
        self.known = std::mem::take(&mut self.known)
            .into_keys()
            .filter_map(|id| Some((id.clone(), now.get(&id)?.clone())))
            .collect();
    }

    /// The number of records that were altered by others.
    fn altered(&self) -> usize {
        let now = seen(&self.device.vault);
        let altered = self
            .known
            .iter()
            .filter(|(id, before)| now.get(*id) != Some(*before));
        altered.count()
    }

    fn check(&self) {
        let Policy {
            records, percent, ..
        } = policy(Decision::Ask).policy;
        let (altered, of) = (self.altered(), self.known.len());
        assert!(
            altered < records || altered * 100 <= of * percent,
            "{altered} of {of} records were altered unasked"
        );
        assert_eq!(self.device.vault.history_since(), None);
        for (_, record) in self.device.vault.records() {
            for change in record.changes().iter().filter(|change| !change.is_purged()) {
                let time = change.stamp.deciding_seconds();
                let time = time.filter(|time| is_ahead(*time, self.device.now));
                assert_eq!(time, None, "a change from the future was let in");
            }
        }
    }
}

/// Writes something into the vault of the account.
fn meddle(vault: &mut Vault, chance: &mut Chance, now: i64) {
    let ids: Vec<RecordId> = vault.records().map(|(id, _)| id.clone()).collect();
    let some = 1 + chance.below(ids.len());
    let stamp = [now, now - 500_000, now + 80_000, now + 90_000, TIME_MAX][chance.below(5)];
    let kind = chance.below(11);
    let junk = |number: usize| RecordId::from(format!("junk {number}").as_str());
    for id in ids.iter().cycle().skip(chance.below(ids.len())).take(some) {
        let change = |key, value| Change {
            key,
            stamp: Stamp::from_seconds(stamp),
            value,
        };
        let text = |text: &str| Value::Text(text.into());
        match kind {
            0 => drop(vault.insert(id, change(FieldKey::path(), Value::Absent))),
            1 => drop(vault.insert(id, change(FieldKey::user("password"), text("evil")))),
            2 => drop(vault.insert(id, change(FieldKey::path(), text("evil")))),
            // The same stamps as the values that are there.
            3 => {
                let record = vault.record(id).unwrap();
                let newest = record.newest(Domain::User, &"password".into()).cloned();
                if let Some(newest) = newest {
                    vault.insert(
                        id,
                        Change {
                            value: text("\u{10FFFF}"),
                            ..newest
                        },
                    );
                }
            }
            4 => {
                let _ = vault.purge(id, |_| true, now);
            }
            5 => {
                let record = vault.record(id).unwrap();
                if let Some(path) = record.last_path() {
                    let lower = RecordId::from(format!("!{}", chance.below(100)).as_str());
                    let _ = vault.create_record(lower, path, now);
                }
            }
            6 => {
                let password = Text::from("password");
                let record = vault.record(id).unwrap();
                let newest = record.newest(Domain::User, &password).cloned();
                let _ = vault.purge(id, |one| Some(one) == newest.as_ref(), now);
            }
            7 => drop(vault.insert(
                id,
                Change {
                    stamp: Stamp::from_seconds([-5, 0, i64::MAX][chance.below(3)]),
                    ..change(FieldKey::user("password"), text("never"))
                },
            )),
            // Records that raise the number of those that are seen, at once or later.
            8 => (0..20).for_each(|number| {
                vault.insert(&junk(number), change(FieldKey::user("note"), text("junk")));
            }),
            9 => (0..20).for_each(|number| {
                let path = format!("junk {number}");
                vault.insert(&junk(number), change(FieldKey::path(), text(&path)));
            }),
            _ => *vault = vault.clone().with_history_since(stamp.min(TIME_MAX)),
        }
    }
}

fn write(cloud: &Rc<RefCell<Cloud>>, key: &SyncKey, chance: &mut Chance, now: i64) {
    let mut cloud = cloud.borrow_mut();
    let Some((_, btoken)) = cloud.accounts.get_mut(&account_of(key).unwrap()) else {
        return;
    };
    let opened = format::btoken::open(btoken, key);
    let Some(found) = opened
        .ok()
        .and_then(|text| format::decode_btoken(&text).ok())
    else {
        return;
    };
    let mut vault = found.vault;
    for _ in 0..=chance.below(2) {
        meddle(&mut vault, chance, now);
    }
    let plaintext = match chance.below(6) {
        0 => format::encode_btoken(&vault).unwrap(),
        _ => format::encode_btoken_with(&vault, &found.devices).unwrap(),
    };
    *btoken = format::btoken::seal(&plaintext, key, Calm::new().rng());
}

fn run_history(seed: u64) {
    let mut chance = Chance::new(seed);
    let cloud = Cloud::new(LAYOUTS[chance.below(2)]);
    let (mut first, mut second) = two_devices(&cloud);
    first.now = PRESENT_MIN + 1_000_000;
    for number in 1..RECORDS {
        first.set(&format!("record {number}"), "password", "mine");
    }
    second.now = first.now;
    for device in [&mut first, &mut second] {
        device.sync(&mut Way::to(&cloud)).unwrap();
    }
    let key = first.key();
    let mut devices = [first, second].map(Honest::new);
    for _ in 0..STEPS {
        if chance.below(8) == 0 {
            devices.iter_mut().for_each(Honest::wait_for_a_week);
        }
        let honest = &mut devices[chance.below(2)];
        honest.device.now += 3600;
        match chance.below(4) {
            0 => honest.edit(&mut chance),
            _ => write(&cloud, &key, &mut chance, honest.device.now),
        }
        let before = honest.device.clone();
        let decision = match chance.below(4) {
            0 => Decision::RefuseAll,
            _ => Decision::Ask,
        };
        let refuses = decision == Decision::RefuseAll;
        let result = honest
            .device
            .sync_with(&mut Way::to(&cloud), &policy(decision));
        match result {
            Ok(_) => {}
            Err(SyncError::HeldBack(_)) if !refuses => {
                assert_eq!(honest.device.vault, before.vault);
                assert_eq!(honest.device.file, before.file);
            }
            Err(error) => panic!("{error}"),
        }
        honest.check();
    }
    // A device was lost: the first one moves on, while the thief is still at it.
    let [mut first, mut second] = devices.map(|honest| honest.device);
    let before = first.vault.clone();
    write(&cloud, &key, &mut chance, first.now);
    let moved = first.rotate_with(
        &mut Way::to(&cloud),
        Reason::Loss,
        None,
        &policy(Decision::Ask),
    );
    moved.unwrap();
    write(&cloud, &key, &mut chance, first.now);
    assert_eq!(cloud.borrow().accounts.len(), 1);
    assert_eq!(first.vault, before, "nothing was read");
    leave(&mut second).unwrap();
    let key = first.key();
    second
        .join_with(&mut Way::to(&cloud), key, &policy(Decision::AgreeToAll))
        .unwrap();
    for device in [&mut first, &mut second] {
        device
            .sync_with(&mut Way::to(&cloud), &policy(Decision::AgreeToAll))
            .unwrap();
    }
    assert_eq!(first.vault, second.vault);
    assert_eq!(first.remote(&cloud), first.vault);
}

#[test]
fn whatever_a_device_writes_nothing_goes_unasked() {
    run_seeds(run_history);
}
