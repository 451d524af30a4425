//! A record that a person guards keeps its guard until a person takes it away, here or by agreeing.

use passmate_vault::guard::{is_guarded, was_guarded};

use super::gate::{Thief, fifty_records, seen, sync};
use super::*;

const RECORD: &str = "record 07";

/// Whether the record is guarded.
fn has_guard(vault: &Vault) -> bool {
    let lookup = vault.lookup();
    lookup.get(RECORD).map_or_else(
        || was_guarded(vault.record(&RECORD.into()).unwrap()),
        |record| is_guarded(&record),
    )
}

/// Two devices that know of a guarded record, and what somebody with their key made of it.
fn after(is_deleted: bool, meddle: &dyn Fn(&mut Vault, i64)) -> (Rc<RefCell<Cloud>>, [Device; 2]) {
    let (cloud, mut first, mut second) = fifty_records();
    first.set(RECORD, "tags", "money, ask");
    if is_deleted {
        first.now += 1;
        first.vault.delete(&RECORD.into(), first.now).unwrap();
    }
    sync(&mut first, &cloud).unwrap();
    sync(&mut second, &cloud).unwrap();
    let now = second.now.max(first.now) + 10;
    (first.now, second.now) = (now, now);
    Thief::with_key_of(&first, &cloud).write(|vault| meddle(vault, now));
    (cloud, [first, second])
}

/// It is held back, and a person decides.
#[track_caller]
fn check_held(is_deleted: bool, meddle: impl Fn(&mut Vault, i64)) {
    let (cloud, [mut first, mut second]) = after(is_deleted, &meddle);
    let before = second.vault.clone();
    assert!(has_guard(&before));
    let held = held_back(sync(&mut second, &cloud));
    let effects: Vec<_> = held.records.iter().map(|record| &record.effect).collect();
    assert_eq!(effects, [&Effect::Unguarded]);
    assert_eq!(second.vault, before, "nothing was changed");
    assert_eq!(
        held.to_string(),
        "take the guard (the tag ask) from 1 record"
    );
    // Refused, it is undone for good.
    let refused = deciding(Decision::Refuse(held.into()));
    second.sync_with(&mut Way::to(&cloud), &refused).unwrap();
    assert!(has_guard(&second.vault));
    assert_eq!(seen(&second.vault), seen(&before));
    sync(&mut first, &cloud).unwrap();
    assert_eq!(first.vault, second.vault);
    // Agreed to, it comes.
    let (cloud, [_, mut second]) = after(is_deleted, &meddle);
    let held = held_back(sync(&mut second, &cloud));
    let agreed = deciding(Decision::Agree(held.into()));
    second.sync_with(&mut Way::to(&cloud), &agreed).unwrap();
    assert!(!has_guard(&second.vault));
    sync(&mut second, &cloud).unwrap();
}

fn set(vault: &mut Vault, name: &str, value: &str, now: i64) {
    vault.set(&RECORD.into(), name, value, now).unwrap();
}

fn purge_tags(vault: &mut Vault, now: i64) {
    let is_tags = |change: &Change| change.key == FieldKey::user("tags");
    vault.purge(&RECORD.into(), is_tags, now).unwrap();
}

#[test]
fn a_guard_goes_only_if_a_person_agrees() {
    for tags in ["", "money", "asked"] {
        check_held(false, |vault, now| set(vault, "tags", tags, now));
    }
}

#[test]
fn a_deleted_record_keeps_its_guard_however_it_comes_back() {
    check_held(true, |vault, now| {
        set(vault, "tags", "", now);
        vault.rename(&RECORD.into(), RECORD, now).unwrap();
    });
    check_held(true, purge_tags);
}

#[test]
fn a_record_that_lost_its_path_by_a_purge_comes_back_with_its_guard_or_a_question() {
    let (cloud, [first, mut second]) = after(true, &|vault, now| {
        let is_path = |change: &Change| change.key.is_path();
        vault.purge(&RECORD.into(), is_path, now).unwrap();
        set(vault, "tags", "", now);
    });
    sync(&mut second, &cloud).unwrap();
    let guarded = |vault: &Vault| was_guarded(vault.record(&RECORD.into()).unwrap());
    assert!(guarded(&second.vault), "its history tells");
    Thief::with_key_of(&first, &cloud).write(|vault| {
        vault.rename(&RECORD.into(), RECORD, second.now).unwrap();
    });
    let held = held_back(sync(&mut second, &cloud));
    let effects: Vec<_> = held.records.iter().map(|record| &record.effect).collect();
    assert_eq!(effects, [&Effect::Unguarded]);
    refuse_all(&mut second, &cloud);
    assert!(
        second
            .vault
            .lookup()
            .get(RECORD)
            .is_none_or(|record| is_guarded(&record))
    );
}

fn refuse_all(device: &mut Device, cloud: &Rc<RefCell<Cloud>>) {
    let refused = deciding(Decision::RefuseAll);
    device.sync_with(&mut Way::to(cloud), &refused).unwrap();
}

#[test]
fn what_leaves_a_record_guarded_passes() {
    for is_deleted in [false, true] {
        let (cloud, [_, mut second]) = after(is_deleted, &|vault, now| {
            set(vault, "password", "new", now);
            set(vault, "tags", "ask, other", now);
        });
        sync(&mut second, &cloud).unwrap();
        assert!(has_guard(&second.vault));
    }
    // A deletion is another effect, and its record is still guarded.
    let (cloud, [_, mut second]) = after(false, &|vault, now| {
        vault.delete(&RECORD.into(), now).unwrap();
    });
    sync(&mut second, &cloud).unwrap();
    assert!(has_guard(&second.vault));
}

#[test]
fn an_agreement_to_a_lost_guard_is_none_to_other_alterations() {
    let (cloud, [_, mut second]) = after(false, &|vault, now| set(vault, "tags", "", now));
    let counted = |device: &Device| device.baseline.as_ref().map_or(0, Baseline::altered);
    assert_eq!(counted(&second), 1, "it got its tag");
    let held = held_back(sync(&mut second, &cloud));
    let agreed = deciding(Decision::Agree(held.into()));
    second.sync_with(&mut Way::to(&cloud), &agreed).unwrap();
    assert_eq!(counted(&second), 1);
}
