//! Writes files that other programs import: one file for each program.
//!
//! A field for which a program has no place goes into the notes or into a field with its name.
//! Anything that is left out is a [`Loss`].

mod bitwarden;
mod csv;
mod cxf;
mod kdbx;

use std::borrow::Cow;

use passmate_vault::format::container::{ContainerError, Params, make_container};
use passmate_vault::format::{EncodeError, Purpose, encode_passmate2, encode_v3};
use passmate_vault::login::Login;
use passmate_vault::record::Change;
use passmate_vault::view::{View, ViewField, ViewRecord};
use passmate_vault::{Document, Passphrase, Text, Vault};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::apply::ids::without_key;
use crate::crypto::KdfError;
use crate::loss::Loss;

/// The formats that can be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ExportFormat {
    /// Passmate's own vault file, with the history, but without the account and the shared folder.
    Passmate,
    /// A vault file of the original Passmate 2, with the history.
    Passmate2,
    /// A KeePass database, KDBX 4.
    Kdbx,
    /// Bitwarden's JSON, not encrypted.
    Bitwarden,
    /// A table as KeePassXC reads it, not encrypted.
    Csv,
    /// FIDO's Credential Exchange Format, not encrypted.
    Cxf,
}

impl ExportFormat {
    /// Whether a file of this format is encrypted under a passphrase.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Passmate | Self::Passmate2 | Self::Kdbx)
    }
}

/// What a writer needs besides the vault.
#[derive(Clone, Copy)]
pub struct WriteOptions<'a> {
    /// The passphrase of a file in an encrypted format.
    pub passphrase: &'a Passphrase,
    /// The key derivation of Passmate's own vault files.
    pub params: Params,
}

impl std::fmt::Debug for WriteOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteOptions")
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

/// A file for another program.
#[derive(Clone, PartialEq, Eq)]
pub struct Written {
    /// The content of the file.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The parts of the vault that are not in the file.
    pub losses: Vec<Loss>,
    /// What the other program may refuse or take for something else, although it is in the file.
    pub warnings: Vec<Loss>,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written")
            .field("losses", &self.losses)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// Why a vault cannot be written in a format. No message holds a value of the vault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExportError {
    /// The vault does not fit into a vault file.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The container of a vault file could not be made.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The key of a KeePass file could not be derived.
    #[error(transparent)]
    Kdf(#[from] KdfError),
    /// KeePass' cipher cannot encrypt that much under one key.
    #[error("the vault is too long for one KeePass file")]
    TooLong,
}

/// Writes the live records of a vault. Passmate's own formats have its whole history.
///
/// The encrypted formats derive a key, which takes about as long as unlocking the vault.
///
/// # Errors
/// See [`ExportError`].
pub fn write(
    format: ExportFormat,
    vault: &Vault,
    options: WriteOptions<'_>,
    rng: &mut impl CryptoRng,
) -> Result<Written, ExportError> {
    let mut notices = Notices::default();
    let bytes = match format {
        ExportFormat::Passmate => {
            let plaintext = encode_v3(&Document::new(vault.clone()))?;
            seal(&plaintext, options, rng)?
        }
        ExportFormat::Passmate2 => {
            // The import key is of no use there, so it is no loss.
            let copy = encode_passmate2(&without_key(vault), Purpose::Primary)?;
            if copy.omitted > 0 {
                notices.losses.push(Loss::of_file(format!(
                    "{} changes of the history are left out, \
                     because Passmate 2 would refuse the file",
                    copy.omitted
                )));
            }
            seal(&copy.plaintext, options, rng)?
        }
        ExportFormat::Kdbx => kdbx::write(&vault.view(), options, &mut notices, rng)?,
        ExportFormat::Bitwarden => bitwarden::write(&vault.view(), &mut notices.warnings),
        ExportFormat::Csv => csv::write(&vault.view(), &mut notices.warnings),
        ExportFormat::Cxf => cxf::write(vault, &mut notices),
    };
    Ok(Written {
        bytes,
        losses: notices.losses,
        warnings: notices.warnings,
    })
}

fn seal(
    plaintext: &[u8],
    options: WriteOptions<'_>,
    rng: &mut impl CryptoRng,
) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
    make_container(plaintext, options.passphrase, options.params, rng).map(Zeroizing::new)
}

/// What a writer has to say about a file.
#[derive(Default)]
struct Notices {
    losses: Vec<Loss>,
    warnings: Vec<Loss>,
}

/// A record, prepared for another program.
struct Entry<'a> {
    record: ViewRecord<'a>,
    /// The path before its last part.
    folder: String,
    /// The last part of the path.
    name: String,
    login: Login<'a>,
}

fn entries<'a>(view: &View<'a>) -> impl Iterator<Item = Entry<'a>> {
    view.records().iter().map(|record| {
        let path = record.path.to_string_lossy();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        Entry {
            folder: folder.to_owned(),
            name: name.to_owned(),
            login: Login::of(record),
            record: record.clone(),
        }
    })
}

impl<'a> Entry<'a> {
    /// The fields that have no place of their own, as names and values, without those in `places`.
    fn other_fields(
        &self,
        places: &[Option<ViewField<'a>>],
    ) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let names: Vec<&Text> = places.iter().flatten().map(|field| field.name).collect();
        let others = self.login.others.iter();
        others
            .filter(move |field| !names.contains(&field.name))
            .map(|field| (field.name.to_string_lossy(), field.value.to_string_lossy()))
    }

    /// The path, as a loss names it.
    fn path(&self) -> String {
        self.record.path.to_string_lossy().into_owned()
    }

    /// The times of the first and the last change, in seconds since 1970.
    fn times(&self) -> (i64, i64) {
        let changes = self.record.record.changes().iter();
        let times = changes.filter_map(|change| change.stamp.deciding_seconds());
        (
            times.clone().min().unwrap_or_default(),
            times.max().unwrap_or_default(),
        )
    }
}

/// The value of a field; empty if it is not set.
fn value_of<'v>(field: &'v Option<ViewField<'_>>) -> Cow<'v, str> {
    field
        .as_ref()
        .map_or(Cow::Borrowed(""), |field| field.value.to_string_lossy())
}

/// A value that a field had before, with the times at which it was set and replaced.
struct Earlier {
    value: Zeroizing<String>,
    since: i64,
    until: i64,
}

/// The values that a field had before, the oldest first. Times are in seconds since 1970.
fn earlier_values(history: &[Change]) -> Vec<Earlier> {
    let mut earlier = Vec::new();
    let mut present: Option<(Zeroizing<String>, i64)> = None;
    let mut changes = history
        .iter()
        .filter(|change| !change.is_purged())
        .filter_map(|change| Some((change.stamp.deciding_seconds()?, change)))
        .peekable();
    while let Some((time, change)) = changes.next() {
        // Of several changes at one time, people only saw the last one.
        if changes.peek().is_some_and(|(next, _)| *next == time) {
            continue;
        }
        let value = change.value.shown();
        let value = value.map(|value| Zeroizing::new(value.to_string_lossy().into_owned()));
        let is_same = |(present, _): &(Zeroizing<String>, i64)| value.as_ref() == Some(present);
        if present.as_ref().is_some_and(is_same) {
            continue;
        }
        if let Some((value, since)) = present.take() {
            earlier.push(Earlier {
                value,
                since,
                until: time,
            });
        }
        present = value.map(|value| (value, time));
    }
    earlier
}

#[cfg(test)]
pub(crate) mod tests {
    use passmate_vault::record::Domain;

    use super::*;

    /// A vault with a record that is hard to write, a record without fields, and a deleted record.
    pub(crate) fn vault() -> Vault {
        let mut vault = Vault::new();
        vault
            .create_record("A".into(), "web/shop, \"best\"", 1)
            .unwrap();
        for (name, value) in [
            ("Login", "bob"),
            ("email", "b@x"),
            ("password", "p\"w,d"),
            ("url", "https://shop.example"),
            ("note", "one\ntwo"),
            ("totp", "GEZDGNBV"),
            ("pin", "1234"),
        ] {
            vault.set(&"A".into(), name, value, 2).unwrap();
        }
        vault.create_record("B".into(), "top", 1).unwrap();
        vault.create_record("C".into(), "gone", 1).unwrap();
        vault.delete(&"C".into(), 2).unwrap();
        vault
    }

    #[test]
    fn every_field_of_a_record_has_a_place() {
        let vault = vault();
        let view = vault.view();
        let entry = entries(&view)
            .find(|entry| entry.folder == "web")
            .expect("the record is live");
        assert_eq!(entry.name, "shop, \"best\"");
        let login = &entry.login;
        assert_eq!(value_of(&login.user), "bob");
        assert_eq!(value_of(&login.password), "p\"w,d");
        assert_eq!(value_of(&login.url), "https://shop.example");
        assert_eq!(value_of(&login.notes), "one\ntwo");
        assert_eq!(value_of(&login.otp), "GEZDGNBV");
        let others: Vec<_> = entry.other_fields(&[]).collect();
        assert_eq!(
            others,
            [
                ("email".into(), "b@x".into()),
                ("pin".into(), "1234".into())
            ]
        );
    }

    #[test]
    fn debug_redacts_a_written_file() {
        let bytes = csv::write(&vault().view(), &mut Vec::new());
        let written = Written {
            bytes,
            losses: Vec::new(),
            warnings: Vec::new(),
        };
        assert_eq!(
            format!("{written:?}"),
            "Written { losses: [], warnings: [], .. }"
        );
    }

    #[test]
    fn earlier_values_have_the_times_at_which_they_were_seen() {
        let mut vault = Vault::new();
        let id = "A".into();
        vault.create_record("A".into(), "x", 1).unwrap();
        for (time, value) in [(10, "a"), (20, "a"), (30, "b"), (50, "a"), (60, "c")] {
            vault.set(&id, "f", value, time).unwrap();
        }
        vault.unset(&id, "f", 70).unwrap();
        vault.set(&id, "f", "d", 80).unwrap();
        let history = vault
            .record(&id)
            .unwrap()
            .history(Domain::User, &"f".into());
        let earlier: Vec<_> = earlier_values(history)
            .into_iter()
            .map(|earlier| (earlier.value.to_string(), earlier.since, earlier.until))
            .collect();
        let expected = [("a", 10, 30), ("b", 30, 50), ("a", 50, 60), ("c", 60, 70)];
        assert_eq!(earlier, expected.map(|(v, s, u)| (v.to_owned(), s, u)));
    }
}
