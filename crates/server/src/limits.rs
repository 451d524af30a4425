//! What clients may take of the server: connections, new accounts, refusals, memory.

pub(crate) mod connections;
pub(crate) mod handshakes;
pub(crate) mod memory;
pub(crate) mod rate;
pub(crate) mod read_buffers;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// Why a connection is closed before TLS.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum TurnedAway {
            $($(#[$doc])* $variant,)*
        }

        impl TurnedAway {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word for log and metrics. It never changes.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// All connections are in use.
    ConnectionsMax "connections_max",
    /// The source has as many connections as it may have.
    SourceConnectionsMax "source_connections_max",
    /// The source was refused too often.
    SourcePaused "source_paused",
    /// A newcomer got the place of this connection, whose client kept the server waiting.
    HandshakesMax "handshakes_max",
    /// The database cannot be reached.
    StoreUnavailable "store_unavailable",
    /// A proxy did not send the PROXY protocol header that it must send.
    NoProxyHeader "no_proxy_header",
}
