//! Laws of the merge, checked on histories that several devices made with unreliable clocks.

use std::collections::BTreeSet;

use passmate_vault::compat::Original;
use passmate_vault::record::{Change, Domain, FieldKey, Stamp, Value};
use passmate_vault::view::ViewRecord;
use passmate_vault::{RecordId, SeenChanges, Text, Vault};
use proptest::prelude::*;

/// The number of cases for each law, unless PROPTEST_CASES sets another.
const CASES: u32 = 20_000;

pub(crate) fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(CASES);
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A step on one device. There are few names and times, so that steps collide.
#[derive(Clone, Debug)]
enum Step {
    Create {
        id: u8,
        path: u8,
        now: i64,
    },
    Set {
        id: u8,
        field: u8,
        value: u8,
        now: i64,
    },
    Unset {
        id: u8,
        field: u8,
        now: i64,
    },
    Rename {
        id: u8,
        path: u8,
        now: i64,
    },
    Delete {
        id: u8,
        now: i64,
    },
    /// A change that only another program would write.
    Insert {
        id: u8,
        is_path: bool,
        value: Option<u8>,
        stamp: i64,
    },
    Merge {
        from: usize,
    },
    /// Purges one change that the device has.
    Purge {
        id: u8,
        place: usize,
        now: i64,
    },
    /// A purge of a change that the device may not have.
    PurgeUnseen {
        id: u8,
        is_path: bool,
        stamp: i64,
    },
}

fn now() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 100..106i64, 1 => Just(1), 1 => Just(253_402_300_799), 1 => Just(-5)]
}

fn step() -> impl Strategy<Value = Step> {
    let (id, small) = (|| 0..3u8, || 0..3u8);
    let odd_stamp = || prop_oneof![100..106i64, Just(0), Just(i64::MAX)];
    prop_oneof![
        2 => (id(), small(), now()).prop_map(|(id, path, now)| Step::Create { id, path, now }),
        4 => (id(), small(), small(), now())
            .prop_map(|(id, field, value, now)| Step::Set { id, field, value, now }),
        1 => (id(), small(), now()).prop_map(|(id, field, now)| Step::Unset { id, field, now }),
        2 => (id(), small(), now()).prop_map(|(id, path, now)| Step::Rename { id, path, now }),
        2 => (id(), now()).prop_map(|(id, now)| Step::Delete { id, now }),
        2 => (id(), any::<bool>(), prop::option::of(0..6u8), odd_stamp())
            .prop_map(|(id, is_path, value, stamp)| Step::Insert { id, is_path, value, stamp }),
        2 => (0..5usize).prop_map(|from| Step::Merge { from }),
    ]
}

/// A step, or a purge of any change, seen or unseen.
fn step_or_purge() -> impl Strategy<Value = Step> {
    let id = || 0..3u8;
    prop_oneof![
        8 => step(),
        1 => (id(), 0..8usize, now()).prop_map(|(id, place, now)| Step::Purge { id, place, now }),
        1 => (id(), any::<bool>(), 100..106i64)
            .prop_map(|(id, is_path, stamp)| Step::PurgeUnseen { id, is_path, stamp }),
    ]
}

/// Three to five devices after a number of steps.
fn devices() -> impl Strategy<Value = Vec<Vault>> {
    devices_after(step())
}

fn devices_after(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Vec<Vault>> {
    (3..=5usize, prop::collection::vec((0..5usize, step), 0..24)).prop_map(|(count, steps)| {
        let mut devices = vec![Vault::new(); count];
        for (device, step) in steps {
            let other = match &step {
                Step::Merge { from } => devices[from % count].clone(),
                _ => Vault::new(),
            };
            apply(&mut devices[device % count], &step, &other);
        }
        devices
    })
}

fn apply(vault: &mut Vault, step: &Step, other: &Vault) {
    let record = |id: u8| RecordId::from(format!("R{id}").as_str());
    let name = |kind: char, number: u8| format!("{kind}{number}");
    // An edit of an unknown record is refused, which is fine here.
    let _ = match *step {
        Step::Create { id, path, now } => {
            vault.create_record(record(id), name('p', path).as_str(), now)
        }
        Step::Set {
            id,
            field,
            value,
            now,
        } => vault.set(
            &record(id),
            name('f', field).as_str(),
            name('v', value).as_str(),
            now,
        ),
        Step::Unset { id, field, now } => vault.unset(&record(id), name('f', field).as_str(), now),
        Step::Rename { id, path, now } => vault.rename(&record(id), name('p', path).as_str(), now),
        Step::Delete { id, now } => vault.delete(&record(id), now),
        Step::Insert {
            id,
            is_path,
            value,
            stamp,
        } => {
            let key = if is_path {
                FieldKey::path()
            } else {
                FieldKey::user("f0")
            };
            let lines = |lines: &[&str]| {
                Value::from_lines(lines.iter().map(|line| Text::from(*line)).collect())
            };
            let value = match value {
                None => Value::Absent,
                // These three show the same.
                Some(3) => lines(&["v0\nv1\nv2"]),
                Some(4) => lines(&["v0", "v1\nv2"]),
                Some(5) => lines(&["v0", "v1", "v2"]),
                Some(value) => Value::Text(name('v', value).as_str().into()),
            };
            vault.insert(
                &record(id),
                Change {
                    key,
                    stamp: Stamp::from_seconds(stamp),
                    value,
                },
            );
            return;
        }
        Step::Merge { .. } => {
            vault.merge(other);
            return;
        }
        Step::Purge { id, place, now } => {
            let changes = vault.record(&record(id)).map(|record| record.changes());
            let Some(change) = changes.and_then(|changes| changes.get(place)).cloned() else {
                return;
            };
            let _ = vault.purge(&record(id), |one| *one == change, now);
            return;
        }
        Step::PurgeUnseen { id, is_path, stamp } => {
            let key = if is_path {
                FieldKey::path()
            } else {
                FieldKey::user("f0")
            };
            let (stamp, value) = (Stamp::from_seconds(stamp), Value::Purged);
            vault.insert(&record(id), Change { key, stamp, value });
            return;
        }
    };
}

fn merged(a: &Vault, b: &Vault) -> Vault {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

fn resolved(vault: &Vault) -> Vault {
    merged(vault, &vault.resolution())
}

/// The union of the changes of some vaults, less those that one of them has purged.
fn all_changes<'a>(vaults: impl IntoIterator<Item = &'a Vault>) -> BTreeSet<String> {
    let of_vault = |vault: &'a Vault| {
        vault.records().flat_map(|(id, record)| {
            record.changes().iter().map(move |change| {
                let value = match &change.value {
                    Value::Absent => "absent".to_owned(),
                    Value::Purged => "purged".to_owned(),
                    other => format!("{:?}", other.shown().map(|text| text.as_bytes().to_vec())),
                };
                let (domain, name) = (change.key.domain, change.key.name.as_bytes());
                let place = format!("{id:?} {domain:?} {name:?} {}", change.stamp);
                (place, value)
            })
        })
    };
    let all: Vec<_> = vaults.into_iter().flat_map(of_vault).collect();
    let purged = all.iter().filter(|(_, value)| value == "purged");
    let purged: BTreeSet<_> = purged.map(|(place, _)| place.clone()).collect();
    let kept = all
        .iter()
        .filter(|(place, value)| value == "purged" || !purged.contains(place));
    kept.map(|(place, value)| format!("{place} {value}"))
        .collect()
}

fn view_of(vault: &Vault) -> Vec<String> {
    let view = vault.view();
    let lines = view.records().iter().map(|record| {
        let fields: Vec<_> = record
            .fields()
            .map(|field| format!("{:?}={:?}", field.name.as_bytes(), field.value.as_bytes()))
            .collect();
        format!(
            "{:?} {:?} {:?} {}",
            record.id,
            record.path.as_bytes(),
            fields,
            record.revived
        )
    });
    lines.collect()
}

fn trash_of(vault: &Vault) -> Vec<String> {
    vault
        .view()
        .deleted()
        .iter()
        .map(|one| format!("{:?} {:?}", one.id, one.path.as_bytes()))
        .collect()
}

fn paths_and_fields(vault: &Vault) -> Vec<String> {
    let lines = view_of(vault).into_iter();
    lines
        .map(|line| {
            line.trim_end_matches(" true")
                .trim_end_matches(" false")
                .to_owned()
        })
        .collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_merge_is_commutative_associative_and_idempotent(devices in devices_after(step_or_purge())) {
        let (a, b, c) = (&devices[0], &devices[1], &devices[2]);
        prop_assert_eq!(merged(a, b), merged(b, a));
        prop_assert_eq!(merged(&merged(a, b), c), merged(a, &merged(b, c)));
        prop_assert_eq!(&merged(a, a), a);
        prop_assert_eq!(merged(&merged(a, b), b), merged(a, b));
    }

    #[test]
    fn the_order_of_merges_does_not_matter(
    devices in devices_after(step_or_purge()), order in Just((0..5usize).collect::<Vec<_>>()).prop_shuffle(),
) {
        let forwards = devices.iter().fold(Vault::new(), |all, device| merged(&all, device));
        let shuffled: Vec<_> = order.into_iter().filter_map(|index| devices.get(index)).collect();
        let other = shuffled.iter().fold(Vault::new(), |all, device| merged(device, &all));
        prop_assert_eq!(&forwards, &other);
        prop_assert_eq!(view_of(&forwards), view_of(&other));
    }

    #[test]
    fn a_merge_is_a_union_and_counts_right(devices in devices_after(step_or_purge())) {
        let (a, b) = (&devices[0], &devices[1]);
        let mut merged = a.clone();
        let missing = b.missing_from(a);
        let summary = merged.merge(b);
        prop_assert_eq!(all_changes([&merged]), all_changes([a, b]));
        prop_assert_eq!(summary.received, missing);
        prop_assert_eq!(merged.change_count(), all_changes([a, b]).len());
        prop_assert_eq!(b.missing_from(&merged), 0);
        prop_assert_eq!(summary.is_empty(), missing == 0);
    }

    #[test]
    fn a_view_shows_every_live_record_under_a_unique_path(devices in devices_after(step_or_purge())) {
        let all = devices.iter().fold(Vault::new(), |all, device| merged(&all, device));
        let view = all.view();
        let paths = view.records().iter().map(|record| record.path.as_bytes().to_vec());
        let paths: BTreeSet<_> = paths.collect();
        prop_assert_eq!(paths.len(), view.records().len());
        for record in view.records() {
            prop_assert_eq!(view.get_text(&record.path).map(|found| found.id), Some(record.id));
            // The record with the lowest id keeps the path, unless it was deleted.
            if let Some(wanted) = &record.clash {
                let holder = view.get_text(wanted).expect("a record keeps the path");
                prop_assert!((holder.revived, holder.id) < (record.revived, record.id));
            }
        }
    }

    #[test]
    fn an_edit_or_a_deletion_wins_whatever_the_clock_says(
        devices in devices_after(step_or_purge()), id in 0..3u8, time in now(),
    ) {
        let mut all = devices.iter().fold(Vault::new(), |all, device| merged(&all, device));
        let id = RecordId::from(format!("R{id}").as_str());
        let before = all.clone();
        let is_live = |vault: &Vault| vault.view().records().iter().any(|record| *record.id == id);
        if is_live(&all) && all.set(&id, "f0", "seen", time).is_ok() {
            let record = all.record(&id).expect("the record is live");
            let newest = record.newest(Domain::User, &"f0".into());
            prop_assert_eq!(newest.map(|change| &change.value), Some(&Value::Text("seen".into())));
            prop_assert!(is_live(&all));
        }
        if is_live(&all) && all.delete(&id, time).is_ok() {
            prop_assert!(!is_live(&all));
        }
        prop_assert_eq!(before.missing_from(&all), 0, "an edit only adds");
    }

    #[test]
    fn a_resolution_shows_the_same_and_is_complete(devices in devices_after(step_or_purge())) {
        let all = devices.iter().fold(Vault::new(), |all, device| merged(&all, device));
        let resolved = resolved(&all);
        prop_assert_eq!(paths_and_fields(&resolved), paths_and_fields(&all));
        let rest = resolved.resolution();
        prop_assert!(rest.is_empty(), "{:?} {:?}", resolved, rest);
        // A tie in the last valid second has no resolution.
        let is_last = |change: &Change| change.stamp == Stamp::from_seconds(253_402_300_799);
        let is_resolved = !all.records().any(|(_, record)| record.changes().iter().any(is_last));
        for program in [Original::Passmate2, Original::Desktop] {
            let part = resolved.part_for(program);
            for (_, record) in part.records() {
                let changes = record.changes().iter();
                let unique: BTreeSet<_> =
                    changes.map(|change| (&change.key, change.stamp.to_string())).collect();
                prop_assert_eq!(unique.len(), record.changes().len(), "a tie is written");
            }
            if is_resolved {
                prop_assert_eq!(paths_and_fields(&part), paths_and_fields(&all));
                let view = part.view();
                let is_plain = |record: &ViewRecord<'_>| record.clash.is_none() && !record.revived;
                prop_assert!(view.records().iter().all(is_plain));
            }
        }
    }

    #[test]
    fn a_change_that_was_resolved_is_not_missed(devices in devices_after(step_or_purge())) {
        let mut there = Vault::new();
        let mut seen = SeenChanges::new();
        for device in &devices {
            there = resolved(&merged(&there, device));
            let part = there.part_for(Original::Desktop);
            let missing = seen.without(&SeenChanges::of_resolved(&part));
            let missing = missing.without(&SeenChanges::purged_in(&there));
            prop_assert!(missing.is_empty(), "{} of {:?} in {:?}", missing.len(), seen, part);
            seen.note(&part);
        }
    }

    #[test]
    fn truncating_commutes_with_merging(
    devices in devices_after(step_or_purge()), times in prop::collection::vec(0..108i64, 5),
) {
        let cut = |vault: &Vault, time: i64| vault.clone().with_history_since(time);
        let cuts = devices.iter().zip(&times).map(|(vault, time)| cut(vault, *time));
        let cuts: Vec<Vault> = cuts.collect();
        let [a, b, c] = [&cuts[0], &cuts[1], &cuts[2]];
        let whole = merged(&devices[0], &devices[1]);
        prop_assert_eq!(merged(a, b), cut(&whole, times[0].max(times[1])));
        prop_assert_eq!(merged(a, b), merged(b, a));
        prop_assert_eq!(merged(&merged(a, b), c), merged(a, &merged(b, c)));
        prop_assert_eq!(&merged(a, a), a);
        // One device truncated its history, the other did not.
        prop_assert_eq!(merged(a, &devices[1]), cut(&whole, times[0]));
        prop_assert_eq!(merged(a, &devices[1]), merged(&devices[1], a));
    }

    #[test]
    fn purges_and_truncations_commute_with_merging(
    devices in devices_after(step_or_purge()), times in prop::collection::vec(0..108i64, 3),
    ) {
        let cut = |vault: &Vault, time: i64| vault.clone().with_history_since(time);
        let (whole_a, whole_b, whole_c) = (&devices[0], &devices[1], &devices[2]);
        let cuts = devices.iter().zip(&times).map(|(vault, time)| cut(vault, *time));
        let cuts: Vec<Vault> = cuts.collect();
        for [a, b, c] in [
            [whole_a, whole_b, whole_c],
            [&cuts[0], &cuts[1], &cuts[2]],
            [&cuts[0], whole_b, &cuts[2]],
        ] {
            prop_assert_eq!(merged(a, b), merged(b, a));
            prop_assert_eq!(merged(&merged(a, b), c), merged(a, &merged(b, c)));
            prop_assert_eq!(&merged(a, a), a);
            // No purged change is left, and no purge is lost but by a truncation.
            let all = merged(a, b);
            for (id, record) in all.records() {
                for change in record.changes() {
                    let is_purged = |vault: &Vault| {
                        let record = vault.record(id);
                        let changes = record.into_iter().flat_map(|record| record.changes());
                        changes.clone().any(|one| {
                            one.key == change.key && one.stamp == change.stamp && one.is_purged()
                        })
                    };
                    prop_assert_eq!(change.is_purged(), is_purged(a) || is_purged(b));
                }
            }
            // What is missing here and there is what a merge brings.
            let mut after = a.clone();
            let received = b.truncated_with(a).missing_from(a);
            prop_assert_eq!(after.merge(b).received, received);
            prop_assert_eq!(b.truncated_with(a).missing_from(&after), 0);
        }
        prop_assert_eq!(
            merged(&cuts[0], &cuts[1]),
            cut(&merged(whole_a, whole_b), times[0].max(times[1]))
        );
    }

    #[test]
    fn a_refusal_shows_what_was_seen_before(
        devices in devices_after(step_or_purge()), time in prop::option::of(0..104i64),
    ) {
        let now = 2_000_000_000;
        let ours = match time {
            Some(time) => devices[0].clone().with_history_since(time),
            None => devices[0].clone(),
        };
        let refusal = ours.refusal(&devices[1], |_, _| true, now);
        let refusal = refusal.expect("the clock is right");
        for after in [
            merged(&merged(&ours, &devices[1]), &refusal),
            merged(&devices[1], &merged(&refusal, &ours)),
        ] {
            prop_assert_eq!(paths_and_fields(&after), paths_and_fields(&ours));
            prop_assert_eq!(trash_of(&after), trash_of(&ours));
        }
    }

    #[test]
    fn what_is_not_refused_shows_as_if_the_rest_had_never_come(
        devices in devices_after(step_or_purge()), field in 0..3u8,
    ) {
        let (ours, theirs) = (&devices[0], &devices[1]);
        let name = Text::from(format!("f{field}").as_str());
        let is_refused = |_: &RecordId, change: &Change| change.key.name == name;
        let refusal = ours.refusal(theirs, is_refused, 2_000_000_000);
        let refusal = refusal.expect("the clock is right");
        let wanted = merged(ours, &theirs.filtered(|id, change| !is_refused(id, change)));
        for after in [
            merged(&merged(ours, theirs), &refusal),
            merged(theirs, &merged(&refusal, ours)),
        ] {
            prop_assert_eq!(paths_and_fields(&after), paths_and_fields(&wanted));
            prop_assert_eq!(trash_of(&after), trash_of(&wanted));
        }
    }

    #[test]
    fn a_vault_with_purges_is_written_and_read(devices in devices_after(step_or_purge())) {
        for vault in &devices {
            let written = passmate_vault::format::encode_btoken(vault).expect("it is small");
            let read = passmate_vault::format::decode_btoken(&written).expect("it was written");
            prop_assert_eq!(&read.vault, vault);
        }
    }

    #[test]
    fn a_truncated_vault_shows_the_same_at_any_time_since(
        devices in devices(), time in 99..107i64, later in 0..8i64,
    ) {
        let vault = merged(&devices[0], &devices[1]);
        let cut = vault.clone().with_history_since(time);
        prop_assert_eq!(view_of(&cut), view_of(&vault));
        prop_assert_eq!(trash_of(&cut), trash_of(&vault));
        prop_assert_eq!(view_of(&cut.at(time + later)), view_of(&vault.at(time + later)));
        prop_assert!(all_changes([&cut]).is_subset(&all_changes([&vault])));
        prop_assert_eq!(cut.missing_from(&vault), 0);
    }

    #[test]
    fn truncated_with_gives_the_parts_that_a_merge_keeps(
    devices in devices_after(step_or_purge()), time in 0..108i64,
) {
        let (ours, theirs) = (devices[0].clone().with_history_since(time), &devices[1]);
        let mut all = ours.clone();
        let summary = all.merge(theirs);
        let (kept_ours, kept_theirs) = (ours.truncated_with(theirs), theirs.truncated_with(&ours));
        prop_assert_eq!(all_changes([&all]), all_changes([&*kept_ours, &*kept_theirs]));
        prop_assert_eq!(summary.received, kept_theirs.missing_from(&ours));
        prop_assert_eq!(summary.dropped, all_changes([&ours, theirs]).len() - all.change_count());
    }
}
