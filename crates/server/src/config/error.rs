//! Why there is no configuration to start with.

use std::io;
use std::path::PathBuf;

use super::layers::Origin;
use super::values::ValueError;

/// A fault in the configuration; each names where it was written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "unknown {} `{key}`{}{}",
        if place.is_some() { "key" } else { "environment variable" },
        place.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default(),
        line.map(|line| format!(", line {line}")).unwrap_or_default()
    )]
    UnknownKey {
        key: String,
        /// The file; none for the environment.
        place: Option<PathBuf>,
        /// Counted from 1.
        line: Option<usize>,
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    #[error("{origin} {error}")]
    BadValue { origin: Origin, error: ValueError },
    /// The file has a table, a float or a date where a text belongs.
    #[error("{origin} has a value of the wrong type")]
    WrongType {
        origin: Origin,
        /// The setting accepts a list.
        list: bool,
    },
    #[error("cannot read {origin}: {error}")]
    Unreadable {
        /// The file, and who named it.
        origin: String,
        error: io::Error,
    },
    /// The line itself is not shown, because it may hold a password.
    #[error("{} is not TOML, line {line}: {message}", path.display())]
    NotToml {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        message: String,
    },
    #[error("the environment variable {name} is not UTF-8")]
    NotUtf8 { name: String },
    /// A certificate without its key, or the other way round.
    #[error("{given} is given without --{missing}")]
    Alone {
        given: Origin,
        missing: &'static str,
    },
    #[error("{given} and --tls-cert are given together")]
    TwoCertificates { given: Origin },
    #[error("{origin} and a banner as text are given together")]
    TwoBanners { origin: Origin },
    #[error("{origin}: the banner is longer than 32 KiB or not UTF-8")]
    NotABanner { origin: Origin },
    #[error("there is nothing to listen on")]
    NothingToListenOn,
    #[error("there is no place for the server's data: neither $STATE_DIRECTORY nor $HOME is set")]
    NoDataDir,
    #[error("memory-max is {memory_max} bytes, less than four times btoken-max ({btoken_len_max})")]
    MemoryTooSmall {
        memory_max: u64,
        btoken_len_max: u32,
    },
    #[error("account-limit is {limit} bytes, more than btoken-max ({btoken_len_max})")]
    AccountLimitTooHigh { limit: u32, btoken_len_max: u32 },
    #[error("confirm-grace is not shorter than idle-timeout")]
    GraceTooLong,
}

impl ConfigError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::UnknownKey {
                nearest: Some(nearest),
                ..
            } => {
                return format!("the nearest known name is `{nearest}`");
            }
            Self::Alone { missing, .. } => {
                return format!("give --{missing} too, or neither for a self-signed certificate");
            }
            Self::UnknownKey { nearest: None, .. } => {
                "`passmate-server serve --help` lists every name"
            }
            Self::BadValue { .. } => "`passmate-server serve --help` shows what each option takes",
            Self::WrongType { list: true, .. } => "write a text in quotes, or a list of texts",
            Self::WrongType { list: false, .. } => {
                "write a text in quotes, a whole number, true or false"
            }
            Self::Unreadable { .. } => {
                "check that the file exists and that the server's user may read it"
            }
            Self::NotToml { .. } => "write one setting per line, such as: idle-timeout = \"30s\"",
            Self::NotUtf8 { .. } => "give a value in UTF-8",
            Self::TwoBanners { .. } => "give only one of them",
            Self::TwoCertificates { .. } => {
                "give --acme for a certificate that the server gets itself, or --tls-cert for one \
                 that you get"
            }
            Self::NotABanner { .. } => "shorten the banner, or write it in UTF-8",
            Self::NothingToListenOn => "`--listen none` needs a --listen-v2",
            Self::NoDataDir => "give --data-dir DIR",
            Self::MemoryTooSmall { .. } => {
                "new accounts may use a quarter of the memory, and one btoken must fit: raise \
                 memory-max or lower btoken-max"
            }
            Self::AccountLimitTooHigh { .. } => "lower account-limit or raise btoken-max",
            Self::GraceTooLong => "lower confirm-grace or raise idle-timeout",
        };
        hint.to_owned()
    }
}
