//! Undoing and redoing step by step.

use passmate_vault::format::{decode_vault_file, encode_v3};
use passmate_vault::history::undo::{
    CELLS_MAX, Retraced, STEP_CELLS_MAX, STEPS_MAX, Step, StepKind, UndoLog,
};
use passmate_vault::record::{Change, FieldKey, Stamp, Value};
use passmate_vault::{Document, RecordId, Vault};
use proptest::prelude::*;

use crate::laws::config;
use crate::{members, text, vector, vector_json};

const NOW: i64 = 1_800_000_000;

/// A vault and its log, as one device has them.
#[derive(Clone, Default)]
struct Device {
    vault: Vault,
    log: UndoLog,
}

impl Device {
    fn step(&mut self, kind: StepKind, change: impl FnOnce(&mut Vault)) -> bool {
        let before = self.vault.clone();
        change(&mut self.vault);
        let step = Step::between(kind, NOW, &before, &self.vault);
        let is_step = step.is_some();
        step.into_iter().for_each(|step| self.log.push(step));
        is_step
    }

    fn set(&mut self, id: &str, field: &str, value: &str) {
        self.step(StepKind::Set, |vault| {
            let id = RecordId::from(id);
            let _ = vault.create_record(id.clone(), format!("p{id:?}").as_str(), NOW);
            vault.set(&id, field, value, NOW).unwrap();
        });
    }

    fn undo(&mut self) -> Option<Retraced> {
        self.log.undo(&mut self.vault, NOW).unwrap()
    }

    fn redo(&mut self) -> Option<Retraced> {
        self.log.redo(&mut self.vault, NOW).unwrap()
    }

    fn value(&self, id: &str, field: &str) -> Option<String> {
        let view = self.vault.view();
        let record = view
            .records()
            .iter()
            .find(|one| *one.id == RecordId::from(id))?;
        Some(record.field(&field.into())?.value.to_string_lossy().into())
    }

    fn counts(retraced: Option<Retraced>) -> Option<(usize, usize)> {
        retraced.map(|retraced| (retraced.changes, retraced.left))
    }
}

/// What people see of the records with these ids, with the paths that records have before clashes.
fn seen(vault: &Vault, prefix: char) -> Vec<String> {
    let view = vault.view();
    let mut lines: Vec<_> = view
        .records()
        .iter()
        .filter(|record| record.id.as_text().to_string_lossy().starts_with(prefix))
        .map(|record| {
            let fields = record.fields();
            let fields: Vec<_> = fields
                .map(|one| {
                    (
                        one.name.to_string_lossy().into_owned(),
                        one.value.to_string_lossy().into_owned(),
                    )
                })
                .collect();
            let path = record.clash.as_deref().unwrap_or(&record.path);
            format!("{:?} {:?} {fields:?}", record.id, path.to_string_lossy())
        })
        .collect();
    lines.sort();
    lines
}

#[derive(Clone, Debug)]
enum Edit {
    Create(u8, u8),
    Set(u8, u8, u8),
    Unset(u8, u8),
    Rename(u8, u8),
    Delete(u8),
    /// Several of them at once, as an import or a sync does.
    All(Vec<Edit>),
}

fn edit() -> impl Strategy<Value = Edit> {
    let small = || 0..3u8;
    let one = prop_oneof![
        2 => (small(), small()).prop_map(|(id, path)| Edit::Create(id, path)),
        4 => (small(), small(), small()).prop_map(|(id, name, value)| Edit::Set(id, name, value)),
        1 => (small(), small()).prop_map(|(id, name)| Edit::Unset(id, name)),
        2 => (small(), small()).prop_map(|(id, path)| Edit::Rename(id, path)),
        2 => small().prop_map(Edit::Delete),
    ];
    one.prop_recursive(1, 8, 4, |one| {
        prop::collection::vec(one, 2..5).prop_map(Edit::All)
    })
}

fn apply(vault: &mut Vault, edit: &Edit, now: i64) {
    let record = |id: &u8| RecordId::from(format!("R{id}").as_str());
    let name = |kind: char, number: &u8| format!("{kind}{number}");
    // An edit of an unknown record is refused, which is fine here.
    let _ = match edit {
        Edit::Create(id, path) => vault.create_record(record(id), name('p', path).as_str(), now),
        Edit::Set(id, field, value) => vault.set(
            &record(id),
            name('f', field).as_str(),
            name('v', value).as_str(),
            now,
        ),
        Edit::Unset(id, field) => vault.unset(&record(id), name('f', field).as_str(), now),
        Edit::Rename(id, path) => vault.rename(&record(id), name('p', path).as_str(), now),
        Edit::Delete(id) => vault.delete(&record(id), now),
        Edit::All(edits) => return edits.iter().for_each(|edit| apply(vault, edit, now)),
    };
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: config().cases / 10,
        ..config()
    })]

    #[test]
    fn each_undo_shows_the_state_before_and_each_redo_the_one_after(
        edits in prop::collection::vec((edit(), 0..5i64), 0..16),
        theirs in 0..16usize, turns in 0..40usize,
    ) {
        let mut device = Device::default();
        let mut states = vec![seen(&device.vault, 'R')];
        for (edit, later) in &edits {
            if device.step(StepKind::Edit, |vault| apply(vault, edit, NOW + later)) {
                states.push(seen(&device.vault, 'R'));
            }
        }
        let mut at = states.len() - 1;
        let mut turn = |device: &mut Device, is_back: bool| {
            let retraced = if is_back { device.undo() } else { device.redo() };
            let is_end = if is_back { at == 0 } else { at == states.len() - 1 };
            prop_assert_eq!(retraced.is_none(), is_end);
            if let Some(retraced) = retraced {
                at = if is_back { at - 1 } else { at + 1 };
                prop_assert_eq!(retraced.left, 0);
            }
            prop_assert_eq!(seen(&device.vault, 'R'), states[at].clone());
            Ok(())
        };
        let mut other = Vault::new();
        other.create_record("T".into(), "p0", NOW).unwrap();
        other.set(&"T".into(), "f0", "v0", NOW).unwrap();
        for step in 0..states.len() {
            turn(&mut device, true)?;
            if step == theirs {
                device.vault.merge(&other);
            }
        }
        for step in 0..turns {
            turn(&mut device, step % 3 == 0)?;
        }
        for _ in 0..states.len() {
            turn(&mut device, false)?;
        }
        device.vault.merge(&other);
        prop_assert_eq!(seen(&device.vault, 'T'), seen(&other, 'T'));
    }
}

#[test]
fn what_another_device_changed_is_left() {
    let mut device = Device::default();
    device.set("A", "user", "bob");
    device.set("A", "password", "one");
    let mut other = device.vault.clone();
    other
        .set(&"A".into(), "password", "theirs", NOW + 9)
        .unwrap();
    other.set(&"A".into(), "note", "theirs", NOW + 9).unwrap();
    device.vault.merge(&other);
    assert_eq!(Device::counts(device.undo()), Some((0, 1)));
    assert_eq!(device.value("A", "password").as_deref(), Some("theirs"));
    // The record was made by this step, and has what the step does not know.
    assert_eq!(Device::counts(device.undo()), Some((1, 1)));
    assert_eq!(device.value("A", "user"), None);
    assert_eq!(device.value("A", "note").as_deref(), Some("theirs"));
    assert_eq!(device.undo(), None);
}

#[test]
fn a_deletion_is_redone_only_if_nothing_came_to_the_record() {
    let mut device = Device::default();
    device.set("A", "user", "bob");
    device.step(StepKind::Delete, |vault| {
        vault.delete(&"A".into(), NOW).unwrap();
    });
    assert_eq!(Device::counts(device.undo()), Some((1, 0)));
    assert_eq!(Device::counts(device.redo()), Some((1, 0)));
    assert_eq!(device.value("A", "user"), None);
    assert_eq!(Device::counts(device.undo()), Some((1, 0)));
    let mut other = device.vault.clone();
    other.set(&"A".into(), "note", "theirs", NOW + 9).unwrap();
    device.vault.merge(&other);
    assert_eq!(Device::counts(device.redo()), Some((0, 1)));
    assert_eq!(device.value("A", "note").as_deref(), Some("theirs"));
}

#[test]
fn an_undo_brings_no_record_back_that_was_deleted_elsewhere() {
    let mut device = Device::default();
    device.set("A", "user", "bob");
    device.set("A", "user", "eve");
    device.vault.delete(&"A".into(), NOW + 9).unwrap();
    assert_eq!(Device::counts(device.undo()), Some((0, 1)));
    assert!(device.vault.view().records().is_empty());
}

#[test]
fn a_purged_value_is_left_and_the_log_holds_nothing_of_it() {
    let mut device = Device::default();
    for value in ["one", "two", "three"] {
        device.set("A", "password", value);
    }
    device
        .vault
        .purge(
            &"A".into(),
            |change| change.value == Value::Text("two".into()),
            NOW,
        )
        .unwrap();
    assert_eq!(Device::counts(device.undo()), Some((0, 1)));
    assert_eq!(Device::counts(device.undo()), Some((0, 1)));
    assert_eq!(device.value("A", "password").as_deref(), Some("three"));
    device.set("A", "password", "four");
    assert_eq!(Device::counts(device.undo()), Some((1, 0)));
    assert_eq!(device.value("A", "password").as_deref(), Some("three"));
    let mut document = Document::new(Vault::new());
    document.undo = device.log;
    let written = String::from_utf8(encode_v3(&document).unwrap().to_vec()).unwrap();
    assert!(!written.contains("password") && !written.contains("pRecord"));
}

#[test]
fn a_value_that_was_cut_off_is_left() {
    let mut device = Device::default();
    for value in ["one", "two"] {
        device.set("A", "password", value);
    }
    device.vault = device.vault.clone().with_history_since(NOW + 100);
    assert_eq!(Device::counts(device.undo()), Some((0, 1)));
    let retraced = device.undo().unwrap();
    assert_eq!((retraced.changes, retraced.left), (0, 2), "{retraced:?}");
    assert_eq!(device.value("A", "password").as_deref(), Some("two"));
}

#[test]
fn a_value_from_the_future_comes_back() {
    let mut device = Device::default();
    device.set("A", "password", "one");
    let insert = |vault: &mut Vault| {
        let (key, value) = (FieldKey::user("password"), Value::Text("future".into()));
        let stamp = Stamp::from_seconds(250_000_000_000);
        vault.insert(&"A".into(), Change { key, stamp, value });
    };
    insert(&mut device.vault);
    device.set("A", "password", "two");
    assert_eq!(Device::counts(device.undo()), Some((1, 0)));
    assert_eq!(device.value("A", "password").as_deref(), Some("future"));
}

#[test]
fn a_step_drops_those_that_were_undone_and_the_oldest_beyond_the_limits() {
    let mut device = Device::default();
    for value in 0..STEPS_MAX + 5 {
        device.set("A", "password", &value.to_string());
    }
    device.undo().unwrap();
    device.set("A", "password", "new");
    assert_eq!(device.redo(), None);
    let mut undone = 0;
    while device.undo().is_some() {
        undone += 1;
    }
    assert_eq!(undone, STEPS_MAX);
    assert_eq!(device.value("A", "password").as_deref(), Some("4"));

    // One that changed more than all of them may pushes the others out, and can be undone.
    device.step(StepKind::Import, |vault| {
        for number in 0..100 {
            let id = RecordId::from(format!("B{number}"));
            vault.create_record(id.clone(), "b", NOW).unwrap();
            for field in 0..CELLS_MAX / 100 {
                vault.set(&id, format!("f{field}"), "x", NOW).unwrap();
            }
        }
    });
    assert_eq!(Device::counts(device.undo()), Some((100, 0)));
    assert_eq!(device.undo(), None);
    assert_eq!(Device::counts(device.redo()), Some((100, 0)));
    assert_eq!(device.value("B7", "f7").as_deref(), Some("x"));
}

#[test]
fn a_step_that_changed_too_much_says_so_and_is_passed() {
    let mut device = Device::default();
    device.set("A", "password", "one");
    device.step(StepKind::Import, |vault| {
        for number in 0..=STEP_CELLS_MAX {
            let id = RecordId::from(number.to_string());
            vault.create_record(id, "path", NOW).unwrap();
        }
    });
    device.set("A", "password", "two");
    assert_eq!(Device::counts(device.undo()), Some((1, 0)));
    let retraced = device.undo().unwrap();
    assert!(retraced.is_forgotten && retraced.records.is_empty());
    assert_eq!(Device::counts(device.undo()), Some((1, 0)));
    assert_eq!(device.value("A", "password"), None);
}

#[test]
fn the_steps_of_two_programs_follow_each_other() {
    let mut ours = Device::default();
    ours.set("A", "user", "bob");
    let (base, mut theirs) = (ours.log.clone(), ours.clone());
    ours.set("A", "user", "ours");
    theirs.set("B", "user", "theirs");
    let merge = |one: &Device, other: &Device| {
        let mut vault = one.vault.clone();
        vault.merge(&other.vault);
        let log = UndoLog::merge(&base, one.log.clone(), other.log.clone());
        Device { vault, log }
    };
    let mut both = merge(&ours, &theirs);
    let mut seen = Vec::new();
    while both.undo().is_some() {
        seen.push((both.value("A", "user"), both.value("B", "user")));
    }
    let bob = Some("bob".to_owned());
    let theirs_seen = Some("theirs".to_owned());
    assert_eq!(
        seen,
        [(bob.clone(), theirs_seen), (bob, None), (None, None)]
    );
    // One that only undid something adds nothing.
    ours.undo();
    ours.undo();
    let unchanged = Device {
        log: base.clone(),
        ..ours.clone()
    };
    assert_eq!(merge(&ours, &unchanged).log, ours.log);
    assert_eq!(merge(&unchanged, &ours).log, ours.log);
}

#[test]
fn a_sync_that_went_on_is_one_step() {
    let mut device = Device::default();
    let sync = |device: &mut Device, change: &dyn Fn(&mut Vault)| {
        let before = device.vault.clone();
        change(&mut device.vault);
        let kind = StepKind::sync("home.example.org");
        Step::between(kind, NOW, &before, &device.vault).unwrap()
    };
    device.set("A", "user", "bob");
    let set = |value: &'static str, field: &'static str| {
        move |vault: &mut Vault| {
            vault.set(&"A".into(), field, value, NOW).unwrap();
        }
    };
    let first = sync(&mut device, &set("eve", "user"));
    device.log.push(first);
    for (value, field) in [("mallory", "user"), ("one", "password")] {
        let next = sync(&mut device, &set(value, field));
        device.log.extend(next);
    }
    let retraced = device.undo().unwrap();
    assert_eq!((retraced.changes, retraced.left), (2, 0));
    assert_eq!(device.value("A", "user").as_deref(), Some("bob"));
    assert_eq!(device.value("A", "password"), None);
}

#[test]
fn documents_with_steps_are_read_and_written() {
    let index = vector_json("undo/index.json");
    for (name, case) in members(&index["read"]) {
        let bytes = vector(&format!("undo/{name}.json"));
        let document = decode_vault_file(&bytes).unwrap();
        assert_eq!(
            encode_v3(&document).unwrap().trim_ascii_end(),
            bytes,
            "{name}"
        );
        let mut device = Device {
            vault: document.vault,
            log: document.undo,
        };
        for (word, values) in ["undo", "redo"]
            .into_iter()
            .zip([&case["undone"], &case["redone"]])
        {
            for expected in values.as_array().unwrap() {
                let retraced = if word == "undo" {
                    device.undo()
                } else {
                    device.redo()
                };
                let retraced = retraced.unwrap();
                assert_eq!(
                    text(expected, "kind"),
                    retraced.kind.word(),
                    "{name} {word}"
                );
                assert_eq!(expected["changes"], retraced.changes, "{name} {word}");
                let shown = device.value("A", "password");
                assert_eq!(
                    expected["password"].as_str(),
                    shown.as_deref(),
                    "{name} {word}"
                );
            }
        }
    }
    for name in index["bad"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        assert!(
            decode_vault_file(&vector(&format!("undo/{name}.json"))).is_err(),
            "{name}"
        );
    }
}
