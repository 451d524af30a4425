//! Any bytes as the document of a vault file: no panic, and a decoded document survives encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passmate_vault::format::{decode_vault_file, encode_v3};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut document) = decode_vault_file(bytes) else {
        return;
    };
    let written =
        encode_v3(&document).expect("a decoded document is within the limits of the encoder");
    let again = decode_vault_file(&written).expect("the encoder wrote it");
    // Only the version changes, and a sync copy becomes a vault.
    (document.version, document.purpose) = (again.version, again.purpose);
    assert!(again == document);
    let _ = document.vault.view().records().len();
});
