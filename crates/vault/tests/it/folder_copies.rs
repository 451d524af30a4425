//! `vectors/folder_copy`: copies under a folder key, made without any Passmate program.

use getrandom::SysRng;
use passmate_vault::format::folder_copy::{CopyError, number_of, open, seal};
use passmate_vault::format::{decode_btoken, encode_btoken};
use passmate_vault::{FolderKey, Secret};
use rand_core::UnwrapErr;

use crate::{from_hex, members, text, vector, vector_json};

fn key() -> FolderKey {
    FolderKey::parse(text(&vector_json("folder_copy/index.json"), "key")).unwrap()
}

#[test]
fn a_copy_opens_with_the_key_of_its_folder() {
    let index = vector_json("folder_copy/index.json");
    let number = from_hex(text(&index, "number"));
    let parts = FolderKey::from_parts(
        number,
        Secret::from_bytes(from_hex(text(&index, "key_bytes"))),
    );
    assert_eq!(
        (key(), key().to_text().as_str()),
        (parts, text(&index, "key"))
    );
    let mut opened = 0;
    for (name, plaintext) in members(&index["good"]) {
        let copy = vector(&format!("folder_copy/{name}.pmcopy"));
        assert_eq!(number_of(&copy), Ok(number));
        let found = open(&copy, &key()).unwrap();
        let plaintext = plaintext.as_str().unwrap();
        assert_eq!(found.trim_ascii_end(), plaintext.as_bytes(), "{name}");
        let vault = decode_btoken(&found).unwrap().vault;
        let again = seal(
            &encode_btoken(&vault).unwrap(),
            &key(),
            &mut UnwrapErr(SysRng),
        );
        assert_eq!(again[..16], copy[..16], "{name}");
        assert_eq!(*open(&again, &key()).unwrap(), *found, "{name}");
        opened += 1;
    }
    assert_eq!(opened, 2);
}

#[test]
fn every_damaged_copy_has_its_error() {
    let index = vector_json("folder_copy/index.json");
    let mut refused = 0;
    for (name, error) in members(&index["bad"]) {
        let copy = vector(&format!("folder_copy/bad_{name}.pmcopy"));
        let expected = match error.as_str().unwrap() {
            "other_key" => CopyError::OtherKey,
            "version_unknown" => CopyError::VersionUnknown { version: 2 },
            "not_a_copy" => CopyError::NotACopy,
            "damaged" => CopyError::Damaged,
            other => panic!("{other}"),
        };
        assert_eq!(open(&copy, &key()), Err(expected), "{name}");
        refused += 1;
    }
    assert_eq!(refused, 7);
    let copy = vector("folder_copy/one_record.pmcopy");
    for len in 0..copy.len() {
        open(&copy[..len], &key()).unwrap_err();
    }
}
