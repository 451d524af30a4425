//! Reads the exports of other programs: one file for each program, and one for all tables.

mod bitwarden;
pub(crate) mod item;
pub(crate) mod kdbx;
mod keepass;
mod onepassword;
pub(crate) mod pass;
mod passmate;
mod protonpass;
mod tables;

use passmate_vault::{Passphrase, Vault};

use self::item::Item;
use crate::error::ImportError;
use crate::limits::FILE_LEN_MAX;
use crate::loss::Loss;

/// The formats that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A vault file of Passmate or of Passmate 2.
    Passmate2,
    /// The file of the original desktop client, `~/.pmate`.
    Pmate,
    /// The file of Passmate 1.
    Passmate1,
    /// Bitwarden's JSON export, plain or encrypted under a password.
    Bitwarden,
    /// Bitwarden's CSV export.
    BitwardenCsv,
    /// KeePass' and KeePassXC's encrypted file, KDBX 3 and 4.
    Keepass,
    /// KeePass' and KeePassXC's XML export.
    KeepassXml,
    /// KeePassXC's CSV export.
    KeepassCsv,
    /// The CSV export of Chrome, Edge and other Chromium browsers.
    ChromeCsv,
    /// Firefox's CSV export.
    FirefoxCsv,
    /// The CSV export of Safari and Apple Passwords.
    SafariCsv,
    /// 1Password's export, `.1pux`.
    Onepassword,
    /// 1Password's CSV export.
    OnepasswordCsv,
    /// LastPass' CSV export.
    LastpassCsv,
    /// Proton Pass' export, ZIP or JSON.
    Protonpass,
    /// The folder of `pass`. Read with [`parse_pass`](crate::parse_pass).
    Pass,
}

impl Format {
    /// All formats, in the order in which help lists them.
    pub const ALL: &[Self] = &[
        Self::Passmate2,
        Self::Pmate,
        Self::Passmate1,
        Self::Bitwarden,
        Self::BitwardenCsv,
        Self::Keepass,
        Self::KeepassXml,
        Self::KeepassCsv,
        Self::ChromeCsv,
        Self::FirefoxCsv,
        Self::SafariCsv,
        Self::Onepassword,
        Self::OnepasswordCsv,
        Self::LastpassCsv,
        Self::Protonpass,
        Self::Pass,
    ];

    /// The word for the format on the command line. Record ids are derived from it, so it never
    /// changes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passmate2 => "passmate2",
            Self::Pmate => "pmate",
            Self::Passmate1 => "passmate1",
            Self::Bitwarden => "bitwarden",
            Self::BitwardenCsv => "bitwarden-csv",
            Self::Keepass => "keepass",
            Self::KeepassXml => "keepass-xml",
            Self::KeepassCsv => "keepass-csv",
            Self::ChromeCsv => "chrome-csv",
            Self::FirefoxCsv => "firefox-csv",
            Self::SafariCsv => "safari-csv",
            Self::Onepassword => "1password",
            Self::OnepasswordCsv => "1password-csv",
            Self::LastpassCsv => "lastpass-csv",
            Self::Protonpass => "protonpass",
            Self::Pass => "pass",
        }
    }

    /// A short description for help.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Passmate2 => {
                "a vault file of this program or of Passmate 2 (.pmdb), with its history"
            }
            Self::Pmate => "the original desktop client's file, ~/.pmate, with its history",
            Self::Passmate1 => "a file of Passmate 1, with its history",
            Self::Bitwarden => "Bitwarden: JSON, plain or protected by a password",
            Self::BitwardenCsv => "Bitwarden: CSV",
            Self::Keepass => "KeePass and KeePassXC: .kdbx of version 3 or 4, with a password",
            Self::KeepassXml => "KeePass and KeePassXC: XML",
            Self::KeepassCsv => "KeePassXC: CSV",
            Self::ChromeCsv => "Chrome, Edge, Brave, Opera: CSV",
            Self::FirefoxCsv => "Firefox: CSV",
            Self::SafariCsv => "Safari and Apple Passwords: CSV",
            Self::Onepassword => "1Password: .1pux",
            Self::OnepasswordCsv => "1Password: CSV",
            Self::LastpassCsv => "LastPass: CSV",
            Self::Protonpass => "Proton Pass: ZIP or JSON",
            Self::Pass => "pass: the store's folder, decrypted by gpg",
        }
    }

    /// The format with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|format| format.word() == word)
    }
}

/// The content of a file.
#[derive(Clone, Default, Debug)]
pub struct Imported {
    /// Items of other programs: values without a history.
    pub items: Vec<Item>,
    /// Records of the Passmate family of programs, with their whole history.
    pub vault: Vault,
    /// The parts of the file that are not imported.
    pub losses: Vec<Loss>,
}

/// Reads a file.
///
/// `secret` is the password of the file, not that of the vault. It is ignored if the file is not
/// encrypted. If it is wrong, its [other form](Passphrase::other_form) is tried. The key derivation
/// may take some seconds and up to 1025 MiB of memory.
///
/// # Errors
/// [`ImportError::SecretNeeded`] if the file is encrypted and `secret` is `None`. No key was
/// derived then. See [`ImportError`] for the rest.
pub fn parse(
    format: Format,
    bytes: &[u8],
    secret: Option<&Passphrase>,
) -> Result<Imported, ImportError> {
    if bytes.len() > FILE_LEN_MAX {
        return Err(ImportError::TooLong {
            limit: FILE_LEN_MAX,
        });
    }
    let Some(secret) = secret else {
        return parse_with(format, bytes, None);
    };
    let is_wrong = |error: &ImportError| matches!(error, ImportError::WrongSecret);
    let parse = |secret: &Passphrase| parse_with(format, bytes, Some(secret));
    Ok(secret.try_forms(is_wrong, parse)?.0)
}

fn parse_with(
    format: Format,
    bytes: &[u8],
    secret: Option<&Passphrase>,
) -> Result<Imported, ImportError> {
    match format {
        Format::Passmate2 => passmate::read_pmdb(bytes, secret),
        Format::Pmate | Format::Passmate1 => passmate::read_desktop(bytes, secret),
        Format::Bitwarden => bitwarden::read_json(bytes, secret),
        Format::BitwardenCsv => tables::read(bytes, tables::BITWARDEN),
        Format::Keepass => kdbx::read(bytes, secret),
        Format::KeepassXml => keepass::read_xml(bytes),
        Format::KeepassCsv => tables::read(bytes, tables::KEEPASSXC),
        Format::ChromeCsv => tables::read(bytes, tables::CHROME),
        Format::FirefoxCsv => tables::read(bytes, tables::FIREFOX),
        Format::SafariCsv => tables::read(bytes, tables::SAFARI),
        Format::Onepassword => onepassword::read(bytes),
        Format::OnepasswordCsv => tables::read(bytes, tables::ONEPASSWORD),
        Format::LastpassCsv => tables::read(bytes, tables::LASTPASS),
        Format::Protonpass => protonpass::read(bytes),
        Format::Pass => Err(ImportError::NotThisFormat {
            expected: "a folder of pass",
        }),
    }
}
