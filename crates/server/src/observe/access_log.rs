//! The one line that a finished connection leaves in the log: what was asked, how it ended, how
//! much it moved, how long it took. No account; an address only if the operator wants it. The same
//! goes to who watches.

use std::net::SocketAddr;
use std::time::Instant;

use passmate_proto::ActionKind;
use passmate_proto::Layout;

use super::metrics::{Finished, Metrics};

/// What becomes the line. It is written when this is dropped, so a panic leaves one too.
#[derive(Debug)]
pub(crate) struct AccessLog {
    metrics: Metrics,
    layout: Layout,
    address: Option<SocketAddr>,
    begun: Instant,
    result: &'static str,
    /// Whether TLS came about; what never spoke TLS is a line for debugging only.
    pub(crate) is_tls: bool,
    pub(crate) action: Option<ActionKind>,
    /// Bytes of the protocol, inside TLS.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl AccessLog {
    /// `address` is there only if it may be logged.
    pub(crate) fn new(metrics: Metrics, layout: Layout, address: Option<SocketAddr>) -> Self {
        Self {
            metrics,
            layout,
            address,
            begun: Instant::now(),
            // Stays if nobody comes to say how it ended: a panic, or a stop that would not wait.
            result: "aborted",
            is_tls: false,
            action: None,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Says how it ended.
    pub(crate) fn end(&mut self, result: &'static str) {
        self.result = result;
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let action = match self.action {
            Some(ActionKind::Create) => "create",
            Some(ActionKind::Update) => "update",
            Some(ActionKind::Reset) => "reset",
            None => "none",
        };
        let layout = match self.layout {
            Layout::One => 1,
            Layout::Two => 2,
        };
        let duration = self.begun.elapsed();
        self.metrics.note(&Finished {
            action,
            result: self.result,
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
                    result = self.result,
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
