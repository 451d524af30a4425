//! What all connections and tasks of a running server share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{CertificateFiles, Limits};
use crate::limits::connections::OpenConnections;
use crate::limits::handshakes::Handshakes;
use crate::limits::rate::RateLimiter;
use crate::observe::access_log::LogLimits;
use crate::observe::log::LogThrottle;
use crate::observe::metrics::Metrics;
use crate::service::Service;
use crate::tls::ServedCertificate;

/// The state of a running server.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub(crate) settings: ArcSwap<ListenerSettings>,
    /// The operator's certificate and key; none if the server makes its own.
    pub(crate) certificate: ArcSwap<Option<CertificateFiles>>,
    pub(crate) service: Service,
    pub(crate) metrics: Metrics,
    /// The connections that the file descriptors allow, whatever the limits say.
    pub(crate) descriptors_max: usize,
    pub(crate) rate_limiter: RateLimiter,
    pub(crate) log_addresses: bool,
    /// No new connections are taken.
    pub(crate) stop: CancellationToken,
    /// Connections that have not begun an exchange are cut. This follows `stop` a moment later, so
    /// that a client which was about to begin is still served.
    pub(crate) cut: CancellationToken,
    /// Running exchanges are no longer waited for.
    pub(crate) end: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) open: OpenConnections,
    pub(crate) handshakes: Handshakes,
    /// For the warning about connections that are refused, on all listeners.
    pub(crate) turned_away_throttle: LogThrottle,
    pub(crate) log_limits: Arc<LogLimits>,
}

impl ServerState {
    /// The most connections at the same time.
    pub(crate) fn connections_max(&self, settings: &ListenerSettings) -> usize {
        settings.limits.connections_max.min(self.descriptors_max)
    }
}

/// The settings of a connection. A reload makes new settings, for new connections.
#[derive(Debug)]
pub(crate) struct ListenerSettings {
    pub(crate) certificate: ServedCertificate,
    pub(crate) banner: Arc<[u8]>,
    pub(crate) limits: Limits,
    /// Connections from here begin with a PROXY protocol header.
    pub(crate) proxy_from: Vec<IpNet>,
}

impl ListenerSettings {
    /// The same settings with another certificate.
    pub(crate) fn with_certificate(&self, certificate: ServedCertificate) -> Self {
        Self {
            certificate,
            banner: Arc::clone(&self.banner),
            limits: self.limits.clone(),
            proxy_from: self.proxy_from.clone(),
        }
    }
}
