//! What is exported comes back: a vault of hostile values through each format.

use std::collections::BTreeMap;

use getrandom::SysRng;
use passmate_interchange::{
    ExportFormat, Format, Imported, ReadOptions, WriteOptions, Written, parse, write,
};
use passmate_vault::format::container::Params;
use passmate_vault::otp::OtpAuth;
use passmate_vault::record::{Domain, Record};
use passmate_vault::{RecordId, Vault};
use rand_core::UnwrapErr;

use crate::{NOW, put, read, secret};

const PASSPHRASE: &str = "correct horse";
/// Values that formats, their programs and careless writers take for something else.
const HOSTILE: [&str; 16] = [
    "=HYPERLINK(\"https://x\")",
    " \t lead and trail \t ",
    "one\r\ntwo\rthree\nfour\n",
    "nul \0 bell \u{7} escape \u{1b}[2J delete \u{7f} c1 \u{85}",
    "\u{feff}bom \u{fffe}\u{ffff} \u{2028}\u{202e} separators",
    "<a href=\"x\">&amp;&lt;</a>]]><!--",
    "\"quoted\", 'single'; `back` \\\"",
    "{USERNAME} {REF:P@X:none} %s ${HOME} $(id)",
    "ünïcödé e\u{301} 🔑 \u{1f468}\u{200d}\u{1f469}",
    "null",
    "{\"json\": [1, true]}",
    "name: value\nother: value",
    "a,b;c|d\te",
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "+@-0",
    "../../etc/passwd",
];
const P256_KEY: &str =
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

fn id(number: usize) -> RecordId {
    RecordId::from(format!("{number:016X}").as_str())
}

/// A record for each hostile value, and records with everything else that has a place.
fn vault() -> Vault {
    let mut vault = Vault::new();
    for (number, value) in HOSTILE.iter().enumerate() {
        let path = format!("web/a & b <{number}>/\"best\", {number}");
        vault
            .create_record(id(number), path.as_str(), 1000)
            .unwrap();
        for (time, earlier) in [(1100, "first"), (1200, value), (1300, "second")] {
            for name in ["password", "pin", "gone"] {
                vault.set(&id(number), name, earlier, time).unwrap();
            }
        }
        vault.unset(&id(number), "gone", 1400).unwrap();
        for name in ["password", "pin"] {
            let present = format!("now {value}");
            vault
                .set(&id(number), name, present.as_str(), 2000)
                .unwrap();
        }
        for name in ["user", "url", "url 2", "notes", "a secret", "x: y"] {
            vault.set(&id(number), name, *value, 2000).unwrap();
        }
    }
    let ed25519 = "{\"credentialId\":\"AAEC\",\"rpId\":\"x.example\",\"username\":\"u\",\"userDisplayName\":\"\",\
                   \"userHandle\":\"-_8\",\"key\":\"MC4CAQAwBQYDK2VwBCIEIAAB\",\"KPEX_PASSKEY_FLAG_BE\":\"1\"}";
    let p256 = format!(
        "{{\"credentialId\":\"AAECAwQFBgcICQoLDA0ODw\",\"rpId\":\"x.example\",\"username\":\"u\",\
         \"userDisplayName\":\"U\",\"userHandle\":\"AA\",\"key\":\"{P256_KEY}\",\"counter\":\"0\",\
         \"creationDate\":\"2024-01-01T00:00:00.000Z\",\"discoverable\":\"true\",\"keyAlgorithm\":\"ECDSA\",\
         \"keyCurve\":\"P-256\",\"keyType\":\"public-key\",\"rpName\":\"X\"}}"
    );
    for (number, (path, fields)) in [
        (
            "full",
            &[
                ("user", "alice"),
                ("password", "p"),
                ("url", "https://a"),
                ("url 2", "https://b"),
                ("url 3", "https://c"),
                ("tags", "home,work"),
                ("expires", "2030-01-02"),
                ("favourite", "yes"),
                ("passkey", &p256),
                ("passkey 2", ed25519),
                (
                    "otp",
                    "otpauth://totp/a:b?secret=JBSWY3DPEHPK3PXP&period=60&digits=8&issuer=a",
                ),
            ][..],
        ),
        (
            "expires",
            &[("expires", "2030-01-02T03:04:05Z"), ("user", "u")],
        ),
        (
            "soon",
            &[("expires", "soon"), ("tags", "a;b,c"), ("user", "u")],
        ),
        (
            "hotp",
            &[
                (
                    "otp",
                    "otpauth://hotp/a:b?secret=JBSWY3DPEHPK3PXP&counter=7&digits=8&issuer=a",
                ),
                ("password", "p"),
            ],
        ),
        ("no codes", &[("otp", "ask alice!"), ("password", "p")]),
        (
            "cards/card",
            &[
                ("cardholder name", "Alice A"),
                ("brand", "Visa"),
                ("number", "4111111111111111"),
                ("exp month", "4"),
                ("exp year", "2030"),
                ("code", "123"),
                ("pin", "0000"),
                ("notes", "n"),
            ],
        ),
        (
            "key",
            &[
                ("private key", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"),
                ("public key", "ssh-ed25519 AAAA"),
                ("key fingerprint", "SHA256:x"),
            ],
        ),
        ("note", &[("notes", "only text")]),
        ("other", &[("pin", "1"), ("notes", "and text")]),
        ("empty", &[]),
    ]
    .into_iter()
    .enumerate()
    {
        let id = id(100 + number);
        vault.create_record(id.clone(), path, 1000).unwrap();
        for (name, value) in fields {
            vault.set(&id, *name, *value, 2000).unwrap();
        }
    }
    vault
}

fn exported(vault: &Vault, format: ExportFormat) -> Written {
    let passphrase = secret(PASSPHRASE);
    let options = WriteOptions {
        passphrase: &passphrase,
        params: Params::new(1, 1, 1).unwrap(),
    };
    write(format, vault, options, &mut UnwrapErr(SysRng)).unwrap()
}

fn imported(format: Format, written: &Written) -> Imported {
    let passphrase = secret(PASSPHRASE);
    let options = ReadOptions::with_secret(Some(&passphrase));
    let imported = parse(format, &written.bytes, options).unwrap();
    assert_eq!(imported.losses, []);
    imported
}

/// The present fields of each record.
fn present(vault: &Vault) -> BTreeMap<String, BTreeMap<String, String>> {
    let view = vault.view();
    let fields = |record: &passmate_vault::view::ViewRecord<'_>| {
        let text = |text: &passmate_vault::Text| text.to_string_lossy().into_owned();
        record
            .fields()
            .map(|field| (text(field.name), text(&field.value)))
            .collect()
    };
    view.records()
        .iter()
        .map(|record| (record.path.to_string_lossy().into_owned(), fields(record)))
        .collect()
}

/// The same, with all addresses of one-time codes in one form and without names. KeePassXC needs an
/// address that says everything.
fn same_codes(vault: &Vault) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut present = present(vault);
    for fields in present.values_mut() {
        if let Some(otp) = fields.get_mut("otp")
            && let Ok(auth) = OtpAuth::parse(otp)
        {
            *otp = OtpAuth {
                label: String::new(),
                issuer: String::new(),
                ..auth
            }
            .to_address()
            .to_string();
        }
    }
    present
}

/// The values that a field had, with their times, and the present one without.
fn history(record: &Record, name: &str) -> Vec<(String, Option<i64>)> {
    let changes = record.history(Domain::User, &name.into()).iter();
    let mut values: Vec<_> = changes
        .filter_map(|change| Some((change.value.shown()?, change.stamp.seconds())))
        .filter(|(value, _)| !value.is_empty())
        .map(|(value, time)| (value.to_string_lossy().into_owned(), time))
        .collect();
    values.dedup_by(|(one, _), (other, _)| one == other);
    values
}

/// A new vault with what was exported, after a second import that changes nothing.
fn brought_back(vault: &Vault, format: ExportFormat, as_format: Format) -> Vault {
    let written = exported(vault, format);
    assert_eq!(written.losses, []);
    let imported = imported(as_format, &written);
    let mut back = Vault::new();
    put(&imported, &mut back, as_format, NOW);
    let once = back.clone();
    assert_eq!(put(&imported, &mut back, as_format, NOW + 1).changes, 0);
    assert_eq!(back, once);
    back
}

#[test]
fn a_keepass_file_gives_back_every_field_and_its_history() {
    let vault = vault();
    let back = brought_back(&vault, ExportFormat::Kdbx, Format::Keepass);
    assert_eq!(present(&back), present(&vault));
    let view = back.view();
    for number in 0..HOSTILE.len() {
        let record = vault.record(&id(number)).unwrap();
        let path = record.last_path().unwrap();
        let again = view.get_text(&path).unwrap().record;
        for name in ["password", "pin", "gone"] {
            let (before, after) = (history(record, name), history(again, name));
            let earlier = if name == "gone" { 3 } else { before.len() - 1 };
            assert_eq!(after[..earlier], before[..earlier], "{number} {name}");
        }
    }
}

#[test]
fn a_bitwarden_file_gives_back_every_field_and_former_passwords() {
    let mut vault = vault();
    vault.create_record(id(99), "me", 1000).unwrap();
    for (name, value) in [
        ("title", "Dr"),
        ("first name", "Alice"),
        ("middle name", "B"),
        ("last name", "C"),
        ("address1", "Street 1"),
        ("postal code", "12345"),
        ("email", "a@x.example"),
        ("username", "alice"),
        ("passport number", "P1"),
        ("favourite colour", "blue"),
    ] {
        vault.set(&id(99), name, value, 2000).unwrap();
    }
    let back = brought_back(&vault, ExportFormat::Bitwarden, Format::Bitwarden);
    assert_eq!(present(&back), present(&vault));
    let view = back.view();
    for number in 0..HOSTILE.len() {
        let record = vault.record(&id(number)).unwrap();
        let again = view.get_text(&record.last_path().unwrap()).unwrap().record;
        for name in ["password", "pin"] {
            let values = |record| -> Vec<String> {
                history(record, name)
                    .into_iter()
                    .map(|(value, _)| value)
                    .collect()
            };
            assert_eq!(values(again), values(record), "{number} {name}");
        }
    }
}

#[test]
fn a_table_gives_back_the_fields_that_have_a_column() {
    let vault = vault();
    let written = exported(&vault, ExportFormat::Csv);
    assert_eq!(written.warnings.len(), 1);
    let back = brought_back(&vault, ExportFormat::Csv, Format::KeepassCsv);
    let (before, after) = (present(&vault), present(&back));
    assert!(before.keys().eq(after.keys()));
    for (path, fields) in &before {
        for name in ["user", "password", "url"] {
            assert_eq!(after[path].get(name), fields.get(name), "{path} {name}");
        }
        for (name, value) in fields {
            let notes = after[path].get("notes").map_or("", String::as_str);
            let is_there = after[path].values().any(|other| other == value);
            assert!(is_there || notes.contains(value.as_str()), "{path} {name}");
        }
    }
}

#[test]
fn own_exports_are_found_again_in_the_same_vault() {
    let mut vault = vault();
    vault.create_record(id(99), "other names", 1000).unwrap();
    for (name, value) in [
        ("Login", "alice"),
        ("pass", "p"),
        ("website", "https://x.example"),
        ("comment", "text"),
        ("code", "otpauth://totp/a?secret=JBSWY3DPEHPK3PXP"),
        ("Tags", "a, b"),
        ("expiry", "2030-01-02"),
        ("favorite", "yes"),
    ] {
        vault.set(&id(99), name, value, 2000).unwrap();
    }
    for (format, as_format) in [
        (ExportFormat::Kdbx, Format::Keepass),
        (ExportFormat::Bitwarden, Format::Bitwarden),
    ] {
        let mut again = vault.clone();
        let imported = imported(as_format, &exported(&vault, format));
        let applied = put(&imported, &mut again, as_format, NOW);
        assert_eq!(applied.changes, 0, "{format:?}");
        assert_eq!(again.view().records().len(), vault.view().records().len());
    }
}

#[test]
fn the_oldest_of_many_versions_are_listed() {
    let mut vault = Vault::new();
    vault.create_record(id(1), "x", 1).unwrap();
    for time in 0..150 {
        vault
            .set(&id(1), "password", format!("p{time}").as_str(), 100 + time)
            .unwrap();
    }
    let written = exported(&vault, ExportFormat::Kdbx);
    assert_eq!(written.losses.len(), 1);
    assert!(
        written.losses[0]
            .what
            .starts_with("the oldest 49 earlier versions")
    );
    assert_eq!(
        imported(Format::Keepass, &written).items[0].earlier.len(),
        100
    );
}

#[test]
fn an_import_of_another_program_goes_back_as_it_came() {
    let check = |sample: &str, format, export| {
        let mut vault = Vault::new();
        let options = ReadOptions::default();
        let imported = parse(format, &read(&format!("import/{sample}")), options).unwrap();
        put(&imported, &mut vault, format, NOW);
        let as_format = match export {
            ExportFormat::Kdbx => Format::Keepass,
            _ => Format::Bitwarden,
        };
        let back = brought_back(&vault, export, as_format);
        assert_eq!(same_codes(&back), same_codes(&vault), "{sample}");
    };
    for sample in ["bitwarden.json", "bw-new-kinds.json"] {
        check(sample, Format::Bitwarden, ExportFormat::Bitwarden);
    }
    check("keepassxc.xml", Format::KeepassXml, ExportFormat::Kdbx);
    check(
        "keepass-kinds.xml",
        Format::KeepassXml,
        ExportFormat::Bitwarden,
    );
}
