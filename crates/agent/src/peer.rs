//! The program on the other side of a socket, as the system names it. A program may call itself
//! anything; its file and its parents are what the system says.

use std::fmt;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use passmate_core::escape::escape;

/// How many parents are named.
const PARENTS_MAX: usize = 4;

/// A process. Its number may belong to another one once it has ended; with the time of its start it
/// does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it was started, in ticks since the start of the machine.
    pub started: u64,
    /// Its program's file.
    pub program: Option<PathBuf>,
}

impl Process {
    /// The process of this number; `None` where the system does not say.
    fn of(pid: i32) -> Option<(Self, i32)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let process = Self {
            pid,
            started,
            program,
        };
        Some((process, parent))
    }

    /// Whether it runs still.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|(process, _)| process.started == self.started)
    }

    fn name(&self) -> String {
        let program = self.program.as_deref().unwrap_or(Path::new("a program"));
        let name = program.file_name().unwrap_or(program.as_os_str());
        escape(&name.to_string_lossy())
    }
}

/// Who asks: a process and its parents, the nearest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    processes: Vec<Process>,
}

impl Peer {
    /// The process that made this connection, and its parents.
    #[must_use]
    pub fn of(stream: &UnixStream) -> Self {
        let mut next = pid_of(stream);
        let mut processes = Vec::new();
        while let Some((process, parent)) = next.and_then(Process::of)
            && processes.len() <= PARENTS_MAX
        {
            processes.push(process);
            next = (parent > 1).then_some(parent);
        }
        Self { processes }
    }

    /// The nearest process that is not a command of this program itself: it is the one that wants
    /// something. `None` where the system does not say.
    #[must_use]
    pub fn asker(&self) -> Option<&Process> {
        let own = std::env::current_exe().ok();
        let is_own = |process: &&Process| process.program.is_some() && process.program == own;
        let asker = self.processes.iter().find(|process| !is_own(process));
        asker.or(self.processes.first())
    }
}

/// Its program with its number, and the programs that started it.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(asker) = self.asker() else {
            return write!(f, "a program");
        };
        match &asker.program {
            Some(program) => write!(f, "{}", escape(&program.display().to_string()))?,
            None => write!(f, "a program")?,
        }
        write!(f, " (process {}", asker.pid)?;
        let place = self.processes.iter().position(|process| process == asker);
        let parents = self.processes.iter().skip(place.unwrap_or(0) + 1);
        let parents: Vec<_> = parents.map(Process::name).collect();
        if !parents.is_empty() {
            write!(f, ", started by {}", parents.join(", by "))?;
        }
        write!(f, ")")
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn pid_of(stream: &UnixStream) -> Option<i32> {
    let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
    Some(peer.pid.as_raw_nonzero().get())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn pid_of(_: &UnixStream) -> Option<i32> {
    None
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn the_asker_is_this_test_and_its_parent_is_named() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one);
        let own = peer.processes.first().unwrap();
        assert_eq!(own.pid, rustix::process::getpid().as_raw_nonzero().get());
        assert_eq!(own.program, std::env::current_exe().ok());
        assert!(own.is_alive());
        let another = Process {
            started: own.started + 1,
            ..own.clone()
        };
        assert!(!another.is_alive(), "the number was used again");
        // This program stands for `passmate`, and whoever started it asks.
        let asker = peer.asker().unwrap();
        assert_ne!(asker.pid, own.pid);
        assert!(
            peer.to_string()
                .contains(&format!("(process {}", asker.pid))
        );
    }
}
