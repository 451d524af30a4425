//! All files of other programs that the tests have: what is read of each is exactly what the file
//! `NAME.items` beside it says, with former values and losses.
//!
//! `PASSMATE_BLESS=1` writes the `.items` files anew; look at what changed.

use std::collections::BTreeSet;
use std::io::Cursor;

use getrandom::SysRng;
use passmate_interchange::{
    ExportFormat, Format, Imported, Outcome, ReadOptions, WriteOptions, guess, parse, write,
};
use passmate_vault::format::container::Params;
use passmate_vault::{Passphrase, Vault};
use rand_core::UnwrapErr;

use crate::{NOW, PASSWORD, items, put, read, secret, shown, vectors};

/// A file.
struct Sample {
    /// The program that writes such files.
    program: &'static str,
    format: &'static str,
    file: &'static str,
    secret: Option<&'static str>,
    key_file: Option<&'static str>,
    /// The file with the same content whose `.items` it shares; itself if there is none.
    like: &'static str,
}

const fn plain(program: &'static str, format: &'static str, file: &'static str) -> Sample {
    Sample {
        program,
        format,
        file,
        secret: None,
        key_file: None,
        like: file,
    }
}

impl Sample {
    const fn under(self, secret: &'static str) -> Self {
        Self {
            secret: Some(secret),
            ..self
        }
    }

    const fn with_key(self, key_file: &'static str) -> Self {
        Self {
            key_file: Some(key_file),
            ..self
        }
    }

    const fn like(self, like: &'static str) -> Self {
        Self { like, ..self }
    }

    fn format(&self) -> Format {
        Format::from_word(self.format).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        read(&format!("import/{}", self.file))
    }

    fn parse(&self) -> Result<Imported, passmate_interchange::ImportError> {
        let secret: Option<Passphrase> = self.secret.map(secret);
        let key_file = self.key_file.map(|file| read(&format!("import/{file}")));
        let options = ReadOptions {
            secret: secret.as_ref(),
            key_file: key_file.as_deref(),
            ..ReadOptions::default()
        };
        parse(self.format(), &self.bytes(), options)
    }
}

const SAMPLES: &[Sample] = &[
    plain("1Password", "1password", "1password.1pux"),
    plain("1Password", "1password", "op-kinds.1pux"),
    plain("1Password", "1password", "op-no-uuid.1pux"),
    plain("1Password", "1password-csv", "1password.csv"),
    plain("1Password 7", "1password-csv", "op7.csv"),
    plain("2FAS", "2fas", "2fas.2fas"),
    plain("2FAS", "2fas", "2fas-odd.2fas"),
    plain("2FAS", "2fas", "2fas-encrypted.2fas")
        .under(PASSWORD)
        .like("2fas.2fas"),
    plain("Aegis", "aegis", "aegis.json"),
    plain("Aegis", "aegis", "aegis-odd.json"),
    plain("Aegis", "aegis", "aegis-encrypted.json")
        .under(PASSWORD)
        .like("aegis.json"),
    plain("any", "csv", "any.csv"),
    plain("any", "csv", "any-tabs.csv"),
    plain("Bitwarden", "bitwarden", "bitwarden.json"),
    plain("Bitwarden", "bitwarden", "bitwarden-pbkdf2.json")
        .under("import sample ä")
        .like("bitwarden.json"),
    plain("Bitwarden", "bitwarden", "bitwarden-argon2.json")
        .under("import sample ä")
        .like("bitwarden.json"),
    plain("Bitwarden", "bitwarden", "bw-account.json"),
    plain("Bitwarden", "bitwarden", "bw-attachments.zip"),
    plain("Bitwarden", "bitwarden", "bw-collection-null.json"),
    plain("Bitwarden", "bitwarden", "bw-new-kinds.json"),
    plain("Bitwarden", "bitwarden", "bw-no-encrypted.json"),
    plain("Bitwarden", "bitwarden-csv", "bitwarden.csv"),
    plain("Bitwarden", "bitwarden-csv", "bw-org.csv"),
    plain("Chrome", "chrome-csv", "chrome.csv"),
    plain("Chrome", "chrome-csv", "cr-semicolon.csv"),
    plain("Chrome", "chrome-csv", "cr-short-row.csv"),
    plain("Chrome", "chrome-csv", "cr-utf16.csv"),
    plain("Edge", "chrome-csv", "edge.csv"),
    plain("Opera", "chrome-csv", "opera.csv"),
    plain("FIDO CXF", "cxf", "cxf.json"),
    plain("FIDO CXF", "cxf", "cxf-odd.json"),
    plain("FIDO CXF", "cxf", "cxf.zip").like("cxf.json"),
    plain("Dashlane", "dashlane", "dashlane.zip"),
    plain("Dashlane", "dashlane", "dashlane-old.zip"),
    plain("Dashlane", "dashlane", "dashlane-payments.csv"),
    plain("Enpass", "enpass", "enpass.json"),
    plain("Enpass", "enpass", "enpass-odd.json"),
    plain("Firefox", "firefox-csv", "firefox.csv"),
    plain("Firefox", "firefox-csv", "ff-account.csv"),
    plain(
        "Google Authenticator",
        "google-authenticator",
        "google-authenticator.txt",
    ),
    plain(
        "Google Authenticator",
        "google-authenticator",
        "google-authenticator-odd.txt",
    ),
    plain("authenticators", "otpauth", "otpauth.txt"),
    plain("authenticators", "otpauth", "otpauth-odd.txt"),
    plain("Ente Auth", "otpauth", "otpauth-ente.txt"),
    plain("KeePass 1", "keepass", "file-keepass-1.kdb").under(PASSWORD),
    plain("KeePass 1", "keepass", "keepass-1-twofish.kdb")
        .under("import sämple")
        .with_key("keepass-hex.key")
        .like("file-keepass-1.kdb"),
    plain("KeePass 2", "keepass", "file-keepass-3.kdbx").under(PASSWORD),
    plain("KeePass 2", "keepass", "file-keepass-3-header.kdbx").under(PASSWORD),
    plain("KeePass 2", "keepass", "pykeepass-aes.kdbx").under(PASSWORD),
    plain("KeePass 2", "keepass", "pykeepass-chacha20.kdbx").under(PASSWORD),
    plain("KeePass 2", "keepass", "keepass-twofish.kdbx").under(PASSWORD),
    plain("KeePass 2", "keepass", "keepass-raw-key.kdbx").with_key("keepass-raw.key"),
    plain("KeePass 2", "keepass", "keepass-hex-key.kdbx")
        .under(PASSWORD)
        .with_key("keepass-hex.key"),
    plain("KeePass 2", "keepass-xml", "keepass-kinds.xml"),
    plain("KeePass 2", "keepass-xml", "kp-otp.xml"),
    plain("KeePass 2", "keepass-xml", "kp-ref.xml"),
    plain("KeePass 2", "keepass-xml", "kp-not-utf8.xml"),
    plain("KeePass 2", "keepass-xml", "kp-no-title.xml"),
    plain("KeePass 2", "keepass-xml", "kp-expiry.xml"),
    plain("KeePassXC", "keepass", "keepassxc-aes.kdbx").under(PASSWORD),
    plain("KeePassXC", "keepass", "keepassxc-history.kdbx")
        .under(PASSWORD)
        .with_key("keepassxc-history.keyx"),
    plain("KeePassXC", "keepass-xml", "keepassxc.xml"),
    plain("KeePassXC", "keepass-csv", "keepassxc.csv"),
    plain("KeePassXC", "keepass-csv", "kxc-folder.csv"),
    plain("Keeper", "keeper", "keeper.json"),
    plain("Keeper", "keeper", "keeper-odd.json"),
    plain("Keeper", "keeper-csv", "keeper.csv"),
    plain("Keeper", "keeper-csv", "keeper-header.csv"),
    plain("LastPass", "lastpass-csv", "lastpass.csv"),
    plain("LastPass", "lastpass-csv", "lastpass-old.csv"),
    plain("LastPass", "lastpass-csv", "lp-entities.csv"),
    plain("NordPass", "nordpass-csv", "nordpass.csv"),
    plain("NordPass", "nordpass-csv", "nordpass-old.csv"),
    plain("Proton Pass", "protonpass", "protonpass.json"),
    plain("Proton Pass", "protonpass", "protonpass.zip").like("protonpass.json"),
    plain("Proton Pass", "protonpass", "proton.json"),
    plain("Proton Pass", "protonpass", "proton-passkey.json"),
    plain("RoboForm", "roboform-csv", "roboform.csv"),
    plain("RoboForm", "roboform-csv", "roboform-old.csv"),
    plain("Safari", "safari-csv", "safari.csv"),
    plain("Safari", "safari-csv", "sf-otp.csv"),
];

#[test]
fn every_file_is_read_exactly() {
    let is_blessed = std::env::var_os("PASSMATE_BLESS").is_some();
    for sample in SAMPLES {
        let text = match sample.parse() {
            Ok(imported) => items(&imported),
            Err(error) => format!("error: {error}\n"),
        };
        let file = vectors().join(format!("import/{}.items", sample.like));
        if is_blessed && sample.like == sample.file {
            std::fs::write(&file, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text == expected, "{} should be\n{text}", sample.file);
    }
}

#[test]
fn the_corpus_has_every_file_and_many_programs() {
    let of_table: BTreeSet<String> = SAMPLES
        .iter()
        .flat_map(|sample| [Some(sample.file), sample.key_file])
        .flatten()
        .map(str::to_owned)
        .collect();
    let is_sample = |name: &String| {
        let ends = [".items", ".expected", ".py", ".pl", ".md"];
        !ends.iter().any(|end| name.ends_with(end))
    };
    let folder = std::fs::read_dir(vectors().join("import")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let of_folder: BTreeSet<String> = names.filter(is_sample).collect();
    assert_eq!(of_table, of_folder);
    let contents: BTreeSet<Vec<u8>> = SAMPLES.iter().map(Sample::bytes).collect();
    let programs: BTreeSet<_> = SAMPLES.iter().map(|sample| sample.program).collect();
    assert!(contents.len() >= 60 && programs.len() >= 20);
    let all: BTreeSet<_> = Format::all().map(Format::word).collect();
    let tried: BTreeSet<_> = SAMPLES.iter().map(|sample| sample.format).collect();
    let elsewhere = ["pass", "passmate1", "passmate2", "pmate"];
    let missing: Vec<_> = all
        .difference(&tried)
        .filter(|word| !elsewhere.contains(word))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_format_of_every_file_is_told_by_its_looks() {
    for sample in SAMPLES {
        // Many programs write the columns of the first, and the other has no names of columns.
        if ["op7.csv", "keeper.csv"].contains(&sample.file) {
            continue;
        }
        let guessed = guess(&mut Cursor::new(sample.bytes()), sample.file);
        let guessed = guessed.map(Format::word);
        assert_eq!(guessed, Some(sample.format), "{}", sample.file);
    }
}

/// A vault with the content of all files that can be read, and the files.
fn all() -> (Vault, Vec<(&'static Sample, Imported)>) {
    let (mut vault, mut files) = (Vault::new(), Vec::new());
    for sample in SAMPLES {
        if let Ok(imported) = sample.parse() {
            put(&imported, &mut vault, sample.format(), NOW);
            files.push((sample, imported));
        }
    }
    (vault, files)
}

#[test]
fn importing_everything_once_more_changes_nothing() {
    let (vault, files) = all();
    for (round, (sample, imported)) in (1..).zip(files) {
        let mut again = vault.clone();
        let applied = put(&imported, &mut again, sample.format(), NOW + round);
        assert_eq!(applied.changes, 0, "{}", sample.file);
        assert!(again == vault, "{}", sample.file);
    }
}

#[test]
fn our_exports_of_everything_change_nothing_when_they_are_imported() {
    let (vault, _) = all();
    let passphrase = secret("export");
    let options = WriteOptions {
        passphrase: &passphrase,
        params: Params::new(1, 1, 1).unwrap(),
    };
    for (export, format) in [
        (ExportFormat::Kdbx, Format::Keepass),
        (ExportFormat::Bitwarden, Format::Bitwarden),
        (ExportFormat::Csv, Format::KeepassCsv),
        (ExportFormat::Cxf, Format::Cxf),
    ] {
        let file = write(export, &vault, options, &mut UnwrapErr(SysRng)).unwrap();
        let secret = ReadOptions::with_secret(Some(&passphrase));
        let imported = parse(format, &file.bytes, secret).unwrap();
        let mut again = vault.clone();
        let applied = put(&imported, &mut again, format, NOW + 1);
        let is_new = |(outcome, _): &&(Outcome, String)| *outcome != Outcome::Unchanged;
        let new: Vec<_> = applied.records.iter().filter(is_new).collect();
        let (before, after) = (shown(&vault), shown(&again));
        let lines: Vec<_> = after
            .lines()
            .filter(|line| !before.contains(*line))
            .collect();
        assert!(
            new.is_empty() && after == before,
            "{format:?}: {new:#?} {lines:#?}"
        );
    }
}
