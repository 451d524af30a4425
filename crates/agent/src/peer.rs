//! The program on the other side of a socket, as the system names it. A program may call itself
//! anything; its file and its parents are what the system says.
//!
//! Of a `passmate` that runs for somebody other than root, the system does not say the file either,
//! because no other program may look into it. Then its name decides. A program that takes this name
//! passes for the one that started it, as `passmate` does that it starts in its own place.

use std::fmt;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use passmate_core::escape::escape;

/// How many parents are named.
const PARENTS_MAX: usize = 4;
/// Who becomes the parent of a process whose own parent has ended. They ask for nothing.
const ADOPTERS: [&str; 3] = ["systemd", "init", "launchd"];
/// How much of a name the system keeps, in bytes.
const NAME_LEN_MAX: usize = 15;

/// A process. Its number may belong to another one once it has ended; with the time of its start it
/// does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it was started, in ticks since the start of the machine.
    pub started: u64,
    /// Its program's file; `None` if the system does not say.
    pub program: Option<PathBuf>,
    /// The name that it goes by, which it may change.
    pub name: String,
}

impl Process {
    /// The process of this number; `None` where the system does not say.
    fn of(pid: i32) -> Option<(Self, i32)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let (named, fields) = stat.rsplit_once(')')?;
        let (_, name) = named.split_once('(')?;
        let mut fields = fields.split_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let process = Self {
            pid,
            started,
            program,
            name: name.to_owned(),
        };
        Some((process, parent))
    }

    /// Whether it runs still.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|(process, _)| process.started == self.started)
    }

    /// Whether this is a command of the program at `own`.
    fn is_command_of(&self, own: &Path) -> bool {
        let kept = |name: &str| {
            name.as_bytes()
                .iter()
                .take(NAME_LEN_MAX)
                .copied()
                .collect::<Vec<_>>()
        };
        match &self.program {
            Some(program) => program == own,
            None => own
                .file_name()
                .is_some_and(|name| kept(&name.to_string_lossy()) == self.name.as_bytes()),
        }
    }

    fn file(&self) -> String {
        match &self.program {
            Some(program) => escape(&program.display().to_string()),
            None => escape(&self.name),
        }
    }

    fn short_name(&self) -> String {
        let name = self.program.as_deref().and_then(Path::file_name);
        name.map_or_else(
            || escape(&self.name),
            |name| escape(&name.to_string_lossy()),
        )
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
            && !ADOPTERS.contains(&process.name.as_str())
            && processes.len() <= PARENTS_MAX
        {
            processes.push(process);
            next = (parent > 1).then_some(parent);
        }
        Self { processes }
    }

    /// The nearest process that is not a command of this program itself: it is the one that wants
    /// something. `None` if it has ended, or where the system does not say.
    #[must_use]
    pub fn asker(&self) -> Option<&Process> {
        self.processes.get(self.asker_place()?)
    }

    fn asker_place(&self) -> Option<usize> {
        let own = std::env::current_exe().unwrap_or_default();
        // Only the process that connected may be a command: whatever else goes by its name asks.
        let is_command = self.processes.first()?.is_command_of(&own);
        let place = usize::from(is_command);
        self.processes.get(place).map(|_| place)
    }
}

/// Its program with its number, and the programs that started it.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(nearest), place) = (self.processes.first(), self.asker_place()) else {
            return write!(f, "a program that the system does not name");
        };
        let Some((place, asker)) =
            place.and_then(|place| Some((place, self.processes.get(place)?)))
        else {
            return write!(
                f,
                "a program that has ended, through {} (process {}),",
                nearest.file(),
                nearest.pid
            );
        };
        write!(f, "{} (process {}", asker.file(), asker.pid)?;
        let parents = self.processes.iter().skip(place + 1);
        let parents: Vec<_> = parents.map(Process::short_name).collect();
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
    fn process(pid: i32, name: &str, program: Option<&Path>) -> Process {
        Process {
            pid,
            started: 1,
            program: program.map(Path::to_owned),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_command_whose_file_is_not_told_is_known_by_its_name() {
        let own = std::env::current_exe().unwrap();
        let name = own.file_name().unwrap().to_string_lossy();
        let kept = name.get(..NAME_LEN_MAX).unwrap_or(&name);
        let shell = process(7, "bash", Some(Path::new("/bin/bash")));
        let told = process(9, "x", Some(&own));
        for command in [process(9, kept, None), told] {
            let peer = Peer {
                processes: vec![command, shell.clone()],
            };
            assert_eq!(peer.asker(), Some(&shell));
            assert_eq!(peer.to_string(), "/bin/bash (process 7)");
        }
        let another = process(9, "another", None);
        let peer = Peer {
            processes: vec![another.clone(), shell],
        };
        assert_eq!(peer.asker(), Some(&another));
        assert_eq!(peer.to_string(), "another (process 9, started by bash)");
    }

    #[test]
    fn nobody_asks_for_a_command_whose_parent_has_ended() {
        let own = std::env::current_exe().unwrap();
        let peer = Peer {
            processes: vec![process(9, "x", Some(&own))],
        };
        assert_eq!(peer.asker(), None);
        let said = peer.to_string();
        assert!(
            said.starts_with("a program that has ended, through "),
            "{said}"
        );
        assert!(said.ends_with("(process 9),"), "{said}");
    }

    #[test]
    fn what_goes_by_the_name_of_passmate_and_starts_it_asks() {
        let own = std::env::current_exe().unwrap();
        let name = own.file_name().unwrap().to_string_lossy().into_owned();
        let kept = name.get(..NAME_LEN_MAX).unwrap_or(&name);
        let posing = process(8, kept, None);
        let shell = process(7, "bash", Some(Path::new("/bin/bash")));
        let peer = Peer {
            processes: vec![process(9, kept, None), posing.clone(), shell],
        };
        assert_eq!(peer.asker(), Some(&posing));
    }
}
