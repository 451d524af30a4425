//! A power cut after a flush that failed, on a disk as Linux shows it: the failure is reported once,
//! and what was not written counts as written from then on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use passmate_testkit::wait;

use crate::store_faults::{attempt, replace};
use crate::support::{Program, command, start};

/// Long enough that the log is moved into the database after every third one.
const BTOKEN_LEN: usize = 1_500_000;
const ACCOUNTS: usize = 4;

/// A folder with the files of a store, and a folder with what the disk holds of them.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn make(start: &Path) -> Self {
        let disk = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        copy_files(start, &disk.files());
        copy_files(start, &disk.durable());
        disk
    }

    /// As processes see them.
    fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    /// As they are after a power cut.
    fn durable(&self) -> PathBuf {
        self.dir.path().join("durable")
    }

    /// A server on this disk, one flush of which will fail.
    fn start(&self, library: &Path, fails_at: usize) -> Program {
        let mut serve = command(&self.files());
        serve
            .args(["--listen", "127.0.0.1:0"])
            .env("LD_PRELOAD", library)
            .env("PASSMATE_DISK", self.durable())
            .env("PASSMATE_FAILS_AT", fails_at.to_string());
        let program = Program::spawn(serve, &self.files());
        fs::write(self.durable().join("armed"), "").unwrap();
        program
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Builds the library that takes the place of the system's flushes; `None` without a C compiler.
fn library(dir: &Path) -> Option<PathBuf> {
    let library = dir.join("forgetful_disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/forgetful_disk.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([&library, &source])
        .status();
    match built {
        Ok(status) => assert!(status.success()),
        Err(error) => {
            eprintln!("not run: needs a C compiler: {error}");
            return None;
        }
    }
    Some(library)
}

/// The btokens that were confirmed, and the one that was sent last.
#[derive(Default)]
struct Sent {
    confirmed: Vec<([u8; 8], Vec<u8>)>,
    unknown: Option<([u8; 8], Vec<u8>)>,
    /// The server confirmed everything.
    is_all: bool,
}

/// Creates accounts and replaces their btokens, while a reader keeps some of the log in place.
fn work(disk: &Disk, program: &Program) -> Sent {
    let mut sent = Sent::default();
    let mut reader = None;
    for number in 0..ACCOUNTS {
        let btoken = vec![u8::try_from(number).unwrap(); BTOKEN_LEN];
        let Some(account) = attempt(|| program.create(&btoken)) else {
            return sent;
        };
        sent.confirmed.push((account, btoken));
        match number {
            0 => reader = Some(snapshot(&disk.files())),
            2 => reader = None,
            _ => {}
        }
    }
    drop(reader);
    for round in 10..13 {
        for number in 0..ACCOUNTS {
            let (account, _) = sent.confirmed[number];
            let btoken = vec![round; BTOKEN_LEN / 4];
            if !replace(program, account, &btoken) {
                sent.unknown = Some((account, btoken));
                return sent;
            }
            sent.confirmed[number].1 = btoken;
        }
    }
    // The last part of the log is moved after the answer.
    std::thread::sleep(Duration::from_millis(200));
    sent.is_all = true;
    sent
}

/// A reader of the database, as `backup` is one.
fn snapshot(data_dir: &Path) -> rusqlite::Connection {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let path = data_dir.join("passmate.db");
    let reader = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM account;")
        .unwrap();
    reader
}

#[test]
fn a_power_cut_after_a_failed_flush_loses_nothing_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(library) = library(dir.path()) else {
        return;
    };
    let made = dir.path().join("made");
    start(&made, &[]).stop();
    let mut failed = 0;
    for fails_at in 1.. {
        let disk = Disk::make(&made);
        let mut program = disk.start(&library, fails_at);
        let sent = work(&disk, &program);
        let ended = match sent.is_all {
            true => program.child.try_wait().unwrap(),
            false => Some(program.wait(wait::EVENT_TIME_MAX)),
        };
        if ended.is_none() {
            program.kill();
        }
        let has_failed = disk.durable().join("failed").exists();

        // The power comes back.
        for mark in ["armed", "failed"] {
            let _ = fs::remove_file(disk.durable().join(mark));
        }
        let program = start(&disk.durable(), &[]);
        for (account, confirmed) in &sent.confirmed {
            let found = program.fetch(*account);
            let unknown = sent.unknown.as_ref().filter(|(other, _)| other == account);
            assert!(
                found.as_ref() == Some(confirmed)
                    || (unknown.is_some() && found.as_ref() == unknown.map(|(_, btoken)| btoken)),
                "flush {fails_at}: a confirmed btoken is gone"
            );
        }
        program.kill();
        assert_eq!(
            ended.map(|status| status.success()),
            has_failed.then_some(false),
            "flush {fails_at}: the server ends if and only if the flush failed"
        );
        if !has_failed {
            break;
        }
        failed += 1;
    }
    println!("{failed} flushes failed");
    assert!(failed > ACCOUNTS, "{failed}");
}
