//! Syncing, and what it asks.

use insta::assert_snapshot;
use passmate_core::shared_folder::Sealing;
use passmate_core::sync_all::SyncRequest;

use super::*;
use crate::tui::dialog::Dialog;

/// A person whose vault shares a folder with another device, which has `records` too.
fn sharing(records: usize) -> (Pilot, TempDir, Session) {
    let (dir, mut ours) = vault();
    let (other_dir, mut other) = vault();
    let folder = dir.path().join("cloud");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..records {
        let fields = [("user", "bob"), ("password", "hunter2")];
        let record = RecordText::new(format!("web/{number}"), fields);
        change(&mut ours, &Edit::Add { record });
    }
    let request = SyncRequest::default();
    ours.set_up_folder(&folder, &Sealing::NewKey, &request)
        .unwrap();
    let key = Sealing::Key(VaultApi::folder_key(&mut ours).unwrap());
    other.set_up_folder(&folder, &key, &request).unwrap();
    (Pilot::of(SMALL, dir, ours), other_dir, other)
}

fn change(vault: &mut Session, edit: &Edit) {
    let all = Consent::to_everything();
    vault.change(edit, &all, &mut |_| {}).unwrap();
}

fn set(path: &str, field: &str, value: &str) -> Edit {
    Edit::Set {
        path: path.to_owned(),
        field: field.to_owned(),
        value: value.to_owned().into(),
    }
}

/// The screen without what differs from run to run.
fn steady(pilot: &mut Pilot) -> String {
    let steady = |text: &str| match text.split_once(" at 2") {
        Some(_) => "with FOLDER at TIME".to_owned(),
        None => text.to_owned(),
    };
    if let Some(Dialog::Report(report)) = &mut pilot.state.dialog {
        let lines = report.lines.iter_mut();
        lines.for_each(|(line, _)| *line = steady(line));
    }
    if let Some(tie) = &mut pilot.state.tie {
        tie.place = "FOLDER".to_owned();
    }
    pilot.screen()
}

#[test]
fn a_sync_brings_what_others_changed_and_tells_it() {
    let (mut pilot, _dir, mut other) = sharing(2);
    change(&mut other, &set("web/0", "user", "alice"));
    change(&mut other, &set("home/alarm", "pin", "1234"));
    VaultApi::sync(&mut other, &SyncRequest::default()).unwrap();
    pilot.hides("home/");
    pilot.typed("s");
    pilot.shows("3 received, 0 sent");
    pilot.shows("home/");
    pilot.go_to("web/0");
    pilot.shows("alice");
    pilot.typed("S");
    assert_snapshot!(steady(&mut pilot));
    pilot.press(KeyCode::Esc);
    // A sync is a step too.
    pilot.typed("u");
    pilot.shows("undid: sync with");
    pilot.hides("alice");
}

#[test]
fn what_is_held_back_is_listed_and_waits_for_a_yes() {
    let (mut pilot, _dir, mut other) = sharing(40);
    let paths = vec!["web/".to_owned()];
    change(&mut other, &Edit::Delete { paths });
    VaultApi::sync(&mut other, &SyncRequest::default()).unwrap();
    pilot.typed("s");
    pilot.shows("Held back");
    pilot.shows("web/10: would be deleted");
    pilot.shows("r refuse for good");
    // What was typed when it came is no answer.
    pilot.typed("y");
    pilot.shows("40 records");
    pilot.wait(2);
    pilot.press(KeyCode::PageDown);
    pilot.shows("web/25: would be deleted");
    pilot.typed("n");
    pilot.shows("left for later");
    pilot.shows("40 records");
    pilot.typed("s");
    pilot.wait(2);
    pilot.typed("y");
    pilot.shows("40 received");
    pilot.shows("0 records");
}

#[test]
fn what_is_held_back_is_refused_for_good() {
    let (mut pilot, _dir, mut other) = sharing(40);
    let paths = vec!["web/".to_owned()];
    change(&mut other, &Edit::Delete { paths });
    VaultApi::sync(&mut other, &SyncRequest::default()).unwrap();
    pilot.typed("s");
    pilot.wait(2);
    pilot.typed("r");
    pilot.shows("40 records");
    pilot.typed("s");
    pilot.shows("synced with");
}

#[test]
fn a_question_of_a_sync_waits_for_who_types() {
    let (mut pilot, _dir, mut other) = sharing(40);
    let paths = vec!["web/".to_owned()];
    change(&mut other, &Edit::Delete { paths });
    VaultApi::sync(&mut other, &SyncRequest::default()).unwrap();
    let calls = pilot.without_answers("s/ye");
    pilot.answer(calls);
    pilot.hides("Held back");
    pilot.typed("yyy");
    pilot.hides("Held back");
    pilot.press(KeyCode::Esc);
    pilot.shows("Held back");
    // An answer to another question, typed meanwhile, does not come over it.
    pilot.wait(2);
    pilot.typed("n");
    let calls = pilot.without_answers("hnweb/new");
    pilot.answer(calls);
    pilot.shows("Path of the new record");
    pilot.shows("web/new");
}

#[test]
fn a_vault_that_syncs_with_nothing_says_how_to_begin() {
    let mut pilot = Pilot::new(SMALL);
    pilot.typed("s");
    pilot.shows("passmate sync setup");
    pilot.typed("S");
    pilot.shows("passmate sync setup");
}

#[test]
fn a_sync_that_takes_long_is_named_and_freezes_nothing() {
    let (mut pilot, _dir, _other) = sharing(2);
    let calls = pilot.without_answers("s");
    pilot.now += Duration::from_secs(1);
    assert!(pilot.begin(Event::Tick).is_empty());
    pilot.shows("syncing");
    assert!(pilot.without_answers("?").is_empty());
    pilot.shows("Everywhere");
    pilot.answer(calls);
    pilot.press(KeyCode::Esc);
    pilot.shows("synced just now with");
}

#[test]
fn the_history_tells_which_value_lost_a_merge() {
    let (mut pilot, _dir, mut other) = sharing(1);
    pilot.go_to("web/0");
    pilot.press(KeyCode::Enter);
    pilot.press(KeyCode::Home);
    pilot.typed("e2\n");
    // The other device is 3 seconds later.
    let stamp = passmate_core::clock::system_clock() + 3;
    other.edit(|vault, _| {
        let id = vault.records().next().unwrap().0.clone();
        vault.set(&id, "user", "alice", stamp).unwrap();
    });
    VaultApi::sync(&mut other, &SyncRequest::default()).unwrap();
    pilot.typed("s");
    pilot.shows("1 conflicts resolved");
    pilot.typed("h");
    pilot.shows("alice");
    pilot.shows("bob2");
    pilot.shows("↑ lost the last merge: the other device's value is newer");
}
