//! What is left of an unlocked vault in the memory of the agent. Only root may look.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::getuid;
use tempfile::TempDir;

const PASSPHRASE: &str = "canary of the master passphrase";
const PASSWORD: &str = "canary of a password";

/// A person with one record, and an agent in the foreground.
struct Agent {
    dir: TempDir,
    process: Child,
}

impl Agent {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("passphrase"), PASSPHRASE).unwrap();
        fs::write(dir.path().join("password"), PASSWORD).unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        run(
            dir.path(),
            "passmate init && passmate set web/shop password < password",
        );
        // The limit is that of a person who raised it.
        let agent = "ulimit -l unlimited 2> /dev/null || true; exec passmate agent run";
        let mut process = shell(dir.path(), agent);
        let process = process.stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !dir.path().join("run/passmate/agent.sock").exists() {
            assert!(Instant::now() < deadline, "the agent did not start");
            sleep(Duration::from_millis(20));
        }
        Self { dir, process }
    }

    fn run(&self, line: &str) {
        run(self.dir.path(), line);
    }

    /// How often a text stands in its memory.
    fn count(&self, text: &str) -> usize {
        let process = format!("/proc/{}", self.process.id());
        let memory = File::open(format!("{process}/mem")).unwrap();
        let maps = fs::read_to_string(format!("{process}/maps")).unwrap();
        let counts = maps
            .lines()
            .filter(|line| line.contains(" rw"))
            .map(|line| {
                let (range, _) = line.split_once(' ').unwrap();
                let (start, end) = range.split_once('-').unwrap();
                let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
                let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
                // Some ranges cannot be read, such as guards of stacks.
                let len = memory.read_at(&mut bytes, start).unwrap_or(0);
                let windows = bytes[..len].windows(text.len());
                windows.filter(|window| *window == text.as_bytes()).count()
            });
        counts.sum()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn shell(home: &Path, line: &str) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_passmate")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-ec", line]).current_dir(home).env_clear();
    shell.env("PATH", format!("{}:{path}", programs.display()));
    shell
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home.join("run"));
    shell.env("PASSMATE_PASSPHRASE_FILE", "passphrase");
    shell
}

#[track_caller]
fn run(home: &Path, line: &str) {
    let output = shell(home, line).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

#[test]
fn a_locked_vault_leaves_nothing_in_memory() {
    if !getuid().is_root() {
        eprintln!("not run: needs root");
        return;
    }
    let agent = Agent::start();
    agent.run("passmate unlock && passmate show web/shop password");
    assert!(
        agent.count(PASSPHRASE) > 0,
        "this test looks in the right place"
    );
    // Writes derive keys, and a search, a sync and an audit read all values.
    agent.run("passmate new web/other && passmate find shop && passmate audit || true");
    // A copy in a folder is compressed if the vault is long enough.
    let note = "line of a note\n".repeat(1000);
    fs::write(agent.dir.path().join("note"), note).unwrap();
    agent.run("passmate set web/shop notes < note && mkdir box");
    agent.run("passmate sync setup --folder box && passmate sync");
    let copies = fs::read_dir(agent.dir.path().join("box")).unwrap();
    let copies: Vec<u64> = copies
        .map(|copy| copy.unwrap().metadata().unwrap().len())
        .collect();
    assert!(matches!(copies[..], [len] if len < 8192), "{copies:?}");
    agent.run("passmate lock");
    assert_eq!(agent.count(PASSPHRASE), 0);
    assert_eq!(agent.count(PASSWORD), 0);
}

#[test]
fn an_agent_without_a_limit_on_locked_memory_stays_out_of_swap() {
    if !getuid().is_root() {
        eprintln!("not run: needs root");
        return;
    }
    let agent = Agent::start();
    let of_agent =
        |file| fs::read_to_string(format!("/proc/{}/{file}", agent.process.id())).unwrap();
    let limits = of_agent("limits");
    let limit = limits.lines().find(|line| line.contains("locked memory"));
    if !limit.unwrap().contains("unlimited") {
        eprintln!("not run: nobody here may lock as much memory as they like");
        return;
    }
    let status = of_agent("status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    assert_ne!(locked.unwrap().trim(), "0 kB");
    // A key derivation still gets its memory.
    agent.run("passmate unlock && passmate new web/other");
}
