//! The format that a file has by its looks.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::{Format, columns, tables};
use crate::limits::FILE_LEN_MAX;
use crate::syntax::kdbx::{SIGNATURE, SIGNATURE_KDB};
use crate::syntax::{json, zip};

/// The members of JSON documents: those that a format has, and the format. The first row that fits
/// counts.
const DOCUMENTS: &[(&[&str], Format)] = &[
    (&["vaults", "encrypted"], Format::Protonpass),
    (&["passwordProtected"], Format::Bitwarden),
    (&["encKeyValidation_DO_NOT_EDIT"], Format::Bitwarden),
    (&["items", "encrypted"], Format::Bitwarden),
    (&["records", "shared_folders"], Format::Keeper),
    (&["items", "folders"], Format::Bitwarden),
    (&["items", "collections"], Format::Bitwarden),
    (&["version", "records"], Format::Passmate1),
    (&["records"], Format::Keeper),
    (&["header", "db"], Format::Aegis),
    (&["services", "schemaVersion"], Format::Twofas),
    (&["servicesEncrypted"], Format::Twofas),
    (&["accounts", "exporterRpId"], Format::Cxf),
];

/// The format of a file, by its first bytes, the members or columns that it has, and where these do
/// not tell, its name. `None` if it looks like none.
///
/// The whole file may still be damaged, unreadable or of another version.
#[must_use]
pub fn guess(source: &mut (impl Read + Seek), name: &str) -> Option<Format> {
    let mut bytes = Zeroizing::new(Vec::new());
    source.rewind().ok()?;
    source.by_ref().take(4).read_to_end(&mut bytes).ok()?;
    if zip::is_zip(&bytes) {
        return of_archive(&zip::Archive::open(source).ok()?);
    }
    let limit = u64::try_from(FILE_LEN_MAX).unwrap_or(u64::MAX);
    source.take(limit).read_to_end(&mut bytes).ok()?;
    of_bytes(&bytes, name)
}

fn of_bytes(bytes: &[u8], name: &str) -> Option<Format> {
    if bytes.starts_with(b"scrypt") {
        // Both programs use one container.
        let is_pmate = name.ends_with(".pmate");
        return Some(if is_pmate {
            Format::Pmate
        } else {
            Format::Passmate2
        });
    }
    if bytes.starts_with(&SIGNATURE) || bytes.starts_with(&SIGNATURE_KDB) {
        return Some(Format::Keepass);
    }
    // A table may be in UTF-16.
    let Ok(text) = json::text_of(bytes) else {
        return of_table(bytes);
    };
    let text = text.trim_start();
    match text.as_bytes().first()? {
        b'{' => of_document(text),
        b'[' => Some(Format::Pmate),
        b'<' => text.contains("<KeePassFile").then_some(Format::KeepassXml),
        _ => of_addresses(text).or_else(|| of_table(bytes)),
    }
}

fn of_table(bytes: &[u8]) -> Option<Format> {
    let is_any = || columns::has_password(bytes).then_some(Format::Csv);
    tables::guess(bytes).or_else(is_any)
}

/// The files in archives, by the end of their names, and the format. The first row that fits
/// counts.
const MEMBERS: &[(&str, Format)] = &[
    ("export.data", Format::Onepassword),
    ("Proton Pass/data.json", Format::Protonpass),
    (".pgp", Format::Protonpass),
    ("data.json", Format::Bitwarden),
    ("credentials.csv", Format::Dashlane),
    ("/index.json", Format::Cxf),
];

/// The beginnings of lines in a list of one-time codes, and the format.
const ADDRESSES: &[(&str, Format)] = &[
    ("otpauth-migration://", Format::GoogleAuthenticator),
    ("otpauth://", Format::Otpauth),
];

fn of_archive(archive: &zip::Archive<'_>) -> Option<Format> {
    let has = |(end, _): &&(&str, Format)| archive.names().any(|name| name.ends_with(*end));
    MEMBERS.iter().find(has).map(|(_, format)| *format)
}

fn of_addresses(text: &str) -> Option<Format> {
    // A table may have addresses in its cells, but not at the beginning of a line.
    let begins = |line: &str, scheme: &str| {
        let begin = line.trim_start().get(..scheme.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    let has = |(scheme, _): &&(&str, Format)| text.lines().any(|line| begins(line, scheme));
    ADDRESSES.iter().find(has).map(|(_, format)| *format)
}

fn of_document(text: &str) -> Option<Format> {
    let members: BTreeMap<String, IgnoredAny> = serde_json::from_str(text).ok()?;
    let has_all =
        |(names, _): &&(&[&str], Format)| names.iter().all(|name| members.contains_key(*name));
    let format = DOCUMENTS.iter().find(has_all).map(|(_, format)| *format);
    match format {
        // Enpass' document has the members of Bitwarden's, and its items have other ids.
        Some(Format::Bitwarden)
            if !members.contains_key("encrypted") && text.contains("\"uuid\"") =>
        {
            Some(Format::Enpass)
        }
        format => format,
    }
}
