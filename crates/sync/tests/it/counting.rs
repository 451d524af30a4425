//! What the gate counts, and what raises its limits.

use super::gate::{Thief, fifty_records, fifty_truncated_records, seen, sync};
use super::*;

#[test]
fn a_purge_is_counted_as_a_deletion() {
    let (cloud, first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    thief.write(|vault| {
        let ids: Vec<_> = vault.records().map(|(id, _)| id.clone()).collect();
        for id in &ids {
            vault.purge(id, |_| true, second.now).unwrap();
        }
    });
    let before = seen(&second.vault);
    let held = held_back(sync(&mut second, &cloud));
    assert_eq!(held.count(|_| true), 50);
    let refused = deciding(Decision::Refuse(held.into()));
    second.sync_with(&mut Way::to(&cloud), &refused).unwrap();
    assert_eq!(seen(&second.vault), before);
    // A single purge passes, and is told.
    let mut other = first;
    sync(&mut other, &cloud).unwrap();
    assert_eq!(other.vault, second.vault);
    other
        .vault
        .purge(&"record 03".into(), |_| true, other.now)
        .unwrap();
    sync(&mut other, &cloud).unwrap();
    let report = sync(&mut second, &cloud).unwrap();
    assert_eq!(report.purged.len(), 1);
    assert_eq!((report.rollback, second.vault.clone()), (None, other.vault));
    assert_eq!(second.vault.view().records().len(), 49);
}

#[test]
fn records_that_a_thief_adds_do_not_raise_the_limit() {
    let (cloud, first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let add = |days: i64, now: i64| {
        thief.write(|vault| {
            for number in 0..300 {
                let id = RecordId::from(format!("junk {days} {number}").as_str());
                let path = format!("{days}/{number}");
                vault.create_record(id, path, now).unwrap();
            }
        });
    };
    // Also if they wait for a week.
    for days in [0, 8] {
        add(days, second.now);
        sync(&mut second, &cloud).unwrap();
        second.now += days * 24 * 3600;
        let before = seen(&second.vault);
        thief.write(|vault| {
            for number in 1..12 {
                let id = RecordId::from(format!("record {number:02}").as_str());
                vault.delete(&id, second.now).unwrap();
            }
        });
        held_back(sync(&mut second, &cloud));
        assert_eq!(seen(&second.vault), before);
        let refused = deciding(Decision::RefuseAll);
        second.sync_with(&mut Way::to(&cloud), &refused).unwrap();
        assert_eq!(seen(&second.vault), before);
    }
}

#[test]
fn an_agreement_counts_for_what_was_asked_alone() {
    let (cloud, first, second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let original = cloud.borrow_mut().only_btoken().clone();
    let time = second.now + 5;
    let for_all = |change: &dyn Fn(&Vault, &RecordId) -> Vec<Change>| {
        thief.write(|vault| {
            let ids: Vec<_> = vault.records().map(|(id, _)| id.clone()).collect();
            for id in &ids {
                for change in change(vault, id) {
                    vault.insert(id, change);
                }
            }
        });
    };
    let path = |time: i64, value: Value| Change {
        key: FieldKey::path(),
        stamp: Stamp::from_seconds(time),
        value,
    };
    let renamed = |id: &RecordId| Value::Text(Text::from(format!("new {id:?}").as_str()));
    let ahead = |id: &RecordId| Change {
        key: FieldKey::user("x"),
        stamp: Stamp::from_seconds(time + 10 * AHEAD_SECONDS),
        value: renamed(id),
    };
    let tie = |vault: &Vault, id: &RecordId| {
        let password = Text::from("password");
        let newest = vault.record(id).unwrap().newest(Domain::User, &password);
        Change {
            value: Value::Text("zzz".into()),
            ..newest.unwrap().clone()
        }
    };
    type Swap<'a> = (
        &'a dyn Fn(&Vault, &RecordId) -> Vec<Change>,
        &'a dyn Fn(&Vault, &RecordId) -> Vec<Change>,
    );
    let swaps: [Swap<'_>; 3] = [
        // Other values under the same stamps.
        (&|_, id| vec![path(time, renamed(id))], &|_, _| {
            vec![path(time, Value::Absent)]
        }),
        // A part of the changes, with another effect.
        (
            &|_, id| vec![path(time, Value::Absent), path(time + 1, renamed(id))],
            &|_, _| vec![path(time, Value::Absent)],
        ),
        // Ties, beside a harmless change that was agreed to.
        (&|_, id| vec![ahead(id)], &|vault, id| {
            vec![ahead(id), tie(vault, id)]
        }),
    ];
    for (asked, done) in swaps {
        let mut device = second.clone();
        cloud.borrow_mut().only_btoken().clone_from(&original);
        for_all(asked);
        let agreed = deciding(Decision::Agree(held_back(sync(&mut device, &cloud)).into()));
        cloud.borrow_mut().only_btoken().clone_from(&original);
        for_all(done);
        held_back(device.sync_with(&mut Way::to(&cloud), &agreed));
        assert_eq!(seen(&device.vault), seen(&second.vault));
    }
}

#[test]
fn a_vault_that_others_fill_up_is_held_back() {
    let (cloud, first, mut second) = fifty_records();
    cloud.borrow_mut().banner = "cloud\nbtoken-max 40000\n".to_owned();
    let thief = Thief::with_key_of(&first, &cloud);
    let original = cloud.borrow_mut().only_btoken().clone();
    let fill = |name: &str| {
        cloud.borrow_mut().only_btoken().clone_from(&original);
        thief.write(|vault| {
            vault.create_record(name.into(), name, 5).unwrap();
            vault
                .set(&name.into(), "note", noise(name.len() as u64, 20_000), 5)
                .unwrap();
        });
    };
    fill("one");
    sync(&mut second, &cloud).unwrap();
    fill("another");
    let held = held_back(sync(&mut second, &cloud));
    assert!(held.too_large.is_some(), "{held}");
    let before = second.vault.clone();
    second
        .sync_with(&mut Way::to(&cloud), &deciding(Decision::RefuseAll))
        .unwrap();
    assert_eq!(second.vault, before);
    sync(&mut second, &cloud).unwrap();
    assert_eq!(second.remote(&cloud), before);
}

#[test]
fn in_a_truncated_history_no_value_goes_uncounted() {
    let (cloud, first, mut second, since) = fifty_truncated_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let before = second.vault.clone();
    thief.write(|vault| {
        let ids: Vec<_> = vault.records().map(|(id, _)| id.clone()).collect();
        for id in ids {
            let key = FieldKey::user("password");
            let (stamp, value) = (Stamp::from_seconds(since), Value::Text("junk".into()));
            vault.insert(&id, Change { key, stamp, value });
        }
    });
    let held = held_back(sync(&mut second, &cloud));
    assert_eq!(held.count(|effect| *effect == Effect::Purged), 50);
    second
        .sync_with(&mut Way::to(&cloud), &deciding(Decision::RefuseAll))
        .unwrap();
    assert_eq!(seen(&second.vault), seen(&before));
    let values = |vault: &Vault| {
        let changes = vault.records().flat_map(|(_, record)| record.changes());
        let old = changes.filter(|change| change.value == Value::Text("second value".into()));
        old.count()
    };
    assert_eq!(values(&second.vault), values(&before));
}

#[test]
fn in_a_truncated_history_a_purge_of_what_is_oldest_is_counted() {
    let (cloud, mut first, mut second) = fifty_records();
    first.now += 100;
    let since = first.now - 10;
    for number in 1..50 {
        let id = RecordId::from(format!("record {number:02}").as_str());
        let now = first.now;
        match number % 2 {
            0 => first.vault.delete(&id, now).unwrap(),
            _ => first.vault.set(&id, "password", "new", now).unwrap(),
        };
    }
    first.now += 10;
    first.rotate(&mut Way::to(&cloud), Some(since)).unwrap();
    leave(&mut second).unwrap();
    second.now = first.now + 3600;
    let mut way = Way::to(&cloud);
    second.join_with(&mut way, first.key(), &agreed()).unwrap();
    let mine = Value::Text("mine".into());
    let with_old_value = |vault: &Vault| {
        let records = vault.records();
        let has = |changes: &[Change]| changes.iter().any(|change| change.value == mine);
        records.filter(|(_, record)| has(record.changes())).count()
    };
    assert_eq!(with_old_value(&second.vault), 49);
    let (before, trash) = (seen(&second.vault), second.vault.view().deleted().len());
    let thief = Thief::with_key_of(&first, &cloud);
    thief.write(|vault| {
        for (id, record) in vault.clone().records() {
            let old = record.changes().iter().filter(|one| one.value == mine);
            for change in old.cloned() {
                let value = Value::Purged;
                vault.insert(id, Change { value, ..change });
            }
        }
    });
    let held = held_back(sync(&mut second, &cloud));
    assert_eq!(held.count(|effect| *effect == Effect::Purged), 49);
    let refused = deciding(Decision::RefuseAll);
    second.sync_with(&mut Way::to(&cloud), &refused).unwrap();
    assert_eq!(with_old_value(&second.vault), 49);
    assert_eq!(seen(&second.vault), before);
    assert_eq!(second.vault.view().deleted().len(), trash);
}

#[test]
fn a_purge_of_deleted_records_is_counted_when_nothing_else_is_left() {
    let (cloud, mut first, mut second) = fifty_records();
    first.now += 5;
    let ids: Vec<_> = first.vault.records().map(|(id, _)| id.clone()).collect();
    for id in &ids {
        first.vault.delete(id, first.now).unwrap();
    }
    sync(&mut first, &cloud).unwrap();
    second.now = first.now + 10;
    second.sync_with(&mut Way::to(&cloud), &agreed()).unwrap();
    second.now += 8 * 24 * 3600;
    let thief = Thief::with_key_of(&first, &cloud);
    thief.write(|vault| {
        for id in &ids {
            vault.purge(id, |_| true, second.now).unwrap();
        }
        for number in 0..300 {
            let name = format!("junk {number}");
            let id = name.as_str().into();
            vault.create_record(id, name.as_str(), second.now).unwrap();
        }
    });
    held_back(sync(&mut second, &cloud));
}

#[test]
fn records_that_a_person_brings_count_as_seen() {
    let (_, first, mut second) = fifty_records();
    second.baseline = None;
    let mut brought = second.vault.clone();
    for number in 0..500 {
        let name = format!("import {number}");
        let id = name.as_str().into();
        brought
            .create_record(id, name.as_str(), second.now)
            .unwrap();
    }
    let admitted = admit(brought.clone(), second.entry(), &Policy::default()).unwrap();
    let counts = |baseline: Option<&Baseline>| {
        let baseline = baseline.unwrap();
        (baseline.records, baseline.added)
    };
    assert_eq!(counts(admitted.baseline()), (50, 500));
    let admitted = admitted.by_person();
    assert_eq!(counts(admitted.baseline()), (550, 0));
    second.merge(&admitted);
    // Twelve edits by another device are few of them.
    for number in 0..12 {
        let id = RecordId::from(format!("import {number}").as_str());
        brought.set(&id, "password", "x", first.now).unwrap();
    }
    admit(brought, second.entry(), &Policy::default()).unwrap();
}
