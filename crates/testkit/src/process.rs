//! `passmate-server` in a process of its own, started as an operator starts it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::EVENT_TIME_MAX;
use crate::wire::{Client, End, TLS13, TOKEN, create, update, upload};

/// A running `passmate-server serve`, killed when the test ends.
pub struct Program {
    pub child: Child,
    /// The text that it printed at start.
    pub greeting: String,
    /// The addresses that it listens on, in the order of the greeting.
    pub addresses: Vec<SocketAddr>,
    pub data_dir: PathBuf,
    log: Arc<Log>,
}

/// The log of a running program, read by a thread.
#[derive(Default)]
struct Log {
    /// The text so far, and whether that is all of it.
    text: Mutex<(String, bool)>,
    grown: Condvar,
}

impl Log {
    fn read(stderr: ChildStderr) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let reading = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                reading.text.lock().unwrap().0 += &(line + "\n");
                reading.grown.notify_all();
            }
            reading.text.lock().unwrap().1 = true;
            reading.grown.notify_all();
        });
        log
    }

    /// Waits until the log is what the test waits for, and returns it.
    fn wait(&self, is_so: impl Fn(&str, bool) -> bool) -> String {
        let text = self.text.lock().unwrap();
        let waited = self
            .grown
            .wait_timeout_while(text, EVENT_TIME_MAX, |(text, is_all)| !is_so(text, *is_all));
        let (text, timed_out) = waited.unwrap();
        assert!(
            !timed_out.timed_out(),
            "the log does not have it: {}",
            text.0
        );
        text.0.clone()
    }
}

/// `serve` of this program, without variables of this process, so that its log has the level `info`.
pub fn command(program: &str, data_dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PASSMATE_SERVER_DATA_DIR", data_dir)
        .arg("serve");
    command
}

impl Program {
    /// On a free port of 127.0.0.1, layout 1.
    pub fn start(program: &str, data_dir: &Path, more: &[&str]) -> Self {
        let mut command = command(program, data_dir);
        command.args(["--listen", "127.0.0.1:0"]).args(more);
        Self::spawn(command, data_dir)
    }

    pub fn spawn(mut command: Command, data_dir: &Path) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::read(child.stderr.take().unwrap());
        let mut greeting = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !greeting.contains("passmate sync setup") {
            if lines.read_line(&mut greeting).unwrap() == 0 {
                let complaint = log.wait(|_, is_all| is_all);
                panic!("it did not start: {greeting}{complaint}");
            }
        }
        let addresses = greeting
            .lines()
            .filter_map(|line| line.strip_prefix("listening on ")?.split(' ').next())
            .map(|address| address.parse().unwrap())
            .collect();
        Self {
            child,
            greeting,
            addresses,
            data_dir: data_dir.to_owned(),
            log,
        }
    }

    pub fn connect(&self) -> Client {
        self.try_connect().unwrap()
    }

    pub fn try_connect(&self) -> std::io::Result<Client> {
        Client::try_connect(self.address(), &self.certificate(), 1, &TLS13)
    }

    pub fn greeted(&self) -> Client {
        let mut client = self.connect();
        client.greet();
        client
    }

    pub fn create(&self, btoken: &[u8]) -> [u8; 8] {
        let mut client = self.greeted();
        client.send(&create(btoken));
        let account = client.take(8).try_into().unwrap();
        assert_eq!(client.end(), End::clean());
        account
    }

    /// Replaces the btoken of an account.
    pub fn replace(&self, account: [u8; 8], btoken: &[u8]) {
        let mut client = self.greeted();
        client.send(&update(account, TOKEN));
        client.take_btoken().unwrap();
        client.send(&[upload(btoken).as_slice(), &account].concat());
        assert_eq!(client.end(), End::clean());
    }

    /// The btoken of an account; none if the server refuses it, or lets nobody in.
    pub fn fetch(&self, account: [u8; 8]) -> Option<Vec<u8>> {
        let mut client = self.try_connect().ok()?;
        client.greet();
        client.send(&update(account, TOKEN));
        client.take_btoken()
    }

    /// The first address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The certificate that it shows.
    pub fn certificate(&self) -> PathBuf {
        self.data_dir.join("cert.pem")
    }

    /// The pin that it printed.
    pub fn pin(&self) -> &str {
        let pin = self
            .greeting
            .lines()
            .find_map(|line| line.strip_prefix("pin "));
        pin.expect("the greeting has a pin")
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Kills it at once, as the system does when memory runs out.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it as an operator does.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        self.wait(Duration::from_secs(20));
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until the program exits.
    pub fn wait(&mut self, most: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < most, "the program is still running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the log has this text.
    pub fn wait_for_log(&self, part: &str) {
        self.log.wait(|text, _| text.contains(part));
    }

    /// The log so far.
    pub fn log_so_far(&self) -> String {
        self.log.wait(|_, _| true)
    }

    /// Ends the program and returns its whole log.
    pub fn log(mut self) -> String {
        self.signal(Signal::TERM);
        let log = self.log.wait(|_, is_all| is_all);
        self.child.wait().unwrap();
        log
    }

    /// The largest resident memory so far, in bytes.
    pub fn memory_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs an operator command on a data dir.
pub fn operate(program: &str, data_dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .env_clear()
        .args(words)
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// The output of a command that must succeed.
#[track_caller]
pub fn ok(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Checks that a command ended with this code, and with an error and a hint.
#[track_caller]
pub fn failed(output: &Output, code: i32, part: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(
        text.contains(part) && text.contains("passmate-server: hint: "),
        "{text}"
    );
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
