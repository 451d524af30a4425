//! Where the agent's socket is. The rules are:
//!  - its folder belongs to this user, and nobody else may enter it: both sides check that;
//!  - a folder that somebody else made is an error, never repaired;
//!  - one agent runs for each folder: it holds a lock file there.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use listenfd::ListenFd;
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use rustix::process::getuid;

/// The socket's file name.
const SOCKET: &str = "agent.sock";
/// The file name of the socket for SSH.
const SSH_SOCKET: &str = "ssh.sock";
/// The lock's file name. Its content is the number of the agent's process.
const LOCK: &str = "agent.lock";
/// How long an agent that ends may keep its lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long a connection waits while too many others do.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// The folder of an agent's socket.
#[derive(Debug, Clone)]
pub struct AgentPlace {
    folder: PathBuf,
}

impl AgentPlace {
    /// The place of this user's agent: `passmate` in `$XDG_RUNTIME_DIR`, or a folder in the home
    /// folder; `None` if the environment names neither.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let folder = |variable| {
            let folder = std::env::var_os(variable).map(PathBuf::from);
            folder.filter(|folder| folder.is_absolute())
        };
        let runtime = folder("XDG_RUNTIME_DIR").map(|runtime| runtime.join("passmate"));
        let home = || folder("HOME").map(|home| home.join(".local/state/passmate-agent"));
        let folder = runtime.or_else(home)?;
        Some(Self { folder })
    }

    /// A place in this folder.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// The socket for programs of SSH: what `SSH_AUTH_SOCK` names.
    #[must_use]
    pub fn ssh_socket(&self) -> PathBuf {
        self.folder.join(SSH_SOCKET)
    }

    /// Makes the folder if it is missing, takes the place of the agent, and listens.
    pub(crate) fn listen(&self) -> Result<Listening, Problem> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        made.map_err(|error| failed("make the folder", &self.folder, &error))?;
        self.check()?;
        let path = self.folder.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed("open", &path, &error))?;
        let socket = self.socket();
        take(&lock, &socket).map_err(|error| match error {
            TryLockError::WouldBlock => Problem::new(
                ProblemKind::Exists,
                "an agent of this user runs already",
                "`passmate agent status` says what it holds, and `passmate agent stop` ends it",
            ),
            TryLockError::Error(error) => failed("lock", &path, &error),
        })?;
        // Nothing but a hint needs it.
        let _ = write_process(&lock);
        if let Some(listener) = inherited(&socket)? {
            return Ok(Listening {
                listener,
                socket: SocketFile::at(socket),
                is_ours: false,
                _lock: lock,
            });
        }
        // It belongs to no agent that lives.
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("remove", &socket, &error));
            }
            _ => {}
        }
        let listen = || {
            let listener = UnixListener::bind(&socket)?;
            fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener = listen().map_err(|error| failed("listen on", &socket, &error))?;
        Ok(Listening {
            listener,
            socket: SocketFile::at(socket),
            is_ours: true,
            _lock: lock,
        })
    }

    /// A connection to the agent; `None` if none runs.
    pub(crate) fn connect(&self) -> Result<Option<UnixStream>, Problem> {
        match fs::symlink_metadata(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("look at", &self.folder, &error)),
            Ok(_) => self.check()?,
        }
        let socket = self.socket();
        match connect(&socket) {
            Ok(stream) if is_own_peer(&stream) => Ok(Some(stream)),
            Ok(_) => Err(Problem::new(
                ProblemKind::NotTrusted,
                format!("another user listens on {}", shown(&socket)),
                "nothing was sent; remove the file",
            )),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed("connect to", &socket, &error)),
        }
    }

    /// The process of the agent, as far as is known.
    pub(crate) fn process(&self) -> Option<u32> {
        let mut number = String::new();
        let lock = File::open(self.folder.join(LOCK)).ok()?;
        lock.take(16).read_to_string(&mut number).ok()?;
        number.trim().parse().ok()
    }

    /// Whether the folder is one that only this user can enter.
    fn check(&self) -> Result<(), Problem> {
        let found = fs::symlink_metadata(&self.folder);
        let found = found.map_err(|error| failed("look at", &self.folder, &error))?;
        let is_own = found.is_dir() && found.uid() == getuid().as_raw();
        if is_own && found.mode() & 0o077 == 0 {
            return Ok(());
        }
        Err(Problem::new(
            ProblemKind::NotTrusted,
            format!(
                "the agent's folder {} is not a folder that only you can enter",
                shown(&self.folder)
            ),
            "look who made it and remove it, or set XDG_RUNTIME_DIR to a folder of your own",
        ))
    }
}

/// Takes the lock of an agent. One that was killed may have it for a moment more, and does not answer
/// then.
fn take(lock: &File, socket: &Path) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock)
                if begun.elapsed() < LOCK_PATIENCE && connect(socket).is_err() =>
            {
                thread::sleep(PAUSE);
            }
            taken => return taken,
        }
    }
}

fn write_process(mut lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

/// Connects to a socket. Where too many others wait already, Linux would keep this one waiting
/// without end.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn connect(socket: &Path) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
    let address = SocketAddrUnix::new(socket)?;
    let begun = Instant::now();
    loop {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let end = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&end, &address) {
            Ok(()) => {
                let stream = UnixStream::from(end);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(rustix::io::Errno::AGAIN) if begun.elapsed() < CONNECT_PATIENCE => {
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Connects to a socket. Where too many others wait already, the system says so.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn connect(socket: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(socket)
}

/// The socket that systemd listens on for the agent, if it is at the agent's place.
fn inherited(socket: &Path) -> Result<Option<UnixListener>, Problem> {
    let inherited = ListenFd::from_env().take_unix_listener(0);
    let Some(listener) = inherited.map_err(|error| failed("listen on", socket, &error))? else {
        return Ok(None);
    };
    let address = listener
        .local_addr()
        .map_err(|error| failed("listen on", socket, &error))?;
    if address.as_pathname() == Some(socket) {
        return Ok(Some(listener));
    }
    Err(Problem::new(
        ProblemKind::Usage,
        format!(
            "the socket that systemd hands over is not {}",
            shown(socket)
        ),
        "commands look for it there: correct ListenStream in the socket unit",
    ))
}

/// The file of a socket. Another agent may have a file of the same name once the folder was made
/// anew.
#[derive(Debug, Clone)]
pub(crate) struct SocketFile {
    pub(crate) path: PathBuf,
    /// Its device and its number there.
    id: Option<(u64, u64)>,
}

impl SocketFile {
    fn at(path: PathBuf) -> Self {
        let id = id_of(&path);
        Self { path, id }
    }

    /// Whether clients that look for it find it.
    pub(crate) fn is_there(&self) -> bool {
        self.id.is_some() && id_of(&self.path) == self.id
    }
}

fn id_of(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// The socket of a running agent. One that this agent made goes with this value.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) listener: UnixListener,
    pub(crate) socket: SocketFile,
    /// Otherwise systemd listens on.
    is_ours: bool,
    _lock: File,
}

impl Listening {
    pub(crate) fn again(&self) -> Result<UnixListener, Problem> {
        let again = self.listener.try_clone();
        again.map_err(|error| failed("listen on", &self.socket.path, &error))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if self.is_ours && self.socket.is_there() {
            // The next agent removes what is left.
            let _ = fs::remove_file(&self.socket.path);
        }
    }
}

/// Whether the process on the other side is of this user.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn is_own_peer(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == getuid())
}

/// The system does not say who is on the other side: the folder's mode alone keeps others away.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn is_own_peer(_: &UnixStream) -> bool {
    true
}

fn shown(path: &Path) -> String {
    escape(&path.display().to_string())
}

pub(crate) fn failed(doing: &str, path: &Path, error: &io::Error) -> Problem {
    Problem::new(
        ProblemKind::File,
        format!("cannot {doing} {}: {error}", shown(path)),
        "check XDG_RUNTIME_DIR; without an agent every command asks for the passphrase",
    )
}
