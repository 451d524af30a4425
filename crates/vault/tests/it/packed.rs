//! `vectors/packed`: plaintexts of btokens whose document is packed.

use passmate_vault::format::{
    EXPANSION_MAX, decode_btoken, encode_btoken_as, encode_btoken_with, fits_as,
};
use passmate_vault::{RecordId, RollCall, Shape, Vault};
use proptest::prelude::*;

use crate::{members, vector, vector_json};

const TIME: i64 = 1_700_000_000;

fn vault_of(records: usize, note: impl Fn(usize) -> String) -> Vault {
    let mut vault = Vault::new();
    for index in 0..records {
        let id = RecordId::from(format!("{index:016X}"));
        vault
            .create_record(id.clone(), format!("web/site {index}"), TIME)
            .unwrap();
        vault.set(&id, "note", note(index), TIME).unwrap();
    }
    vault
}

fn packed(vault: &Vault) -> Vec<u8> {
    encode_btoken_as(Shape::Modern, vault, &RollCall::new())
        .unwrap()
        .to_vec()
}

#[test]
fn packed_documents_are_read() {
    let index = vector_json("packed/index.json");
    for (name, records) in members(&index["good"]) {
        let read = decode_btoken(&vector(&format!("packed/{name}.plaintext")));
        let found = read.unwrap_or_else(|error| panic!("{name}: {error}")).vault;
        assert_eq!(found.records().len() as u64, *records, "{name}");
    }
}

#[test]
fn damaged_packed_documents_are_refused() {
    let index = vector_json("packed/index.json");
    let newer = index["newer"].as_array().unwrap();
    for name in index["bad"].as_array().unwrap() {
        let plaintext = vector(&format!("packed/bad_{}.plaintext", name.as_str().unwrap()));
        let error = decode_btoken(&plaintext).expect_err(name.as_str().unwrap());
        assert_eq!(error.is_newer(), newer.contains(name), "{name}: {error}");
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_read_or_refused() {
    let whole = vector("packed/not_padded.plaintext");
    for len in 0..whole.len() {
        decode_btoken(&whole[..len]).unwrap_err();
    }
    let mut flipped = whole;
    for bit in 0..flipped.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = decode_btoken(&flipped);
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn the_desktop_clients_document_is_never_packed() {
    let vault = vault_of(500, |_| "somebody".into());
    let plain = encode_btoken_as(Shape::Desktop, &vault, &RollCall::new()).unwrap();
    assert!(plain.starts_with(b"{"));
    for shape in [Shape::Modern, Shape::Upgraded] {
        let packed = encode_btoken_as(shape, &vault, &RollCall::new()).unwrap();
        assert!(packed.starts_with(b"pmpack\0"));
        assert!(packed.len() < plain.len() / 4);
    }
}

#[test]
fn a_vault_that_packs_well_is_padded_until_a_reader_accepts_it() {
    let vault = vault_of(1, |_| "x".repeat(8 << 20));
    let packed = packed(&vault);
    assert!(packed.len() < (8 << 20) / EXPANSION_MAX + 8192);
    assert_eq!(decode_btoken(&packed).unwrap().vault, vault);
}

#[test]
fn what_does_not_get_shorter_is_not_packed() {
    let plain = encode_btoken_with(&Vault::new(), &RollCall::new()).unwrap();
    assert_eq!(packed(&Vault::new()), *plain);
}

#[test]
fn a_vault_fits_if_its_packed_form_does() {
    let vault = vault_of(500, |index| format!("note {index}"));
    let (plain, packed) = (
        encode_btoken_with(&vault, &RollCall::new()).unwrap().len() + 48,
        packed(&vault).len() + 48,
    );
    assert!(packed < plain);
    let fits = |shape, len| fits_as(shape, &vault, &RollCall::new(), len).unwrap();
    for shape in [Shape::Modern, Shape::Upgraded] {
        assert!(fits(shape, plain) && fits(shape, packed));
        assert!(!fits(shape, packed - 1));
    }
    let desktop = encode_btoken_as(Shape::Desktop, &vault, &RollCall::new()).unwrap();
    assert!(fits(Shape::Desktop, desktop.len() + 48));
    assert!(!fits(Shape::Desktop, desktop.len() + 47));
}

proptest! {
    #[test]
    fn what_is_packed_is_read_again(
        notes in prop::collection::vec(prop_oneof!["[a-z]{0,40}", ".{0,400}", "(ab){0,900}"], 0..60),
    ) {
        let vault = vault_of(notes.len(), |index| notes[index].clone());
        let packed = packed(&vault);
        prop_assert_eq!(packed.len() % 4096, 0);
        prop_assert_eq!(decode_btoken(&packed).unwrap().vault, vault);
    }

    #[test]
    fn what_begins_like_a_packed_document_never_panics(
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = decode_btoken(&[b"pmpack\0\x01", &rest[..]].concat());
    }
}
