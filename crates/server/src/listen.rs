//! Listeners: sockets in both IP versions, the cap on connections, and what happens when the system
//! has no descriptors left. A connection over a limit is closed before TLS, so that its client can
//! tell a busy server from a wrong key.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use passmate_proto::Layout;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::config::{ListenAddress, ListenHost};
use crate::limits::TurnedAway;
use crate::limits::handshakes::{Entry, Handshake, Watched, unfinished_max};
use crate::limits::rate::SourcePermit;
use crate::observe::access_log::AccessLog;
use crate::observe::log::LogThrottle;
use crate::observe::metrics::OwnError;
use crate::state::{ListenerSettings, ServerState};
use crate::{conn, proxy};

/// Connections that the system queues; it lowers this number to what it allows.
const BACKLOG: i32 = 4096;
/// Connections beyond the most, while as many strangers that gave way are ending: one in so many.
const LEAVING_SHARE: usize = 16;
/// How long accepting pauses when the system is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that is bound and listening.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) layout: Layout,
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}: {error}")]
    System {
        address: ListenAddress,
        error: io::Error,
    },
    #[error("cannot listen on {address}: this server listens on {other} already")]
    Twice {
        address: ListenAddress,
        other: ListenAddress,
    },
}

impl ListenError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        let error = match self {
            Self::System { error, .. } => error,
            Self::Twice { .. } => {
                return "give each --listen and --listen-v2 an address or a port of its own";
            }
        };
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program, or another passmate-server, uses that port: stop it, or give \
                 another --listen"
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

/// Opens all listeners of both layouts, or none.
///
/// `[::]` listens on both IP versions, unless IPv4 has a listener of its own on that port. On a
/// machine without IPv6 it listens on IPv4.
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
    for (place, (address, layout)) in wanted.iter().enumerate() {
        let failed = |error: io::Error| {
            let address = (*address).clone();
            let mut others = wanted.iter().take(place).map(|(other, _)| *other);
            match others.find(|other| other.port == address.port && address.port != 0) {
                Some(other) if error.kind() == io::ErrorKind::AddrInUse => ListenError::Twice {
                    address,
                    other: other.clone(),
                },
                _ => ListenError::System { address, error },
            }
        };
        let opened = match &address.host {
            ListenHost::Name(name) => open_name(name, address.port),
            ListenHost::Ip(ip) => open_ip(SocketAddr::new(*ip, address.port), has_v4(address.port))
                .map(|one| vec![one]),
        };
        for socket in opened.map_err(failed)? {
            listeners.push(Listener {
                address: socket.local_addr().map_err(failed)?,
                socket,
                layout: *layout,
            });
        }
    }
    Ok(listeners)
}

/// Takes over sockets that are listening already.
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

/// Opens one listener for each address of the name that this machine has.
fn open_name(name: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    let mut opened = Vec::new();
    let mut failed = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in (name, port).to_socket_addrs()? {
        match open_ip(address, true) {
            Ok(socket) => opened.push(socket),
            // `localhost` often resolves to ::1 on machines without IPv6 too.
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
    // Without this, a restart would have to wait until the system forgets recent connections.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, is_v6_only)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    TcpListener::from_std(std::net::TcpListener::from(socket))
}

/// Accepts connections until the server stops; the socket closes with it.
pub(crate) async fn accept(listener: Listener, state: Arc<ServerState>) {
    let (no_descriptors, full) = (LogThrottle::default(), LogThrottle::default());
    loop {
        let accepted = tokio::select! {
            () = state.stop.cancelled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // The client has gone before its connection was accepted.
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                // Accepting would fail again at once: give open connections time to close.
                state.metrics.note_error(OwnError::NoDescriptors);
                if no_descriptors.may_log() {
                    tracing::warn!(%error, "cannot accept connections at the moment");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let settings = state.settings.load_full();
        let max = state.connections_max(&settings);
        let slot = state.open.take(max).or_else(|| {
            // A stranger gives way. Its slot is free in a moment; descriptors are left for that.
            let is_dropped = state.handshakes.drop_one();
            if is_dropped {
                note_turned_away(&state, TurnedAway::HandshakesMax);
            }
            is_dropped.then(|| state.open.take(max + max / LEAVING_SHARE + 1))?
        });
        let Some(slot) = slot else {
            if full.may_log() {
                tracing::warn!(max, "all connections are in use, so others are refused");
            }
            state.metrics.note_turned_away(TurnedAway::ConnectionsMax);
            turn_away(&stream);
            continue;
        };
        // After the hello, a client could not tell this from a wrong key.
        if state.service.is_store_out() {
            note_turned_away(&state, TurnedAway::StoreUnavailable);
            turn_away(&stream);
            continue;
        }
        let is_proxy = settings
            .proxy_from
            .iter()
            .any(|proxies| proxies.contains(&address.ip().to_canonical()));
        // A direct client is known already; behind a proxy the header names it.
        let permit = match is_proxy {
            true => None,
            false => match admit(&state, &settings, address) {
                Some(permit) => Some((permit, address)),
                None => {
                    turn_away(&stream);
                    continue;
                }
            },
        };
        let (handshake, entry) = state.handshakes.begin(unfinished_max(max));
        if entry == Entry::InsteadOfAnother {
            note_turned_away(&state, TurnedAway::HandshakesMax);
        }
        let (state, layout) = (Arc::clone(&state), listener.layout);
        let tasks = state.tasks.clone();
        tasks.spawn(async move {
            let _slot = slot;
            bound_kernel_memory(&stream, settings.limits.idle_timeout);
            let mut stream = handshake.watch(stream);
            let permit = match permit {
                Some(permit) => Some(permit),
                None => admit_proxied(&state, &settings, &mut stream, &handshake, address).await,
            };
            let Some((permit, address)) = permit else {
                return turn_away(stream.get_ref());
            };
            let visitor = state.service.visitor(permit, &settings.limits.source);
            let logged = state.log_addresses.then_some(address);
            let log_limits = Arc::clone(&state.log_limits);
            let access_log = AccessLog::new(state.metrics.clone(), log_limits, layout, logged);
            let stranger = Box::new(conn::Stranger {
                visitor,
                handshake,
                access_log,
            });
            let served = conn::serve(stream, layout, &settings, stranger, &state.cut);
            tokio::select! {
                () = served => {}
                () = state.end.cancelled() => {}
            }
        });
    }
}

/// The bytes that the system keeps for a client that does not read them.
const SEND_BUFFER_LEN: usize = 256 << 10;
/// The bytes that the system takes from a client before the server reads them.
const RECEIVE_BUFFER_LEN: usize = 256 << 10;

/// Bounds what a connection costs in the memory of the system, which no budget of this program
/// counts: how much is kept for a client that does not read, how much is taken from one that the
/// server is not reading from, and for how long after it went away without a word. These are
/// requests; a system that refuses one is no reason not to serve.
fn bound_kernel_memory(stream: &TcpStream, idle: Duration) {
    // The last bytes of an exchange are few, and the client waits for them.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER_LEN);
    let _ = sockopt::set_socket_recv_buffer_size(stream, RECEIVE_BUFFER_LEN);
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
        let _ = sockopt::set_tcp_user_timeout(stream, millis);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = idle;
}

/// Admits a connection of this source, or counts that it is refused.
fn admit(
    state: &ServerState,
    settings: &ListenerSettings,
    address: SocketAddr,
) -> Option<SourcePermit> {
    let limits = &settings.limits.source;
    let now = Instant::now().into_std();
    match state.rate_limiter.enter(address.ip(), limits, now) {
        Ok(permit) => Some(permit),
        Err(reason) => {
            note_turned_away(state, reason);
            None
        }
    }
}

/// Admits the source that a proxy names. A proxy without a header is not served, because its
/// clients would all count as one source.
async fn admit_proxied(
    state: &ServerState,
    settings: &ListenerSettings,
    stream: &mut Watched<TcpStream>,
    handshake: &Handshake,
    proxy: SocketAddr,
) -> Option<(SourcePermit, SocketAddr)> {
    let header = tokio::time::timeout(
        settings.limits.handshake_timeout,
        proxy::read_header(stream),
    );
    let read = tokio::select! {
        read = header => read,
        () = handshake.dropped() => return None,
        () = state.cut.cancelled() => return None,
    };
    let address = match read {
        // The proxy speaks for itself, to find out whether the server is there.
        Ok(Ok(None)) => proxy,
        Ok(Ok(Some(address))) => address,
        Ok(Err(_)) | Err(_) => {
            note_turned_away(state, TurnedAway::NoProxyHeader);
            return None;
        }
    };
    admit(state, settings, address).map(|permit| (permit, address))
}

fn note_turned_away(state: &ServerState, reason: TurnedAway) {
    state.metrics.note_turned_away(reason);
    if state.turned_away_throttle.may_log() {
        tracing::warn!(reason = reason.name(), "connections are refused");
    }
}

/// Ends a connection before TLS. Its client sees the end of the stream, and no hello.
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
        // accept(2) returns network errors that were already pending on the new socket.
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

#[cfg(test)]
mod tests;
