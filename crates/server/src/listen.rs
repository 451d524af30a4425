//! Takes connections: sockets, both IP versions, the cap on connections, and what happens when
//! the system has no descriptors left. A connection over the cap is closed before TLS, so that
//! its client can tell "busy" from "wrong key".

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use passmate_proto::Layout;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{CertificateFiles, ListenAddress, ListenHost};
use crate::conn::{self, ListenerSettings};
use crate::limits::rate::{RateLimiter, SourcePermit};
use crate::proxy;
use crate::service::Service;

/// Connections that the system may hold for us; it lowers this to what it allows.
const BACKLOG: i32 = 4096;
/// How long accept waits when the system is out of descriptors or memory.
const RELIEF: Duration = Duration::from_millis(50);
/// A condition that lasts is logged once in this time.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// An open socket, bound and listening.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) layout: Layout,
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct ListenError {
    /// As it was asked for.
    pub address: ListenAddress,
    /// What the system says.
    pub error: io::Error,
}

impl ListenError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program has that port (or this server runs already): stop it, or give another --listen"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address: give one of its own, or [::] for all"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE; the default is 29556"
            }
            _ => "give another --listen",
        }
    }
}

/// Opens every listener of both layouts, or none.
///
/// `[::]` takes both IP versions, unless IPv4 has a listener of its own on that port; on a machine
/// without IPv6 it takes IPv4.
pub(crate) fn open(
    layout_1: &[ListenAddress],
    layout_2: &[ListenAddress],
) -> Result<Vec<Listener>, ListenError> {
    let wanted = |layout: Layout| move |address| (address, layout);
    let wanted: Vec<(&ListenAddress, Layout)> = layout_1
        .iter()
        .map(wanted(Layout::One))
        .chain(layout_2.iter().map(wanted(Layout::Two)))
        .collect();
    let has_v4 = |port: u16| {
        port != 0
            && wanted.iter().any(|(address, _)| {
                address.port == port && matches!(address.host, ListenHost::Ip(IpAddr::V4(_)))
            })
    };
    let mut listeners = Vec::new();
    for (address, layout) in &wanted {
        let opened = match &address.host {
            ListenHost::Name(name) => open_name(name, address.port),
            ListenHost::Ip(ip) => open_ip(SocketAddr::new(*ip, address.port), has_v4(address.port))
                .map(|one| vec![one]),
        };
        let opened = opened.map_err(|error| ListenError {
            address: (*address).clone(),
            error,
        })?;
        for socket in opened {
            let bound = socket.local_addr().map_err(|error| ListenError {
                address: (*address).clone(),
                error,
            })?;
            listeners.push(Listener {
                socket,
                address: bound,
                layout: *layout,
            });
        }
    }
    Ok(listeners)
}

/// Takes over sockets that listen already.
pub(crate) fn adopt(sockets: Vec<(std::net::TcpListener, Layout)>) -> io::Result<Vec<Listener>> {
    let adopt = |(socket, layout): (std::net::TcpListener, Layout)| {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Listener {
            socket: TcpListener::from_std(socket)?,
            address,
            layout,
        })
    };
    sockets.into_iter().map(adopt).collect()
}

/// One listener for each address of the name that this machine has.
fn open_name(name: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    let mut opened = Vec::new();
    let mut failed = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in (name, port).to_socket_addrs()? {
        match open_ip(address, true) {
            Ok(socket) => opened.push(socket),
            // `localhost` is often ::1 too on machines without IPv6.
            Err(error) if is_without_ipv6(&error) => failed = error,
            Err(error) => return Err(error),
        }
    }
    if opened.is_empty() {
        Err(failed)
    } else {
        Ok(opened)
    }
}

fn open_ip(address: SocketAddr, is_v6_only: bool) -> io::Result<TcpListener> {
    let is_everywhere = address.is_ipv6() && address.ip().is_unspecified();
    match open_one(address, is_v6_only) {
        Err(error) if is_everywhere && !is_v6_only && is_without_ipv6(&error) => open_one(
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()),
            false,
        ),
        opened => opened,
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::PROTONOSUPPORT)
    )
}

fn open_one(address: SocketAddr, is_v6_only: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A restart must not wait for the last minute's connections to be forgotten.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, is_v6_only)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    TcpListener::from_std(std::net::TcpListener::from(socket))
}

/// What all listeners share.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub(crate) settings: ArcSwap<ListenerSettings>,
    /// The operator's pair, if the server does not make its own.
    pub(crate) certificate: ArcSwap<Option<CertificateFiles>>,
    pub(crate) service: Service,
    /// Connections that the file descriptors allow, whatever the limits say.
    pub(crate) descriptors_max: usize,
    pub(crate) rate_limiter: RateLimiter,
    pub(crate) log_addresses: bool,
    /// Nothing new is taken.
    pub(crate) stop: CancellationToken,
    /// Who was taken and has not begun is cut: a moment later, so that whoever was about to begin
    /// is not lost.
    pub(crate) cut: CancellationToken,
    /// Nothing is waited for any more.
    pub(crate) end: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) open: AtomicUsize,
    /// Of all listeners: who is turned away is told of now and then.
    pub(crate) limited: Mutex<LogThrottle>,
}

impl ServerState {
    fn may_say_limited(&self) -> bool {
        self.limited.lock().may_say()
    }
}

/// Takes connections until the server stops; the socket closes with it.
pub(crate) async fn accept(listener: Listener, state: Arc<ServerState>) {
    let (mut no_descriptors, mut full) = (LogThrottle::default(), LogThrottle::default());
    loop {
        let accepted = tokio::select! {
            () = state.stop.cancelled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // The client was gone before we came to it.
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                // Accepting would fail at once again, and again: give others time to close.
                state.settings.load().metrics.note_error("no_descriptors");
                if no_descriptors.may_say() {
                    tracing::warn!(%error, "cannot take connections for now");
                }
                tokio::time::sleep(RELIEF).await;
                continue;
            }
        };
        let settings = state.settings.load_full();
        let max = settings.limits.connections_max.min(state.descriptors_max);
        let Some(slot) = ConnectionSlot::take(&state, max) else {
            if full.may_say() {
                tracing::warn!(max, "all connections are in use, others are turned away");
            }
            settings.metrics.note_turned_away("connections_max");
            turn_away(&stream);
            continue;
        };
        let is_proxy = settings
            .proxy_from
            .iter()
            .any(|proxies| proxies.contains(&address.ip().to_canonical()));
        // Who comes directly is known already.
        let permit = match is_proxy {
            true => None,
            false => match enter(&state, &settings, address) {
                Some(permit) => Some((permit, address)),
                None => {
                    turn_away(&stream);
                    continue;
                }
            },
        };
        let (state, layout) = (Arc::clone(&state), listener.layout);
        let tasks = state.tasks.clone();
        tasks.spawn(async move {
            let _slot = slot;
            let mut stream = stream;
            // The last bytes of an exchange are few, and the client waits for them.
            let _ = stream.set_nodelay(true);
            let permit = match permit {
                Some(permit) => Some(permit),
                None => introduce(&state, &settings, &mut stream, address).await,
            };
            let Some((permit, address)) = permit else {
                return turn_away(&stream);
            };
            let logged = state.log_addresses.then_some(address);
            let served = conn::serve(
                stream,
                layout,
                &settings,
                &state.service,
                &state.cut,
                permit,
                logged,
            );
            tokio::select! {
                () = served => {}
                () = state.end.cancelled() => {}
            }
        });
    }
}

/// Lets a source in, or says now and then that it does not.
fn enter(
    state: &ServerState,
    settings: &ListenerSettings,
    address: SocketAddr,
) -> Option<SourcePermit> {
    match state.rate_limiter.enter(
        address.ip(),
        &settings.limits.source,
        Instant::now().into_std(),
    ) {
        Ok(permit) => Some(permit),
        Err(why) => {
            settings.metrics.note_turned_away(why.name());
            if state.may_say_limited() {
                tracing::warn!(
                    reason = why.name(),
                    "connections of a source are turned away"
                );
            }
            None
        }
    }
}

/// Lets in whom a proxy carries this connection for. One without a header is not served: its source
/// would be anybody.
async fn introduce(
    state: &ServerState,
    settings: &ListenerSettings,
    stream: &mut TcpStream,
    proxy: SocketAddr,
) -> Option<(SourcePermit, SocketAddr)> {
    let header = tokio::time::timeout(
        settings.limits.handshake_timeout,
        proxy::read_header(stream),
    );
    let read = tokio::select! {
        read = header => read,
        () = state.cut.cancelled() => return None,
    };
    let address = match read {
        // The proxy itself, to see whether we are here.
        Ok(Ok(None)) => proxy,
        Ok(Ok(Some(address))) => address,
        Ok(Err(_)) | Err(_) => {
            settings.metrics.note_turned_away("no_proxy_header");
            if state.may_say_limited() {
                tracing::warn!(
                    reason = "no_proxy_header",
                    "connections of a proxy are turned away"
                );
            }
            return None;
        }
    };
    enter(state, settings, address).map(|permit| (permit, address))
}

/// Ends a connection before TLS; its client sees an end of the stream, and no hello of ours.
fn turn_away(stream: &TcpStream) {
    let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Write);
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    ) || matches!(
        // accept(2): errors of the network that were already pending on the new socket.
        Errno::from_io_error(error),
        Some(
            Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::OPNOTSUPP
                | Errno::TIMEDOUT
        )
    )
}

/// One of the connections that may be open; dropping it makes room, also after a panic.
struct ConnectionSlot(Arc<ServerState>);

impl ConnectionSlot {
    fn take(state: &Arc<ServerState>, max: usize) -> Option<Self> {
        let more = |open| if open < max { Some(open + 1) } else { None };
        state
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()?;
        Some(Self(Arc::clone(state)))
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Lets something that happens all the time be said now and then.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle(Option<Instant>);

impl LogThrottle {
    fn may_say(&mut self) -> bool {
        let is_time = self.0.is_none_or(|last| last.elapsed() >= SAY_AGAIN);
        if is_time {
            self.0 = Some(Instant::now());
        }
        is_time
    }
}

#[cfg(test)]
mod tests;
