//! Every error that a person can meet: its exit code, what happened, and what to do next.

use passmate_proto::Failure as ExchangeFailure;
use passmate_vault::format::container::ContainerError;
use passmate_vault::{EditError, SyncKeyError};

use super::output::escape;
use passmate_core::session::SessionError;
use passmate_core::shared_folder::FolderError;
use passmate_core::sync::ConnectError;
use passmate_core::sync::{RemoteError, SyncError};
use passmate_core::trust::{CertificateProblem as Problem, TrustProblem};

/// The exit codes. They are never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    Other = 1,
    Usage = 2,
    Cancelled = 3,
    Locked = 4,
    WrongPassphrase = 5,
    Damaged = 6,
    File = 7,
    InUse = 8,
    NotFound = 10,
    Exists = 12,
    Network = 20,
    NotTrusted = 21,
    Refused = 22,
    TooLarge = 23,
    NotSupported = 24,
    /// The server returned older data.
    Older = 25,
    /// A sync would change too much at once.
    HeldBack = 26,
    KeyMistyped = 27,
}

/// Why a command did not come through.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Code::Usage, message, hint)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let (code, hint) = match &error {
            SessionError::NotFound { .. } => (
                Code::NotFound,
                "make one with `passmate init`, or name another with --vault or --profile",
            ),
            SessionError::Exists { .. } => (
                Code::Exists,
                "open it, or name another place with --vault or --profile",
            ),
            SessionError::InUse { .. } => (Code::InUse, "try again in a moment"),
            SessionError::Io { error, .. } => match error.kind() {
                std::io::ErrorKind::StorageFull => (
                    Code::File,
                    "make room on the disk; the vault is as it was before",
                ),
                std::io::ErrorKind::PermissionDenied => (
                    Code::File,
                    "look at the owner and mode of the file and of its folder",
                ),
                _ => (
                    Code::File,
                    "look at the disk and the folder; the vault is as it was before",
                ),
            },
            SessionError::Container(ContainerError::WrongPassphrase) => (
                Code::WrongPassphrase,
                "check caps lock and keyboard layout, and whether this is the vault you mean",
            ),
            SessionError::Container(
                ContainerError::TooExpensive { .. } | ContainerError::NotEnoughMemory,
            ) => (
                Code::Other,
                "open it with the `scrypt` utility on a machine with more memory",
            ),
            SessionError::Container(ContainerError::NotAContainer) => (
                Code::Damaged,
                "name the right file with --vault, or restore a backup",
            ),
            SessionError::Codec(error) if error.is_newer() => {
                (Code::NotSupported, "update passmate on this device")
            }
            SessionError::Container(_) | SessionError::Codec(_) => (
                Code::Damaged,
                "restore a backup, or try the content before with --vault and `.prev` at the end of the path",
            ),
            SessionError::Encode(_) => (Code::TooLarge, "the change was not saved"),
            SessionError::PassphraseChanged => {
                (Code::WrongPassphrase, "try again with the new passphrase")
            }
            SessionError::OfOriginal { .. } => {
                (Code::File, "make a vault of your own with `passmate init`")
            }
        };
        Self::new(code, error.to_string(), hint)
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        match error {
            EditError::NoSuchRecord => Self::new(
                Code::NotFound,
                error.to_string(),
                "`passmate ls` shows what there is",
            ),
            EditError::NameEmpty | EditError::NameHasControl => {
                Self::usage(error.to_string(), "choose another name")
            }
            EditError::IdTaken => Self::new(Code::Other, error.to_string(), "try again"),
            EditError::ClockOutOfRange => {
                Self::new(Code::Other, error.to_string(), "set this device's clock")
            }
            EditError::StampsExhausted => Self::new(
                Code::Other,
                error.to_string(),
                "make a new record and copy the values there",
            ),
        }
    }
}

impl From<SyncKeyError> for Failure {
    fn from(error: SyncKeyError) -> Self {
        Self::new(
            Code::KeyMistyped,
            error.to_string(),
            "`passmate sync key` on a device that has the account shows the key: 14 groups of 6 digits",
        )
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        let message = error.to_string();
        match error {
            SyncError::NotSetUp => Self::new(
                Code::NotFound,
                message,
                "tie it to a server with `passmate sync setup HOST`",
            ),
            SyncError::NotLetIn { ref host } => {
                let hint = format!(
                    "when its operator has let you in, run `passmate sync setup {host}`; with --request it shows the code again"
                );
                Self::new(Code::Refused, message, hint)
            }
            SyncError::AlreadySetUp { .. } => Self::new(
                Code::Exists,
                message,
                "forget that server first with `passmate sync leave`",
            ),
            SyncError::SetUpChanged => Self::new(Code::Other, message, "run `passmate sync` again"),
            SyncError::KeyWithoutAccount => Self::new(
                Code::Refused,
                message,
                "the key was never given out by a server; check it on the other device",
            ),
            SyncError::HeldBack(_) => Self::new(
                Code::HeldBack,
                message,
                "nothing was changed; look with `passmate sync --dry-run`, and take it with `passmate sync --yes`",
            ),
            SyncError::RolledBack { rollback, then } => {
                super::sync::rolled_back(rollback, Err(then.to_string()))
            }
            SyncError::Remote(error) => error.into(),
            SyncError::Save(error) => match error.downcast::<SessionError>() {
                Ok(error) => (*error).into(),
                Err(error) => Self::new(Code::File, error.to_string(), "look at the disk"),
            },
        }
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        if let FolderError::Save(error) = error {
            return error.into();
        }
        let (code, hint) = match &error {
            FolderError::NotSetUp => (
                Code::NotFound,
                "set one up with `passmate sync setup --folder DIR`",
            ),
            FolderError::AlreadySetUp(_) => (
                Code::Exists,
                "forget that one first with `passmate sync leave --folder`",
            ),
            FolderError::Save(_) => (Code::File, "look at the disk; nothing is lost here"),
            FolderError::HeldBack(_) => (
                Code::HeldBack,
                "nothing was changed; look with `passmate sync --dry-run`, and take it with `passmate sync --yes`",
            ),
            FolderError::NotText(_) => (Code::Usage, "rename it"),
            FolderError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound => (
                Code::File,
                "is the disk mounted, and has the sync program made it? Nothing is lost here",
            ),
            FolderError::Io { .. } => (
                Code::File,
                "look at the folder and its mode; nothing is lost here",
            ),
            FolderError::TooMany(_) => (Code::File, "share a folder of its own"),
        };
        Self::new(code, error.to_string(), hint)
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let message = error.to_string();
        let (code, hint) = match error {
            RemoteError::NoConnection(error) => return error.into(),
            RemoteError::Busy => (
                Code::Network,
                "it may be overloaded: try again later; nothing is lost here",
            ),
            RemoteError::Broken {
                failure: ExchangeFailure::CutBeforeHello | ExchangeFailure::CutDuringGreeting,
                ..
            } => (
                Code::Network,
                "is it a Passmate server, and is it up? Try again later; nothing is lost here",
            ),
            RemoteError::Broken { .. } => (Code::Network, "try again later; nothing is lost here"),
            RemoteError::NotPassmate | RemoteError::Misbehaved(_) => (
                Code::Network,
                "check host and port: Passmate servers listen on port 29556",
            ),
            RemoteError::TlsEnded => (
                Code::NotTrusted,
                "the operator must pass TCP through to passmate-server (nginx `stream`, HAProxy `mode tcp`)",
            ),
            RemoteError::LetsAnyoneIn => (
                Code::NotTrusted,
                "nothing was stored there; ask the operator what this is",
            ),
            RemoteError::VersionUnsupported(1) => (
                Code::NotSupported,
                "version 1 encrypted vaults in another way: the operator must run a server of version 2 or passmate-server",
            ),
            RemoteError::VersionUnsupported(_) => {
                (Code::NotSupported, "update passmate on this device")
            }
            RemoteError::Refused => (
                Code::Refused,
                "the account was deleted or rotated (then leave and join with the new key), the sync key is wrong, or the server is out \
                 of order; nothing is lost here",
            ),
            RemoteError::CreateRefused => (
                Code::Refused,
                "it may be full, or closed to new accounts: ask its operator; if they let devices in by a code, \
                     `passmate sync setup HOST --request` makes yours",
            ),
            RemoteError::TooLarge { .. } => (
                Code::TooLarge,
                "all is saved on this device; ask the operator for a higher --btoken-max, or keep less history with \
                     `passmate sync rotate --keep-history 1y`",
            ),
            RemoteError::CutInFuture { .. } => (
                Code::Damaged,
                "look at this device's clock; if it is right, run `passmate sync leave` here and start a new account with `passmate \
                 sync setup`, which the other devices join: nothing was changed here",
            ),
            RemoteError::HistoryCut { .. } => (
                Code::NotSupported,
                "run `passmate sync upgrade` on another device if the desktop client is not used any more; nothing was changed",
            ),
            RemoteError::RemoteTooLarge { .. } => (
                Code::TooLarge,
                "is this your server? Nothing was read or changed",
            ),
            RemoteError::Unsealable(_) => (Code::TooLarge, "all is saved on this device"),
            RemoteError::Unopenable(_) => (
                Code::Damaged,
                "nothing is lost here; is the sync key right? If so the server's copy is damaged: ask its operator for a backup, or \
                 store this vault over it with `passmate sync --replace-remote`",
            ),
            RemoteError::NoVault(ref error) if error.is_newer() => (
                Code::NotSupported,
                "another device has a newer passmate: update this one",
            ),
            RemoteError::NoVault(_) => (
                Code::Damaged,
                "nothing was merged and nothing is lost here; `passmate sync --replace-remote` stores this vault over it",
            ),
            RemoteError::Unconfirmed(_) => (
                Code::Network,
                "many devices at once, or a server in trouble: run `passmate sync` again",
            ),
            RemoteError::OutcomeUnknown(_) | RemoteError::AccountUnknown(_) => (
                Code::Network,
                "run `passmate sync` again: it finds out, and nothing is lost here",
            ),
            RemoteError::DeletedOrUnreachable => (
                Code::Network,
                "run it again, or forget the server on this device with `passmate sync leave`",
            ),
        };
        Self::new(code, message, hint)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let message = error.to_string();
        match error {
            ConnectError::NotTrusted(problem) => not_trusted(&problem),
            ConnectError::Unresolved { .. } => Self::new(
                Code::Network,
                message,
                "check the host's name and this device's network",
            ),
            ConnectError::Unreachable { .. } => Self::new(
                Code::Network,
                message,
                "is the server up, and is its port open on the way to it? Nothing is lost here",
            ),
            ConnectError::Handshake(_) => Self::new(
                Code::Network,
                message,
                "try again later; nothing is lost here",
            ),
            ConnectError::NotTls => Self::new(
                Code::Network,
                message,
                "check host and port: Passmate servers listen on port 29556",
            ),
            ConnectError::Incompatible(_) => Self::new(
                Code::NotSupported,
                message,
                "TLS 1.2 or 1.3 is needed on both sides",
            ),
        }
    }
}

/// What is wrong with a certificate, and the remedy. A pin that the server showed is cut short: a
/// hint must not hold a value of an attacker's ready to paste.
pub(crate) fn not_trusted(
    TrustProblem {
        problem,
        shown,
        self_signed,
    }: &TrustProblem,
) -> Failure {
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
        Problem::PinMismatch { current, .. } => (
            format!("the server's key is not the pinned one (pinned {}, shown {})", short(current), short(shown)),
            "if the operator confirms a new key, run `passmate sync trust PIN` with the pin that they give you".to_owned(),
        ),
        Problem::UnknownIssuer if *self_signed => {
            ("the server made its certificate itself, so nobody vouches for it".to_owned(), pin_hint.to_owned())
        }
        Problem::UnknownIssuer => (
            "no authority known to this device has issued the server's certificate".to_owned(),
            "give that authority's certificate with --ca-file, or the server's pin with --pin".to_owned(),
        ),
        Problem::NoTrustStore => (
            "this system knows no certificate authority".to_owned(),
            "install the package ca-certificates, or give the server's pin with --pin".to_owned(),
        ),
        Problem::CaUsedAsLeaf => (
            "the server shows the certificate of an authority in the place of its own".to_owned(),
            "give the server's pin with --pin, or make its certificate anew with -addext basicConstraints=critical,CA:FALSE".to_owned(),
        ),
        Problem::WrongName { wanted, names } => {
            let names: Vec<_> = names.iter().map(|name| escape(name)).collect();
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            (
                format!("the server's certificate is made out to {names}, not to {wanted}"),
                "use one of these names, or give the server's pin with --pin".to_owned(),
            )
        }
        Problem::Expired { not_after, now } => (
            format!("the server's certificate expired on {}", day(*not_after)),
            format!("the operator must renew it, unless this device's clock is wrong (it says {})", day(*now)),
        ),
        Problem::NotYetValid { not_before, now } => (
            format!("the server's certificate is not valid before {}", day(*not_before)),
            format!("is this device's clock right? It says {}", day(*now)),
        ),
        Problem::Revoked => {
            ("the server's certificate was withdrawn".to_owned(), "ask the operator; nothing was sent".to_owned())
        }
        Problem::NotForServers => (
            "the server's certificate was issued for something else than servers".to_owned(),
            "the operator must use another one; or give the server's pin with --pin".to_owned(),
        ),
        Problem::BadSignature => (
            "the server could not prove that the certificate is its own".to_owned(),
            "somebody may be in between: ask the operator; nothing was sent".to_owned(),
        ),
        Problem::Unreadable => (
            "the server's certificate cannot be read".to_owned(),
            "the operator must use another one; or give the server's pin with --pin".to_owned(),
        ),
    };
    Failure::new(Code::NotTrusted, message, hint)
}
