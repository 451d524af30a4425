//! Starts the whole server and stops it: data dir, store, certificate, listeners, in that order,
//! so that nobody is let in before everything stands.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use passmate_proto::{Layout, PORT, default_banner};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{AdminAddress, CertificateFiles, Config, Registration};
use crate::conn::ListenerSettings;
use crate::files::{self, LockMode, Locking};
use crate::limits::rate::RateLimiter;
use crate::listen::{self, ListenError, ServerState};
use crate::observe::metrics::Metrics;
use crate::observe::{self, AdminListener};
use crate::service::Service;
use crate::store::StoreError;
use crate::tls::{self, Identity, Pin, TlsError, Warning};

/// How long whoever was let in may take to begin an exchange when the server stops.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(1);
/// How long running exchanges may take to finish when the server stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the store may take to close after that: a disk that hangs, or another program that
/// holds the database, must not keep the process. Nothing that was confirmed depends on it.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);
/// Between two looks at the files of certificate and key.
const CERTIFICATE_PAUSE: Duration = Duration::from_secs(2);
/// Between two looks for invites whose time is over.
const EXPIRE_PAUSE: Duration = Duration::from_secs(3600);
/// How long this machine's name may take to be looked up for the line that is printed at start.
const LOOK_UP_TIME_MAX: Duration = Duration::from_secs(1);

/// A running server. Dropping it stops nothing: call [`stop`](Self::stop).
#[derive(Debug)]
pub struct Server {
    state: Arc<ServerState>,
    config: Config,
    listening: Vec<Listening>,
    pin: Pin,
    warnings: Vec<Warning>,
    setup_command: String,
    admin_name: Option<String>,
    /// Held to the end: certificate and key in the data dir are one server's.
    _lock: File,
}

/// Where a running server takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// With the port that the system chose, if it was asked to.
    pub address: SocketAddr,
    /// What is spoken there.
    pub layout: Layout,
}

impl Server {
    /// Starts a server inside the current tokio runtime; when this returns, clients are served.
    ///
    /// `on_fatal` is called when a commit failed in a way after which nobody can say what the
    /// disk holds. Nothing is confirmed from then on; a program logs the reason and ends at once.
    ///
    /// # Errors
    /// What keeps it from starting; nothing is left running then.
    pub async fn start(
        config: Config,
        on_fatal: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        Self::start_on(config, Vec::new(), on_fatal).await
    }

    /// The same on sockets that listen already, if there are any, instead of those of the
    /// configuration.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_on(
        config: Config,
        sockets: Vec<(TcpListener, Layout)>,
        on_fatal: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let descriptors_max = raise_descriptors();
        tls::make_data_dir(&config.data_dir)?;
        let lock = lock_data_dir(&config.data_dir)?;
        let store = config.store.open(on_fatal)?;
        let files = files_of(&config.certificate, &config.data_dir);
        let before = stamp(&files);
        let identity = Identity::load(config.certificate.as_ref(), &config.data_dir)?;
        // What is changed while it is loaded is seen; what was made just now is what is served.
        let served = if before.contains(&None) {
            stamp(&files)
        } else {
            before
        };
        let listeners = match sockets.is_empty() {
            true => listen::open(&config.listen, &config.listen_v2)?,
            false => listen::adopt(sockets).map_err(StartError::Inherited)?,
        };
        let admin = config.admin_listen.as_ref().map(open_admin).transpose()?;
        let admin_name = admin.as_ref().map(AdminListener::name);
        let metrics = Metrics::new();
        let listening: Vec<Listening> = listeners
            .iter()
            .map(|one| Listening {
                address: one.address,
                layout: one.layout,
            })
            .collect();

        let state = Arc::new(ServerState {
            settings: ArcSwap::from_pointee(settings(&config, &identity, &metrics)),
            certificate: ArcSwap::from_pointee(config.certificate.clone()),
            service: Service::new(
                store,
                config.store.folder(),
                &config.limits,
                config.registration,
            ),
            descriptors_max,
            rate_limiter: RateLimiter::new(),
            log_addresses: config.log_addresses,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            end: CancellationToken::new(),
            tasks: TaskTracker::new(),
            open: AtomicUsize::new(0),
            limited: Mutex::default(),
        });
        state.tasks.spawn(expire(Arc::clone(&state)));
        if let Some(admin) = admin {
            if admin.is_open() {
                tracing::warn!(
                    "--admin-listen is no loopback address: whoever reaches it sees the traffic of this server"
                );
            }
            state.tasks.spawn(observe::serve(
                admin,
                metrics,
                Arc::clone(&state),
                config.store.clone(),
                config.notes_folder().to_owned(),
            ));
        }
        for listener in listeners {
            state
                .tasks
                .spawn(listen::accept(listener, Arc::clone(&state)));
        }
        state.tasks.spawn(follow_certificate(
            Arc::clone(&state),
            config.data_dir.clone(),
            served,
        ));
        let setup_command = setup_command(&listening, &identity).await;
        Ok(Self {
            state,
            config,
            listening,
            pin: identity.pin,
            warnings: identity.warnings,
            setup_command,
            admin_name,
            _lock: lock,
        })
    }

    /// Where clients are taken, at least one; layout 1 first.
    #[must_use]
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Who may make accounts.
    #[must_use]
    pub fn registration(&self) -> Registration {
        self.state.service.registration()
    }

    /// The pin of the certificate that was loaded at start.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// What the operator should know about the certificate.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The whole command that sets up a first device with this server.
    #[must_use]
    pub fn setup_command(&self) -> &str {
        &self.setup_command
    }

    /// Where the operator's page is, if there is one.
    #[must_use]
    pub fn admin(&self) -> Option<&str> {
        self.admin_name.as_deref()
    }

    /// Takes certificate, banner, registration and limits from `config` for connections from now
    /// on; the rest of it is not looked at.
    ///
    /// # Errors
    /// The new certificate cannot be used; then nothing at all changes.
    pub fn reload(&self, config: &Config) -> Result<Reloaded, TlsError> {
        let identity = Identity::load(config.certificate.as_ref(), &self.config.data_dir)?;
        self.state
            .service
            .set_limits(&config.limits, config.registration);
        self.state
            .certificate
            .store(Arc::new(config.certificate.clone()));
        let metrics = self.state.settings.load().metrics.clone();
        self.state
            .settings
            .store(Arc::new(settings(config, &identity, &metrics)));
        let needs_restart = [
            ("listen", self.config.listen != config.listen),
            ("listen-v2", self.config.listen_v2 != config.listen_v2),
            ("data-dir", self.config.data_dir != config.data_dir),
            ("store", self.config.store != config.store),
            (
                "admin-listen",
                self.config.admin_listen != config.admin_listen,
            ),
            (
                "log-addresses",
                self.config.log_addresses != config.log_addresses,
            ),
            ("log", self.config.log != config.log),
        ];
        let needs_restart = needs_restart.into_iter().filter(|(_, is_other)| *is_other);
        Ok(Reloaded {
            pin: identity.pin,
            warnings: identity.warnings,
            needs_restart: needs_restart.map(|(name, _)| name).collect(),
        })
    }

    /// Stops taking connections, cuts those that have not begun an exchange a second later, lets
    /// the others finish for 10 s, and closes the store, for which it has 5 s. What is cut was not
    /// confirmed.
    pub async fn stop(self) {
        self.state.stop.cancel();
        self.state.tasks.close();
        let _ = tokio::time::timeout(BEGIN_TIME_MAX, self.state.tasks.wait()).await;
        self.state.cut.cancel();
        if tokio::time::timeout(STOP_TIME_MAX, self.state.tasks.wait())
            .await
            .is_err()
        {
            self.state.end.cancel();
        }
        let close = async {
            self.state.tasks.wait().await;
            self.state.service.close().await;
        };
        if tokio::time::timeout(CLOSE_TIME_MAX, close).await.is_err() {
            tracing::warn!(
                "the store does not close: its disk hangs, or another program holds the database"
            );
        }
    }
}

/// What changed when a configuration was read again.
#[derive(Debug)]
pub struct Reloaded {
    /// The pin from now on.
    pub pin: Pin,
    /// What the operator should know about the certificate.
    pub warnings: Vec<Warning>,
    /// Settings that differ and stay as they were until the next start.
    pub needs_restart: Vec<&'static str>,
}

/// Locks the data dir: certificate and key in it belong to one server.
fn lock_data_dir(data_dir: &Path) -> Result<File, StartError> {
    let path = data_dir.join("server.lock");
    match files::lock(&path, LockMode::Exclusive) {
        Ok(Locking::Taken(file)) => Ok(file),
        Ok(Locking::Held) => Err(StoreError::InUse { path }.into()),
        Err(error) => Err(TlsError::Unwritable { path, error }.into()),
    }
}

fn open_admin(address: &AdminAddress) -> Result<AdminListener, StartError> {
    AdminListener::open(address).map_err(|error| StartError::Admin {
        address: address.clone(),
        error,
    })
}

fn settings(config: &Config, identity: &Identity, metrics: &Metrics) -> ListenerSettings {
    let banner = config.banner.clone().unwrap_or_else(|| {
        let program = concat!("passmate-server ", env!("CARGO_PKG_VERSION"));
        default_banner(program, config.limits.btoken_len_max)
            .into_bytes()
            .into()
    });
    ListenerSettings {
        tls: Arc::clone(&identity.config),
        banner,
        limits: config.limits.clone(),
        proxy_from: config.proxy_from.clone(),
        certificate_not_after: Some(identity.not_after),
        metrics: metrics.clone(),
    }
}

/// What tells that a certificate or key is another one: of each file the time, the length and the
/// number.
type Stamp = [Option<(std::time::SystemTime, u64, u64)>; 2];

/// The pair that is served: the operator's, or the server's own.
fn files_of(configured: &Option<CertificateFiles>, data_dir: &Path) -> CertificateFiles {
    configured.clone().unwrap_or_else(|| CertificateFiles {
        certificate: data_dir.join(tls::OWN_CERTIFICATE),
        key: data_dir.join(tls::OWN_KEY),
    })
}

fn stamp(files: &CertificateFiles) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    [&files.certificate, &files.key].map(|path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    })
}

/// Takes in a certificate and key whose files have changed, once they have stayed the same for a
/// moment: whoever renews them writes one after the other. What cannot be used is told once, and
/// the pair that is served stays.
async fn follow_certificate(state: Arc<ServerState>, data_dir: PathBuf, mut served: Stamp) {
    let look = || {
        let configured = files_of(&state.certificate.load(), &data_dir);
        tokio::task::spawn_blocking(move || stamp(&configured))
    };
    let mut before = Stamp::default();
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(CERTIFICATE_PAUSE) => {}
        }
        let now = look().await.unwrap_or_default();
        let is_settled = now == before;
        before = now;
        // A file that is gone is about to come back.
        if now == served || !is_settled || now.contains(&None) {
            continue;
        }
        served = now;
        let (configured, data_dir) = (Option::clone(&state.certificate.load()), data_dir.clone());
        let loaded =
            tokio::task::spawn_blocking(move || Identity::load(configured.as_ref(), &data_dir))
                .await;
        match loaded {
            Ok(Ok(identity)) => {
                let settings = state.settings.load_full().with_identity(&identity);
                state.settings.store(Arc::new(settings));
                tracing::info!(pin = %identity.pin, "the certificate has changed, and new connections get it");
                for warning in &identity.warnings {
                    tracing::warn!("{warning}");
                }
            }
            Ok(Err(error)) => {
                let hint = error.hint();
                tracing::error!(%error, hint, "the new certificate is not taken, the old one stays");
            }
            Err(_) => {}
        }
    }
}

/// Now and once an hour: an invite whose time is over would let nobody in, but its note may name
/// somebody.
async fn expire(state: Arc<ServerState>) {
    loop {
        state.service.expire().await;
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(EXPIRE_PAUSE) => {}
        }
    }
}

/// Asks the system for all the descriptors that it would give, and returns how many connections
/// may use them: 80 %, the rest is for the store and for closing.
fn raise_descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    let got = if setrlimit(Resource::Nofile, limit).is_ok() {
        limit.maximum
    } else {
        soft
    };
    // No number means no limit.
    got.and_then(|got| usize::try_from(got / 5 * 4).ok())
        .unwrap_or(usize::MAX)
        .max(1)
}

async fn setup_command(listening: &[Listening], identity: &Identity) -> String {
    let unspecified = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
    let address = listening.first().map_or(unspecified, |first| first.address);
    let host = match address.ip() {
        ip if ip.is_unspecified() => match identity.names.first() {
            Some(name) if !identity.is_own => name.clone(),
            _ => own_name().await,
        },
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let port = match address.port() {
        PORT => String::new(),
        port => format!(":{port}"),
    };
    format!("passmate sync setup {host}{port} --pin {}", identity.pin)
}

/// This machine's name if it can be looked up here, else `localhost`: the line that is printed
/// must work at least on this machine.
async fn own_name() -> String {
    let name = tls::host_name();
    let found = tokio::net::lookup_host((name.clone(), PORT));
    let found = tokio::time::timeout(LOOK_UP_TIME_MAX, found).await;
    let is_known = found.is_ok_and(|found| found.is_ok_and(|mut found| found.next().is_some()));
    if is_known {
        name
    } else {
        "localhost".to_owned()
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Data dir, certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A socket that listened already.
    #[error("cannot use a socket that was passed: {0}")]
    Inherited(std::io::Error),
    /// The operator's address.
    #[error("cannot open --admin-listen {address}: {error}")]
    Admin {
        /// As it was asked for.
        address: AdminAddress,
        /// What the system says.
        error: std::io::Error,
    },
}

impl StartError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Tls(error) => error.hint().to_owned(),
            Self::Store(error) => error.hint().to_owned(),
            Self::Listen(error) => error.hint().to_owned(),
            Self::Inherited(_) => {
                "look at the .socket unit that passes it: ListenStream= and FileDescriptorName="
                    .to_owned()
            }
            Self::Admin { .. } => {
                "give another address and port, or another path for the socket".to_owned()
            }
        }
    }
}
