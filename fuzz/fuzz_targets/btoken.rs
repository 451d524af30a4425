//! Any bytes as a btoken, and any bytes as a plaintext that was sealed with the key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passmate_vault::format::btoken::{open, seal};
use passmate_vault::format::{BtokenShape, decode_btoken, encode_btoken_with};
use passmate_vault::{Secret, SyncKey};
use rand_core::UnwrapErr;

fuzz_target!(|bytes: &[u8]| {
    let sync_key = SyncKey::from_parts([1; 8], Secret::from_bytes([7; 32]));
    assert!(
        open(bytes, &sync_key).is_err(),
        "the HMAC of random bytes matches"
    );
    let sealed = seal(bytes, &sync_key, &mut UnwrapErr(getrandom::SysRng));
    let Ok(plaintext) = open(&sealed, &sync_key) else {
        assert!(bytes.is_empty());
        return;
    };
    assert!(plaintext.starts_with(bytes));
    if let Ok(mut btoken) = decode_btoken(&plaintext) {
        let written = encode_btoken_with(&btoken.vault, &btoken.devices)
            .expect("a decoded btoken is within the limits of the encoder");
        // Only the shape changes.
        btoken.shape = BtokenShape::Passmate2;
        assert_eq!(
            decode_btoken(&written).expect("the encoder wrote it"),
            btoken
        );
    }
});
