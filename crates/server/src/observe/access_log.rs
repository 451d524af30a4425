//! The log line of a finished connection: action, result, bytes, duration. It names no account, and
//! an address only if the operator wants it. Metrics count the same connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use passmate_proto::{ActionKind, Layout};

use super::log::{LineBudget, LogThrottle};
use super::metrics::{Finished, Metrics, action_name};
use crate::ended::Ended;
use crate::limits::rate::LimitEvent;

/// How often strangers may make the server write a line, for all connections together.
#[derive(Debug, Default)]
pub(crate) struct LogLimits {
    exempt: LogThrottle,
    pauses: LineBudget,
    /// Refused authentications have lines of their own, so that other lines cannot hide them.
    refusals: LineBudget,
    /// Other connections that were not authenticated.
    unknown: LineBudget,
    /// Errors of the server itself.
    errors: LineBudget,
}

/// Collects the log line of a connection. Dropping it writes the line, so a panic leaves one too.
#[derive(Debug)]
pub(crate) struct AccessLog {
    metrics: Metrics,
    limits: Arc<LogLimits>,
    layout: Layout,
    address: Option<SocketAddr>,
    begun: Instant,
    ended: Ended,
    /// The TLS handshake succeeded. The lines of other connections have the level `debug`.
    pub(crate) is_tls: bool,
    /// The client has shown who it is. The lines of others are bounded.
    pub(crate) is_known: bool,
    pub(crate) action: Option<ActionKind>,
    /// Bytes of the protocol, inside TLS.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl AccessLog {
    /// `address` is given only if it may be logged.
    pub(crate) fn new(
        metrics: Metrics,
        limits: Arc<LogLimits>,
        layout: Layout,
        address: Option<SocketAddr>,
    ) -> Self {
        Self {
            metrics,
            limits,
            layout,
            address,
            begun: Instant::now(),
            ended: Ended::Aborted,
            is_tls: false,
            is_known: false,
            action: None,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Writes a line about a limit that the source of the connection has reached. It names the
    /// source only if addresses may be logged.
    pub(crate) fn note_limit(&self, event: LimitEvent) {
        match event {
            LimitEvent::ExemptOver { source } => {
                if self.limits.exempt.may_log() {
                    let source = self.address.map(|_| tracing::field::display(source));
                    tracing::warn!(
                        source,
                        "an exempt source makes more accounts, or is refused more often, than \
                         one source may: if a forwarder or proxy hides many clients there, let it \
                         send the PROXY protocol and list it with --proxy-from"
                    );
                }
            }
            LimitEvent::Paused { network, time } => {
                if let Some(unlogged) = self.limits.pauses.take(Instant::now()) {
                    let network = self.address.map(|_| tracing::field::display(network));
                    tracing::info!(
                        network,
                        seconds = time.as_secs(),
                        unlogged = more_than_none(unlogged),
                        "a source is paused after too many refusals"
                    );
                }
            }
        }
    }

    /// Writes a line about an error of the server itself.
    pub(crate) fn note_error(&self, error: &(dyn std::error::Error + 'static)) {
        if let Some(unlogged) = self.limits.errors.take(Instant::now()) {
            let unlogged = more_than_none(unlogged);
            tracing::error!(%error, unlogged, "a request of a client failed");
        }
    }

    /// How many lines were left out before the line of this connection; none if this one must be
    /// left out too.
    fn unlogged(&self) -> Option<u64> {
        let budget = match self.ended {
            _ if self.is_known => return Some(0),
            Ended::UnknownAccountOrToken | Ended::SourcePaused => &self.limits.refusals,
            _ => &self.limits.unknown,
        };
        budget.take(Instant::now())
    }

    /// Notes how the connection ended.
    pub(crate) fn end(&mut self, ended: Ended) {
        self.ended = ended;
    }
}

/// A count for a field that is absent while nothing was left out.
fn more_than_none(unlogged: u64) -> Option<u64> {
    (unlogged > 0).then_some(unlogged)
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let action = action_name(self.action);
        let layout = match self.layout {
            Layout::One => 1,
            Layout::Two => 2,
        };
        let duration = self.begun.elapsed();
        self.metrics.note(&Finished {
            action,
            ended: self.ended,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration,
            is_tls: self.is_tls,
        });
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let address = self.address.map(tracing::field::display);
        macro_rules! line {
            ($level:ident, $unlogged:expr) => {
                tracing::$level!(
                    action,
                    result = self.ended.name(),
                    bytes_in = self.bytes_in,
                    bytes_out = self.bytes_out,
                    duration_ms,
                    layout,
                    address,
                    unlogged = $unlogged,
                    "connection"
                )
            };
        }
        match self.is_tls.then(|| self.unlogged()).flatten() {
            Some(unlogged) => line!(info, more_than_none(unlogged)),
            None => line!(debug, None::<u64>),
        }
    }
}
