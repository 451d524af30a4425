//! Servers in processes of their own, and their cost as the kernel counts it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A running server. It is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The certificate to trust, in PEM; empty without TLS.
    pub(crate) pem: String,
    /// Time from the start of the process until it accepts connections.
    pub(crate) ready_after: Duration,
}

/// The path of another program of this package.
pub(crate) fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// The running program, even if a build has replaced its file meanwhile.
pub(crate) fn itself() -> anyhow::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        Ok(running)
    } else {
        Ok(std::env::current_exe()?)
    }
}

impl Server {
    /// Starts `passmate-server` on this data dir.
    pub(crate) fn passmate(data_dir: &Path) -> anyhow::Result<Self> {
        Self::passmate_with(data_dir, &[])
    }

    /// Starts `passmate-server` with more options.
    pub(crate) fn passmate_with(data_dir: &Path, options: &[&str]) -> anyhow::Result<Self> {
        Self::passmate_of(&sibling("bench-passmate-server")?, data_dir, options)
    }

    /// Starts this `passmate-server`.
    pub(crate) fn passmate_of(
        program: &Path,
        data_dir: &Path,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--accounts-max",
            "10000000",
        ]);
        if !options.contains(&"--connections-max") {
            command.args(["--connections-max", "20000"]);
        }
        command.arg("--data-dir").arg(data_dir).args(options);
        let log = fs::File::create(data_dir.join("log"))?;
        let mut server = Self::start(command.stderr(log), "    passmate sync setup")?;
        server.pem = fs::read_to_string(data_dir.join("cert.pem"))?;
        Ok(server)
    }

    /// Starts a bare server by the name of its command.
    pub(crate) fn bare(name: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(itself()?);
        Self::start(command.arg(name), "ready")
    }

    /// Starts a server. It prints its address, and a line that begins with `last` when it is ready.
    fn start(command: &mut Command, last: &str) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server")?;
        let lines = BufReader::new(
            child
                .stdout
                .take()
                .context("the server has no standard output")?,
        )
        .lines();
        let mut server = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            pem: String::new(),
            ready_after: Duration::ZERO,
        };
        for line in lines {
            let line = line?;
            if line.starts_with(last) {
                server.ready_after = begun.elapsed();
                return Ok(server);
            }
            match line.strip_prefix("listening on ") {
                Some(rest) => {
                    server.address = rest.split(' ').next().unwrap_or_default().parse()?
                }
                None => server.pem.push_str(&format!("{line}\n")),
            }
        }
        bail!("the server ended before it was ready")
    }

    /// User and system time of all threads of the server so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end after it was listed.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            total += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        status_kib(&format!("/proc/{}/status", self.child.id()), "VmRSS:").map(|kib| kib * 1024)
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> anyhow::Result<usize> {
        // The server's process cannot be dumped, so the kernel shows its descriptors to root only.
        let found = fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .context("cannot count the server's descriptors: run this as root")?;
        Ok(found.count())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A value in KiB from a `status` file in `/proc`.
pub(crate) fn status_kib(path: &str, key: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(path)?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .with_context(|| format!("{path} has no line {key}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

/// Flush requests to the disk of `path` since the system started. `None` if the kernel does not
/// count them, as for file systems in memory.
pub(crate) fn flushes(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let device = fs::metadata(path).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    stat.split_whitespace().nth(15)?.parse().ok()
}
