//! The log line of a finished connection: action, result, bytes, duration. It names no account, and
//! an address only if the operator wants it. Metrics count the same connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use passmate_proto::{ActionKind, Layout};

use super::log::LogThrottle;
use super::metrics::{Finished, Metrics, action_name};
use crate::ended::Ended;
use crate::limits::rate::LimitEvent;

/// How often strangers may make the server write a line, for all connections together.
#[derive(Debug, Default)]
pub(crate) struct LogLimits {
    exempt: LogThrottle,
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
            LimitEvent::Paused { .. } => {}
        }
    }

    /// Notes how the connection ended.
    pub(crate) fn end(&mut self, ended: Ended) {
        self.ended = ended;
    }
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
            ($level:ident) => {
                tracing::$level!(
                    action,
                    result = self.ended.name(),
                    bytes_in = self.bytes_in,
                    bytes_out = self.bytes_out,
                    duration_ms,
                    layout,
                    address,
                    "connection"
                )
            };
        }
        if self.is_tls {
            line!(info)
        } else {
            line!(debug)
        }
    }
}
