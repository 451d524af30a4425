//! A store in which a disk has changed some bytes: whoever is not hit goes on, and the operator gets
//! rid of the rest.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use passmate_testkit::wire::{End, TOKEN, reset};

use crate::support::{Program, failed, ok, operate, start, text};

/// The length of a page of the store.
const PAGE_LEN: usize = 16 << 10;

/// A store with three accounts, of which the btoken of the second is on damaged pages.
struct Damaged {
    accounts: [[u8; 8]; 3],
}

impl Damaged {
    fn make(dir: &Path) -> Self {
        let program = start(dir, &[]);
        let accounts = [1_u8, 2, 3].map(|byte| program.create(&[byte; 100_000]));
        program.stop();
        let file = dir.join("passmate.db");
        let store = std::fs::read(&file).unwrap();
        let file = OpenOptions::new().write(true).open(file).unwrap();
        // The pages of a long btoken form a chain: each has the number of the next at its head.
        let is_of_second = |page: &[u8]| page[100..].iter().all(|byte| *byte == 2);
        let pages: Vec<usize> = (0..store.len() / PAGE_LEN)
            .filter(|page| is_of_second(&store[page * PAGE_LEN..(page + 1) * PAGE_LEN]))
            .collect();
        assert!(pages.len() >= 5);
        for page in &pages {
            let place = u64::try_from(page * PAGE_LEN).unwrap();
            file.write_all_at(&[0x7F; 4], place).unwrap();
        }
        Self { accounts }
    }
}

fn resets(program: &Program, account: [u8; 8]) -> bool {
    let mut client = program.greeted();
    client.send(&reset(account, TOKEN));
    client.end() == End::clean()
}

#[test]
fn a_damaged_account_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let Damaged {
        accounts: [first, second, third],
    } = Damaged::make(dir.path());
    let program = start(dir.path(), &[]);
    assert!(!resets(&program, second), "its pages cannot be freed");
    assert_eq!(program.fetch(first).unwrap(), [1; 100_000]);
    program.replace(third, b"newer");
    assert!(resets(&program, first));
    // The operator unlinks it, beside the running server.
    let number: String = second.iter().map(|byte| format!("{byte:02X}")).collect();
    ok(operate(
        dir.path(),
        &["account", "delete", &number, "--yes"],
    ));
    assert!(program.fetch(second).is_none());
    assert_eq!(program.fetch(third).unwrap(), b"newer");
    let log = program.log();
    assert!(log.contains("a change met a damaged row"), "{log}");
}

#[test]
fn what_is_whole_is_salvaged_and_restored() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Damaged {
        accounts: [first, second, third],
    } = Damaged::make(dir.path());
    let file = place.path().join("backup");
    failed(&operate(dir.path(), &["backup", text(&file)]), 6, "damaged");
    assert!(!file.exists());
    let salvaged = operate(dir.path(), &["backup", text(&file), "--salvage"]);
    let number: String = second.iter().map(|byte| format!("{byte:02X}")).collect();
    failed(&salvaged, 31, &format!("account {number}"));
    let said = String::from_utf8_lossy(&salvaged.stdout);
    assert!(said.contains("holds 2 accounts"), "{said}");
    ok(operate(dir.path(), &["restore", text(&file), "--force"]));
    ok(operate(dir.path(), &["verify"]));
    let program = start(dir.path(), &[]);
    assert_eq!(program.fetch(first).unwrap(), [1; 100_000]);
    assert_eq!(program.fetch(third).unwrap(), [3; 100_000]);
    assert!(program.fetch(second).is_none());
}

#[test]
fn a_damaged_account_is_pruned_with_the_others() {
    let dir = tempfile::tempdir().unwrap();
    Damaged::make(dir.path());
    let database = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
    database
        .execute_batch(
            "UPDATE property SET value = 0 WHERE name = 'syncs_known_since';
             UPDATE account SET created_at = 7, changed_at = 7, synced_at = 0;",
        )
        .unwrap();
    drop(database);
    let prune = ["account", "prune", "--older-than", "30d", "--yes"];
    let pruned = ok(operate(dir.path(), &prune));
    assert_eq!(pruned, "3 accounts with 300000 bytes are deleted\n");
    assert_eq!(ok(operate(dir.path(), &["account", "list"])), "");
    let log = ok(operate(dir.path(), &["log"]));
    assert!(
        log.ends_with("account prune  3 accounts, 300000 bytes\n"),
        "{log}"
    );
}

/// Runs a command under strace, which lets the `number`th read of the store's file fail. `None`:
/// there is no strace here.
fn with_failed_read(dir: &Path, words: &[&str], number: u32) -> Option<Output> {
    let inject = format!("inject=pread64:error=EIO:when={number}");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-e", "trace=pread64", "-e", &inject, "-o"])
        .args([dir.join("calls"), "-P".into(), dir.join("passmate.db")])
        .arg(env!("CARGO_BIN_EXE_passmate-server"))
        .args(words)
        .arg("--data-dir")
        .arg(dir)
        .stdin(Stdio::null());
    let output = strace.output().ok()?;
    let refused = String::from_utf8_lossy(&output.stderr).contains("ptrace");
    (!refused).then_some(output)
}

#[test]
fn a_disk_that_fails_is_not_called_damage() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    for byte in 1..=4 {
        program.create(&[byte; 20_000]);
    }
    program.stop();
    for words in [&["verify"] as &[&str], &["account", "list"]] {
        for number in 1.. {
            let Some(output) = with_failed_read(dir.path(), words, number) else {
                eprintln!("not run: needs strace, and leave to use it");
                return;
            };
            let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
            if !calls.contains("INJECTED") {
                ok(output);
                assert!(number > 3, "{words:?} reads the store");
                break;
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            assert!(
                matches!(code, Some(0 | 1 | 7)),
                "read {number}: {code:?} {said}"
            );
            assert!(!said.contains("damaged"), "read {number}: {said}");
        }
    }
}

#[test]
fn a_damaged_note_is_found_and_stops_no_backup() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = start(dir.path(), &[]);
    program.create(b"sealed");
    program.stop();
    let database = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
    let flip = "UPDATE account SET note = CAST(x'41ff' AS TEXT)";
    database.execute_batch(flip).unwrap();
    drop(database);
    let found = "1 rows of account have a damaged note";
    failed(&operate(dir.path(), &["verify"]), 6, found);
    let listed = ok(operate(dir.path(), &["account", "list"]));
    assert!(listed.ends_with("note A\u{fffd}\n"), "{listed}");
    let file = place.path().join("backup");
    ok(operate(dir.path(), &["backup", text(&file)]));
    ok(operate(dir.path(), &["account", "note", &listed[..16], ""]));
    ok(operate(dir.path(), &["verify"]));
}
