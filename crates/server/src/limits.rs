//! What clients may take of the server: connections, new accounts, refusals, memory.

pub(crate) mod connections;
pub(crate) mod memory;
pub(crate) mod rate;

/// Why a connection is closed before TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TurnedAway {
    /// All connections are in use.
    ConnectionsMax,
    /// The source has as many connections as it may have.
    SourceConnectionsMax,
    /// The source was refused too often.
    SourcePaused,
    /// A proxy did not send the PROXY protocol header that it must send.
    NoProxyHeader,
}

impl TurnedAway {
    /// The word for log and metrics. It never changes.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ConnectionsMax => "connections_max",
            Self::SourceConnectionsMax => "source_connections_max",
            Self::SourcePaused => "source_paused",
            Self::NoProxyHeader => "no_proxy_header",
        }
    }
}
