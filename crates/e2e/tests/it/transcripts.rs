//! What documents show is what happens.

use std::path::Path;

use crate::support::Server;
use crate::support::transcript::check;

fn check_transcript(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    check(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(name),
        &Server::start(dir.path()),
    );
}

#[test]
fn the_readme() {
    check_transcript("../../README.md");
}

#[test]
fn records_from_the_first_to_the_last_command() {
    check_transcript("transcripts/records.md");
}

#[test]
fn a_new_passphrase() {
    check_transcript("transcripts/passphrase.md");
}

#[test]
fn history_restore_undo_and_the_trash() {
    check_transcript("transcripts/history.md");
}

#[test]
fn importing_what_other_programs_keep() {
    check_transcript("transcripts/import.md");
}

#[test]
fn two_devices_that_disagree() {
    check_transcript("transcripts/disagreements.md");
}

#[test]
fn edit_find_and_codes() {
    check_transcript("transcripts/edit.md");
}

#[test]
fn out_again() {
    check_transcript("transcripts/export.md");
}

#[test]
fn a_sync_that_says_what_it_does() {
    check_transcript("transcripts/sync.md");
}

#[test]
fn a_shared_folder_instead_of_a_server() {
    check_transcript("transcripts/folder.md");
}

#[test]
fn the_two_commands_of_the_readme_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.contains("\n    cargo run --release --locked -p passmate-server -- serve\n"));
    assert!(readme.contains("\n    scripts/test\n"));
    let ci = std::fs::read_to_string(root.join(".ci/run")).unwrap();
    assert!(
        ci.lines().any(|line| line == "scripts/test"),
        "CI runs the command that users run"
    );
}
