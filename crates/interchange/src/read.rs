//! Reads the exports of other programs: one file for each program, and one for all tables.

mod aegis;
mod bitwarden;
pub(crate) mod columns;
mod cxf;
mod dashlane;
mod enpass;
mod google_authenticator;
mod guess;
pub(crate) mod item;
mod kdb;
pub(crate) mod kdbx;
pub(crate) mod keepass;
mod keeper;
mod members;
mod onepassword;
mod otpauth;
pub(crate) mod pass;
mod passmate;
mod protonpass;
mod sections;
mod tables;
mod twofas;

use std::io::{Read, Seek, SeekFrom};

use passmate_vault::{Passphrase, Vault};
use zeroize::Zeroizing;

use self::columns::{ColumnMap, ColumnUse};
pub use self::guess::guess;
use self::item::Item;
use crate::error::ImportError;
use crate::limits::{ARCHIVE_LEN_MAX, FILE_LEN_MAX};
use crate::loss::Loss;
use crate::progress::Progress;
use crate::syntax::zip::{Archive, is_zip};
use serde::{Deserialize, Serialize};

/// The formats that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// KeePass' and KeePassXC's encrypted file, KDBX 3 and 4, and that of KeePass 1.
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
    /// The `otpauth-migration://` addresses of Google Authenticator's export.
    GoogleAuthenticator,
    /// A list of `otpauth://` addresses.
    Otpauth,
    /// Aegis' JSON, plain or encrypted under a password.
    Aegis,
    /// 2FAS' JSON, plain or encrypted under a password.
    Twofas,
    /// FIDO's Credential Exchange Format, JSON or ZIP.
    Cxf,
    /// Dashlane's export, ZIP or one of its tables.
    Dashlane,
    /// NordPass' CSV export.
    NordpassCsv,
    /// RoboForm's CSV export.
    RoboformCsv,
    /// Keeper's CSV export.
    KeeperCsv,
    /// Keeper's JSON export.
    Keeper,
    /// Enpass' JSON export.
    Enpass,
    /// Any CSV file.
    Csv,
    /// The folder of `pass`. Read with [`parse_pass`](crate::parse_pass).
    Pass,
}

/// The formats in the order in which help lists them, each with its word and a short description.
/// Record ids are derived from the words, so a word never changes.
const FORMATS: &[(Format, &str, &str)] = &[
    (
        Format::Passmate2,
        "passmate2",
        "a vault file of this program or of Passmate 2 (.pmdb), with its history",
    ),
    (
        Format::Pmate,
        "pmate",
        "the original desktop client's file, ~/.pmate, with its history",
    ),
    (
        Format::Passmate1,
        "passmate1",
        "a file of Passmate 1, with its history",
    ),
    (
        Format::Bitwarden,
        "bitwarden",
        "Bitwarden: JSON, plain or protected by a password",
    ),
    (Format::BitwardenCsv, "bitwarden-csv", "Bitwarden: CSV"),
    (
        Format::Keepass,
        "keepass",
        "KeePass and KeePassXC: .kdbx and .kdb, with a password, a key file or both",
    ),
    (
        Format::KeepassXml,
        "keepass-xml",
        "KeePass and KeePassXC: XML",
    ),
    (Format::KeepassCsv, "keepass-csv", "KeePassXC: CSV"),
    (
        Format::ChromeCsv,
        "chrome-csv",
        "Chrome, Edge, Brave, Opera: CSV",
    ),
    (Format::FirefoxCsv, "firefox-csv", "Firefox: CSV"),
    (
        Format::SafariCsv,
        "safari-csv",
        "Safari and Apple Passwords: CSV",
    ),
    (Format::Onepassword, "1password", "1Password: .1pux"),
    (Format::OnepasswordCsv, "1password-csv", "1Password: CSV"),
    (Format::LastpassCsv, "lastpass-csv", "LastPass: CSV"),
    (Format::Protonpass, "protonpass", "Proton Pass: ZIP or JSON"),
    (
        Format::GoogleAuthenticator,
        "google-authenticator",
        "Google Authenticator: a text with the addresses of its QR codes",
    ),
    (
        Format::Otpauth,
        "otpauth",
        "authenticators: a text with otpauth:// addresses, one a line",
    ),
    (
        Format::Aegis,
        "aegis",
        "Aegis: JSON, plain or protected by a password",
    ),
    (
        Format::Twofas,
        "2fas",
        "2FAS: .2fas, plain or protected by a password",
    ),
    (
        Format::Cxf,
        "cxf",
        "FIDO's Credential Exchange Format: JSON or ZIP, not encrypted",
    ),
    (
        Format::Dashlane,
        "dashlane",
        "Dashlane: ZIP, or one of the CSV files in it",
    ),
    (Format::NordpassCsv, "nordpass-csv", "NordPass: CSV"),
    (Format::RoboformCsv, "roboform-csv", "RoboForm: CSV"),
    (Format::KeeperCsv, "keeper-csv", "Keeper: CSV"),
    (Format::Keeper, "keeper", "Keeper: JSON"),
    (Format::Enpass, "enpass", "Enpass: JSON"),
    (
        Format::Csv,
        "csv",
        "any CSV file: columns are found by their names, or said",
    ),
    (
        Format::Pass,
        "pass",
        "pass: the store's folder, decrypted by gpg",
    ),
];

impl Format {
    /// All formats, in the order in which help lists them.
    pub fn all() -> impl Iterator<Item = Self> {
        FORMATS.iter().map(|(format, ..)| *format)
    }

    /// The word for the format on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// A short description for help.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.row().1
    }

    /// The format with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::all().find(|format| format.word() == word)
    }

    /// Whether every item in a file of this format has an id of its own.
    pub(crate) fn has_ids(self) -> bool {
        matches!(
            self,
            Self::Bitwarden
                | Self::Keepass
                | Self::KeepassXml
                | Self::FirefoxCsv
                | Self::Onepassword
                | Self::Protonpass
                | Self::Aegis
                | Self::Cxf
                | Self::Enpass
                | Self::Keeper
                | Self::Pass
        )
    }

    /// This format and the others whose files have the same ids for the same items.
    pub(crate) fn with_same_ids(self) -> impl Iterator<Item = Self> {
        let is_keepass = |format: &Self| matches!(format, Self::Keepass | Self::KeepassXml);
        let others = Self::all()
            .filter(move |other| *other != self && is_keepass(other) && is_keepass(&self));
        std::iter::once(self).chain(others)
    }

    /// Whether a file of the format may be an archive, of which only some files are read.
    fn has_archive(self) -> bool {
        matches!(
            self,
            Self::Bitwarden | Self::Cxf | Self::Dashlane | Self::Onepassword | Self::Protonpass
        )
    }

    fn row(self) -> (&'static str, &'static str) {
        let row = FORMATS.iter().find(|(format, ..)| *format == self);
        row.map_or(("", ""), |(_, word, about)| (word, about))
    }
}

/// The content of a file.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct Imported {
    /// Items of other programs: values without a history.
    pub items: Vec<Item>,
    /// Records of the Passmate family of programs, with their whole history.
    pub vault: Vault,
    /// The parts of the file that are not imported.
    pub losses: Vec<Loss>,
    /// How the columns of a table were understood, for [`Format::Csv`].
    pub columns: Vec<ColumnUse>,
}

/// What a reader needs besides the file.
#[derive(Clone, Copy, Default)]
pub struct ReadOptions<'a> {
    /// The password of the file, not that of the vault. It is ignored if the file is not encrypted.
    /// If it is wrong, its [other form](Passphrase::other_form) is tried.
    pub secret: Option<&'a Passphrase>,
    /// The content of KeePass' key file. Without a secret, the file is opened with it alone.
    pub key_file: Option<&'a [u8]>,
    /// What the columns of a table mean. Only [`Format::Csv`] uses it.
    pub columns: Option<&'a ColumnMap>,
    /// Learns how far a long key derivation is.
    pub progress: Option<&'a Progress>,
}

impl<'a> ReadOptions<'a> {
    /// Only a password, if there is one.
    #[must_use]
    pub fn with_secret(secret: Option<&'a Passphrase>) -> Self {
        Self {
            secret,
            ..Self::default()
        }
    }
}

/// Without the secrets.
impl std::fmt::Debug for ReadOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadOptions").finish_non_exhaustive()
    }
}

/// Reads a file.
///
/// The key derivation may take some seconds and up to 1025 MiB of memory.
///
/// # Errors
/// [`ImportError::SecretNeeded`] if the file is encrypted and there is no secret. No key was
/// derived then, unless there is a key file: it is tried without a password first, because a file
/// may need nothing else. See [`ImportError`] for the rest.
pub fn parse(
    format: Format,
    bytes: &[u8],
    options: ReadOptions<'_>,
) -> Result<Imported, ImportError> {
    let is_archive = format.has_archive() && is_zip(bytes);
    let limit = if is_archive {
        ARCHIVE_LEN_MAX
    } else {
        FILE_LEN_MAX
    };
    if bytes.len() > limit {
        return Err(ImportError::TooLong { limit });
    }
    try_forms(options, |options| {
        if is_archive {
            parse_archive(format, &mut Archive::of_bytes(bytes)?, options)
        } else {
            parse_with(format, bytes, options)
        }
    })
}

/// Reads a file as [`parse`] does, without its attachments: of an archive, only the files that are
/// wanted come into memory.
///
/// # Errors
/// Those of [`parse`], and [`ImportError::Unreadable`].
pub fn parse_from(
    format: Format,
    source: &mut (impl Read + Seek),
    options: ReadOptions<'_>,
) -> Result<Imported, ImportError> {
    let of_io = |error: std::io::Error| ImportError::Unreadable { kind: error.kind() };
    let mut bytes = Zeroizing::new(Vec::new());
    source.rewind().map_err(of_io)?;
    let begin = source.by_ref().take(4).read_to_end(&mut bytes);
    begin.map_err(of_io)?;
    if format.has_archive() && is_zip(&bytes) {
        let len = source.seek(SeekFrom::End(0)).map_err(of_io)?;
        if len > ARCHIVE_LEN_MAX as u64 {
            let limit = ARCHIVE_LEN_MAX;
            return Err(ImportError::TooLong { limit });
        }
        return try_forms(options, |options| {
            parse_archive(format, &mut Archive::open(&mut *source)?, options)
        });
    }
    // One byte more than the limit shows that the file is longer.
    let rest = source
        .by_ref()
        .take(FILE_LEN_MAX as u64)
        .read_to_end(&mut bytes);
    rest.map_err(of_io)?;
    parse(format, &bytes, options)
}

/// Reads with the secret, and with its other form if it is wrong.
fn try_forms(
    options: ReadOptions<'_>,
    mut read: impl FnMut(ReadOptions<'_>) -> Result<Imported, ImportError>,
) -> Result<Imported, ImportError> {
    let Some(secret) = options.secret else {
        return read(options);
    };
    let is_wrong = |error: &ImportError| {
        matches!(
            error,
            ImportError::WrongSecret | ImportError::WrongSecretOrKeyFile
        )
    };
    let read = |secret: &Passphrase| {
        let secret = Some(secret);
        read(ReadOptions { secret, ..options })
    };
    Ok(secret.try_forms(is_wrong, read)?.0)
}

fn parse_archive(
    format: Format,
    archive: &mut Archive<'_>,
    options: ReadOptions<'_>,
) -> Result<Imported, ImportError> {
    match format {
        Format::Bitwarden => bitwarden::read_archive(archive, options.secret),
        Format::Cxf => cxf::read_archive(archive),
        Format::Onepassword => onepassword::read(archive),
        Format::Protonpass => protonpass::read_archive(archive),
        Format::Dashlane => dashlane::read_archive(archive),
        _ => Err(ImportError::NotThisFormat {
            expected: "an archive of this program",
        }),
    }
}

fn parse_with(
    format: Format,
    bytes: &[u8],
    options: ReadOptions<'_>,
) -> Result<Imported, ImportError> {
    let secret = options.secret;
    match format {
        Format::Passmate2 => passmate::read_pmdb(bytes, secret),
        Format::Pmate | Format::Passmate1 => passmate::read_desktop(bytes, secret),
        Format::Bitwarden => bitwarden::read(bytes, secret),
        Format::BitwardenCsv => tables::read(bytes, tables::BITWARDEN),
        Format::Keepass => keepass::read(bytes, options),
        Format::KeepassXml => keepass::read_xml(bytes),
        Format::KeepassCsv => tables::read(bytes, tables::KEEPASSXC),
        Format::ChromeCsv => tables::read(bytes, tables::CHROME),
        Format::FirefoxCsv => tables::read(bytes, tables::FIREFOX),
        Format::SafariCsv => tables::read(bytes, tables::SAFARI),
        Format::Onepassword => Err(ImportError::NotThisFormat {
            expected: "a .1pux file",
        }),
        Format::OnepasswordCsv => tables::read(bytes, tables::ONEPASSWORD),
        Format::LastpassCsv => tables::read(bytes, tables::LASTPASS),
        Format::Protonpass => protonpass::read(bytes),
        Format::GoogleAuthenticator => google_authenticator::read(bytes),
        Format::Otpauth => otpauth::read(bytes),
        Format::Aegis => aegis::read(bytes, secret),
        Format::Twofas => twofas::read(bytes, secret),
        Format::Cxf => cxf::read(bytes),
        Format::Dashlane => dashlane::read(bytes),
        Format::NordpassCsv => tables::read(bytes, tables::NORDPASS),
        Format::RoboformCsv => tables::read(bytes, tables::ROBOFORM),
        Format::KeeperCsv => keeper::read_table(bytes),
        Format::Keeper => keeper::read(bytes),
        Format::Enpass => enpass::read(bytes),
        Format::Csv => columns::read(bytes, options.columns),
        Format::Pass => Err(ImportError::NotThisFormat {
            expected: "a folder of pass",
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::syntax::zip::tests::zip_of;

    #[test]
    fn attachments_do_not_count_for_the_limit_of_a_file() {
        let data = br#"{"accounts":[{"vaults":[{"items":[{"overview":{"title":"x"}}]}]}]}"#;
        let attachment = vec![0; FILE_LEN_MAX + 1];
        let zip = zip_of(&[("files/big", &attachment), ("export.data", data)]);
        let options = ReadOptions::default();
        for imported in [
            parse(Format::Onepassword, &zip, options),
            parse_from(Format::Onepassword, &mut Cursor::new(&zip), options),
        ] {
            assert_eq!(imported.unwrap().items.len(), 1);
        }
        let big = zip_of(&[("export.data", &attachment)]);
        let error = parse(Format::Onepassword, &big, options).unwrap_err();
        assert!(matches!(
            error,
            ImportError::TooLong {
                limit: FILE_LEN_MAX
            }
        ));
    }

    #[test]
    fn a_file_is_read_from_a_source_up_to_its_limit() {
        let options = ReadOptions::default();
        let read = |bytes: &[u8]| parse_from(Format::Bitwarden, &mut Cursor::new(bytes), options);
        assert_eq!(read(br#"{"items":[{}]}"#).unwrap().items.len(), 1);
        let error = read(&vec![b' '; FILE_LEN_MAX + 1]).unwrap_err();
        assert_eq!(
            error,
            ImportError::TooLong {
                limit: FILE_LEN_MAX
            }
        );
    }
}
