//! A disk whose flushes fail, one after the other: whatever the server confirmed is there when it
//! runs again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use passmate_testkit::wire::{End, TOKEN, update, upload};

use crate::support::{Program, start};

/// Longer than a third of the log that is moved into the database at once, so that there are
/// checkpoints between the commits.
const BTOKEN_LEN: usize = 1_500_000;
/// Changes in each run.
const CHANGES: u8 = 8;

/// A flush of the server's store thread that fails, as a disk lets it fail that gives up.
struct Fault {
    strace: Child,
    /// The call that failed, with the path of the file.
    failed: Arc<Mutex<Option<String>>>,
}

impl Fault {
    /// Of the `number`th flush. `None`: strace is not available here.
    fn plan(program: &Program, number: u32) -> Option<Self> {
        let tasks = format!("/proc/{}/task", program.child.id());
        let is_store = |task: &Path| fs::read_to_string(task.join("comm")).unwrap() == "store\n";
        let mut tasks = fs::read_dir(tasks)
            .unwrap()
            .map(|task| task.unwrap().path());
        let store = tasks.find(|task| is_store(task)).unwrap();
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={number}");
        let mut strace = Command::new("strace")
            .args(["-y", "-e", "trace=fsync,fdatasync", "-e", &inject, "-p"])
            .arg(store.file_name().unwrap())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let mut said = BufReader::new(strace.stderr.take()?);
        said.read_line(&mut line).ok()?;
        if !line.contains("attached") {
            eprintln!("not run: needs strace, and leave to use it: {line}");
            let _ = strace.wait();
            return None;
        }
        let failed = Arc::<Mutex<Option<String>>>::default();
        let noted = Arc::clone(&failed);
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if line.contains("INJECTED") {
                    *noted.lock().unwrap() = Some(line);
                }
            }
        });
        Some(Self { strace, failed })
    }

    /// The call that failed, if there were as many.
    fn end(mut self) -> Option<String> {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        self.failed.lock().unwrap().clone()
    }
}

/// Replaces a btoken; false if that was not confirmed.
fn replace(program: &Program, account: [u8; 8], btoken: &[u8]) -> bool {
    let exchange = || {
        let mut client = program.connect();
        client.greet();
        client.send(&update(account, TOKEN));
        client.take_btoken().unwrap();
        client.send(&[upload(btoken).as_slice(), &account].concat());
        client.end() == End::clean()
    };
    // The client of the test kit panics when the server ends within the exchange.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(exchange)).unwrap_or(false)
}

#[test]
fn a_flush_that_fails_ends_the_server_and_loses_nothing_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let account = program.create(b"first");
    program.stop();
    let mut expected = b"first".to_vec();
    // The flushes of the log and of the database that failed.
    let (mut of_log, mut of_database) = (0, 0);
    for number in 1.. {
        let mut program = start(dir.path(), &[]);
        assert_eq!(program.fetch(account).unwrap(), expected, "flush {number}");
        let Some(fault) = Fault::plan(&program, number) else {
            return;
        };
        let mut asked = expected.clone();
        for change in 0..CHANGES {
            asked = vec![change; BTOKEN_LEN];
            if !replace(&program, account, &asked) {
                break;
            }
            expected.clone_from(&asked);
        }
        // The last checkpoint comes after the answer.
        std::thread::sleep(Duration::from_millis(200));
        let ended = program.child.try_wait().unwrap();
        let Some(failed) = fault.end() else {
            assert_eq!(expected, asked, "without a fault all is confirmed");
            break;
        };
        if failed.contains("passmate.db-wal>") {
            of_log += 1;
        } else if failed.contains("passmate.db>") {
            of_database += 1;
        } else {
            // SQLite flushes the folder once more, in which the log has been since the start.
            assert!(ended.is_none() && expected == asked, "{failed}");
            continue;
        }
        assert!(!ended.unwrap_or_else(|| panic!("{failed}")).success());
        // It is unknown whether the change that was not confirmed took place.
        let program = start(dir.path(), &[]);
        let found = program.fetch(account).unwrap();
        assert!(found == expected || found == asked, "{failed}");
        expected = found;
        program.stop();
    }
    assert!(
        of_log >= u32::from(CHANGES) && of_database >= 2,
        "{of_log}, {of_database}"
    );
}
