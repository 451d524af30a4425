//! A refusal always ends: what was refused is gone, here and on the server, and it is no agreement.

use passmate_vault::record::TIME_MAX;

use super::gate::{Thief, fifty_records, fifty_truncated_records, rotate_watched, seen, sync};
use super::*;

fn refuse(device: &mut Device, cloud: &Rc<RefCell<Cloud>>) -> Report {
    let refused = deciding(Decision::RefuseAll);
    device.sync_with(&mut Way::to(cloud), &refused).unwrap()
}

fn change(name: &str, seconds: i64, value: Value) -> Change {
    Change {
        key: FieldKey::user(name),
        stamp: Stamp::from_seconds(seconds),
        value,
    }
}

fn is_junk(id: &RecordId) -> bool {
    id.as_text().to_string_lossy().starts_with("junk")
}

/// Deletes all records but those that the thief has added.
fn delete_others(thief: &Thief, time: i64) {
    thief.write(|vault| {
        let ids: Vec<_> = vault.records().map(|(id, _)| id.clone()).collect();
        for id in ids.iter().filter(|id| !is_junk(id)) {
            vault.delete(id, time).unwrap();
        }
    });
}

/// Gives all records the same change.
fn put_everywhere(thief: &Thief, change: &Change) {
    thief.write(|vault| {
        let ids: Vec<_> = vault.records().map(|(id, _)| id.clone()).collect();
        for id in &ids {
            vault.insert(id, change.clone());
        }
    });
}

#[test]
fn what_was_refused_is_gone_for_good_on_every_device() {
    let (cloud, mut first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let before = seen(&first.vault);
    thief.delete_all(TIME_MAX);
    let held = held_back(sync(&mut first, &cloud));
    let refused = deciding(Decision::Refuse(held.into()));
    first.sync_with(&mut Way::to(&cloud), &refused).unwrap();
    assert_eq!(seen(&first.vault), before);
    // The other device has nothing to decide any more.
    sync(&mut second, &cloud).unwrap();
    assert_eq!(second.vault, first.vault);
    assert_eq!(first.remote(&cloud), first.vault);
    // The same changes do not come back, and edits have the present time.
    thief.delete_all(TIME_MAX);
    sync(&mut first, &cloud).unwrap();
    assert_eq!(seen(&first.vault), before);
    first.set("record 07", "password", "new");
    sync(&mut first, &cloud).unwrap();
    let newest = first.vault.record(&"record 07".into()).unwrap();
    let newest = newest.newest(Domain::User, &"password".into()).unwrap();
    assert_eq!(newest.stamp, Stamp::from_seconds(first.now));
}

#[test]
fn a_refusal_undoes_every_effect_and_spares_other_devices() {
    let (cloud, mut first, mut second) = fifty_records();
    for device in [&mut first, &mut second] {
        device.set("record 01", "password", "second value");
        sync(device, &cloud).unwrap();
    }
    sync(&mut first, &cloud).unwrap();
    let thief = Thief::with_key_of(&first, &cloud);
    let before = seen(&second.vault);
    // A changed record whose path is taken over too, and whose history is purged.
    thief.write(|vault| {
        let ids: Vec<_> = vault.records().map(|(id, _)| id.clone()).collect();
        for (number, id) in ids.iter().enumerate() {
            vault.set(id, "note", "evil", second.now).unwrap();
            let path = vault.record(id).unwrap().last_path().unwrap();
            let lower = RecordId::from(format!("!{number}").as_str());
            vault.create_record(lower, path, second.now).unwrap();
            vault
                .purge(id, |one| one.stamp == Stamp::from_seconds(1), second.now)
                .unwrap();
        }
    });
    second
        .sync_with(&mut Way::to(&cloud), &deciding(Decision::RefuseAll))
        .unwrap();
    assert_eq!(seen(&second.vault), before);
    // An honest change in a record of which another change is refused stays.
    sync(&mut first, &cloud).unwrap();
    first.now = second.now + 10;
    first.set("record 02", "password", "honest");
    sync(&mut first, &cloud).unwrap();
    thief.write(|vault| {
        let ahead = second.now + 9 * AHEAD_SECONDS;
        vault
            .set(&"record 02".into(), "note", "evil", ahead)
            .unwrap();
    });
    second.now = first.now;
    second
        .sync_with(&mut Way::to(&cloud), &deciding(Decision::RefuseAll))
        .unwrap();
    let record = ("record 02".to_owned(), "honest".to_owned());
    assert!(seen(&second.vault).contains(&record));
    sync(&mut first, &cloud).unwrap();
    assert_eq!(first.vault, second.vault);
}

#[test]
fn a_refusal_is_no_agreement_to_what_passed_before() {
    let (cloud, first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let now = second.now;
    thief.write(|vault| {
        for number in 0..300 {
            let name = format!("junk {number}");
            vault
                .create_record(name.as_str().into(), name.as_str(), now)
                .unwrap();
        }
    });
    sync(&mut second, &cloud).unwrap();
    thief.write(|vault| {
        for number in 0..2500 {
            let ahead = now + 3 * AHEAD_SECONDS + number;
            let value = Value::Text("evil".into());
            vault.insert(&"mail".into(), change("note", ahead, value));
        }
    });
    let before = second.baseline.clone().unwrap();
    refuse(&mut second, &cloud);
    let after = second.baseline.clone().unwrap();
    let counts = |baseline: &Baseline| (baseline.records, baseline.added, baseline.altered());
    assert_eq!(counts(&after), counts(&before));
    assert!(after.hidden < 64 * 1024);
    delete_others(&thief, now + 10);
    held_back(sync(&mut second, &cloud));
    assert_eq!(second.vault.view().records().len(), 350);
}

#[test]
fn alterations_beside_a_refused_change_are_counted() {
    let (cloud, first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    for round in 0..7 {
        thief.write(|vault| {
            for number in round * 7..round * 7 + 7 {
                let id = RecordId::from(format!("record {number:02}").as_str());
                if vault.record(&id).is_some() {
                    vault.delete(&id, second.now).unwrap();
                }
            }
            let ahead = second.now + 5 * AHEAD_SECONDS;
            vault
                .set(&"mail".into(), "note", &*round.to_string(), ahead)
                .unwrap();
        });
        second.now += 3600;
        let _ = second.sync_with(&mut Way::to(&cloud), &deciding(Decision::RefuseAll));
    }
    assert!(second.vault.view().records().len() > 40);
}

#[test]
fn records_that_come_first_and_show_later_do_not_raise_the_limit() {
    let (cloud, first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let now = second.now;
    let names: Vec<String> = (0..300).map(|number| format!("junk {number}")).collect();
    thief.write(|vault| {
        for name in &names {
            let value = Value::Text("x".into());
            vault.insert(&name.as_str().into(), change("a", now, value));
        }
    });
    sync(&mut second, &cloud).unwrap();
    thief.write(|vault| {
        for name in &names {
            let value = Value::Text(name.as_str().into());
            let path = Change {
                key: FieldKey::path(),
                ..change("", now, value)
            };
            vault.insert(&name.as_str().into(), path);
        }
    });
    sync(&mut second, &cloud).unwrap();
    second.now += 8 * 24 * 3600;
    delete_others(&thief, second.now);
    held_back(sync(&mut second, &cloud));
    assert_eq!(second.vault.view().records().len(), 350);
}

#[test]
fn what_one_device_agreed_to_and_another_refused_can_be_refused_again() {
    let (cloud, mut first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let ahead = second.now + 3 * AHEAD_SECONDS;
    thief.write(|vault| {
        for number in 1..13 {
            let id = RecordId::from(format!("record {number:02}").as_str());
            vault.insert(&id, change("note", ahead, Value::Text("new".into())));
        }
    });
    first.sync_with(&mut Way::to(&cloud), &agreed()).unwrap();
    refuse(&mut second, &cloud);
    let before = seen(&first.vault);
    held_back(sync(&mut first, &cloud));
    refuse(&mut first, &cloud);
    assert_eq!(seen(&first.vault), before);
    // The values have present stamps now.
    for (_, record) in first.vault.records() {
        let mut values = record.changes().iter().filter(|change| !change.is_purged());
        assert!(values.all(|change| change.stamp < Stamp::from_seconds(first.now + 100)));
    }
}

#[test]
fn values_that_never_decide_do_not_keep_a_refusal_from_ending() {
    let (cloud, first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let before = seen(&second.vault);
    put_everywhere(&thief, &change("password", -5, Value::Text("q".into())));
    sync(&mut second, &cloud).unwrap();
    put_everywhere(&thief, &change("password", -5, Value::Purged));
    thief.delete_all(second.now + 10);
    held_back(sync(&mut second, &cloud));
    refuse(&mut second, &cloud);
    assert_eq!(seen(&second.vault), before);
}

#[test]
fn a_full_second_after_the_start_of_the_history_does_not_keep_a_refusal_from_ending() {
    let (cloud, first, mut second, since) = fifty_truncated_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let forged = Value::Text("forged".into());
    put_everywhere(&thief, &change("password", since + 1, forged));
    sync(&mut second, &cloud).unwrap();
    let before = seen(&second.vault);
    put_everywhere(&thief, &change("password", since, Value::Text("x".into())));
    thief.delete_all(second.now);
    held_back(sync(&mut second, &cloud));
    refuse(&mut second, &cloud);
    assert_eq!(seen(&second.vault), before);
    for (_, record) in second.vault.records().skip(1) {
        let changes = record.history(Domain::User, &"password".into()).iter();
        let mut values = changes.filter_map(|change| change.value.shown());
        let second_value = Text::from("second value");
        assert!(values.any(|value| *value == second_value));
    }
}

#[test]
fn much_that_shows_nowhere_is_held_back() {
    let (cloud, first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let purge = |seconds: i64| Change {
        key: FieldKey::user("password"),
        stamp: Stamp::from_seconds(seconds),
        value: Value::Purged,
    };
    let long = "x".repeat(60_000);
    for kind in 0..3 {
        let mut device = second.clone();
        let original = cloud.borrow_mut().only_btoken().clone();
        thief.write(|vault| match kind {
            // Every second of a day is purged before it comes.
            0 => (0..80_000).for_each(|second| {
                vault.insert(&"mail".into(), purge(device.now + second));
            }),
            // Records without a path, and changes that never decide.
            1 => (0..3).for_each(|number| {
                let id = RecordId::from(format!("hidden {number}").as_str());
                let value = Value::Text(long.as_str().into());
                vault.insert(&id, Change { value, ..purge(5) });
            }),
            _ => (0..3).for_each(|number| {
                let value = Value::Text(long.as_str().into());
                vault.insert(
                    &"mail".into(),
                    Change {
                        value,
                        ..purge(i64::MAX - number)
                    },
                );
            }),
        });
        let before = device.vault.clone();
        let held = held_back(sync(&mut device, &cloud));
        assert!(held.hidden > 64 * 1024, "{held}");
        device
            .sync_with(&mut Way::to(&cloud), &deciding(Decision::RefuseAll))
            .unwrap();
        assert_eq!(device.vault, before, "{kind}");
        assert_eq!(
            device.remote(&cloud),
            before,
            "and the server has it no more"
        );
        *cloud.borrow_mut().only_btoken() = original;
    }
    sync(&mut second, &cloud).unwrap();
}

#[test]
fn what_is_refused_and_cannot_be_purged_leaves_the_server() {
    for is_too_large in [false, true] {
        let (cloud, mut first, mut second) = fifty_records();
        sync(&mut first, &cloud).unwrap();
        sync(&mut second, &cloud).unwrap();
        cloud.borrow_mut().banner = "cloud\nbtoken-max 120000\n".to_owned();
        let thief = Thief::with_key_of(&first, &cloud);
        thief.write(|vault| {
            if is_too_large {
                vault.create_record("two".into(), "two", 5).unwrap();
                let long = noise(1, 118_000);
                vault.set(&"two".into(), "note", long, 5).unwrap();
            } else {
                let long = Value::Text("x".repeat(35_000).as_str().into());
                for number in 0..2 {
                    let never = change("password", i64::MAX - number, long.clone());
                    vault.insert(&"mail".into(), never);
                }
            }
        });
        let before = second.vault.clone();
        let held = held_back(sync(&mut second, &cloud));
        assert_eq!(held.too_large.is_some(), is_too_large, "{held}");
        refuse(&mut second, &cloud);
        assert_eq!(second.remote(&cloud), before);
        // Nothing is asked or missed any more, whatever is uploaded next.
        second.set("record 03", "note", "own edit");
        for device in [&mut second, &mut first] {
            for _ in 0..2 {
                assert_eq!(sync(device, &cloud).unwrap().rollback, None);
            }
        }
        assert_eq!(first.vault, second.vault);
    }
}

#[test]
fn a_small_btoken_does_not_overfill_a_large_vault() {
    let (cloud, mut first, mut second) = fifty_records();
    first.set("big", "note", &noise(1, 330_000));
    sync(&mut first, &cloud).unwrap();
    sync(&mut second, &cloud).unwrap();
    cloud.borrow_mut().banner = "cloud\nbtoken-max 400000\n".to_owned();
    let thief = Thief::with_key_of(&first, &cloud);
    thief.write(|vault| {
        *vault = Vault::new();
        vault.create_record("two".into(), "two", 5).unwrap();
        let long = noise(2, 85_000);
        vault.set(&"two".into(), "note", long, 5).unwrap();
    });
    let before = second.vault.clone();
    assert!(held_back(sync(&mut second, &cloud)).too_large.is_some());
    refuse(&mut second, &cloud);
    assert_eq!((&second.vault, &second.remote(&cloud)), (&before, &before));
}

#[test]
fn an_answer_to_hidden_content_is_none_to_other_content_of_the_same_length() {
    let (cloud, first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let original = cloud.borrow_mut().only_btoken().clone();
    let hide = |id: &str, text: &str| {
        cloud.borrow_mut().only_btoken().clone_from(&original);
        thief.write(|vault| {
            for number in 0..3 {
                let long = Value::Text(text.repeat(30_000).as_str().into());
                let never = change("password", i64::MAX - number, long);
                vault.insert(&id.into(), never);
            }
        });
    };
    hide("mail", "a");
    let held = held_back(sync(&mut second, &cloud));
    let agreed = deciding(Decision::Agree(held.into()));
    hide("record 01", "b");
    held_back(second.sync_with(&mut Way::to(&cloud), &agreed));
    // The agreement counts for what was asked, and counts only the hidden bytes anew.
    hide("mail", "a");
    let before = second.baseline.clone().map(|baseline| baseline.time);
    let mut way = Way::to(&cloud);
    second.sync_with(&mut way, &agreed).unwrap();
    let after = second.baseline.clone().unwrap();
    assert_eq!((Some(after.time), after.hidden), (before, 0));
}

#[test]
fn a_preview_shows_what_an_old_account_would_bring() {
    let (cloud, mut first, _) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let before = seen(&first.vault);
    let meddle = |exchange: usize| {
        if exchange == 3 {
            thief.delete_all(PRESENT_MIN + 1_000_100);
        }
    };
    let rotated = rotate_watched(&mut first, &cloud, Reason::Renewal, &meddle);
    held_back(rotated);
    held_back(sync(&mut first, &cloud));
    let preview = first.preview(&mut Way::to(&cloud)).unwrap();
    assert_eq!(preview.held.unwrap().count(|_| true), 50);
    refuse(&mut first, &cloud);
    assert_eq!(cloud.borrow().accounts.len(), 1);
    assert_eq!(seen(&first.remote(&cloud)), before);
}

#[test]
fn the_account_that_a_thief_knows_is_not_forgotten_over_many_interruptions() {
    let (cloud, mut first, _) = fifty_records();
    let stolen = first.key();
    for _ in 0..104 {
        let faults = std::iter::repeat_n(Fault::Unreachable, 40);
        let mut way = Way::with(&cloud, [Fault::Nothing].into_iter().chain(faults));
        let _ = first.rotate_with(&mut way, Reason::Loss, None, &Options::default());
    }
    sync(&mut first, &cloud).unwrap();
    let is_there = |key: &SyncKey| {
        let account = account_of(key).unwrap();
        cloud.borrow().accounts.contains_key(&account)
    };
    assert!(!is_there(&stolen));
    assert!(is_there(&first.key()));
}

#[test]
fn an_old_account_that_the_server_refuses_is_named() {
    for reason in [Reason::Renewal, Reason::Loss] {
        let (cloud, mut first, _) = fifty_records();
        let old = account_of(&first.key()).unwrap();
        // Somebody deletes it as soon as the new one is there.
        let meddle = |_| {
            let mut cloud = cloud.borrow_mut();
            if cloud.accounts.len() > 1 {
                cloud.accounts.remove(&old);
            }
        };
        let report = rotate_watched(&mut first, &cloud, reason, &meddle);
        assert_eq!(report.unwrap().gone, [old]);
    }
}

/// With a search in proportion to the changes for each of them, this takes hours.
#[test]
fn a_refusal_of_very_many_purges_ends() {
    const CHANGES: i64 = 20_000;
    let (cloud, first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let put = |value: &dyn Fn(i64) -> Value| {
        thief.write(|vault| {
            let mut more = Vault::new();
            for number in 0..CHANGES {
                let forged = change("password", 100_000 + number, value(number));
                more.insert(&"mail".into(), forged);
            }
            vault.merge(&more);
        });
    };
    put(&|number| Value::Text(number.to_string().as_str().into()));
    sync(&mut second, &cloud).unwrap();
    let before = seen(&second.vault);
    put(&|_| Value::Purged);
    thief.delete_all(second.now + 5);
    held_back(sync(&mut second, &cloud));
    refuse(&mut second, &cloud);
    assert_eq!(seen(&second.vault), before);
}

#[test]
fn a_refusal_that_would_overfill_the_vault_takes_over_nothing() {
    let (cloud, mut first, mut second) = fifty_records();
    for number in 0..350 {
        let (record, field) = (format!("record {:02}", 1 + number % 49), number / 49);
        first.set(&record, &format!("f{field}"), "some value here");
    }
    sync(&mut first, &cloud).unwrap();
    second.sync_with(&mut Way::to(&cloud), &agreed()).unwrap();
    cloud.borrow_mut().banner = "cloud\nbtoken-max 40000\n".to_owned();
    let thief = Thief::with_key_of(&first, &cloud);
    second.now += 5;
    let before = second.vault.clone();
    thief.write(|vault| {
        let ids: Vec<_> = vault.records().map(|(id, _)| id.clone()).collect();
        for id in ids {
            vault.purge(&id, |_| true, second.now).unwrap();
        }
    });
    held_back(sync(&mut second, &cloud));
    refuse(&mut second, &cloud);
    assert_eq!(seen(&second.vault), seen(&before));
    assert_eq!(second.remote(&cloud), second.vault);
    sync(&mut second, &cloud).unwrap();
}

/// The value of a wrong clock comes again from a device that had agreed to it.
#[test]
fn what_this_device_has_purged_is_not_asked_for_again() {
    for is_edit in [false, true] {
        let (cloud, mut first, mut second) = fifty_records();
        let id = RecordId::from("record 01");
        let wrong = second.now + 3 * AHEAD_SECONDS;
        second.vault.set(&id, "note", "wrong clock", wrong).unwrap();
        sync(&mut second, &cloud).unwrap();
        second.now += 60;
        let now = second.now;
        if is_edit {
            second.vault.set(&id, "note", "right", now).unwrap();
        } else {
            let is_note = |change: &Change| change.key == FieldKey::user("note");
            second.vault.purge(&id, is_note, now).unwrap();
        }
        first.set("record 02", "note", "honest");
        let mut way = Way::to(&cloud);
        first.sync_with(&mut way, &agreed()).unwrap();
        sync(&mut second, &cloud).unwrap();
        sync(&mut first, &cloud).unwrap();
        assert_eq!(first.vault, second.vault);
    }
}

#[test]
fn an_old_account_does_not_overfill_the_new_one_and_what_it_brings_is_told() {
    for at in 1..4 {
        let (cloud, mut first, _) = fifty_records();
        cloud.borrow_mut().banner = "cloud\nbtoken-max 40000\n".to_owned();
        let thief = Thief::with_key_of(&first, &cloud);
        let before = seen(&first.vault);
        let meddle = |exchange: usize| {
            if exchange == at {
                thief.write(|vault| {
                    vault.create_record("two".into(), "two", 5).unwrap();
                    let long = noise(1, 38_000);
                    vault.set(&"two".into(), "note", long, 5).unwrap();
                });
            }
        };
        let rotated = rotate_watched(&mut first, &cloud, Reason::Renewal, &meddle);
        assert!(held_back(rotated).too_large.is_some());
        refuse(&mut first, &cloud);
        let now = seen(&first.remote(&cloud));
        assert_eq!((now, cloud.borrow().accounts.len()), (before, 1), "{at}");
    }
    let (cloud, mut first, _) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let meddle = |exchange: usize| {
        if exchange == 3 {
            thief.write(|vault| {
                let later = PRESENT_MIN + 1_000_100;
                let id = RecordId::from("record 01");
                vault.set(&id, "password", "other", later).unwrap();
                vault.purge(&"record 02".into(), |_| true, later).unwrap();
            });
        }
    };
    let report = rotate_watched(&mut first, &cloud, Reason::Renewal, &meddle).unwrap();
    assert_eq!((report.received, report.purged.len()), (3, 1));
}

#[test]
fn a_preview_counts_the_account_and_the_old_one_together() {
    let (cloud, mut first, _) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let faults = std::iter::repeat_n(Fault::Nothing, 3);
    let faults = faults.chain(std::iter::repeat_n(Fault::Unreachable, 40));
    let mut way = Way::with(&cloud, faults);
    let _ = first.rotate_with(&mut way, Reason::Renewal, None, &Options::default());
    assert_eq!(cloud.borrow().accounts.len(), 2);
    first.now += 10;
    let now = first.now;
    let delete = |thief: &Thief, numbers: std::ops::Range<u8>| {
        thief.write(|vault| {
            for number in numbers {
                let id = RecordId::from(format!("record {number:02}").as_str());
                vault.delete(&id, now).unwrap();
            }
        });
    };
    delete(&thief, 1..9);
    delete(&Thief::with_key_of(&first, &cloud), 11..19);
    let preview = first.preview(&mut Way::to(&cloud)).unwrap();
    let held = held_back(sync(&mut first, &cloud));
    assert_eq!(preview.held.unwrap().to_string(), held.to_string());
}
