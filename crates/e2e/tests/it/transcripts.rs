//! Runs the transcripts in the documents and compares their output.

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
fn records() {
    check_transcript("transcripts/records.md");
}

#[test]
fn adding_records() {
    check_transcript("transcripts/add.md");
}

#[test]
fn an_audit() {
    check_transcript("transcripts/audit.md");
}

#[test]
fn a_checkup_of_this_device() {
    check_transcript("transcripts/doctor.md");
}

#[test]
fn settings() {
    check_transcript("transcripts/config.md");
}

#[test]
fn changing_the_passphrase() {
    check_transcript("transcripts/passphrase.md");
}

#[test]
fn a_vault_that_is_missing_or_damaged() {
    check_transcript("transcripts/recover.md");
}

#[test]
fn history_restore_undo_and_deleted_records() {
    check_transcript("transcripts/history.md");
}

#[test]
fn the_agent() {
    check_transcript("transcripts/agent.md");
}

#[test]
fn keys_of_ssh() {
    check_transcript("transcripts/ssh.md");
}

#[test]
fn scripts() {
    check_transcript("transcripts/scripts.md");
}

#[test]
fn importing_from_other_programs() {
    check_transcript("transcripts/import.md");
}

#[test]
fn conflicts_between_two_devices() {
    check_transcript("transcripts/disagreements.md");
}

#[test]
fn edit_find_and_code() {
    check_transcript("transcripts/edit.md");
}

#[test]
fn exporting() {
    check_transcript("transcripts/export.md");
}

#[test]
fn syncing_with_a_server() {
    check_transcript("transcripts/sync.md");
}

#[test]
fn a_shared_folder_instead_of_a_server() {
    check_transcript("transcripts/folder.md");
}

#[test]
fn the_two_commands_of_the_readme_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.contains("\n    scripts/install\n"));
    assert!(readme.contains("\n    scripts/test\n"));
    let ci = std::fs::read_to_string(root.join(".ci/run")).unwrap();
    assert!(
        ci.lines().any(|line| line == "scripts/test"),
        "CI must run the command that the README names"
    );
}
