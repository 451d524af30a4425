//! A disk that fails under the store thread, at one system call after the other: whatever the
//! server confirmed is there when it runs again.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use passmate_testkit::wait;
use passmate_testkit::wire::{End, TOKEN, reset, update, upload};

use crate::support::{Program, start};

/// Longer than a third of the log that is moved into the database at once, so that there are
/// checkpoints between the commits.
const BTOKEN_LEN: usize = 1_500_000;
/// Changes in each run with long btokens.
const CHANGES: u8 = 12;
/// The calls whose failure the log must call one of the disk.
const OF_THE_DISK: [&str; 4] = ["pread64", "pwrite64", "fdatasync", "ftruncate"];
/// Runs at the same time: most of their time is spent waiting.
const RUNS: usize = 8;
/// The server removes deleted bytes from its files when it was idle for a second.
const TIDY_MAX: Duration = Duration::from_millis(1500);

/// A system call of the server's store thread that fails once, as on a disk that gives up.
struct Fault {
    strace: Child,
    /// The call that failed, with the path of the file.
    failed: Arc<Mutex<Option<String>>>,
}

impl Fault {
    /// Of the `number`th of these calls on the files of the store. `None`: strace is not available
    /// here.
    fn plan(program: &Program, calls: &str, error: &str, number: u32) -> Option<Self> {
        let store = store_thread(program);
        let trace = format!("trace={calls}");
        let inject = format!("inject={calls}:error={error}:when={number}");
        let mut strace = Command::new("strace");
        strace.args(["-y", "-e", &trace, "-e", &inject]);
        for file in ["passmate.db", "passmate.db-wal", "passmate.db-shm", ""] {
            strace.arg("-P").arg(program.data_dir.join(file));
        }
        let mut strace = strace
            .arg("-p")
            .arg(store)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = BufReader::new(strace.stderr.take()?);
        let mut line = String::new();
        // It names the paths that it follows first.
        while !line.contains("attached") {
            line.clear();
            if said.read_line(&mut line).ok()? == 0 || line.contains("ptrace") {
                eprintln!("not run: needs strace, and leave to use it: {line}");
                let _ = strace.wait();
                return None;
            }
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

    fn has_happened(&self) -> bool {
        self.failed.lock().unwrap().is_some()
    }

    /// The call that failed, if there were as many.
    fn end(mut self) -> Option<String> {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        self.failed.lock().unwrap().clone()
    }
}

/// The thread that owns the store. It gets its name soon after it was started.
fn store_thread(program: &Program) -> OsString {
    let tasks = format!("/proc/{}/task", program.child.id());
    let is_store = |task: &Path| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == "store")
    };
    let find = || {
        let tasks = fs::read_dir(&tasks).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        tasks.find(|task| is_store(task))
    };
    wait::until("the store thread has its name", || find().is_some());
    find().unwrap().file_name().unwrap().to_owned()
}

/// Does an exchange; `None` if it did not get to its end. The client of the test kit panics when
/// the server ends within the exchange.
pub(crate) fn attempt<T>(exchange: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(exchange)).ok()
}

/// Replaces a btoken; false if that was not confirmed.
pub(crate) fn replace(program: &Program, account: [u8; 8], btoken: &[u8]) -> bool {
    let exchange = || {
        let mut client = program.connect();
        client.greet();
        client.send(&update(account, TOKEN));
        client.take_btoken().unwrap();
        client.send(&[upload(btoken).as_slice(), &account].concat());
        client.end() == End::clean()
    };
    attempt(exchange).unwrap_or(false)
}

/// Deletes an account; false if that was not confirmed.
fn delete(program: &Program, account: [u8; 8]) -> bool {
    let exchange = || {
        let mut client = program.connect();
        client.greet();
        client.send(&reset(account, TOKEN));
        client.end() == End::clean()
    };
    attempt(exchange).unwrap_or(false)
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
        let Some(fault) = Fault::plan(&program, "fsync,fdatasync", "EIO", number) else {
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

/// What each run begins with: a store with two accounts.
struct Start {
    dir: tempfile::TempDir,
    kept: [u8; 8],
    deleted: [u8; 8],
}

impl Start {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = start(dir.path(), &[]);
        let kept = program.create(b"first");
        let deleted = program.create(b"to be deleted");
        program.stop();
        Self { dir, kept, deleted }
    }

    /// Lets one call fail, and checks what the server did. `None`: there are fewer calls, or no
    /// strace. Otherwise what the server did.
    fn run(&self, call: &str, error: &str, number: u32) -> Option<Then> {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        let mut program = start(dir.path(), &[]);
        let fault = Fault::plan(&program, call, error, number)?;
        let created = attempt(|| program.create(b"created"));
        // The last confirmed btoken, and one whose outcome is unknown.
        let (mut confirmed, mut asked) = (b"first".to_vec(), b"first".to_vec());
        for change in 0..3 {
            asked = vec![change; 4000 + usize::from(change)];
            if !replace(&program, self.kept, &asked) {
                break;
            }
            confirmed.clone_from(&asked);
        }
        let is_deleted = delete(&program, self.deleted);
        let begun = Instant::now();
        let ended = loop {
            let ended = program.child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > TIDY_MAX {
                break ended;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if ended.is_some() {
            wait::until("strace names the call that failed", || fault.has_happened());
        }
        let has_happened = fault.has_happened();
        let mut is_stuck = false;
        match ended {
            None => {
                // The call failed once, so the next change is confirmed.
                asked = b"after the fault".to_vec();
                if replace(&program, self.kept, &asked) {
                    confirmed.clone_from(&asked);
                } else {
                    is_stuck = true;
                }
                program.kill();
            }
            Some(status) => {
                assert!(
                    has_happened && !status.success(),
                    "{call} {number}: {status}"
                );
                program.wait_for_log("hint=\"look at the system's log");
                if OF_THE_DISK.contains(&call) {
                    // What cannot be read is not called damage.
                    program.wait_for_log("the store failed: the disk reports an I/O error");
                }
            }
        }
        let what = format!("{call} {number} {error}: {:?}", fault.end());

        let program = start(dir.path(), &[]);
        let found = program.fetch(self.kept);
        assert!(
            found.as_ref() == Some(&confirmed) || found.as_ref() == Some(&asked),
            "{what}: a confirmed btoken is gone"
        );
        if let Some(created) = created {
            let found = program.fetch(created);
            assert_eq!(found.as_deref(), Some(b"created".as_slice()), "{what}");
        }
        let found = program.fetch(self.deleted);
        assert!(found.is_none() || !is_deleted, "{what}: revived");
        program.kill();
        has_happened.then_some(match ended {
            Some(_) => Then::Ended,
            None if is_stuck => Then::Stuck,
            None => Then::WentOn,
        })
    }

    /// Lets each of these calls fail, one in each run.
    fn run_all(&self, call: &str, error: &str) -> Counts {
        let next = AtomicU32::new(1);
        let (ended, stuck) = (AtomicU32::new(0), AtomicU32::new(0));
        let last = AtomicU32::new(u32::MAX);
        std::thread::scope(|scope| {
            for _ in 0..RUNS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number > last.load(Ordering::Relaxed) {
                            return;
                        }
                        match self.run(call, error, number) {
                            Some(Then::Ended) => drop(ended.fetch_add(1, Ordering::Relaxed)),
                            Some(Then::Stuck) => drop(stuck.fetch_add(1, Ordering::Relaxed)),
                            Some(Then::WentOn) => {}
                            None => drop(last.fetch_min(number - 1, Ordering::Relaxed)),
                        }
                    }
                });
            }
        });
        let counts = Counts {
            calls: last.load(Ordering::Relaxed),
            ended: ended.into_inner(),
            stuck: stuck.into_inner(),
        };
        println!("{call} {error}: {counts:?}");
        counts
    }
}

/// What the server did after a fault.
#[derive(Debug, Clone, Copy)]
enum Then {
    Ended,
    /// It stays, and confirms nothing.
    Stuck,
    WentOn,
}

/// The runs of one system call.
#[derive(Debug, Clone, Copy)]
struct Counts {
    /// The calls of one run, each of which failed in a run of its own. 0: there is no strace.
    calls: u32,
    /// The runs in which the server ended.
    ended: u32,
    /// The runs in which it stayed, and confirmed nothing.
    stuck: u32,
}

#[test]
fn a_write_that_fails_loses_nothing_confirmed() {
    let counts = Start::make().run_all("pwrite64", "EIO");
    assert!(counts.calls == 0 || counts.calls > 20, "{counts:?}");
    assert_eq!(counts.ended, counts.calls);
}

#[test]
fn a_write_to_a_full_disk_loses_nothing_confirmed() {
    let counts = Start::make().run_all("pwrite64", "ENOSPC");
    assert!(counts.calls == 0 || counts.calls > 20, "{counts:?}");
    assert_eq!((counts.ended, counts.stuck), (0, 0));
}

#[test]
fn a_read_that_fails_loses_nothing_confirmed() {
    assert_eq!(Start::make().run_all("pread64", "EIO").stuck, 0);
}

/// SQLite does not notice that a lock was not given back. Then the store stays busy, and nothing is
/// confirmed until the server is started again.
#[test]
fn a_lock_that_fails_loses_nothing_confirmed() {
    Start::make().run_all("fcntl", "EIO");
}

#[test]
fn another_call_that_fails_loses_nothing_confirmed() {
    let start = Start::make();
    for call in [
        "fdatasync",
        "fsync",
        "ftruncate",
        "openat",
        "newfstatat",
        "statx",
        "close",
        "unlink",
        "mmap",
        "munmap",
        "fallocate",
    ] {
        assert_eq!(start.run_all(call, "EIO").stuck, 0, "{call}");
    }
}
