//! KeePass: histories, references, key files, and the format of KeePass 1.

use passmate_interchange::{Format, ImportError, Imported, ReadOptions, parse};
use passmate_vault::Passphrase;

use crate::{PASSWORD, items, read, secret, vectors};

/// Opens an encrypted sample.
fn open(sample: &str, password: Option<&str>, key: Option<&str>) -> Result<Imported, ImportError> {
    let key = key.map(|key| read(&format!("import/{key}")));
    let password: Option<Passphrase> = password.map(secret);
    let options = ReadOptions {
        secret: password.as_ref(),
        key_file: key.as_deref(),
        ..ReadOptions::default()
    };
    parse(Format::Keepass, &read(&format!("import/{sample}")), options)
}

#[track_caller]
fn check(imported: &Imported, expected: &str) {
    let file = vectors().join("import").join(expected);
    let text = items(imported);
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(text == expected, "{} should be\n{text}", file.display());
}

#[test]
fn every_kind_of_an_entry_is_imported_or_listed() {
    let bytes = read("import/keepass-kinds.xml");
    let imported = parse(Format::KeepassXml, &bytes, ReadOptions::default()).unwrap();
    check(&imported, "keepass-kinds.xml.items");
}

#[test]
fn a_file_of_keepassxc_keeps_its_history() {
    let key = Some("keepassxc-history.keyx");
    let imported = open("keepassxc-history.kdbx", Some(PASSWORD), key).unwrap();
    check(&imported, "keepassxc-history.kdbx.items");
}

#[test]
fn the_files_of_keepass_1_are_imported() {
    let imported = open("file-keepass-1.kdb", Some(PASSWORD), None).unwrap();
    check(&imported, "file-keepass-1.kdb.items");
    let key = Some("keepass-hex.key");
    for password in ["import sämple", "import sa\u{308}mple"] {
        let twofish = open("keepass-1-twofish.kdb", Some(password), key).unwrap();
        assert_eq!(items(&twofish), items(&imported));
    }
    let error = open("keepass-1-twofish.kdb", Some("import sämple"), None).unwrap_err();
    assert_eq!(error, ImportError::WrongSecret);
    let bytes = read("import/file-keepass-1.kdb");
    let open = |bytes: &[u8]| {
        let password = secret(PASSWORD);
        parse(
            Format::Keepass,
            bytes,
            ReadOptions::with_secret(Some(&password)),
        )
    };
    for len in (0..124).chain([bytes.len() - 16]) {
        assert!(open(&bytes[..len]).is_err(), "{len}");
    }
    let mut dear = bytes.clone();
    dear[120..124].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(open(&dear), Err(ImportError::TooExpensive { .. })));
}

#[test]
fn files_open_with_every_cipher_and_key_file() {
    for (sample, password, key) in [
        ("keepass-twofish.kdbx", Some(PASSWORD), None),
        ("keepass-raw-key.kdbx", None, Some("keepass-raw.key")),
        (
            "keepass-hex-key.kdbx",
            Some(PASSWORD),
            Some("keepass-hex.key"),
        ),
    ] {
        let imported = open(sample, password, key).unwrap();
        assert!(items(&imported).starts_with("entry @"), "{sample}");
    }
}

#[test]
fn a_missing_part_of_the_key_is_told_from_a_wrong_one() {
    let hex = "keepass-hex-key.kdbx";
    let (right, other) = (Some("keepass-hex.key"), Some("keepass-raw.key"));
    for (password, key, error) in [
        (None, None, ImportError::SecretNeeded),
        (None, right, ImportError::SecretNeeded),
        (Some(PASSWORD), None, ImportError::WrongSecret),
        (Some(PASSWORD), other, ImportError::WrongSecretOrKeyFile),
        (Some("x"), right, ImportError::WrongSecretOrKeyFile),
    ] {
        assert_eq!(open(hex, password, key).unwrap_err(), error);
    }
    let damaged = ReadOptions {
        key_file: Some(b""),
        ..ReadOptions::default()
    };
    let error = parse(
        Format::Keepass,
        &read("import/keepass-hex-key.kdbx"),
        damaged,
    );
    assert!(matches!(error, Err(ImportError::KeyFile { .. })));
}

#[test]
fn a_header_whose_hash_is_another_is_damaged() {
    let error = open("file-keepass-3-header.kdbx", Some(PASSWORD), None).unwrap_err();
    assert!(matches!(error, ImportError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_protected_value_of_an_export_may_be_no_base64() {
    let xml = "<KeePassFile><Root><Group><Entry><String><Key>Title</Key><Value>x</Value></String>\
               <String><Key>Password</Key><Value Protected=\"True\">p!</Value></String>\
               <String><Key>UserName</Key><Value Protected=\"True\">Ym9i</Value></String>\
               </Entry></Group></Root></KeePassFile>";
    let imported = parse(Format::KeepassXml, xml.as_bytes(), ReadOptions::default()).unwrap();
    assert_eq!(
        items(&imported),
        "x\n  user: \"bob\"\nlost: x: the value of Password, which is not text\n"
    );
}

#[test]
fn another_title_is_no_other_secret_of_codes() {
    let entry = |title: &str, more: &str| {
        format!(
            "<Entry><String><Key>Title</Key><Value>{title}</Value></String><String>\
             <Key>TOTP Seed</Key><Value>JBSWY3DPEHPK3PXP</Value></String>{more}</Entry>"
        )
    };
    let history = format!("<History>{}</History>", entry("before", ""));
    let entry = entry("now", &history);
    let xml = format!("<KeePassFile><Root><Group>{entry}</Group></Root></KeePassFile>");
    let imported = parse(Format::KeepassXml, xml.as_bytes(), ReadOptions::default()).unwrap();
    assert_eq!(
        items(&imported),
        "now\n  otp: \"otpauth://totp/now?secret=JBSWY3DPEHPK3PXP&period=30&digits=6\"\n\
         lost: now: 1 earlier title\n"
    );
}
