//! `vectors/btokens`: good and bad btokens of the original desktop client.

use passmate_vault::format::btoken::{BTOKEN_OVERHEAD, BtokenError, open, seal};
use passmate_vault::format::{Btoken, BtokenShape, CodecError, decode_btoken};
use passmate_vault::record::{Change, Domain, FieldKey, Stamp, Value};
use passmate_vault::{RecordId, RollCall, Secret, SyncKey, Vault};

use crate::{from_hex, members, text, vector, vector_json};

fn key(vector: &serde_json::Value) -> SyncKey {
    let account = vector
        .get("account_no")
        .map_or([1; 8], |number| from_hex(number.as_str().unwrap()));
    SyncKey::from_parts(account, Secret::from_bytes(from_hex(text(vector, "key"))))
}

/// The vault that a document of the desktop client stands for, read with a general JSON parser.
fn expected_vault(json: &serde_json::Value) -> Vault {
    let mut vault = Vault::new();
    // `null` is an empty store.
    for (id, changes) in json.as_object().into_iter().flatten() {
        for change in changes.as_array().unwrap() {
            let [name, time, lines @ ..] = change.as_array().unwrap().as_slice() else {
                panic!("{change}")
            };
            let key = match name.as_str().unwrap() {
                "PATH" => FieldKey::path(),
                name if name.starts_with('_') => FieldKey::user(&name[1..]),
                other => FieldKey::new(Domain::Meta, format!("desktop.{other}")),
            };
            let value = Value::from_lines(
                lines
                    .iter()
                    .map(|line| line.as_str().unwrap().into())
                    .collect(),
            );
            let stamp = Stamp::from_seconds(time.as_i64().unwrap());
            vault.insert(&RecordId::from(id.as_str()), Change { key, stamp, value });
        }
    }
    vault
}

#[test]
fn a_btoken_of_the_desktop_client_opens_to_its_records() {
    let index = vector_json("btokens/index.json");
    let mut opened = 0;
    for (name, vector_of) in members(&index) {
        let btoken = vector(&format!("btokens/{name}.btoken"));
        let plaintext = open(&btoken, &key(vector_of)).unwrap();
        let unpadded = plaintext.trim_ascii_end();
        assert_eq!(
            unpadded,
            vector(&format!("btokens/{name}.plaintext")),
            "{name}"
        );
        assert_eq!(plaintext.len() + BTOKEN_OVERHEAD, btoken.len());
        let Btoken {
            vault,
            devices,
            shape,
        } = decode_btoken(&plaintext).unwrap();
        assert_eq!((devices, shape), (RollCall::new(), BtokenShape::Desktop));
        assert_eq!(
            vault,
            expected_vault(&vector_json(&format!("btokens/{name}.json"))),
            "{name}"
        );
        // Our btoken has the same length and opens to the same vault.
        let again = seal(
            unpadded,
            &key(vector_of),
            &mut rand_core::UnwrapErr(getrandom::SysRng),
        );
        assert_eq!(again.len(), btoken.len(), "{name}");
        assert_eq!(*open(&again, &key(vector_of)).unwrap(), *plaintext);
        opened += 1;
    }
    assert_eq!(opened, 13);
}

#[test]
fn every_bad_btoken_has_its_error() {
    let index = vector_json("btokens/bad_index.json");
    for (name, bad) in members(&index) {
        let btoken = vector(&format!("btokens/bad_{name}.btoken"));
        let opened = open(&btoken, &key(bad));
        match name.as_str() {
            "iv_bit" | "ct_bit" | "mac_bit" | "truncated_16" | "len_48" | "v1_layout" => {
                assert_eq!(opened, Err(BtokenError::NotAuthentic), "{name}");
            }
            "short_47" | "valid_mac_no_ct" | "valid_mac_len_not_16" => {
                assert_eq!(
                    opened,
                    Err(BtokenError::Length { len: btoken.len() }),
                    "{name}"
                );
            }
            "not_json" => assert!(matches!(
                decode_btoken(&opened.unwrap()),
                Err(CodecError::NotJson { .. })
            )),
            // Both are odd but valid: the original client accepts them too.
            "array" | "no_padding_multiple_of_16" => {
                assert_eq!(
                    decode_btoken(&opened.unwrap()),
                    Ok(Btoken {
                        vault: Vault::new(),
                        devices: RollCall::new(),
                        shape: BtokenShape::Desktop,
                    }),
                    "{name}"
                );
            }
            other => panic!("a new vector: {other}"),
        }
    }
    assert_eq!(members(&index).count(), 12);
}

#[test]
fn a_btoken_of_protocol_1_does_not_authenticate() {
    for (name, vector_of) in members(&vector_json("btokens/v1_index.json")) {
        let btoken = vector(&format!("btokens/{name}.btoken"));
        assert_eq!(
            open(&btoken, &key(vector_of)),
            Err(BtokenError::NotAuthentic)
        );
    }
}
