//! The admin listener: `/` is the status page, `/metrics` is for Prometheus, `/health/live` and
//! `/health/ready` are for supervisors and load balancers. It only reads, and requires no login.
//!
//! A page of another site must not read it through a browser. On loopback a `Host` header that does
//! not name this machine is refused, and no answer may be embedded. A request without that header is
//! not from a browser, and no browser reaches a socket file.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::metrics::{Gauges, Metrics, look};
use super::{exposition, page};
use crate::clock::now;
use crate::config::AdminAddress;
use crate::store::StoreUrl;

/// Connections at the same time. A further one takes the place of another.
const CONNECTIONS_MAX: usize = 32;
/// The duration of a connection.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
/// The time in which the head of a request must arrive.
const HEAD_TIME_MAX: Duration = Duration::from_secs(2);
/// The length of the head of a request, in bytes.
const HEAD_LEN_MAX: usize = 16 << 10;
/// Between two looks at the store.
const LOOK_PAUSE: Duration = Duration::from_secs(60);
/// How long an answer about readiness is reused, and how long it may take.
const READY_FRESH: Duration = Duration::from_secs(10);
const READY_TIME_MAX: Duration = Duration::from_secs(3);
/// How long accepting pauses after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// An open socket for the operator.
#[derive(Debug)]
pub(crate) enum AdminListener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

impl AdminListener {
    /// Opens the socket. A socket file that no process listens on is replaced.
    pub(crate) fn open(address: &AdminAddress) -> io::Result<Self> {
        match address {
            AdminAddress::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let bound = listener.local_addr()?;
                Ok(Self::Tcp(TcpListener::from_std(listener)?, bound))
            }
            AdminAddress::Unix(path) => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                // Only a socket is removed, never another file.
                let is_socket = std::fs::symlink_metadata(path)
                    .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()));
                if is_socket {
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                Ok(Self::Unix(listener, path.clone()))
            }
        }
    }

    /// The address as text.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Tcp(_, address) => format!("http://{address}/"),
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }
}

/// What the admin listener asks of the running server.
pub(crate) trait LiveServer: Send + Sync + 'static {
    fn metrics(&self) -> &Metrics;

    fn gauges(&self) -> Gauges;

    fn is_stopping(&self) -> bool;

    /// Resolves when the server stops.
    fn stopped(&self) -> impl Future<Output = ()> + Send;

    /// Commits to the store and reads from it, without changing anything.
    fn probe(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// What answers are made from.
struct AdminState<S> {
    server: Arc<S>,
    store: StoreUrl,
    /// The folder with notes about backups.
    notes: PathBuf,
    is_loopback: bool,
    ready: Mutex<Option<(Instant, Result<(), String>)>>,
}

/// Answers requests until the server stops, and looks at the store from time to time.
pub(crate) async fn serve<S: LiveServer>(
    listener: AdminListener,
    address: AdminAddress,
    server: Arc<S>,
    store: StoreUrl,
    notes: PathBuf,
) {
    let admin = Arc::new(AdminState {
        server: Arc::clone(&server),
        store,
        notes,
        is_loopback: matches!(address, AdminAddress::Tcp(_)) && address.is_local(),
        ready: Mutex::default(),
    });
    let slots = AdminSlots::default();
    let accept = async {
        loop {
            let admin = Arc::clone(&admin);
            match &listener {
                AdminListener::Tcp(listener, _) => match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(answer_all(stream, admin, slots.take()))),
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                AdminListener::Unix(listener, _) => match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(answer_all(stream, admin, slots.take()))),
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    };
    tokio::select! {
        () = server.stopped() => {}
        () = accept => {}
        () = keep_looking(&admin) => {}
    }
    if let AdminListener::Unix(_, path) = &listener {
        let _ = std::fs::remove_file(path);
    }
}

/// Looks at the store, once at a time: a disk that hangs blocks one thread and no answer.
async fn keep_looking<S: LiveServer>(admin: &AdminState<S>) {
    loop {
        let (store, notes) = (admin.store.clone(), admin.notes.clone());
        if let Ok(Some(sample)) = tokio::task::spawn_blocking(move || look(&store, &notes)).await {
            admin.server.metrics().note_sample(sample);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

async fn answer_all<S, T>(stream: T, admin: Arc<AdminState<S>>, slot: AdminSlot)
where
    S: LiveServer,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let dropped = slot.connection.dropped.clone();
    let service = service_fn(move |request| {
        let (admin, answering) = (Arc::clone(&admin), Answering::begin(&slot.connection));
        async move {
            let answer = answer(&admin, &request).await;
            drop(answering);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_LEN_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection) => {}
        () = dropped.cancelled() => {}
    }
}

/// The open connections, the oldest first.
#[derive(Debug, Clone, Default)]
struct AdminSlots(Arc<parking_lot::Mutex<VecDeque<Arc<AdminConnection>>>>);

#[derive(Debug, Default)]
struct AdminConnection {
    /// Requests that are being answered.
    answering: AtomicUsize,
    dropped: CancellationToken,
}

impl AdminSlots {
    /// A slot for one more connection. If all are taken, the oldest connection that has no request
    /// gives way, else the oldest: whoever opens connections and asks nothing delays nobody.
    fn take(&self) -> AdminSlot {
        let connection = Arc::new(AdminConnection::default());
        let mut open = self.0.lock();
        if open.len() >= CONNECTIONS_MAX {
            let is_silent = |one: &Arc<AdminConnection>| one.answering.load(Ordering::Relaxed) == 0;
            let victim = open.iter().position(is_silent).unwrap_or(0);
            if let Some(victim) = open.remove(victim) {
                victim.dropped.cancel();
            }
        }
        open.push_back(Arc::clone(&connection));
        drop(open);
        let slots = self.clone();
        AdminSlot { slots, connection }
    }
}

/// The slot of an open connection. Dropping it frees the slot.
#[derive(Debug)]
struct AdminSlot {
    slots: AdminSlots,
    connection: Arc<AdminConnection>,
}

impl Drop for AdminSlot {
    fn drop(&mut self) {
        let mut open = self.slots.0.lock();
        open.retain(|one| !Arc::ptr_eq(one, &self.connection));
    }
}

/// A request that is being answered.
struct Answering(Arc<AdminConnection>);

impl Answering {
    fn begin(connection: &Arc<AdminConnection>) -> Self {
        connection.answering.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn answer<S: LiveServer>(
    admin: &AdminState<S>,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let mut response = match request.method() {
        _ if !is_host_accepted(admin, request) => text(
            StatusCode::FORBIDDEN,
            "the Host header must be an address of this machine, or localhost\n",
        ),
        &Method::GET | &Method::HEAD => answer_get(admin, request.uri().path()).await,
        _ => text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are allowed\n",
        ),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri \
             'none'; form-action 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// On loopback, accepts only an address or `localhost`. Another name is that of a foreign site
/// which resolves to this machine.
fn is_host_accepted<S>(admin: &AdminState<S>, request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(header::HOST) else {
        return true;
    };
    if !admin.is_loopback {
        return true;
    }
    let host = host.to_str().ok();
    let host = host.and_then(|host| host.parse::<hyper::http::uri::Authority>().ok());
    host.is_some_and(|host| {
        let name = host.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

async fn answer_get<S: LiveServer>(admin: &AdminState<S>, path: &str) -> Response<Full<Bytes>> {
    let server = &admin.server;
    match path {
        "/" => {
            let page = page::write(&server.metrics().snapshot(), &server.gauges(), now());
            with_type("text/html; charset=utf-8", page)
        }
        "/metrics" => {
            let page = exposition::write(&server.metrics().snapshot(), &server.gauges());
            with_type("text/plain; version=0.0.4; charset=utf-8", page)
        }
        "/health/live" => text(StatusCode::OK, "alive\n"),
        "/health/ready" => match ready(admin).await {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(cause) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("not ready: {cause}\n"),
            ),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "the paths are /, /metrics, /health/live and /health/ready\n",
        ),
    }
}

/// Probes the store, at most once in 10 s.
async fn ready<S: LiveServer>(admin: &AdminState<S>) -> Result<(), String> {
    let mut last = admin.ready.lock().await;
    if let Some((at, result)) = &*last
        && at.elapsed() < READY_FRESH
    {
        return result.clone();
    }
    let result = if admin.server.is_stopping() {
        Err("the server is stopping".to_owned())
    } else {
        let probe = tokio::time::timeout(READY_TIME_MAX, admin.server.probe());
        probe
            .await
            .unwrap_or_else(|_| Err("the store did not answer within 3 s".to_owned()))
    };
    *last = Some((Instant::now(), result.clone()));
    result
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = with_type("text/plain; charset=utf-8", text.to_owned());
    *response.status_mut() = status;
    response
}

fn with_type(kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_dropped(slot: &AdminSlot) -> bool {
        slot.connection.dropped.is_cancelled()
    }

    #[test]
    fn the_oldest_connection_without_a_request_gives_way() {
        let slots = AdminSlots::default();
        let mut open: Vec<_> = (0..CONNECTIONS_MAX).map(|_| slots.take()).collect();
        let _answering = Answering::begin(&open[0].connection);
        let newcomer = slots.take();
        assert!(!is_dropped(&newcomer) && !is_dropped(&open[0]) && is_dropped(&open[1]));
        drop(open.remove(1));
        assert_eq!(slots.0.lock().len(), CONNECTIONS_MAX);
        drop(newcomer);
        let _newcomer = slots.take();
        assert!(!open.iter().any(is_dropped), "a free slot is taken first");
    }

    #[test]
    fn a_crowd_of_requests_is_bounded_too() {
        let slots = AdminSlots::default();
        let open: Vec<_> = (0..10 * CONNECTIONS_MAX).map(|_| slots.take()).collect();
        let _answering: Vec<_> = open
            .iter()
            .map(|slot| Answering::begin(&slot.connection))
            .collect();
        let newcomer = slots.take();
        assert!(!is_dropped(&newcomer));
        assert_eq!(slots.0.lock().len(), CONNECTIONS_MAX);
        drop((open, newcomer));
        assert!(slots.0.lock().is_empty());
    }
}
