//! The interface to systemd and to supervisors like it: sockets that they pass, and notifications
//! about the state of the server. Without their variables all of this does nothing.
//!
//! Notifications are written by hand: the crate `sd-notify` supports no abstract socket names, and
//! blocks while the socket is full.

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use listenfd::ListenFd;
use passmate_proto::Layout;

/// The names of sockets (`FileDescriptorName=`) by layout. A socket without a name is for layout 1.
const LAYOUT_1: &str = "layout1";
const LAYOUT_2: &str = "layout2";

/// Sends notifications to the supervisor, if it wants them.
#[derive(Debug)]
pub(crate) struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// Sends to the socket in `NOTIFY_SOCKET`, if it is set.
    pub(crate) fn from_env() -> Self {
        Self::to(env::var_os("NOTIFY_SOCKET"))
    }

    fn to(place: Option<OsString>) -> Self {
        let opened = place.filter(|place| !place.is_empty()).and_then(|place| {
            let socket = UnixDatagram::unbound().ok()?;
            // A full socket must not block the server.
            socket.set_nonblocking(true).ok()?;
            Some((socket, address(&place)?))
        });
        Self(opened)
    }

    /// The server serves clients from now on.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is being reloaded; [`ready`](Self::ready) ends that.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The server accepts no more clients.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=running exchanges have 10 s to finish");
    }

    /// The server is still running.
    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.0 {
            // A supervisor that is gone is no reason to stop.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

/// A path, or an abstract name after `@` where the system supports them.
fn address(place: &OsString) -> Option<SocketAddr> {
    use std::os::unix::ffi::OsStrExt;
    match place.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => {
            <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name).ok()
        }
        #[cfg(not(target_os = "linux"))]
        Some(_) => None,
        None => SocketAddr::from_pathname(place).ok(),
    }
}

/// Between two signs of life: half of `WATCHDOG_USEC`, if it is meant for this process.
pub(crate) fn watchdog() -> Option<Duration> {
    let is_ours = env::var("WATCHDOG_PID")
        .ok()
        .is_none_or(|pid| pid == std::process::id().to_string());
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (is_ours && micros > 0).then(|| Duration::from_micros(micros / 2))
}

/// The sockets that the supervisor passed, in their order. They replace `--listen` and
/// `--listen-v2`.
///
/// # Errors
/// A socket is not a listening TCP socket, or has an unknown name.
pub(crate) fn inherited() -> io::Result<Vec<(TcpListener, Layout)>> {
    let mut held = ListenFd::from_env();
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for number in 0..held.len() {
        let name = names.next().unwrap_or_default();
        let layout = layout_of(name).ok_or_else(|| {
            let text = format!(
                "the socket that was passed as {name:?} must be named {LAYOUT_1} or {LAYOUT_2}"
            );
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let socket = held.take_tcp_listener(number).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "the socket that was passed as number {number} is not a listening TCP socket: \
                     {error}"
                ),
            )
        })?;
        sockets.extend(socket.map(|socket| (socket, layout)));
    }
    Ok(sockets)
}

/// systemd names a socket after its unit by default.
fn layout_of(name: &str) -> Option<Layout> {
    match name {
        LAYOUT_2 => Some(Layout::Two),
        "" | "unknown" | "passmate-server.socket" | LAYOUT_1 => Some(Layout::One),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_arrive_and_may_be_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listening = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(Some(path.clone().into()));
        notify.ready("fine");
        notify.reloading();
        let mut buffer = [0; 256];
        let mut next = || {
            let len = listening.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(buffer.get(..len).unwrap()).into_owned()
        };
        assert_eq!(next(), "READY=1\nSTATUS=fine");
        let text = next();
        assert!(
            text.starts_with("RELOADING=1\nMONOTONIC_USEC=") && text.len() > 30,
            "{text}"
        );
        drop(listening);
        notify.alive();
        Notify::to(None).stopping();
        Notify::to(Some("/nowhere/at/all".into())).stopping();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_name_is_understood() {
        let name = format!("passmate-test-{}", std::process::id());
        let address =
            <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name).unwrap();
        let listening = UnixDatagram::bind_addr(&address).unwrap();
        Notify::to(Some(format!("@{name}").into())).alive();
        let mut buffer = [0; 64];
        assert_eq!(listening.recv(&mut buffer).unwrap(), 10);
    }
}
