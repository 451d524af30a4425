//! `vectors/sync_keys.json` and `vectors/derived_keys.json`: sync keys that the two original
//! clients pack and read, and the keys that they derive.

use passmate_vault::{Secret, Shape, SyncKey, SyncKeyError};

use crate::{from_hex, text, vector_json};

fn sync_key(vector: &serde_json::Value) -> SyncKey {
    SyncKey::from_parts(
        from_hex(text(vector, "account_no")),
        Secret::from_bytes(from_hex(text(vector, "key"))),
    )
}

#[test]
fn sync_keys_of_both_programs_are_read_and_written() {
    let vectors = vector_json("sync_keys.json");
    let valid = vectors["valid"].as_array().unwrap();
    for vector in valid {
        let expected = sync_key(vector);
        assert_eq!(expected.to_text().as_str(), text(vector, "sync_key_python"));
        // The desktop client refuses any other checksum than its own.
        for (shape, program) in [
            (Shape::Desktop, "sync_key_cpp"),
            (Shape::Modern, "sync_key_python"),
            (Shape::Upgraded, "sync_key_python"),
        ] {
            let written = shape.key_text(&expected);
            assert_eq!(written.as_str(), text(vector, program));
        }
        for checksum in ["sync_key_python", "sync_key_cpp"] {
            assert_eq!(
                SyncKey::parse(text(vector, checksum)).as_ref(),
                Ok(&expected),
                "{vector}"
            );
        }
    }
    assert_eq!(valid.len(), 69);
}

#[test]
fn every_variant_is_read_or_has_its_error() {
    let vectors = vector_json("sync_keys.json");
    let variants = vectors["text_variants"].as_array().unwrap();
    let mut read = 0;
    for variant in variants {
        let (what, result) = (text(variant, "what"), SyncKey::parse(text(variant, "text")));
        // We read every text that either program reads, except for a plus sign, which sscanf takes
        // for part of a number.
        let accepted = ["python", "cpp"]
            .into_iter()
            .find(|program| variant[program]["ok"] == true);
        match (result, accepted) {
            (Ok(key), Some(program)) => {
                let packed = &variant[program];
                assert_eq!(key, sync_key(packed), "{what}");
                read += 1;
            }
            // Lower case and blanks, which one program refuses with the other's checksum.
            (Ok(_), None) => {
                assert!(
                    what.contains("lower case")
                        || what.contains("no dashes")
                        || what.contains("newline"),
                    "{what}"
                );
                read += 1;
            }
            (Err(error), _) => {
                let expected = match what {
                    "one digit missing" => SyncKeyError::Length { found: 83 },
                    "one digit too many" => SyncKeyError::Length { found: 85 },
                    "empty" => SyncKeyError::Length { found: 0 },
                    "letter O for zero" => SyncKeyError::ForeignCharacter {
                        character: 'O',
                        position: 1,
                    },
                    "other junk between, python checksum" => SyncKeyError::ForeignCharacter {
                        character: 'k',
                        position: 1,
                    },
                    "sign inside a triplet, C++ checksum" => SyncKeyError::ForeignCharacter {
                        character: '+',
                        position: 1,
                    },
                    "blank inside a triplet, C++ checksum" => SyncKeyError::Length { found: 83 },
                    what if what.starts_with("two accidental digits") => {
                        SyncKeyError::ForeignCharacter {
                            character: 'o',
                            position: 4,
                        }
                    }
                    _ => SyncKeyError::Checksum,
                };
                assert_eq!(error, expected, "{what}");
            }
        }
    }
    assert_eq!((variants.len(), read), (21, 10));
}

#[test]
fn the_auth_token_is_that_of_both_programs() {
    let vectors = vector_json("derived_keys.json");
    for vector in vectors["vectors"].as_array().unwrap() {
        let key = SyncKey::from_parts([1; 8], Secret::from_bytes(from_hex(text(vector, "key"))));
        assert_eq!(
            *key.derive_auth_token().as_bytes(),
            from_hex(text(vector, "auth_token"))
        );
    }
}
