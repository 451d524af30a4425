//! Every error that a person can meet: its kind, what happened, and what to do next.

use passmate_proto::Failure as ExchangeFailure;
use passmate_sync::transport::{CertificateProblem, TrustProblem};
use passmate_sync::{ConnectError, RemoteError, Rollback, SyncError};
use passmate_vault::format::container::ContainerError;
use passmate_vault::{EditError, SyncKeyError};

use crate::clock::local_time;
use crate::escape::escape;
use crate::session::SessionError;
use crate::settings::SettingsError;
use crate::share::link::LinkError;
use crate::share::qr::TooLong;
use crate::shared_folder::FolderError;

/// What went wrong, in two lines: the second one helps. Neither holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What programs act on.
    pub kind: ProblemKind,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

/// The kinds of problems. A command-line program gives each an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// None of the others.
    Other,
    /// What was asked for makes no sense.
    Usage,
    /// A person declined.
    Cancelled,
    /// The vault is locked, and nobody can be asked.
    Locked,
    /// The passphrase is wrong.
    WrongPassphrase,
    /// A vault, btoken or file is damaged.
    Damaged,
    /// A file cannot be read or written.
    File,
    /// Another program is writing the vault.
    InUse,
    /// There is no such record, field or vault.
    NotFound,
    /// There is one already.
    Exists,
    /// The server cannot be reached, or the connection broke.
    Network,
    /// The server is not trusted.
    NotTrusted,
    /// The server refused.
    Refused,
    /// Something is larger than allowed.
    TooLarge,
    /// A format, layout or version that this program does not support.
    NotSupported,
    /// The server returned older data.
    Older,
    /// A sync would change too much at once.
    HeldBack,
    /// The checksum of a sync key is wrong.
    KeyMistyped,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: ProblemKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// A problem of [`ProblemKind::Usage`].
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ProblemKind::Usage, message, hint)
    }

    /// A record without this field.
    #[must_use]
    pub fn no_field(path: &str, name: &str) -> Self {
        Self::new(
            ProblemKind::NotFound,
            format!("{path} has no field {name}"),
            "`passmate show PATH` lists the fields that are set",
        )
    }

    /// A server that returned older data: it may have been restored from a backup, or lies.
    /// `not_sent_again` says why the changes could not be stored there again.
    #[must_use]
    pub fn rolled_back(
        Rollback { changes, times }: Rollback,
        not_sent_again: Option<&str>,
    ) -> Self {
        let made = match times {
            Some((first, last)) if first == last => format!(", made at {}", local_time(first)),
            Some((first, last)) => {
                format!(", made from {} to {}", local_time(first), local_time(last))
            }
            None => String::new(),
        };
        let gone = if changes == 1 {
            "change that this device had seen there was gone"
        } else {
            "changes that this device had seen there were gone"
        };
        let message = format!("the server returned older data: {changes} {gone}{made}");
        let why = "the server may have been restored from a backup, or another program or the \
                   server may have taken them back: ask its operator";
        match not_sent_again {
            None => Self::new(
                ProblemKind::Older,
                message,
                format!("nothing is lost here, and they were sent again; {why}"),
            ),
            Some(error) => Self::new(
                ProblemKind::Older,
                format!("{message}; they could not be sent again: {error}"),
                format!("nothing is lost here; {why}"),
            ),
        }
    }

    /// A call that needs the network, which is forbidden.
    #[must_use]
    pub fn offline() -> Self {
        Self::new(
            ProblemKind::Network,
            "this needs the network, and --offline forbids it",
            "run it without --offline",
        )
    }

    /// The same problem with another hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: hint.into(),
            ..self
        }
    }
}

impl From<TooLong> for Problem {
    fn from(error: TooLong) -> Self {
        Self::new(
            ProblemKind::TooLarge,
            error.to_string(),
            "name a shorter field, or carry it in another way",
        )
    }
}

impl From<SettingsError> for Problem {
    fn from(error: SettingsError) -> Self {
        let (kind, hint) = match &error {
            SettingsError::NoHome => (
                ProblemKind::File,
                "set HOME, or name the vault with --vault and settings with --config",
            ),
            SettingsError::Unreadable { .. } => {
                (ProblemKind::File, "check --config and PASSMATE_CONFIG")
            }
            SettingsError::Wrong { .. } => (
                ProblemKind::Usage,
                "its keys are vault, profile, passphrase-file, passphrase-command, color, \
                 sync.auto, sync.guard-records and sync.guard-percent",
            ),
            SettingsError::ProfileName => (
                ProblemKind::Usage,
                "choose another name, or name a file with --vault",
            ),
        };
        Self::new(kind, error.to_string(), hint)
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Key(error) => error.into(),
            error => Self::new(
                ProblemKind::KeyMistyped,
                error.to_string(),
                "`passmate sync key --link` on another device shows it; nothing was sent",
            ),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        let (code, hint) = match &error {
            SessionError::NotFound { .. } => (
                ProblemKind::NotFound,
                "make one with `passmate init`, or name another with --vault or --profile",
            ),
            SessionError::Exists { .. } => (
                ProblemKind::Exists,
                "open it, or name another place with --vault or --profile",
            ),
            SessionError::InUse { .. } => (ProblemKind::InUse, "try again in a moment"),
            SessionError::Io { error, .. } => match error.kind() {
                std::io::ErrorKind::StorageFull => (
                    ProblemKind::File,
                    "make room on the disk; the vault is as it was before",
                ),
                std::io::ErrorKind::PermissionDenied => (
                    ProblemKind::File,
                    "look at the owner and mode of the file and of its folder",
                ),
                _ => (
                    ProblemKind::File,
                    "look at the disk and the folder; the vault is as it was before",
                ),
            },
            SessionError::Container(ContainerError::WrongPassphrase) => (
                ProblemKind::WrongPassphrase,
                "check caps lock and keyboard layout, and whether this is the vault you mean",
            ),
            SessionError::Container(
                ContainerError::TooExpensive { .. } | ContainerError::NotEnoughMemory,
            ) => (
                ProblemKind::Other,
                "open it with the `scrypt` utility on a machine with more memory",
            ),
            SessionError::Container(ContainerError::NotAContainer) => (
                ProblemKind::Damaged,
                "name the right file with --vault, or restore a backup",
            ),
            SessionError::Codec(error) if error.is_newer() => {
                (ProblemKind::NotSupported, "update passmate on this device")
            }
            SessionError::Container(_) | SessionError::Codec(_) => (
                ProblemKind::Damaged,
                "restore a backup, or try the content before with --vault and `.prev` at the end of the path",
            ),
            SessionError::Encode(_) => (ProblemKind::TooLarge, "the change was not saved"),
            SessionError::PassphraseChanged => (
                ProblemKind::WrongPassphrase,
                "try again with the new passphrase",
            ),
            SessionError::OfOriginal { .. } => (
                ProblemKind::File,
                "make a vault of your own with `passmate init`",
            ),
        };
        Self::new(code, error.to_string(), hint)
    }
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        match error {
            EditError::NoSuchRecord => Self::new(
                ProblemKind::NotFound,
                error.to_string(),
                "`passmate ls` shows what there is",
            ),
            EditError::NameEmpty | EditError::NameHasControl => {
                Self::usage(error.to_string(), "choose another name")
            }
            EditError::IdTaken => Self::new(ProblemKind::Other, error.to_string(), "try again"),
            EditError::ClockOutOfRange => Self::new(
                ProblemKind::Other,
                error.to_string(),
                "set this device's clock",
            ),
            EditError::StampsExhausted => Self::new(
                ProblemKind::Other,
                error.to_string(),
                "make a new record and copy the values there",
            ),
        }
    }
}

impl From<SyncKeyError> for Problem {
    fn from(error: SyncKeyError) -> Self {
        Self::new(
            ProblemKind::KeyMistyped,
            error.to_string(),
            "`passmate sync key` on a device that has the account shows the key: 14 groups of 6 digits",
        )
    }
}

impl From<SyncError> for Problem {
    fn from(error: SyncError) -> Self {
        let message = error.to_string();
        match error {
            SyncError::NotSetUp => Self::new(
                ProblemKind::NotFound,
                message,
                "tie it to a server with `passmate sync setup HOST`",
            ),
            SyncError::NotLetIn { ref host } => {
                let hint = format!(
                    "when its operator has admitted you, run `passmate sync setup {host}`; with --request it shows the code again"
                );
                Self::new(ProblemKind::Refused, message, hint)
            }
            SyncError::AlreadySetUp { .. } => Self::new(
                ProblemKind::Exists,
                message,
                "forget that server first with `passmate sync leave`",
            ),
            SyncError::SetUpChanged => {
                Self::new(ProblemKind::Other, message, "run `passmate sync` again")
            }
            SyncError::KeyWithoutAccount => Self::new(
                ProblemKind::Refused,
                message,
                "the key was never given out by a server; check it on the other device",
            ),
            SyncError::HeldBack(_) => Self::new(
                ProblemKind::HeldBack,
                message,
                "nothing was changed; look with `passmate sync --dry-run`, and take it with `passmate sync --yes`",
            ),
            SyncError::RolledBack { rollback, then } => {
                Self::rolled_back(rollback, Some(&then.to_string()))
            }
            SyncError::Remote(error) => error.into(),
            SyncError::Save(error) => match error.downcast::<SessionError>() {
                Ok(error) => (*error).into(),
                Err(error) => Self::new(ProblemKind::File, error.to_string(), "look at the disk"),
            },
        }
    }
}

impl From<FolderError> for Problem {
    fn from(error: FolderError) -> Self {
        if let FolderError::Save(error) = error {
            return error.into();
        }
        let (code, hint) = match &error {
            FolderError::NotSetUp => (
                ProblemKind::NotFound,
                "set one up with `passmate sync setup --folder DIR`",
            ),
            FolderError::AlreadySetUp(_) => (
                ProblemKind::Exists,
                "forget that one first with `passmate sync leave --folder`",
            ),
            FolderError::Save(_) => (ProblemKind::File, "look at the disk; nothing is lost here"),
            FolderError::HeldBack(_) => (
                ProblemKind::HeldBack,
                "nothing was changed; look with `passmate sync --dry-run`, and take it with `passmate sync --yes`",
            ),
            FolderError::NotText(_) => (ProblemKind::Usage, "rename it"),
            FolderError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound => (
                ProblemKind::File,
                "is the disk mounted, and has the sync program made it? Nothing is lost here",
            ),
            FolderError::Io { .. } => (
                ProblemKind::File,
                "look at the folder and its mode; nothing is lost here",
            ),
            FolderError::TooMany(_) => (ProblemKind::File, "share a folder of its own"),
        };
        Self::new(code, error.to_string(), hint)
    }
}

impl From<RemoteError> for Problem {
    fn from(error: RemoteError) -> Self {
        let message = error.to_string();
        let (code, hint) = match error {
            RemoteError::NoConnection(error) => return error.into(),
            RemoteError::Busy => (
                ProblemKind::Network,
                "it may be overloaded: try again later; nothing is lost here",
            ),
            RemoteError::Broken {
                failure: ExchangeFailure::CutBeforeHello | ExchangeFailure::CutDuringGreeting,
                ..
            } => (
                ProblemKind::Network,
                "is it a Passmate server, and is it up? Try again later; nothing is lost here",
            ),
            RemoteError::Broken { .. } => (
                ProblemKind::Network,
                "try again later; nothing is lost here",
            ),
            RemoteError::NotPassmate | RemoteError::Misbehaved(_) => (
                ProblemKind::Network,
                "check host and port: Passmate servers listen on port 29556",
            ),
            RemoteError::TlsEnded => (
                ProblemKind::NotTrusted,
                "the operator must pass TCP through to passmate-server (nginx `stream`, HAProxy `mode tcp`)",
            ),
            RemoteError::LetsAnyoneIn => (
                ProblemKind::NotTrusted,
                "nothing was stored there; ask the operator what this is",
            ),
            RemoteError::VersionUnsupported(1) => (
                ProblemKind::NotSupported,
                "version 1 encrypted vaults in another way: the operator must run a server of version 2 or passmate-server",
            ),
            RemoteError::VersionUnsupported(_) => {
                (ProblemKind::NotSupported, "update passmate on this device")
            }
            RemoteError::Refused => (
                ProblemKind::Refused,
                "the account was deleted or rotated (then leave and join with the new key), the sync key is wrong, or the server is out \
                 of order; nothing is lost here",
            ),
            RemoteError::CreateRefused => (
                ProblemKind::Refused,
                "it may be full, or closed to new accounts: ask its operator; if they let devices in by a code, \
                     `passmate sync setup HOST --request` makes yours",
            ),
            RemoteError::TooLarge { .. } => (
                ProblemKind::TooLarge,
                "all is saved on this device; ask the operator for a higher --btoken-max, or keep less history with \
                     `passmate sync rotate --keep-history 1y`",
            ),
            RemoteError::CutInFuture { .. } => (
                ProblemKind::Damaged,
                "look at this device's clock; if it is right, run `passmate sync leave` here and start a new account with `passmate \
                 sync setup`, which the other devices join: nothing was changed here",
            ),
            RemoteError::HistoryCut { .. } => (
                ProblemKind::NotSupported,
                "run `passmate sync upgrade` on another device if the desktop client is not used any more; nothing was changed",
            ),
            RemoteError::RemoteTooLarge { .. } => (
                ProblemKind::TooLarge,
                "is this your server? Nothing was read or changed",
            ),
            RemoteError::Unsealable(_) => (ProblemKind::TooLarge, "all is saved on this device"),
            RemoteError::Unopenable(_) => (
                ProblemKind::Damaged,
                "nothing is lost here; is the sync key right? If so the server's copy is damaged: ask its operator for a backup, or \
                 store this vault over it with `passmate sync --replace-remote`",
            ),
            RemoteError::NoVault(ref error) if error.is_newer() => (
                ProblemKind::NotSupported,
                "another device has a newer passmate: update this one",
            ),
            RemoteError::NoVault(_) => (
                ProblemKind::Damaged,
                "nothing was merged and nothing is lost here; `passmate sync --replace-remote` stores this vault over it",
            ),
            RemoteError::Unconfirmed(_) => (
                ProblemKind::Network,
                "many devices at once, or a server in trouble: run `passmate sync` again",
            ),
            RemoteError::OutcomeUnknown(_) | RemoteError::AccountUnknown(_) => (
                ProblemKind::Network,
                "run `passmate sync` again: it finds out, and nothing is lost here",
            ),
            RemoteError::DeletedOrUnreachable => (
                ProblemKind::Network,
                "run it again, or forget the server on this device with `passmate sync leave`",
            ),
        };
        Self::new(code, message, hint)
    }
}

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        let message = error.to_string();
        match error {
            ConnectError::NotTrusted(problem) => not_trusted(&problem),
            ConnectError::Unresolved { .. } => Self::new(
                ProblemKind::Network,
                message,
                "check the host's name and this device's network",
            ),
            ConnectError::Unreachable { .. } => Self::new(
                ProblemKind::Network,
                message,
                "is the server up, and is its port open on the way to it? Nothing is lost here",
            ),
            ConnectError::Handshake(_) => Self::new(
                ProblemKind::Network,
                message,
                "try again later; nothing is lost here",
            ),
            ConnectError::NotTls => Self::new(
                ProblemKind::Network,
                message,
                "check host and port: Passmate servers listen on port 29556",
            ),
            ConnectError::Incompatible(_) => Self::new(
                ProblemKind::NotSupported,
                message,
                "TLS 1.2 or 1.3 is needed on both sides",
            ),
        }
    }
}

impl From<TrustProblem> for Problem {
    fn from(problem: TrustProblem) -> Self {
        not_trusted(&problem)
    }
}

/// What is wrong with a certificate, and the remedy. A pin that the server showed is cut short: a
/// hint must not hold a value of an attacker's ready to paste.
fn not_trusted(
    TrustProblem {
        problem,
        shown,
        self_signed,
    }: &TrustProblem,
) -> Problem {
    let short = |pin: &passmate_vault::Pin| {
        let text = pin.to_string();
        format!("{}…", text.get(..15).unwrap_or(&text))
    };
    let day = |seconds: i64| {
        jiff::Timestamp::from_second(seconds).map_or_else(
            |_| seconds.to_string(),
            |time| time.strftime("%Y-%m-%d").to_string(),
        )
    };
    let pin_hint = "set it up with --pin and the pin that the server prints when it starts; its operator has it";
    let (message, hint) = match problem {
        CertificateProblem::PinMismatch { current, .. } => (
            format!("the server's key is not the pinned one (pinned {}, shown {})", short(current), short(shown)),
            "if the operator confirms a new key, run `passmate sync trust PIN` with the pin that they give you".to_owned(),
        ),
        CertificateProblem::UnknownIssuer if *self_signed => {
            ("the server made its certificate itself, so nobody vouches for it".to_owned(), pin_hint.to_owned())
        }
        CertificateProblem::UnknownIssuer => (
            "no authority known to this device has issued the server's certificate".to_owned(),
            "give that authority's certificate with --ca-file, or the server's pin with --pin".to_owned(),
        ),
        CertificateProblem::NoTrustStore => (
            "this system knows no certificate authority".to_owned(),
            "install the package ca-certificates, or give the server's pin with --pin".to_owned(),
        ),
        CertificateProblem::CaUsedAsLeaf => (
            "the server shows the certificate of an authority in the place of its own".to_owned(),
            "give the server's pin with --pin, or make its certificate anew with -addext basicConstraints=critical,CA:FALSE".to_owned(),
        ),
        CertificateProblem::WrongName { wanted, names } => {
            let names: Vec<_> = names.iter().map(|name| escape(name)).collect();
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            (
                format!("the server's certificate is made out to {names}, not to {wanted}"),
                "use one of these names, or give the server's pin with --pin".to_owned(),
            )
        }
        CertificateProblem::Expired { not_after, now } => (
            format!("the server's certificate expired on {}", day(*not_after)),
            format!("the operator must renew it, unless this device's clock is wrong (it says {})", day(*now)),
        ),
        CertificateProblem::NotYetValid { not_before, now } => (
            format!("the server's certificate is not valid before {}", day(*not_before)),
            format!("is this device's clock right? It says {}", day(*now)),
        ),
        CertificateProblem::Revoked => {
            ("the server's certificate was withdrawn".to_owned(), "ask the operator; nothing was sent".to_owned())
        }
        CertificateProblem::NotForServers => (
            "the server's certificate was issued for something else than servers".to_owned(),
            "the operator must use another one; or give the server's pin with --pin".to_owned(),
        ),
        CertificateProblem::BadSignature => (
            "the server could not prove that the certificate is its own".to_owned(),
            "somebody may be in between: ask the operator; nothing was sent".to_owned(),
        ),
        CertificateProblem::Unreadable => (
            "the server's certificate cannot be read".to_owned(),
            "the operator must use another one; or give the server's pin with --pin".to_owned(),
        ),
    };
    Problem::new(ProblemKind::NotTrusted, message, hint)
}
