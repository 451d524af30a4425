//! How connections end: one row for each ending, with the word that log and metrics use and with
//! the side that it is to be blamed on. Log, metrics, status page and alert rules read this table.

use passmate_proto::Reason;

/// Who or what caused an ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Nothing went wrong.
    Nobody,
    /// The client, or the network to it; also a refusal that the operator has configured.
    Client,
    /// The server has more to do than its limits allow.
    Load,
    /// The store, or its disk.
    Store,
    /// A bug of the server.
    Bug,
}

macro_rules! endings {
    ($($(#[$doc:meta])* $variant:ident $name:literal $blame:ident,)*) => {
        /// How a connection ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Ended {
            $($(#[$doc])* $variant,)*
        }

        impl Ended {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word for log and metrics. It never changes.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            pub(crate) const fn blame(self) -> Blame {
                match self {
                    $(Self::$variant => Blame::$blame,)*
                }
            }
        }
    };
}

endings! {
    /// The change is durable, and the client was told.
    Confirmed "confirmed" Nobody,
    /// The change is durable, but the client was gone before it could be told.
    CommittedUnheard "committed_unheard" Nobody,
    /// The client fetched its btoken and did not change it.
    LeftAfterFetch "left_after_fetch" Nobody,
    /// The client left before it asked for anything.
    LeftBeforeAction "left_before_action" Nobody,
    /// The server is stopping, and the client had not begun an exchange.
    Stopping "stopping" Nobody,

    NoTls "no_tls" Client,
    HandshakeTimeout "handshake_timeout" Client,
    /// A newcomer got the place of a client that kept the server waiting.
    HandshakeDropped "handshake_dropped" Client,
    IdleTimeout "idle_timeout" Client,
    SessionTimeout "session_timeout" Client,
    /// The client went away while the server was writing.
    ClientGone "client_gone" Client,
    WrongHello "wrong_hello" Client,
    UnknownAction "unknown_action" Client,
    BtokenTooLong "btoken_too_long" Client,
    WrongFinalNumber "wrong_final_number" Client,
    CutWithinAction "ended_within_action" Client,
    CutBeforeFinalNumber "ended_before_final_number" Client,
    /// The machine was told to refuse, and the reason got lost.
    Refused "refused" Client,
    /// No such account, a disabled account, or a wrong auth token.
    UnknownAccountOrToken "unknown_account_or_token" Client,
    /// Another device was faster.
    LostRace "lost_race" Client,
    RegistrationClosed "registration_closed" Client,
    NotInvited "not_invited" Client,
    ManyCreates "many_creates" Client,
    SourcePaused "source_paused" Client,
    AccountsMax "accounts_max" Client,
    /// The memory was needed for others, and this transfer was the slowest.
    TooSlow "too_slow" Client,

    MemoryFull "memory_full" Load,

    /// Little space is left on the disk, and the change would take some.
    DiskLow "disk_low" Store,
    DiskFull "disk_full" Store,
    StorageError "storage_error" Store,
    /// The database cannot be reached, or refuses to work. Nothing was changed.
    StoreUnavailable "store_unavailable" Store,
    /// The connection to the database was lost while it committed.
    OutcomeUnknown "outcome_unknown" Store,

    /// The connection's task ended without a word: a panic, or a stop that did not wait for it.
    Aborted "aborted" Bug,
    /// Protocol machine and pump disagree about what comes next.
    Stuck "stuck" Bug,
}

impl Ended {
    /// The client got what it came for: a durable change, or a look without a change.
    pub(crate) const fn is_success(self) -> bool {
        matches!(
            self,
            Self::Confirmed | Self::CommittedUnheard | Self::LeftAfterFetch
        )
    }

    /// What the operator can do about it, if it is the server's own fault.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::MemoryFull => "raise --memory-max if the machine has memory to spare",
            Self::DiskLow | Self::DiskFull => "free some space, or move the data dir",
            Self::StoreUnavailable | Self::OutcomeUnknown => {
                "read the log, and check that the database runs and that this machine reaches it"
            }
            Self::StorageError => "read the log, and run `passmate-server verify`",
            _ => "read the log; if it stays, report it as a bug",
        }
    }

    /// The operator should know about it.
    pub(crate) const fn is_own_fault(self) -> bool {
        matches!(self.blame(), Blame::Load | Blame::Store | Blame::Bug)
    }
}

impl From<Reason> for Ended {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::WrongHello => Self::WrongHello,
            Reason::UnknownAction(_) => Self::UnknownAction,
            Reason::BtokenTooLong { .. } => Self::BtokenTooLong,
            Reason::WrongFinalNumber => Self::WrongFinalNumber,
            Reason::Refused => Self::Refused,
            Reason::LeftAfterFetch => Self::LeftAfterFetch,
            Reason::LeftBeforeAction => Self::LeftBeforeAction,
            Reason::EndedWithin(_) => Self::CutWithinAction,
            Reason::EndedBeforeFinalNumber => Self::CutBeforeFinalNumber,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use passmate_proto::ActionKind;

    use super::*;

    #[test]
    fn every_ending_has_a_word_of_its_own() {
        let names: BTreeSet<_> = Ended::ALL.iter().map(|ended| ended.name()).collect();
        assert_eq!(names.len(), Ended::ALL.len());
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
    }

    #[test]
    fn protocol_and_server_use_the_same_words() {
        for reason in [
            Reason::WrongHello,
            Reason::UnknownAction(0),
            Reason::BtokenTooLong {
                announced: 2,
                limit: 1,
            },
            Reason::WrongFinalNumber,
            Reason::Refused,
            Reason::LeftAfterFetch,
            Reason::LeftBeforeAction,
            Reason::EndedWithin(ActionKind::Create),
            Reason::EndedBeforeFinalNumber,
        ] {
            assert_eq!(Ended::from(reason).name(), reason.name());
        }
    }
}
