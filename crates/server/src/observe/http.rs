//! The listener for an operator: `/` is a page, `/metrics` is for Prometheus, `/health/live` and
//! `/health/ready` are for whoever restarts and balances. It reads and never changes anything;
//! whoever reaches it may ask.
//!
//! A page of another site must not read it through a browser: a name in `Host` that is not this
//! machine's own is refused on loopback, and no answer may be embedded.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::metrics::{Metrics, look};
use super::{exposition, page};
use crate::config::AdminAddress;
use crate::listen::ServerState;
use crate::store::StoreUrl;

/// Connections at the same time; further ones wait.
const CONNECTIONS_MAX: usize = 32;
/// One connection in all.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Until the head of a request is there.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of the head of a request.
const HEAD_LEN_MAX: usize = 16 << 10;
/// Between two looks at the store.
const LOOK_PAUSE: Duration = Duration::from_secs(60);
/// How long an answer about readiness holds, and how long it may take.
const READY_HOLDS: Duration = Duration::from_secs(10);
const READY_TIME_MAX: Duration = Duration::from_secs(3);
/// When accepting fails.
const RELIEF: Duration = Duration::from_millis(200);

/// An open socket for the operator.
#[derive(Debug)]
pub(crate) enum AdminListener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

impl AdminListener {
    /// Opens it. A socket in the file system that nobody listens on any more is replaced.
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
                // Nothing but a socket is removed.
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

    /// As people write it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Tcp(_, address) => format!("http://{address}/"),
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// Whether whoever is on the network may reach it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Tcp(_, address) if !address.ip().to_canonical().is_loopback())
    }
}

/// What answers are made from.
struct AdminState {
    metrics: Metrics,
    state: Arc<ServerState>,
    store: StoreUrl,
    notes: PathBuf,
    is_loopback: bool,
    ready: Mutex<Option<(Instant, Result<(), String>)>>,
}

/// Answers until the server stops; looks at the store now and then.
pub(crate) async fn serve(
    listener: AdminListener,
    metrics: Metrics,
    state: Arc<ServerState>,
    store: StoreUrl,
    notes: PathBuf,
) {
    let is_loopback = !listener.is_open();
    let admin = Arc::new(AdminState {
        metrics,
        state: Arc::clone(&state),
        store,
        notes,
        is_loopback,
        ready: Mutex::default(),
    });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accept = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let admin = Arc::clone(&admin);
            match &listener {
                AdminListener::Tcp(listener, _) => match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(answer_all(stream, admin, place))),
                    Err(_) => tokio::time::sleep(RELIEF).await,
                },
                AdminListener::Unix(listener, _) => match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(answer_all(stream, admin, place))),
                    Err(_) => tokio::time::sleep(RELIEF).await,
                },
            }
        }
    };
    tokio::select! {
        () = state.stop.cancelled() => {}
        () = accept => {}
        () = keep_looking(&admin) => {}
    }
    if let AdminListener::Unix(_, path) = &listener {
        let _ = std::fs::remove_file(path);
    }
}

/// One look at a time: a disk that hangs holds up one thread and no answer.
async fn keep_looking(admin: &AdminState) {
    loop {
        let (store, notes) = (admin.store.clone(), admin.notes.clone());
        if let Ok(Some(sample)) = tokio::task::spawn_blocking(move || look(&store, &notes)).await {
            admin.metrics.note_sample(sample);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

async fn answer_all<S>(stream: S, admin: Arc<AdminState>, _place: tokio::sync::OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(answer(&admin, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_LEN_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever is slower than that asks again.
    let _ = tokio::time::timeout(TIME_MAX, connection).await;
}

async fn answer(admin: &AdminState, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut response = match request.method() {
        _ if !is_host_ours(admin, request) => text(
            StatusCode::FORBIDDEN,
            "ask for this by its address or as localhost\n",
        ),
        &Method::GET | &Method::HEAD => found(admin, request.uri().path()).await,
        _ => text(StatusCode::METHOD_NOT_ALLOWED, "this can only be read\n"),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
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

/// On loopback only this machine's own names are meant; a page elsewhere that had its name point
/// here is refused.
fn is_host_ours(admin: &AdminState, request: &Request<Incoming>) -> bool {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<hyper::http::uri::Authority>().ok());
    let Some(host) = host else {
        return !admin.is_loopback;
    };
    let name = host.host().trim_matches(['[', ']']);
    !admin.is_loopback || name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

async fn found(admin: &AdminState, path: &str) -> Response<Full<Bytes>> {
    match path {
        "/" => {
            let now = read_now(admin);
            with_type(
                "text/html; charset=utf-8",
                page::write(&admin.metrics.snapshot(), &now, crate::clock::now()),
            )
        }
        "/metrics" => {
            let page = exposition::write(&admin.metrics.snapshot(), &read_now(admin));
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
            "/, /metrics, /health/live and /health/ready are here\n",
        ),
    }
}

/// Really reads and writes the store, at most once in 10 s.
async fn ready(admin: &AdminState) -> Result<(), String> {
    let mut last = admin.ready.lock().await;
    if let Some((at, result)) = &*last
        && at.elapsed() < READY_HOLDS
    {
        return result.clone();
    }
    let result = if admin.state.stop.is_cancelled() {
        Err("the server is stopping".to_owned())
    } else {
        match tokio::time::timeout(READY_TIME_MAX, admin.state.service.probe()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the store did not answer within 3 s".to_owned()),
        }
    };
    *last = Some((Instant::now(), result.clone()));
    result
}

fn read_now(admin: &AdminState) -> exposition::Now {
    let settings = admin.state.settings.load();
    let limits = &settings.limits;
    exposition::Now {
        begun: admin.metrics.0.begun,
        open: admin.state.open.load(Ordering::Relaxed) as u64,
        open_max: limits.connections_max.min(admin.state.descriptors_max) as u64,
        btoken_memory: admin.state.service.memory().leased(),
        btoken_memory_max: limits.memory_max,
        certificate_not_after: settings.certificate_not_after,
        commits: admin.state.service.commits(),
    }
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
