//! Any bytes as the document of a vault file: no panic, and nothing that was read gets lost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passmate_vault::format::{decode_vault_file, encode_v3};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut document) = decode_vault_file(bytes) else {
        return;
    };
    let written =
        encode_v3(&document).expect("what was read is within the limits of what is written");
    let again = decode_vault_file(&written).expect("it was just written");
    // The version is the only thing that changes; a sync copy becomes a vault.
    (document.version, document.purpose) = (again.version, again.purpose);
    assert!(again == document);
    let _ = document.vault.view().records().len();
});
