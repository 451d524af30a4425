//! Every error that a person can meet: its kind, what happened, and what to do next.

use passmate_proto::Failure as ExchangeFailure;
use passmate_sync::transport::{CertificateProblem, TrustProblem};
use passmate_sync::{ConnectError, RemoteError, Rollback, SyncError};
use passmate_vault::format::container::ContainerError;
use passmate_vault::{Anomaly, AnomalyKind, EditError, FolderKeyError, SyncKeyError};
use serde::{Deserialize, Serialize};

use crate::clock::local_time;
use crate::command::command;
use crate::escape::escape;
use crate::net::Address;
use crate::session::SessionError;
use crate::settings::SettingsError;
use crate::settings::keys::names;
use crate::share::link::LinkError;
use crate::share::qr::TooLong;
use crate::shared_folder::FolderError;

/// What went wrong, in two lines: the second one helps. Neither holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What programs act on.
    pub kind: ProblemKind,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub hint: String,
    /// With [`ProblemKind::Ambiguous`], what may have been meant.
    pub candidates: Vec<String>,
}

/// The kinds of problems. A command-line program gives each an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// Several records may have been meant.
    Ambiguous,
    /// It exists already.
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
    /// A check of this device found something.
    DoctorFindings,
    /// What was looked for was found, and is not good to have.
    Findings,
}

/// What a person can do about a sync that was held back.
pub(crate) const HELD_BACK_HINT: &str = "nothing was changed by it; `passmate sync --held` lists it; accept it \
                              with `passmate sync --yes`, undo it for good on all devices with \
                              `passmate sync --refuse`, or, if a device was lost or stolen, run \
                              `passmate sync rotate --lost`";

impl Problem {
    /// A sync that was held back.
    pub(crate) fn held_back(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::HeldBack, message, HELD_BACK_HINT)
    }

    /// A problem of this kind.
    pub fn new(kind: ProblemKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: hint.into(),
            candidates: Vec::new(),
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
            format!(
                "{} lists the fields that are set",
                command(["passmate", "show"]).arg(path)
            ),
        )
    }

    /// A server that showed an older or another history, as the entries of devices tell.
    #[must_use]
    pub fn forked(anomalies: &[Anomaly]) -> Self {
        let tell = |anomaly: &Anomaly| {
            let name = match escape(anomaly.name.as_str()) {
                name if name.is_empty() => "a device".to_owned(),
                name => name,
            };
            match anomaly.kind {
                AnomalyKind::WentBack { from, to } => {
                    format!("{name} went back from sync {from} to {to}")
                }
                AnomalyKind::Forked => format!("{name} has two syncs of one number"),
                AnomalyKind::Missing => format!("{name} is missing"),
            }
        };
        let told: Vec<String> = anomalies.iter().take(3).map(tell).collect();
        Self::new(
            ProblemKind::Older,
            format!(
                "the server showed an older or another history: {}",
                told.join(", ")
            ),
            "no record is missing here, and what this device knows was sent again; sync your other \
             devices and compare their fingerprints (`passmate sync status`): the server may have \
             been restored from a backup, or show your devices different histories",
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
            SettingsError::Wrong { .. } => {
                let hint = format!("its keys are {}", names());
                return Self::new(ProblemKind::Usage, error.to_string(), hint);
            }
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
                "create one with `passmate init`, or name another one with --vault or --profile",
            ),
            SessionError::CopyExists { copy, .. } => {
                return Self::new(
                    ProblemKind::Exists,
                    error.to_string(),
                    format!(
                        "{} brings it back; to begin anew, move that copy elsewhere, or name \
                         another file with --vault or --profile",
                        command(["passmate", "recover"]).arg(copy)
                    ),
                );
            }
            SessionError::Dangling { .. } => (
                ProblemKind::NotFound,
                "mount or bring back what the link leads to, or name another file with --vault",
            ),
            SessionError::NotAFile { .. } => (
                ProblemKind::File,
                "move it elsewhere, or name the vault's file with --vault or --profile",
            ),
            SessionError::Exists { .. } => (
                ProblemKind::Exists,
                "use it, or name another file with --vault or --profile",
            ),
            SessionError::InUse { .. } => (ProblemKind::InUse, "try again in a moment"),
            SessionError::Unflushed { .. } => (
                ProblemKind::File,
                "check the disk; the vault has the change",
            ),
            SessionError::Io { error, .. } => match error.kind() {
                std::io::ErrorKind::StorageFull => (
                    ProblemKind::File,
                    "free some disk space; the vault was not changed",
                ),
                std::io::ErrorKind::PermissionDenied => (
                    ProblemKind::File,
                    "check the owner and mode of the file and its folder",
                ),
                _ => (
                    ProblemKind::File,
                    "check the disk and the folder; the vault was not changed",
                ),
            },
            SessionError::WrongPassphrase => (
                ProblemKind::WrongPassphrase,
                "check caps lock and keyboard layout, and whether this is the vault you mean",
            ),
            SessionError::Container {
                error: ContainerError::TooExpensive { .. } | ContainerError::NotEnoughMemory,
                ..
            } => (
                ProblemKind::Other,
                "open it with the `scrypt` utility on a machine with more memory",
            ),
            SessionError::Container {
                error: ContainerError::NotAContainer,
                ..
            } => (
                ProblemKind::Damaged,
                "name the right file with --vault, or restore a backup",
            ),
            SessionError::Codec { error, .. } if error.is_newer() => {
                (ProblemKind::NotSupported, "update passmate on this device")
            }
            SessionError::Container { .. } | SessionError::Codec { .. } => (
                ProblemKind::Damaged,
                "`passmate recover` lists the copies beside the vault; else restore a backup",
            ),
            SessionError::Encode(_) => (ProblemKind::TooLarge, "the change was not saved"),
            SessionError::PassphraseChanged => (
                ProblemKind::WrongPassphrase,
                "try again with the new passphrase",
            ),
            SessionError::AnotherVault { .. } => (
                ProblemKind::Locked,
                "nothing was merged or written; put the right file back, or run `passmate unlock` \
                 to open the one that is there",
            ),
            SessionError::OfOriginal { .. } => (
                ProblemKind::File,
                "create your own vault with `passmate init`",
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
                "`passmate ls` lists all records",
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
                "create a new record and copy the values there",
            ),
        }
    }
}

impl From<SyncKeyError> for Problem {
    fn from(error: SyncKeyError) -> Self {
        Self::new(
            ProblemKind::KeyMistyped,
            error.to_string(),
            "run `passmate sync key` on a device of the account to show the key: 14 groups of 6 \
             digits",
        )
    }
}

impl From<FolderKeyError> for Problem {
    fn from(error: FolderKeyError) -> Self {
        Self::new(
            ProblemKind::KeyMistyped,
            error.to_string(),
            "run `passmate sync key --folder` on a device that uses the folder to show its key",
        )
    }
}

impl From<SyncError> for Problem {
    fn from(error: SyncError) -> Self {
        let message = error.to_string();
        match error {
            SyncError::NotSetUp | SyncError::NoAccount => Self::new(
                ProblemKind::NotFound,
                message,
                "connect it to a server with `passmate sync setup HOST`",
            ),
            SyncError::NotLetIn { ref host, port } => {
                let address = Address::new(host, port);
                let address = address.map_or_else(|_| host.clone(), |address| address.to_string());
                let hint = format!(
                    "run {} when its operator has admitted this device; add --request to show the \
                     code again",
                    command(["passmate", "sync", "setup"]).arg(address)
                );
                Self::new(ProblemKind::Refused, message, hint)
            }
            SyncError::AlreadySetUp { .. } => Self::new(
                ProblemKind::Exists,
                message,
                "disconnect it first with `passmate sync leave`",
            ),
            SyncError::AccountExists { .. } => Self::new(
                ProblemKind::Exists,
                message,
                "nothing was changed; `passmate sync` syncs with it",
            ),
            SyncError::SetUpChanged => {
                Self::new(ProblemKind::Other, message, "run `passmate sync` again")
            }
            SyncError::KeyWithoutAccount => Self::new(
                ProblemKind::Refused,
                message,
                "no server issued this key; check it on the other device",
            ),
            SyncError::HeldBack(_) => Self::held_back(message),
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
                "connect one with `passmate sync setup --folder DIR`",
            ),
            FolderError::AlreadySetUp(_) => (
                ProblemKind::Exists,
                "disconnect it first with `passmate sync leave --folder`, which forgets its key: \
                 `passmate sync key --folder` shows it",
            ),
            FolderError::Save(_) => (ProblemKind::File, "check the disk; no record was lost"),
            FolderError::HeldBack(_) => (ProblemKind::HeldBack, HELD_BACK_HINT),
            FolderError::KeyNeeded(_) => (
                ProblemKind::Locked,
                "`passmate sync key --folder` on another device shows the key: give it with \
                 --key-file; or begin anew with --new-key",
            ),
            FolderError::WrongKey(_) => (
                ProblemKind::KeyMistyped,
                "`passmate sync key --folder` on a device that uses this folder shows its key",
            ),
            FolderError::NoKey(_) => (
                ProblemKind::NotFound,
                "to give it one, run `passmate sync leave --folder --delete` and then `passmate sync \
                 setup --folder DIR --new-key`, if no original program takes part",
            ),
            FolderError::Dearer(_) => (
                ProblemKind::Usage,
                "use a folder key, if no original program takes part: `passmate sync leave --folder \
                 --delete` and then `passmate sync setup --folder DIR --new-key`",
            ),
            FolderError::NotText(_) => (ProblemKind::Usage, "rename it"),
            FolderError::Io { error, .. } | FolderError::Write { error, .. } => (
                ProblemKind::File,
                match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        "check that the disk is mounted and the sync program has created the \
                         folder; no record was lost"
                    }
                    std::io::ErrorKind::StorageFull => {
                        "free some space there and sync again; no record was lost"
                    }
                    _ => "check the folder and its mode; no record was lost",
                },
            ),
            FolderError::TooMany(_) => (ProblemKind::File, "use a folder for Passmate alone"),
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
                "the server may be overloaded: try again later; no record was lost",
            ),
            RemoteError::Broken {
                failure: ExchangeFailure::CutBeforeHello | ExchangeFailure::CutDuringGreeting,
                ..
            } => (
                ProblemKind::Network,
                "check that it is a Passmate server and running, then try again; no record was \
                 lost",
            ),
            RemoteError::Broken { .. } => {
                (ProblemKind::Network, "try again later; no record was lost")
            }
            RemoteError::NotPassmate | RemoteError::Misbehaved(_) => (
                ProblemKind::Network,
                "check host and port: Passmate servers listen on port 29556",
            ),
            RemoteError::TlsEnded => (
                ProblemKind::NotTrusted,
                "the operator must pass TCP through to passmate-server (nginx `stream`, HAProxy \
                 `mode tcp`)",
            ),
            RemoteError::LetsAnyoneIn => (
                ProblemKind::NotTrusted,
                "nothing was stored there; ask the operator what answers there",
            ),
            RemoteError::VersionUnsupported(1) => (
                ProblemKind::NotSupported,
                "version 1 used another encryption: the operator must run a version 2 server or passmate-server",
            ),
            RemoteError::VersionUnsupported(_) => {
                (ProblemKind::NotSupported, "update passmate on this device")
            }
            RemoteError::Refused => (
                ProblemKind::Refused,
                "no record was lost; if the account was deleted or rotated, leave and join with the \
                 new key; if the server lost its data, `passmate sync setup --again` stores this \
                 vault there anew",
            ),
            RemoteError::CreateRefused => (
                ProblemKind::Refused,
                "it may be full or closed to new accounts: ask its operator to open a seat \
                 (`passmate-server invite open --seats 1 --for 1h`); for a first setup, `passmate \
                 sync setup HOST --request` shows this device's code",
            ),
            RemoteError::TooLarge { .. } => (
                ProblemKind::TooLarge,
                "everything is saved on this device; ask the operator for a higher --btoken-max, \
                 or keep less history with `passmate sync rotate --keep-history 1y`",
            ),
            RemoteError::HistoryCut { .. } => (
                ProblemKind::NotSupported,
                "if the desktop client is not used any more, run `passmate sync upgrade` on \
                 another device; nothing was changed",
            ),
            RemoteError::RemoteTooLarge { .. } => (
                ProblemKind::TooLarge,
                "check that this is your server; nothing was read or changed",
            ),
            RemoteError::Unsealable(_) => (
                ProblemKind::TooLarge,
                "everything is saved on this \
                device",
            ),
            RemoteError::Unopenable(_) => (
                ProblemKind::Damaged,
                "check the sync key; if it is right, the server's copy is damaged: ask its \
                 operator for a backup, or overwrite it with `passmate sync --replace-remote`; no \
                 record was lost",
            ),
            RemoteError::NoVault(ref error) if error.is_newer() => (
                ProblemKind::NotSupported,
                "update passmate on this device: another device has a newer version",
            ),
            RemoteError::NoVault(_) => (
                ProblemKind::Damaged,
                "nothing was merged and no record was lost; `passmate sync --replace-remote` \
                 overwrites it with this vault",
            ),
            RemoteError::Unconfirmed(_) => (
                ProblemKind::Network,
                "run `passmate sync` again: many devices synced at once, or the server has a fault",
            ),
            RemoteError::OutcomeUnknown(_) | RemoteError::AccountUnknown(_) => (
                ProblemKind::Network,
                "run `passmate sync` again to find out; no record was lost",
            ),
            RemoteError::DeletedOrUnreachable => (
                ProblemKind::Network,
                "run it again, or disconnect this device with `passmate sync leave`",
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
                "check the host name and this device's network",
            ),
            ConnectError::Unreachable { .. } => Self::new(
                ProblemKind::Network,
                message,
                "check that the server runs and that no firewall blocks its port; no record was \
                 lost",
            ),
            ConnectError::Handshake(_) => Self::new(
                ProblemKind::Network,
                message,
                "try again later; no record was lost",
            ),
            ConnectError::NotTls => Self::new(
                ProblemKind::Network,
                message,
                "check host and port: Passmate servers listen on port 29556",
            ),
            ConnectError::Incompatible(_) => Self::new(
                ProblemKind::NotSupported,
                message,
                "both sides need TLS 1.2 or 1.3",
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
    let pin_hint = "run `passmate sync setup` with --pin and the pin that the server prints when \
        it starts; ask its operator for it";
    let (message, hint) = match problem {
        CertificateProblem::PinMismatch { current, .. } => (
            format!(
                "the server's key is not the pinned one (pinned {}, shown {})",
                short(current),
                short(shown)
            ),
            "if the operator confirms a new key, run `passmate sync trust PIN` with the pin that \
             they give you"
                .to_owned(),
        ),
        CertificateProblem::UnknownIssuer if *self_signed => (
            "the server's certificate is self-signed, so no authority vouches for \
                it"
            .to_owned(),
            pin_hint.to_owned(),
        ),
        CertificateProblem::UnknownIssuer => (
            "the server's certificate is from an authority that this device does not \
             know"
                .to_owned(),
            "give the authority's certificate with --ca-file, or the server's pin with \
             --pin"
                .to_owned(),
        ),
        CertificateProblem::NoTrustStore => (
            "this system has no certificate authorities".to_owned(),
            "install the package ca-certificates, or give the server's pin with --pin".to_owned(),
        ),
        CertificateProblem::CaUsedAsLeaf => (
            "the server presents a CA certificate instead of a server certificate".to_owned(),
            "give the server's pin with --pin, or recreate its certificate with -addext \
             basicConstraints=critical,CA:FALSE"
                .to_owned(),
        ),
        CertificateProblem::WrongName { wanted, names } => {
            let names: Vec<_> = names.iter().map(|name| escape(name)).collect();
            let names = if names.is_empty() {
                "no name at all".to_owned()
            } else {
                names.join(
                    ", \
                ",
                )
            };
            (
                format!("the server's certificate is for {names}, not for {wanted}"),
                "use one of these names, or give the server's pin with --pin".to_owned(),
            )
        }
        CertificateProblem::Expired { not_after, now } => (
            format!("the server's certificate expired on {}", day(*not_after)),
            format!(
                "ask the operator to renew it, unless this device's clock is wrong (it says \
                {})",
                day(*now)
            ),
        ),
        CertificateProblem::NotYetValid { not_before, now } => (
            format!(
                "the server's certificate is not valid before {}",
                day(*not_before)
            ),
            format!("check this device's clock: it says {}", day(*now)),
        ),
        CertificateProblem::Revoked => (
            "the server's certificate was revoked".to_owned(),
            "ask the operator; nothing was \
                sent"
                .to_owned(),
        ),
        CertificateProblem::NotForServers => (
            "the server's certificate was not issued for servers".to_owned(),
            "ask the operator for another one, or give the server's pin with --pin".to_owned(),
        ),
        CertificateProblem::BadSignature => (
            "the server could not prove that it has the certificate's private key".to_owned(),
            "an attacker may intercept the connection: ask the operator; nothing was \
             sent"
                .to_owned(),
        ),
        CertificateProblem::Unreadable => (
            "the server's certificate cannot be read".to_owned(),
            "ask the operator for another one, or give the server's pin with --pin".to_owned(),
        ),
    };
    Problem::new(ProblemKind::NotTrusted, message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_waits_is_told_the_address_to_set_up() {
        let hint = |host: &str, port| {
            let host = host.to_owned();
            Problem::from(SyncError::NotLetIn { host, port }).hint
        };
        for (host, port, address) in [
            ("cloud.example", passmate_proto::PORT, "cloud.example"),
            ("127.0.0.1", 31001, "127.0.0.1:31001"),
            ("::1", 31001, "'[::1]:31001'"),
            ("a;b", 31001, "'a;b'"),
        ] {
            let wanted = format!("run `passmate sync setup {address}` when ");
            assert!(hint(host, port).starts_with(&wanted), "{host}");
        }
    }
}
