//! Any bytes as a file of another program: no panic, and what was read can be imported, once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passmate_import::{Format, apply, parse};
use passmate_vault::Vault;

// The first byte chooses the format. Without a password nothing is derived, so every run is short.
fuzz_target!(|bytes: &[u8]| {
    let Some((choice, file)) = bytes.split_first() else { return };
    let Some(format) = Format::ALL.get(usize::from(*choice) % Format::ALL.len()) else { return };
    let Ok(imported) = parse(*format, file, None) else { return };
    let mut vault = Vault::new();
    apply(&imported, &mut vault, *format, 1_800_000_000).expect("cleaned names and a sound clock are taken");
    let again = apply(&imported, &mut vault, *format, 1_800_000_100).expect("what was taken once is taken twice");
    assert_eq!(again.tuples, 0);
});
