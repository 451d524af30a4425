//! Imports each sample in `vectors/import` twice. The first time gives the content of
//! `NAME.expected`, the second time changes nothing.

use std::fmt::Write as _;

use passmate_interchange::{Format, ImportError, Outcome, ReadOptions, parse};
use passmate_vault::Vault;

use crate::{NOW, PASSWORD, import, import_chrome, put, read, secret, shown, vectors};

/// Imports a sample twice and compares with the expected content.
#[track_caller]
fn check(word: &str, sample: &str, expected: &str, password: Option<&str>) {
    let (format, bytes) = (Format::from_word(word).unwrap(), read(sample));
    let imported = parse(
        format,
        &bytes,
        ReadOptions::with_secret(password.map(secret).as_ref()),
    )
    .unwrap();
    let mut vault = Vault::new();
    let first = put(&imported, &mut vault, format, NOW);
    assert!(first.count(Outcome::Created) > 0);
    let mut text = shown(&vault);
    for loss in &imported.losses {
        writeln!(text, "lost: {}: {}", loss.path, loss.what).unwrap();
    }
    let file = vectors().join(expected);
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(text == expected, "{} should be\n{text}", file.display());
    let before = vault.clone();
    let second = import(format, &bytes, password, &mut vault, NOW + 100);
    assert_eq!(
        (
            second.changes,
            second.count(Outcome::Created),
            second.count(Outcome::Changed)
        ),
        (0, 0, 0)
    );
    assert_eq!(vault, before);
}

#[test]
fn bitwarden_json_is_imported() {
    check(
        "bitwarden",
        "import/bitwarden.json",
        "import/bitwarden.json.expected",
        None,
    );
}

#[test]
fn bitwarden_json_under_a_password_has_the_same_content() {
    let password = Some("import sample ä");
    check(
        "bitwarden",
        "import/bitwarden-pbkdf2.json",
        "import/bitwarden.json.expected",
        password,
    );
    check(
        "bitwarden",
        "import/bitwarden-argon2.json",
        "import/bitwarden.json.expected",
        password,
    );
}

#[test]
fn tables_are_imported() {
    check(
        "bitwarden-csv",
        "import/bitwarden.csv",
        "import/bitwarden.csv.expected",
        None,
    );
    check(
        "keepass-csv",
        "import/keepassxc.csv",
        "import/keepassxc.csv.expected",
        None,
    );
    check(
        "chrome-csv",
        "import/chrome.csv",
        "import/chrome.csv.expected",
        None,
    );
    check(
        "firefox-csv",
        "import/firefox.csv",
        "import/firefox.csv.expected",
        None,
    );
    check(
        "safari-csv",
        "import/safari.csv",
        "import/safari.csv.expected",
        None,
    );
    check(
        "1password-csv",
        "import/1password.csv",
        "import/1password.csv.expected",
        None,
    );
    check(
        "lastpass-csv",
        "import/lastpass.csv",
        "import/lastpass.csv.expected",
        None,
    );
}

#[test]
fn a_keepass_file_has_the_content_of_its_xml() {
    check(
        "keepass-xml",
        "import/keepassxc.xml",
        "import/keepassxc.xml.expected",
        None,
    );
    check(
        "keepass",
        "import/keepassxc-aes.kdbx",
        "import/keepassxc.xml.expected",
        Some(PASSWORD),
    );
}

#[test]
fn keepass_files_open_with_every_cipher_and_derivation() {
    check(
        "keepass",
        "import/pykeepass-aes.kdbx",
        "import/pykeepass.expected",
        Some(PASSWORD),
    );
    check(
        "keepass",
        "import/pykeepass-chacha20.kdbx",
        "import/pykeepass.expected",
        Some(PASSWORD),
    );
    check(
        "keepass",
        "import/file-keepass-3.kdbx",
        "import/file-keepass-3.kdbx.expected",
        Some(PASSWORD),
    );
}

#[test]
fn damage_of_a_keepass_file_is_no_wrong_password() {
    for sample in ["import/keepassxc-aes.kdbx", "import/file-keepass-3.kdbx"] {
        let bytes = read(sample);
        let open = |bytes: &[u8], password: &str| {
            parse(
                Format::Keepass,
                bytes,
                ReadOptions::with_secret(Some(&secret(password))),
            )
        };
        assert_eq!(
            open(&bytes, "x").unwrap_err(),
            ImportError::WrongSecret,
            "{sample}"
        );
        assert_eq!(
            parse(Format::Keepass, &bytes, ReadOptions::default()).unwrap_err(),
            ImportError::SecretNeeded,
            "{sample}"
        );
        // Without a password, only the header is read.
        for len in 0..bytes.len() {
            assert!(
                parse(Format::Keepass, &bytes[..len], ReadOptions::default()).is_err(),
                "{sample} {len}"
            );
        }
        assert!(
            open(&bytes[..bytes.len() - 100], PASSWORD).is_err(),
            "{sample}"
        );
    }
    let mut bytes = read("import/keepassxc-aes.kdbx");
    *bytes.last_mut().unwrap() ^= 1;
    let len = bytes.len();
    bytes[len - 200] ^= 1;
    let error = parse(
        Format::Keepass,
        &bytes,
        ReadOptions::with_secret(Some(&secret(PASSWORD))),
    )
    .unwrap_err();
    assert!(matches!(error, ImportError::Damaged { .. }), "{error:?}");
}

#[test]
fn onepassword_archives_are_imported() {
    check(
        "1password",
        "import/1password.1pux",
        "import/1password.1pux.expected",
        None,
    );
}

#[test]
fn proton_pass_is_imported_as_json_and_as_an_archive() {
    check(
        "protonpass",
        "import/protonpass.json",
        "import/protonpass.json.expected",
        None,
    );
    check(
        "protonpass",
        "import/protonpass.zip",
        "import/protonpass.json.expected",
        None,
    );
}

#[test]
fn lists_of_addresses_are_imported() {
    for name in ["otpauth", "otpauth-odd", "otpauth-ente"] {
        let file = format!("import/{name}.txt");
        check("otpauth", &file, &format!("{file}.expected"), None);
    }
    for name in ["google-authenticator", "google-authenticator-odd"] {
        let file = format!("import/{name}.txt");
        check(
            "google-authenticator",
            &file,
            &format!("{file}.expected"),
            None,
        );
    }
}

#[test]
fn aegis_is_imported_plain_and_under_a_password() {
    check(
        "aegis",
        "import/aegis.json",
        "import/aegis.json.expected",
        None,
    );
    check(
        "aegis",
        "import/aegis-encrypted.json",
        "import/aegis.json.expected",
        Some(PASSWORD),
    );
    check(
        "aegis",
        "import/aegis-odd.json",
        "import/aegis-odd.json.expected",
        None,
    );
}

#[test]
fn twofas_is_imported_plain_and_under_a_password() {
    check(
        "2fas",
        "import/2fas.2fas",
        "import/2fas.2fas.expected",
        None,
    );
    check(
        "2fas",
        "import/2fas-encrypted.2fas",
        "import/2fas.2fas.expected",
        Some(PASSWORD),
    );
    check(
        "2fas",
        "import/2fas-odd.2fas",
        "import/2fas-odd.2fas.expected",
        None,
    );
}

#[test]
fn the_credential_exchange_format_is_imported() {
    check("cxf", "import/cxf.json", "import/cxf.json.expected", None);
    check("cxf", "import/cxf.zip", "import/cxf.json.expected", None);
    check(
        "cxf",
        "import/cxf-odd.json",
        "import/cxf-odd.json.expected",
        None,
    );
    for (file, is_supported) in [
        ("{}", true),
        ("[]", true),
        (r#"{"accounts":[],"version":{"major":2}}"#, false),
        (r#"{"version":0,"hpke":{},"payload":"eyJ"}"#, false),
    ] {
        let error = parse(Format::Cxf, file.as_bytes(), ReadOptions::default()).unwrap_err();
        let is_not_supported = matches!(error, ImportError::NotSupported { .. });
        assert_eq!(is_not_supported, !is_supported, "{file}: {error}");
    }
}

#[test]
fn a_changed_file_of_an_authenticator_is_damaged() {
    for (format, sample, member) in [
        (Format::Aegis, "import/aegis-encrypted.json", "\"db\": \""),
        (
            Format::Twofas,
            "import/2fas-encrypted.2fas",
            "\"servicesEncrypted\": \"",
        ),
    ] {
        let file = String::from_utf8(read(sample)).unwrap();
        let open = |text: &str, password: Option<&str>| {
            let password = password.map(secret);
            let options = ReadOptions::with_secret(password.as_ref());
            parse(format, text.as_bytes(), options).unwrap_err()
        };
        assert_eq!(open(&file, None), ImportError::SecretNeeded);
        assert_eq!(open(&file, Some("x")), ImportError::WrongSecret);
        let place = file.find(member).unwrap() + member.len();
        let letter = if file[place..].starts_with('A') {
            "B"
        } else {
            "A"
        };
        let mut changed = file.clone();
        changed.replace_range(place..place + 1, letter);
        let error = open(&changed, Some(PASSWORD));
        assert!(matches!(error, ImportError::Damaged { .. }), "{error:?}");
        for len in (0..file.len())
            .filter(|len| file.is_char_boundary(*len))
            .step_by(97)
        {
            open(&file[..len], None);
        }
    }
}

#[test]
fn an_export_of_codes_that_is_cut_off_is_damaged() {
    let text = String::from_utf8(read("import/google-authenticator.txt")).unwrap();
    let line = text.lines().next().unwrap();
    for len in "otpauth-migration:".len()..line.len() - 1 {
        let cut = parse(
            Format::GoogleAuthenticator,
            &line.as_bytes()[..len],
            ReadOptions::default(),
        );
        // Only the number of the batch is at the end.
        if len < line.len() - 20 {
            assert!(matches!(cut, Err(ImportError::Damaged { .. })), "{len}");
        }
    }
}

#[test]
fn tables_of_further_programs_are_imported() {
    for (word, sample) in [
        ("dashlane", "dashlane.zip"),
        ("dashlane", "dashlane-old.zip"),
        ("dashlane", "dashlane-payments.csv"),
        ("lastpass-csv", "lastpass-old.csv"),
        ("nordpass-csv", "nordpass.csv"),
        ("nordpass-csv", "nordpass-old.csv"),
        ("roboform-csv", "roboform.csv"),
        ("roboform-csv", "roboform-old.csv"),
        ("keeper-csv", "keeper.csv"),
        ("keeper-csv", "keeper-header.csv"),
        ("csv", "any.csv"),
        ("csv", "any-tabs.csv"),
    ] {
        let (sample, expected) = (
            format!("import/{sample}"),
            format!("import/{sample}.expected"),
        );
        check(word, &sample, &expected, None);
    }
}

#[test]
fn json_of_further_programs_is_imported() {
    for (word, sample) in [
        ("keeper", "keeper.json"),
        ("keeper", "keeper-odd.json"),
        ("enpass", "enpass.json"),
        ("enpass", "enpass-odd.json"),
        ("protonpass", "proton-passkey.json"),
    ] {
        let (sample, expected) = (
            format!("import/{sample}"),
            format!("import/{sample}.expected"),
        );
        check(word, &sample, &expected, None);
    }
}

#[test]
fn an_archive_must_have_its_declared_length_and_checksum() {
    let bytes = read("import/1password.1pux");
    let name = b"export.data";
    let directory = bytes
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
        .unwrap();
    let place = directory
        + bytes[directory..]
            .windows(name.len())
            .position(|window| window == name)
            .unwrap();
    let with = |offset_before_name: usize, value: u32| {
        let mut bytes = bytes.clone();
        bytes[place - offset_before_name..][..4].copy_from_slice(&value.to_le_bytes());
        parse(Format::Onepassword, &bytes, ReadOptions::default()).unwrap_err()
    };
    // Changes the declared length or the checksum of a file in the archive. A ZIP bomb declares a
    // short or an excessive length.
    assert!(matches!(with(22, u32::MAX), ImportError::TooLong { .. }));
    for (offset, value) in [(22, 10), (22, 60_000_000), (30, 1)] {
        assert!(
            matches!(with(offset, value), ImportError::Damaged { .. }),
            "{offset} {value}"
        );
    }
    for len in 0..bytes.len() {
        assert!(
            parse(Format::Onepassword, &bytes[..len], ReadOptions::default()).is_err(),
            "{len}"
        );
    }
}

#[test]
fn no_damaged_sample_panics() {
    for entry in std::fs::read_dir(vectors().join("import")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        // The others refuse it at its beginning.
        let is_read = |format: &Format| {
            let parsed = parse(*format, &bytes, ReadOptions::default());
            matches!(parsed, Ok(_) | Err(ImportError::SecretNeeded))
        };
        let formats: Vec<Format> = Format::all().filter(is_read).collect();
        let step = (bytes.len() / 200).max(1);
        for place in (0..bytes.len()).step_by(step) {
            for change in [1, 0x80, 0xFF] {
                let mut changed = bytes.clone();
                changed[place] ^= change;
                for format in formats.iter().copied() {
                    let Ok(imported) = parse(format, &changed, ReadOptions::default()) else {
                        continue;
                    };
                    let mut vault = Vault::new();
                    put(&imported, &mut vault, format, NOW);
                    assert_eq!(put(&imported, &mut vault, format, NOW + 1).changes, 0);
                }
            }
        }
    }
}

#[test]
fn xml_entities_are_refused_and_depth_is_limited() {
    let error =
        |xml: &str| parse(Format::KeepassXml, xml.as_bytes(), ReadOptions::default()).unwrap_err();
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><KeePassFile><Root>&a;</Root></KeePassFile>";
    assert!(matches!(error(bomb), ImportError::NotSupported { .. }));
    assert_eq!(
        error("<KeePassFile>\n&a;</KeePassFile>"),
        ImportError::NotXml { line: 2 }
    );
    assert!(matches!(
        error(&"<a>".repeat(1000)),
        ImportError::TooMany { what: "levels", .. }
    ));
    for xml in [
        "",
        "<KeePassFile>",
        "</a>",
        "<KeePassFile><Root></KeePassFile>",
        "text",
        "<a",
        "<KeePassFile/>",
    ] {
        error(xml);
    }
}

#[test]
fn a_passmate_2_file_is_imported_with_its_history() {
    let bytes = read("pmdb/deleted_renamed_history.primary.pmdb");
    let index: serde_json::Value =
        serde_json::from_slice(&read("pmdb/deleted_renamed_history.primary.json")).unwrap();
    let password = index["passphrase"].as_str().unwrap();
    let imported = parse(
        Format::Passmate2,
        &bytes,
        ReadOptions::with_secret(Some(&secret(password))),
    )
    .unwrap();
    let mut vault = Vault::new();
    let applied = put(&imported, &mut vault, Format::Passmate2, NOW);
    assert_eq!(vault, imported.vault);
    assert_eq!(applied.changes, vault.change_count());
    assert!(applied.changes > vault.view().records().len());
    assert_eq!(
        import(Format::Passmate2, &bytes, Some(password), &mut vault, NOW).changes,
        0
    );
    assert_eq!(
        parse(Format::Passmate2, &bytes, ReadOptions::default()).unwrap_err(),
        ImportError::SecretNeeded
    );
    assert_eq!(
        parse(
            Format::Passmate2,
            &bytes,
            ReadOptions::with_secret(Some(&secret("x")))
        )
        .unwrap_err(),
        ImportError::WrongSecret
    );
}

#[test]
fn desktop_client_files_are_imported_with_their_history() {
    let index: serde_json::Value = serde_json::from_slice(&read("old_pmate/index.json")).unwrap();
    for name in [
        "associated",
        "basic",
        "deleted_moved",
        "empty",
        "unencrypted",
        "unicode",
    ] {
        let entry = &index[name];
        let password = secret(entry["passphrase"].as_str().unwrap());
        let imported = parse(
            Format::Pmate,
            &read(&format!("old_pmate/{name}.pmate")),
            ReadOptions::with_secret(Some(&password)),
        )
        .unwrap();
        let paths: Vec<String> = imported
            .vault
            .view()
            .records()
            .iter()
            .map(|record| record.path.to_string_lossy().into_owned())
            .collect();
        let mut expected: Vec<_> = entry["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|path| path.as_str().unwrap())
            .collect();
        expected.sort_unstable();
        assert_eq!(paths, expected, "{name}");
        assert_eq!(
            imported.losses.len(),
            usize::from(name == "associated"),
            "{name}"
        );
        let file: serde_json::Value =
            serde_json::from_slice(&read(&format!("old_pmate/{name}.json"))).unwrap();
        let changes: usize = file["json"][0]
            .as_object()
            .unwrap()
            .values()
            .map(|changes| changes.as_array().unwrap().len())
            .sum();
        assert_eq!(imported.vault.change_count(), changes, "{name}");
    }
    let plain = parse(
        Format::Pmate,
        &read("old_pmate/python_plain_dict.pmate"),
        ReadOptions::default(),
    )
    .unwrap();
    assert_eq!(shown(&plain.vault), "old\n  f: \"v\"\n");
}

#[test]
fn passmate_1_files_show_what_passmate_migrates() {
    let index: serde_json::Value =
        serde_json::from_slice(&read("old_pmate/migrate_v1/index.json")).unwrap();
    for (name, entry) in index.as_object().unwrap() {
        let password = secret(entry["passphrase"].as_str().unwrap());
        let bytes = read(&format!("old_pmate/migrate_v1/{name}.in"));
        let ours = parse(
            Format::Passmate1,
            &bytes,
            ReadOptions::with_secret(Some(&password)),
        );
        let Some(output) = entry.get("output_json") else {
            // Passmate cannot migrate this file. Either it is no valid file, or only Passmate
            // refuses it.
            let is_taken = matches!(
                name.as_str(),
                "cpp_array" | "cpp_file" | "unknown_key" | "empty_key" | "same_second"
            );
            assert_eq!(ours.is_ok(), is_taken, "{name}: {ours:?}");
            continue;
        };
        let theirs = passmate_vault::format::decode_vault_file(output.to_string().as_bytes())
            .unwrap()
            .vault;
        assert_eq!(shown(&ours.unwrap().vault), shown(&theirs), "{name}");
    }
}

#[test]
fn a_changed_file_changes_only_what_changed() {
    let mut vault = Vault::new();
    import_chrome("a,https://a,u,p1,n\nb,https://b,u,p,n\n", &mut vault, NOW);
    let applied = import_chrome(
        "b,https://b,u,p,n\na,https://a,u,p2,n\n",
        &mut vault,
        NOW + 1,
    );
    assert_eq!(
        (
            applied.changes,
            applied.count(Outcome::Changed),
            applied.count(Outcome::Unchanged)
        ),
        (1, 1, 1)
    );
    assert!(shown(&vault).contains("password: \"p2\""));
    // A field or record that vanished in the source stays.
    assert_eq!(
        import_chrome("a,https://a,u,p2,\n", &mut vault, NOW + 2).changes,
        0
    );
    assert_eq!(vault.view().records().len(), 2);
}

#[test]
fn edits_since_the_last_import_stay() {
    let mut vault = Vault::new();
    let rows = "moved,https://a,u,p1,n\ndeleted,https://b,u,p1,n\nedited,https://c,u,p1,n\n";
    import_chrome(rows, &mut vault, NOW);
    let id = |vault: &Vault, path: &str| vault.view().get(path).unwrap().id.clone();
    let (moved, deleted, edited) = (
        id(&vault, "moved"),
        id(&vault, "deleted"),
        id(&vault, "edited"),
    );
    vault.rename(&moved, "elsewhere", NOW + 1).unwrap();
    vault.delete(&deleted, NOW + 1).unwrap();
    vault.set(&edited, "password", "mine", NOW + 1).unwrap();
    vault.unset(&edited, "notes", NOW + 1).unwrap();
    let before = vault.clone();
    let applied = import_chrome(rows, &mut vault, NOW + 2);
    assert_eq!(vault, before);
    assert_eq!((applied.changes, applied.count(Outcome::Deleted)), (0, 1));
    // A change in the source reaches a moved record and revives no deleted one.
    import_chrome(&rows.replace("p1", "p2"), &mut vault, NOW + 3);
    assert!(vault.view().get("deleted").is_none());
    assert_eq!(
        vault
            .view()
            .get("elsewhere")
            .unwrap()
            .field(&"password".into())
            .unwrap()
            .value
            .as_str(),
        Some("p2")
    );
}

#[test]
fn equal_paths_get_numbers_and_keep_them() {
    let mut vault = Vault::new();
    let other = passmate_vault::RecordId::from("A");
    vault.create_record(other, "x (2)", NOW).unwrap();
    import_chrome(
        "x,https://a,u1,p,\nx,https://a,u2,p,\nx,https://a,u3,p,\n",
        &mut vault,
        NOW,
    );
    let paths: Vec<_> = vault
        .view()
        .records()
        .iter()
        .map(|record| record.path.to_string_lossy().into_owned())
        .collect();
    assert_eq!(paths, ["x", "x (2)", "x (u2)", "x (u3)"]);
    assert_eq!(
        import_chrome(
            "x,https://a,u3,p,\nx,https://a,u1,p,\nx,https://a,u2,p,\n",
            &mut vault,
            NOW
        )
        .changes,
        0
    );
}

#[test]
fn identical_rows_are_both_kept() {
    let mut vault = Vault::new();
    let rows = "x,https://a,u,p1,\nx,https://a,u,p2,\n";
    assert_eq!(
        import_chrome(rows, &mut vault, NOW).count(Outcome::Created),
        2
    );
    assert_eq!(import_chrome(rows, &mut vault, NOW).changes, 0);
}

#[test]
fn a_date_in_the_future_becomes_the_present() {
    let json = br#"{"encrypted":false,"items":[{"id":"1","type":1,"name":"x",
        "revisionDate":"9000-01-01T00:00:00Z","login":{"password":"p"}}]}"#;
    let mut vault = Vault::new();
    import(Format::Bitwarden, json, None, &mut vault, NOW);
    let view = vault.view();
    assert_eq!(
        view.get("x")
            .unwrap()
            .field(&"password".into())
            .unwrap()
            .stamp
            .seconds(),
        Some(NOW)
    );
}

#[test]
fn errors_have_the_position_and_no_value() {
    let error = |format, bytes: &[u8]| {
        parse(format, bytes, ReadOptions::with_secret(Some(&secret("x")))).unwrap_err()
    };
    assert_eq!(
        error(Format::ChromeCsv, b"x,y\n1,2\n"),
        ImportError::MissingColumn { column: "url" }
    );
    assert_eq!(
        error(Format::ChromeCsv, b"name\n\n\xff"),
        ImportError::NotUtf8 { line: 3 }
    );
    assert!(matches!(
        error(Format::Bitwarden, b"{\n \"encrypted\": nope}"),
        ImportError::NotJson { line: 2, .. }
    ));
    let wrong = error(
        Format::Bitwarden,
        br#"{"encrypted":false,"folders":"hunter2","items":[]}"#,
    );
    assert_eq!(
        wrong.to_string(),
        "the file has an unexpected value at folders (line 1, column 9)"
    );
    assert_eq!(
        error(
            Format::Bitwarden,
            br#"{"items":[{"name":"x","login":{"password":hunter2}}]}"#
        )
        .to_string(),
        "the file is not JSON at items[0].login.password (line 1, column 43)"
    );
    assert!(matches!(
        error(Format::Passmate2, b"{}"),
        ImportError::NotThisFormat { .. }
    ));
    assert!(matches!(
        error(Format::Pmate, b"hello"),
        ImportError::NotThisFormat { .. }
    ));
}

#[test]
fn expensive_parameters_are_refused_before_derivation() {
    for (from, to) in [
        ("\"kdfMemory\": 16", "\"kdfMemory\": 4000000000"),
        ("\"kdfIterations\": 2", "\"kdfIterations\": 4000000000"),
        ("\"kdfParallelism\": 4", "\"kdfParallelism\": 4000000000"),
    ] {
        let file = String::from_utf8(read("import/bitwarden-argon2.json")).unwrap();
        assert!(file.contains(from));
        // No password is needed for this.
        let error = parse(
            Format::Bitwarden,
            file.replace(from, to).as_bytes(),
            ReadOptions::default(),
        )
        .unwrap_err();
        assert!(
            matches!(error, ImportError::TooExpensive { .. }),
            "{error:?}"
        );
    }
    for cost in [
        "\"n\": 1073741824",
        "\"n\": 9223372036854775808",
        "\"r\": 4000000000",
        "\"p\": 100000",
    ] {
        let file = String::from_utf8(read("import/aegis-encrypted.json")).unwrap();
        let name = &cost[..5];
        let place = file.find(name).unwrap();
        let end = place + file[place..].find(',').unwrap();
        let error = parse(
            Format::Aegis,
            format!("{}{cost}{}", &file[..place], &file[end..]).as_bytes(),
            ReadOptions::default(),
        )
        .unwrap_err();
        assert!(
            matches!(
                error,
                ImportError::TooExpensive { .. } | ImportError::Damaged { .. }
            ),
            "{error:?}"
        );
    }
    let mut kdbx = read("import/keepassxc-aes.kdbx");
    let rounds = kdbx
        .windows(8)
        .position(|window| window == 7_142_857_u64.to_le_bytes())
        .unwrap();
    kdbx[rounds..rounds + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        parse(Format::Keepass, &kdbx, ReadOptions::default()).unwrap_err(),
        ImportError::TooExpensive { .. }
    ));
    let deep = "[".repeat(100_000);
    for format in Format::all() {
        assert!(
            parse(
                format,
                deep.as_bytes(),
                ReadOptions::with_secret(Some(&secret(PASSWORD)))
            )
            .is_err()
        );
    }
}

#[test]
fn too_many_items_or_fields_are_refused() {
    let items = format!(
        "{{\"encrypted\":false,\"items\":[{}{{\"type\":1}}]}}",
        "{\"type\":1},".repeat(200_000)
    );
    let error = parse(Format::Bitwarden, items.as_bytes(), ReadOptions::default()).unwrap_err();
    assert!(
        matches!(error, ImportError::TooMany { what: "items", .. }),
        "{error:?}"
    );
    let field = "{\"name\":\"x\",\"value\":\"y\"}";
    let fields = [field; 10_001].join(",");
    let item = format!("{{\"encrypted\":false,\"items\":[{{\"type\":1,\"fields\":[{fields}]}}]}}");
    let error = parse(Format::Bitwarden, item.as_bytes(), ReadOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::TooMany { .. }), "{error:?}");
}

#[test]
fn a_changed_bitwarden_file_is_damaged() {
    let file = String::from_utf8(read("import/bitwarden-pbkdf2.json")).unwrap();
    let password = secret("import sample ä");
    let error = |text: &str| {
        parse(
            Format::Bitwarden,
            text.as_bytes(),
            ReadOptions::with_secret(Some(&password)),
        )
        .unwrap_err()
    };
    let (head, data) = file.split_once("\"data\": \"2.").unwrap();
    let changed = format!(
        "{head}\"data\": \"2.{}",
        data.replacen("CDQ", "CDR", 1).replacen("AAEC", "AAED", 1)
    );
    assert!(matches!(error(&changed), ImportError::Damaged { .. }));
    assert_eq!(
        parse(
            Format::Bitwarden,
            file.as_bytes(),
            ReadOptions::with_secret(Some(&secret("y")))
        )
        .unwrap_err(),
        ImportError::WrongSecret
    );
    assert_eq!(
        parse(Format::Bitwarden, file.as_bytes(), ReadOptions::default()).unwrap_err(),
        ImportError::SecretNeeded
    );
}
