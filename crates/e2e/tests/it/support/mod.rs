//! A real server in a process of its own, and what every test does with it.

pub(crate) mod device;
pub(crate) mod exchange;
pub(crate) mod program;
pub(crate) mod terminal;
pub(crate) mod transcript;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use passmate_vault::Pin;
use program::{Said, finish};
use rustix::process::{Pid, Signal, kill_process};

/// A running `passmate-server serve`. It is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// The text that it printed when it started.
    pub(crate) greeting: String,
    /// The addresses that it listens on, layout 1 first.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) data_dir: PathBuf,
    pub(crate) pin: Pin,
}

impl Server {
    /// Starts a server with layout 1 on a free port of 127.0.0.1.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &["--listen", "127.0.0.1:0"])
    }

    pub(crate) fn start_with(data_dir: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_e2e-passmate-server"));
        command
            .env_clear()
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .args(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut greeting = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !greeting.contains("passmate sync setup") {
            if lines.read_line(&mut greeting).unwrap() == 0 {
                let mut complaint = String::new();
                child
                    .stderr
                    .take()
                    .unwrap()
                    .read_to_string(&mut complaint)
                    .unwrap();
                panic!("the server did not start: {greeting}{complaint}");
            }
        }
        // Read the log, or the server would block when the pipe is full.
        let mut log = child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let after = |prefix: &'static str| {
            greeting
                .lines()
                .filter_map(move |line| line.strip_prefix(prefix))
        };
        let addresses = after("listening on ")
            .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
            .collect();
        let pin = after("pin ").next().unwrap().parse().unwrap();
        Self {
            child,
            addresses,
            data_dir: data_dir.to_owned(),
            pin,
            greeting: greeting.clone(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.data_dir.join("cert.pem")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Kills it at once, as the system does when memory runs out.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(mut self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the server does not stop"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Runs a command of `passmate-server` other than `serve`, as an operator does while a server runs.
pub(crate) fn operate(data_dir: &Path, words: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e-passmate-server"));
    finish(
        command
            .env_clear()
            .args(words)
            .arg("--data-dir")
            .arg(data_dir),
        "",
    )
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
