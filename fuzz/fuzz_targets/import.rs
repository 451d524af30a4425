//! Any bytes as a file of another program: no panic, and what was read can be imported, once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passmate_interchange::{Format, apply, parse};
use passmate_vault::Vault;

// Every format tries every file, so that `vectors/import` is a corpus as it is. Without a password
// nothing is derived.
fuzz_target!(|bytes: &[u8]| {
    for format in Format::ALL {
        let Ok(imported) = parse(*format, bytes, None) else {
            continue;
        };
        let mut vault = Vault::new();
        apply(&imported, &mut vault, *format, 1_800_000_000)
            .expect("cleaned names and a sound clock are taken");
        let again = apply(&imported, &mut vault, *format, 1_800_000_100)
            .expect("what was taken once is taken twice");
        assert_eq!(again.changes, 0);
    }
});
