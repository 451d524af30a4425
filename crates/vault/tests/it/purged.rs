//! `vectors/purged`: plaintexts with purged changes or a baseline, and merges.

use passmate_vault::Vault;
use passmate_vault::format::{decode_btoken, decode_vault_file, encode_btoken, encode_v3};

use crate::{members, text, vector, vector_json};

fn read(name: &str) -> Vec<u8> {
    vector(&format!("purged/{name}.json"))
}

fn vault(name: &str) -> Vault {
    decode_btoken(&read(name)).unwrap().vault
}

#[test]
fn documents_with_purges_are_read_and_written() {
    let index = vector_json("purged/index.json");
    for (name, case) in members(&index["read"]) {
        let expected = read(text(case, "written_as"));
        let (vault, written) = if name == "vault_file" {
            let document = decode_vault_file(&read(name)).unwrap();
            let written = encode_v3(&document).unwrap();
            (document.vault, written)
        } else {
            let vault = vault(name);
            let written = encode_btoken(&vault).unwrap();
            (vault, written)
        };
        assert_eq!(written.trim_ascii_end(), expected, "{name}");
        let purged = u64::try_from(vault.purged_count()).unwrap();
        assert_eq!(case["purged"], purged, "{name}");
    }
}

#[test]
fn documents_with_a_wrong_form_are_refused() {
    let index = vector_json("purged/index.json");
    for name in index["bad"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        assert!(decode_btoken(&read(name)).is_err(), "{name}");
        assert!(decode_vault_file(&read(name)).is_err(), "{name}");
    }
}

#[test]
fn a_merge_has_what_neither_side_purged() {
    let index = vector_json("purged/index.json");
    for case in index["merged"].as_array().unwrap() {
        let what = text(case, "what");
        let [one, other] = [0, 1].map(|place| vault(case["of"][place].as_str().unwrap()));
        for (mut vault, other) in [(one.clone(), other.clone()), (other, one)] {
            vault.merge(&other);
            assert_eq!(vault, self::vault(text(case, "gives")), "{what}");
        }
    }
}
