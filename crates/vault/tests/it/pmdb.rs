//! `vectors/pmdb`: vault files and documents of the original program, each with its verdict.

use std::collections::BTreeMap;

use passmate_vault::format::container::{Params, container_params, open_container};
use passmate_vault::format::{
    CodecError, Purpose, Version, decode_vault_file, encode_btoken, encode_v3,
};
use passmate_vault::record::{Domain, Value};
use passmate_vault::{Document, Passphrase, Vault};
use serde_json::Value as Json;

use crate::{members, text, vector, vector_json};

type Shown = BTreeMap<String, BTreeMap<String, String>>;

fn open(name: &str, passphrase: &str) -> Vec<u8> {
    let container = vector(&format!("pmdb/{name}.pmdb"));
    assert_eq!(container_params(&container), Ok(Params::STANDARD));
    open_container(&container, &Passphrase::from(passphrase.to_owned()))
        .unwrap()
        .to_vec()
}

/// The paths and fields that people see, with lone surrogates replaced.
fn shown(vault: &Vault) -> Shown {
    let show = |record: &passmate_vault::view::ViewRecord<'_>| {
        let fields = record.fields().map(|field| {
            (
                field.name.to_string_lossy().into_owned(),
                field.value.to_string_lossy().into_owned(),
            )
        });
        (record.path.to_string_lossy().into_owned(), fields.collect())
    };
    vault.view().records().iter().map(show).collect()
}

fn shown_by_original(view: &Json) -> Shown {
    let fields = |record: &Json| {
        members(record)
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect()
    };
    members(view)
        .map(|(path, record)| (path.clone(), fields(record)))
        .collect()
}

/// Every change as a line of text, for comparison as a set.
fn changes(vault: &Vault) -> Vec<String> {
    let mut lines: Vec<_> = vault
        .records()
        .flat_map(|(id, record)| {
            record.changes().iter().map(move |change| {
                let domain = if change.key.domain == Domain::User {
                    "user"
                } else {
                    "meta"
                };
                let value = match &change.value {
                    Value::Absent => Json::Null,
                    other => Json::from(
                        other
                            .shown()
                            .map_or_else(String::new, |text| text.to_string_lossy().into_owned()),
                    ),
                };
                let name = change.key.name.to_string_lossy();
                format!(
                    "{} {domain} {name:?} {value} {}",
                    id.as_text().to_string_lossy(),
                    change.stamp
                )
            })
        })
        .collect();
    lines.sort();
    lines
}

fn changes_of_original(records: &Json) -> Vec<String> {
    let mut lines: Vec<_> = members(records)
        .flat_map(|(id, changes)| {
            changes.as_array().unwrap().iter().map(move |change| {
                let [domain, name, value, time] = change.as_array().unwrap().as_slice() else {
                    panic!("{change}")
                };
                let time = match time.as_f64().filter(|_| !time.is_i64()) {
                    Some(time) => format!("{time:.0}"),
                    None => time.to_string(),
                };
                format!(
                    "{id} {} {:?} {value} {time}",
                    domain.as_str().unwrap(),
                    name.as_str().unwrap()
                )
            })
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn vault_files_of_the_original_program_show_the_same() {
    let index = vector_json("pmdb/index.json");
    let mut opened = 0;
    for (name, entry) in members(&index) {
        let expected = vector_json(&format!("pmdb/{name}.json"));
        let document = decode_vault_file(&open(name, text(entry, "passphrase"))).unwrap();
        assert_eq!(document.version, Version::Passmate2);
        assert_eq!(
            document.purpose == Purpose::SyncCopy,
            name.ends_with("sync_copy"),
            "{name}"
        );
        assert_eq!(
            changes(&document.vault),
            changes_of_original(&expected["json"]["records"]),
            "{name}"
        );
        assert_eq!(
            shown(&document.vault),
            shown_by_original(&expected["view"]),
            "{name}"
        );
        opened += 1;
    }
    assert_eq!(opened, 20);
}

#[test]
fn documents_are_read_where_the_original_program_reads_them() {
    // The verdicts contain a lone surrogate, which a general parser refuses.
    let raw = String::from_utf8(vector("pmdb/docs.json"))
        .unwrap()
        .replace(r#""\ud800""#, r#""\ufffd""#);
    let docs: Json = serde_json::from_str(&raw).unwrap();
    let mut read = 0;
    for (name, doc) in members(&docs) {
        let decoded = decode_vault_file(&open(&format!("doc_{name}"), "doc"));
        let result = &doc["result"];
        match (decoded, result.get("loaded_json")) {
            (Ok(document), Some(loaded)) => {
                check_loaded(name, &document, loaded, &result["view"]);
                read += 1;
            }
            (Ok(document), None) => {
                // We read some documents that the original refuses: those that our merge can
                // produce, and those that we can read without loss.
                let changes = match name.as_str() {
                    "dup_identical" => 1,
                    "dup_conflict" => 3,
                    "path_collision" | "meta_unknown" => 2,
                    "record_id_any" => document.vault.change_count(),
                    "version_3" => 0,
                    other => panic!("{other} was read: {document:?}"),
                };
                assert_eq!(document.vault.change_count(), changes, "{name}");
                read += 1;
            }
            (Err(error), loaded) => check_refused(name, &error, loaded.is_some()),
        }
    }
    assert_eq!((members(&docs).count(), read), (40, 24));
}

fn check_loaded(name: &str, document: &Document, loaded: &Json, view: &Json) {
    let document_changes = changes(&document.vault);
    if name == "mtime_huge" {
        assert!(
            document_changes[0].ends_with(" 1180591620717411303424"),
            "2^70, to the last digit"
        );
    } else {
        assert_eq!(document_changes, changes_of_original(loaded), "{name}");
    }
    match name {
        // A time beyond the year 9999 is kept and sent to other devices, but never decides.
        "mtime_huge" | "mtime_i64max" => assert!(shown(&document.vault).is_empty()),
        _ => assert_eq!(shown(&document.vault), shown_by_original(view), "{name}"),
    }
}

fn check_refused(name: &str, error: &CodecError, original_reads_it: bool) {
    // Of two equal keys, Python keeps the last one. We refuse the document instead of losing data.
    assert_eq!(original_reads_it, name == "dup_keys", "{name}: {error}");
    let is_expected = match name {
        "dup_keys" => matches!(error, CodecError::DuplicateKey { .. }),
        "mtime_float" | "nan" | "mtime_bool" => {
            matches!(
                error,
                CodecError::NotInteger { .. } | CodecError::WrongShape { .. }
            )
        }
        "extra_key" => matches!(error, CodecError::UnknownKey { .. }),
        "version_1" => *error == CodecError::VersionUnsupported,
        "no_purpose" => matches!(error, CodecError::MissingKey { .. }),
        "bom" => *error == CodecError::ByteOrderMark,
        "empty_text" => *error == CodecError::Empty,
        "not_json" => matches!(error, CodecError::NotJson { .. }),
        "domain_unknown" | "purpose_other" | "tuple_5" | "tuple_3" | "value_number"
        | "records_array" => {
            matches!(error, CodecError::WrongShape { .. })
        }
        other => panic!("{other}: {error}"),
    };
    assert!(is_expected, "{name}: {error:?}");
}

#[test]
fn a_document_that_was_read_is_written_without_loss() {
    for (name, entry) in members(&vector_json("pmdb/index.json")) {
        let read = decode_vault_file(&open(name, text(entry, "passphrase"))).unwrap();
        let own = Document::new(read.vault.clone());
        assert_eq!(
            decode_vault_file(&encode_v3(&own).unwrap()).unwrap().vault,
            read.vault,
            "{name}"
        );
        let btoken = encode_btoken(&read.vault).unwrap();
        let vault = passmate_vault::format::decode_btoken(&btoken)
            .unwrap()
            .vault;
        assert_eq!(vault, read.vault, "{name}");
    }
}
