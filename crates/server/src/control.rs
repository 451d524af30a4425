//! The control socket: what an operator command asks of the running server, beside the database.
//!
//! It is a socket in the data dir that only the server's user and root may use. A request is one
//! line of JSON, and so is the answer. Both have a greatest length and a deadline.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;

/// The socket in the data dir.
const NAME: &str = "control.sock";
/// The greatest length of a request and of an answer, in bytes.
const REQUEST_LEN_MAX: u64 = 1 << 10;
const ANSWER_LEN_MAX: usize = 1 << 20;
/// How long a request and its answer may take.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Requests at the same time. A command that is stopped within its request holds up no other.
const REQUESTS_MAX: usize = 16;
/// How long accepting pauses after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The most networks in an answer.
pub(crate) const NETWORKS_MAX: usize = 1_000;
/// The longest path that the address of a socket can hold everywhere.
const PATH_LEN_MAX: usize = 100;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command")]
enum Request {
    LimitsList,
    LimitsClear { network: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Limits(LimitsInForce),
    /// The networks whose limits start anew.
    Cleared(Vec<String>),
    NotUnderstood(String),
}

/// Whom the limits affect now.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct LimitsInForce {
    /// The paused networks, at most [`NETWORKS_MAX`].
    pub(crate) paused: Vec<PausedNetwork>,
    /// How many networks are paused.
    pub(crate) paused_count: u64,
    /// What exempt sources did beyond the limits of one source, since the start of the server.
    pub(crate) exempt_creates: u64,
    pub(crate) exempt_refusals: u64,
}

/// A paused network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PausedNetwork {
    pub(crate) network: String,
    pub(crate) seconds_left: u64,
    /// How many pauses followed each other.
    pub(crate) pauses: u32,
}

/// What the control socket asks of the running server.
pub(crate) trait Controlled: Send + Sync + 'static {
    fn limits_in_force(&self) -> LimitsInForce;

    /// Forgets what these networks did, and those that they belong to. Returns their names.
    fn clear_limits(&self, network: IpNet) -> Vec<String>;

    /// Resolves when the server stops.
    fn stopped(&self) -> impl Future<Output = ()> + Send;
}

/// The path of the socket. The folder is held open if the path leads through its descriptor.
#[derive(Debug)]
struct SocketPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl SocketPath {
    fn new(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(NAME);
        if path.as_os_str().len() <= PATH_LEN_MAX {
            return Ok(Self {
                path,
                _folder: None,
            });
        }
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            let folder = File::open(data_dir)?;
            let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
            Ok(Self {
                path,
                _folder: Some(folder),
            })
        }
        #[cfg(not(target_os = "linux"))]
        Err(io::ErrorKind::InvalidFilename.into())
    }
}

/// The open socket. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct ControlListener {
    listener: UnixListener,
    path: SocketPath,
}

impl ControlListener {
    /// Opens the socket. The caller holds the lock of the data dir, so a file that is there belongs
    /// to no running server.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = SocketPath::new(data_dir)?;
        // Only a socket is removed, never another file.
        if fs::symlink_metadata(&path.path).is_ok_and(|file| file.file_type().is_socket()) {
            fs::remove_file(&path.path)?;
        }
        let listener = UnixListener::bind(&path.path)?;
        fs::set_permissions(&path.path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers requests until the server stops.
    pub(crate) async fn serve(self, server: Arc<impl Controlled>) {
        let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
        let answer = async {
            while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        let server = Arc::clone(&server);
                        tokio::spawn(async move {
                            let _slot = slot;
                            let answered = answer(stream, &*server);
                            tokio::select! {
                                _ = tokio::time::timeout(TIME_MAX, answered) => {}
                                () = server.stopped() => {}
                            }
                        });
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            }
        };
        tokio::select! {
            () = answer => {}
            () = server.stopped() => {}
        }
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path.path);
    }
}

async fn answer(mut stream: tokio::net::UnixStream, server: &impl Controlled) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    // The mode of the file says the same, but not before it is set.
    if user != 0 && user != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let (input, mut output) = stream.split();
    let mut line = Vec::new();
    let mut input = tokio::io::BufReader::new(input.take(REQUEST_LEN_MAX));
    input.read_until(b'\n', &mut line).await?;
    let answer = match serde_json::from_slice(&line) {
        Ok(Request::LimitsList) => Answer::Limits(server.limits_in_force()),
        Ok(Request::LimitsClear { network }) => match parse_network(&network) {
            Some(network) => {
                let cleared = server.clear_limits(network);
                tracing::info!(
                    user,
                    networks = cleared.len(),
                    "the operator cleared limits"
                );
                Answer::Cleared(cleared)
            }
            None => Answer::NotUnderstood("the address is not an address".to_owned()),
        },
        Err(error) => Answer::NotUnderstood(error.to_string()),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    output.write_all(&text).await
}

/// Reads an address, or a network.
pub(crate) fn parse_network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).ok()
}

/// Why the running server could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("no server runs on the data dir {}", data_dir.display())]
    NotRunning { data_dir: PathBuf },
    #[error("cannot ask the server that runs on {}: {error}", data_dir.display())]
    Io { data_dir: PathBuf, error: io::Error },
    #[error("the running server does not understand the command: {0}")]
    NotUnderstood(String),
}

impl ControlError {
    /// What the operator can do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NotRunning { .. } => {
                "start it with `passmate-server serve`, or give the --data-dir of the running one"
            }
            Self::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                "run the command as the user of the server, or as root"
            }
            Self::Io { .. } => "look at the log of the server, and try again",
            Self::NotUnderstood(_) => "restart the server with this version",
        }
    }
}

/// Asks the server that runs on this data dir whom its limits affect.
pub(crate) fn limits_in_force(data_dir: &Path) -> Result<LimitsInForce, ControlError> {
    match ask(data_dir, &Request::LimitsList)? {
        Answer::Limits(limits) => Ok(limits),
        other => Err(wrong(other)),
    }
}

/// Asks the server that runs on this data dir to forget what a network did.
pub(crate) fn clear_limits(data_dir: &Path, network: IpNet) -> Result<Vec<String>, ControlError> {
    let network = network.to_string();
    match ask(data_dir, &Request::LimitsClear { network })? {
        Answer::Cleared(networks) => Ok(networks),
        other => Err(wrong(other)),
    }
}

fn wrong(answer: Answer) -> ControlError {
    ControlError::NotUnderstood(match answer {
        Answer::NotUnderstood(cause) => cause,
        Answer::Limits(_) | Answer::Cleared(_) => "it answers another command".to_owned(),
    })
}

fn ask(data_dir: &Path, request: &Request) -> Result<Answer, ControlError> {
    let failed = |error: io::Error| {
        let data_dir = data_dir.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ControlError::NotRunning { data_dir }
            }
            _ => ControlError::Io { data_dir, error },
        }
    };
    let line = || {
        let path = SocketPath::new(data_dir)?;
        let mut stream = UnixStream::connect(&path.path)?;
        stream.set_write_timeout(Some(TIME_MAX))?;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        stream.write_all(&text)?;
        read_line(&mut stream, Instant::now() + TIME_MAX)
    };
    let line = line().map_err(failed)?;
    serde_json::from_slice(&line).map_err(|error| ControlError::NotUnderstood(error.to_string()))
}

/// Reads a line of at most [`ANSWER_LEN_MAX`] bytes, which must be there by then.
fn read_line(stream: &mut UnixStream, until: Instant) -> io::Result<Vec<u8>> {
    let (mut line, mut part) = (Vec::new(), [0; 4096]);
    while line.len() < ANSWER_LEN_MAX && !line.ends_with(b"\n") {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part)? {
            0 => break,
            len => line.extend_from_slice(part.get(..len).unwrap_or_default()),
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake;

    impl Controlled for Fake {
        fn limits_in_force(&self) -> LimitsInForce {
            LimitsInForce {
                paused_count: 7,
                ..LimitsInForce::default()
            }
        }

        fn clear_limits(&self, network: IpNet) -> Vec<String> {
            vec![network.to_string()]
        }

        async fn stopped(&self) {
            std::future::pending().await
        }
    }

    async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    #[tokio::test]
    async fn the_server_answers_its_own_user() {
        let dir = tempfile::tempdir().unwrap();
        // The address of a socket cannot hold this path.
        let data_dir = dir.path().join("x".repeat(120));
        fs::create_dir(&data_dir).unwrap();
        let absent = limits_in_force(&data_dir).unwrap_err();
        assert!(
            matches!(absent, ControlError::NotRunning { .. }),
            "{absent}"
        );
        let listener = ControlListener::open(&data_dir).unwrap();
        let socket = data_dir.join(NAME);
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let serving = tokio::spawn(listener.serve(Arc::new(Fake)));
        let asked = data_dir.clone();
        let (limits, cleared) = blocking(move || {
            let network = parse_network("192.0.2.7").unwrap();
            (limits_in_force(&asked), clear_limits(&asked, network))
        })
        .await;
        assert_eq!(limits.unwrap().paused_count, 7);
        assert_eq!(cleared.unwrap(), ["192.0.2.7/32"]);
        serving.abort();
        let _ = serving.await;
        assert!(!socket.exists());
    }

    #[tokio::test]
    async fn silent_requests_hold_up_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let listener = ControlListener::open(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        tokio::spawn(listener.serve(Arc::new(Fake)));
        let silent: Vec<_> = (0..REQUESTS_MAX - 1)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        let data_dir = dir.path().to_owned();
        let limits = blocking(move || limits_in_force(&data_dir)).await;
        assert_eq!(limits.unwrap().paused_count, 7);
        drop(silent);
    }

    #[test]
    fn an_answer_that_is_not_whole_ends_at_the_deadline() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{").unwrap();
        let error = read_line(&mut ours, Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        theirs.write_all(b"}\n").unwrap();
        let line = read_line(&mut ours, Instant::now() + TIME_MAX).unwrap();
        assert_eq!(line, b"{}\n");
    }

    #[tokio::test]
    async fn bad_requests_are_answered_and_silent_ones_end() {
        let dir = tempfile::tempdir().unwrap();
        let listener = ControlListener::open(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        tokio::spawn(listener.serve(Arc::new(Fake)));
        for request in ["{}\n", "\n", "no JSON\n", "{\"command\":\"stop\"}\n"] {
            let path = path.clone();
            let answer = blocking(move || {
                let mut stream = UnixStream::connect(path).unwrap();
                stream.write_all(request.as_bytes()).unwrap();
                io::read_to_string(stream).unwrap()
            });
            let answer = answer.await;
            assert!(answer.starts_with("{\"not-understood\""), "{answer}");
        }
        // A request without an end is read up to its greatest length.
        let answer = blocking(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            let _ = stream.write_all(&[b'x'; 5000]);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            answer.len()
        });
        assert!(answer.await < 500);
    }

    #[test]
    fn a_left_over_socket_is_replaced_and_a_file_is_not() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let again = ControlListener::open(dir.path());
        drop(again.unwrap());
        fs::write(&path, "mine").unwrap();
        assert!(ControlListener::open(dir.path()).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
