//! Starts a server and stops it: data dir, store, certificate and listeners, in this order, so that
//! no client is admitted before everything is ready.

mod follow_audit;
mod follow_certificate;
mod live;
mod setup_line;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use passmate_proto::{Layout, default_banner};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acme;
use crate::backup::last_accounts;
use crate::config::{AdminAddress, Config, Registration, changed_at_restart};
use crate::control::ControlListener;
use crate::files::{self, LockMode, Locking};
use crate::health::{DESCRIPTORS_MIN, connections_of_descriptors};
use crate::limits::connections::OpenConnections;
use crate::limits::handshakes::Handshakes;
use crate::limits::rate::RateLimiter;
use crate::listen::{self, ListenError};
use crate::observe::access_log::LogLimits;
use crate::observe::log::LogThrottle;
use crate::observe::metrics::{Metrics, OwnError};
use crate::observe::{self, AdminListener};
use crate::service::Service;
use crate::state::{ListenerSettings, ServerState};
use crate::store::StoreError;
use crate::tls::{self, Identity, OWN_KEY, Pin, ServedCertificate, TlsError, Warning};
use follow_audit::follow_audit;
use follow_certificate::{files_of, follow_certificate, stamp};

/// How long admitted connections may take to begin an exchange when the server stops.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(1);
/// How long running exchanges may take to finish when the server stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the store may take to close after that. A disk that hangs, or another program that
/// holds the database, must not keep the process; no confirmed change depends on it.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);
/// The file in the data dir that a server keeps open and locked.
pub(crate) const DATA_DIR_LOCK: &str = "server.lock";
/// Between two removals of expired invites.
const EXPIRE_PAUSE: Duration = Duration::from_secs(3600);

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
    /// Held to the end: certificate and key in the data dir belong to one server.
    _lock: File,
}

/// Where a running server accepts connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// The address, with the port that the system chose if the configured port is 0.
    pub address: SocketAddr,
    pub layout: Layout,
}

/// Tells an operator that a store which had accounts has none: its disk is not mounted, or the file
/// is gone. `had_store` and `had_key` say what there was before the start.
fn warn_if_emptied(config: &Config, had_store: bool, had_key: bool) {
    let backed_up = last_accounts(config.notes_folder()).unwrap_or(0);
    let accounts = || {
        let sum = config.store.inspector().and_then(|store| store.sum());
        sum.map_or(0, |sum| sum.accounts)
    };
    let trace = match (had_store, had_key) {
        (false, true) => "the key of an earlier start",
        _ if backed_up > 0 && accounts() == 0 => "a backup with accounts",
        _ => return,
    };
    tracing::warn!(
        store = %config.store,
        trace,
        backed_up,
        "the store is empty, but there was one before: if its disk is not mounted or the file is \
         gone, stop this server, bring the store back or restore a backup, and start it again"
    );
}

impl Server {
    /// Starts a server inside the current tokio runtime. When this returns, clients are served.
    ///
    /// `on_fatal` is called when a commit failed and the state of the disk is unknown. Nothing is
    /// confirmed from then on. A program should log the error and exit at once.
    ///
    /// # Errors
    /// Why the server cannot start. Nothing is left running then.
    pub async fn start(
        config: Config,
        on_fatal: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        Self::start_on(config, Vec::new(), on_fatal).await
    }

    /// Starts a server on sockets that are listening already. If there are any, they replace the
    /// listeners of the configuration.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_on(
        config: Config,
        sockets: Vec<(TcpListener, Layout)>,
        on_fatal: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let descriptors_max = raise_descriptors()?;
        tls::make_data_dir(&config.data_dir)?;
        let lock = lock_data_dir(&config.data_dir)?;
        let had_store = config.store.file().is_none_or(Path::exists);
        let had_key = config.certificate.is_none() && config.data_dir.join(OWN_KEY).exists();
        // A database may take its time, and a runtime of its own.
        let opened = tokio::task::spawn_blocking(move || {
            let store = config.store.open(on_fatal)?;
            warn_if_emptied(&config, had_store, had_key);
            Ok::<_, StoreError>((config, store))
        });
        let (config, store) = opened.await.map_err(|_| StoreError::WriterEnded)??;
        let files = files_of(&config.certificate, &config.data_dir);
        let before = stamp(&files);
        let identity = Identity::load(config.certificate.as_ref(), &config.data_dir)?;
        // A change while the files are loaded is noticed. Files that the server has just made are
        // those that it serves.
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
        let admin_name = admin.as_ref().map(|(_, listener)| listener.name());
        let listening: Vec<Listening> = listeners
            .iter()
            .map(|one| Listening {
                address: one.address,
                layout: one.layout,
            })
            .collect();

        let folder = config.store.folder();
        let service = Service::new(store, folder, &config.limits, config.registration);
        let served_certificate = ServedCertificate::serve(&identity, config.notes_folder());
        let state = Arc::new(ServerState {
            settings: ArcSwap::from_pointee(settings(&config, served_certificate)),
            certificate: ArcSwap::from_pointee(config.certificate.clone()),
            service,
            metrics: Metrics::new(),
            descriptors_max,
            rate_limiter: RateLimiter::new(),
            log_addresses: config.log_addresses,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            end: CancellationToken::new(),
            tasks: TaskTracker::new(),
            open: OpenConnections::default(),
            handshakes: Handshakes::default(),
            turned_away_throttle: LogThrottle::default(),
            log_limits: Arc::new(LogLimits::default()),
        });
        state.tasks.spawn(expire(Arc::clone(&state)));
        state.tasks.spawn(follow_audit(Arc::clone(&state)));
        if let Some((address, listener)) = admin {
            if !address.is_local() {
                tracing::warn!(
                    "--admin-listen is not a loopback address: anyone who reaches it sees how \
                     much the server is used"
                );
            }
            state.tasks.spawn(observe::serve(
                listener,
                address,
                Arc::clone(&state),
                config.store.clone(),
                config.notes_folder().to_owned(),
            ));
        }
        match ControlListener::open(&config.data_dir) {
            Ok(control) => drop(state.tasks.spawn(control.serve(Arc::clone(&state)))),
            Err(error) => tracing::warn!(
                %error,
                "there is no control socket in the data dir, so `passmate-server limits` cannot \
                 ask this server"
            ),
        }
        for listener in listeners {
            state
                .tasks
                .spawn(listen::accept(listener, Arc::clone(&state)));
        }
        state.tasks.spawn(follow_certificate(
            Arc::clone(&state),
            config.data_dir.clone(),
            config.notes_folder().to_owned(),
            served,
        ));
        if let Some(acme) = config.acme.clone() {
            let (data_dir, stop) = (config.data_dir.clone(), state.stop.clone());
            let metrics = state.metrics.clone();
            let failed = move || metrics.note_error(OwnError::NotIssued);
            state
                .tasks
                .spawn(acme::keep_issued(acme, data_dir, stop, failed));
        }
        let setup_command = setup_line::setup_command(&listening, &identity).await;
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

    /// Where clients are accepted: at least one address, those of layout 1 first.
    #[must_use]
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    #[must_use]
    pub fn registration(&self) -> Registration {
        self.state.service.registration()
    }

    /// The pin of the certificate that was loaded at start.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// Warnings about the certificate that was loaded at start.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The command that sets up a first device with this server.
    #[must_use]
    pub fn setup_command(&self) -> &str {
        &self.setup_command
    }

    /// The address of the status page, if there is one.
    #[must_use]
    pub fn admin(&self) -> Option<&str> {
        self.admin_name.as_deref()
    }

    /// Says whether the store works, from any task; see [`Store::is_alive`](crate::store::Store).
    pub(crate) fn pulse(&self) -> impl Fn(Duration) -> bool + Send + 'static {
        let state = Arc::clone(&self.state);
        move |most| state.service.is_alive(most)
    }

    /// Applies certificate, banner, registration and limits of `config` to new connections. Other
    /// settings stay as they are.
    ///
    /// # Errors
    /// The new certificate cannot be used. Nothing changes then.
    pub fn reload(&self, config: &Config) -> Result<Reloaded, TlsError> {
        let identity = Identity::load(config.certificate.as_ref(), &self.config.data_dir)?;
        let certificate = ServedCertificate::serve(&identity, self.config.notes_folder());
        self.state
            .service
            .set_limits(&config.limits, config.registration);
        self.state
            .certificate
            .store(Arc::new(config.certificate.clone()));
        self.state
            .settings
            .store(Arc::new(settings(config, certificate)));
        Ok(Reloaded {
            pin: identity.pin,
            warnings: identity.warnings,
            needs_restart: changed_at_restart(&self.config, config),
        })
    }

    /// Stops accepting connections, cuts connections that have not begun an exchange after 1 s,
    /// lets the others finish for 10 s, and closes the store within 5 s. An exchange that is cut
    /// was not confirmed.
    pub async fn stop(self) {
        let ServerState {
            stop,
            cut,
            end,
            tasks,
            service,
            ..
        } = &*self.state;
        stop.cancel();
        tasks.close();
        let _ = tokio::time::timeout(BEGIN_TIME_MAX, tasks.wait()).await;
        cut.cancel();
        if tokio::time::timeout(STOP_TIME_MAX, tasks.wait())
            .await
            .is_err()
        {
            end.cancel();
        }
        let close = async {
            tasks.wait().await;
            service.close().await;
        };
        if tokio::time::timeout(CLOSE_TIME_MAX, close).await.is_err() {
            tracing::warn!(
                "the store does not close: its disk hangs, or another program holds the database"
            );
        }
    }
}

/// The effect of a reload.
#[derive(Debug)]
pub struct Reloaded {
    /// The pin of the certificate for new connections.
    pub pin: Pin,
    /// Warnings about that certificate.
    pub warnings: Vec<Warning>,
    /// Settings that have changed and take effect at the next start.
    pub needs_restart: Vec<&'static str>,
}

fn lock_data_dir(data_dir: &Path) -> Result<File, StartError> {
    let path = data_dir.join(DATA_DIR_LOCK);
    match files::lock(&path, LockMode::Exclusive) {
        Ok(Locking::Taken(file)) => Ok(file),
        Ok(Locking::Held) => Err(StoreError::InUse { path }.into()),
        Err(error) => Err(TlsError::Unwritable { path, error }.into()),
    }
}

fn open_admin(address: &AdminAddress) -> Result<(AdminAddress, AdminListener), StartError> {
    match AdminListener::open(address) {
        Ok(listener) => Ok((address.clone(), listener)),
        Err(error) => Err(StartError::Admin {
            address: address.clone(),
            error,
        }),
    }
}

fn settings(config: &Config, certificate: ServedCertificate) -> ListenerSettings {
    let banner = config.banner.clone().unwrap_or_else(|| {
        let program = concat!("passmate-server ", env!("CARGO_PKG_VERSION"));
        default_banner(program, config.limits.btoken_len_max)
            .into_bytes()
            .into()
    });
    ListenerSettings {
        certificate,
        banner,
        limits: config.limits.clone(),
        proxy_from: config.proxy_from.clone(),
    }
}

/// Removes expired invites, now and every hour: they admit nobody, but their notes may hold names.
async fn expire(state: Arc<ServerState>) {
    loop {
        if let Err(error) = state.service.expire().await {
            tracing::warn!(%error, "expired invites could not be removed");
        }
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(EXPIRE_PAUSE) => {}
        }
    }
}

/// Raises the limit of file descriptors as far as the system allows. Returns how many connections
/// may use them.
fn raise_descriptors() -> Result<usize, StartError> {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    let got = if setrlimit(Resource::Nofile, limit).is_ok() {
        limit.maximum
    } else {
        soft
    };
    if let Some(allowed) = got.filter(|got| *got < DESCRIPTORS_MIN) {
        return Err(StartError::FewDescriptors { allowed });
    }
    // None means that there is no limit.
    let connections = got.and_then(|got| usize::try_from(connections_of_descriptors(got)).ok());
    Ok(connections.unwrap_or(usize::MAX))
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(
        "the system allows this process {allowed} file descriptors, and it needs {DESCRIPTORS_MIN}"
    )]
    FewDescriptors { allowed: u64 },
    #[error("cannot use a socket that was passed to the server: {0}")]
    Inherited(std::io::Error),
    #[error("cannot open --admin-listen {address}: {error}")]
    Admin {
        address: AdminAddress,
        error: std::io::Error,
    },
}

impl StartError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Tls(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Listen(error) => error.hint(),
            Self::FewDescriptors { .. } => {
                "raise LimitNOFILE= in the unit, or `ulimit -n` in the shell that starts it"
            }
            Self::Inherited(_) => {
                "check ListenStream= and FileDescriptorName= in the .socket unit that passes it"
            }
            Self::Admin { .. } => "give another address and port, or another path for the socket",
        }
    }
}
