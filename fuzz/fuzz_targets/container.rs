//! Any bytes as a container: no panic, and no key derivation beyond the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passmate_vault::Passphrase;
use passmate_vault::format::container::{container_params, open_container};

fuzz_target!(|bytes: &[u8]| {
    let Ok(params) = container_params(bytes) else {
        assert!(open_container(bytes, &Passphrase::from_bytes(Vec::new())).is_err());
        return;
    };
    // A derivation within the limits may take a second. Skip slow ones.
    if params.memory_bytes() <= 1 << 20 {
        let _ = open_container(bytes, &Passphrase::from_bytes(b"fuzz".to_vec()));
    }
});
