//! Any bytes as a file of another program: no panic. If it can be read, it can be imported, and a
//! second import changes nothing.
//!
//! Every format tries every file, so that `vectors/import` can serve as the corpus. The variable
//! PASSMATE_FORMAT names a single one. There is no password, so no key is derived.
#![no_main]

use std::sync::LazyLock;

use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;
use passmate_interchange::{Format, ReadOptions, apply, parse};
use passmate_vault::Vault;
use rand_core::UnwrapErr;

static FORMATS: LazyLock<Vec<Format>> = LazyLock::new(|| match std::env::var("PASSMATE_FORMAT") {
    Ok(word) => vec![Format::from_word(&word).expect("PASSMATE_FORMAT is the word of a format")],
    Err(_) => Format::all().collect(),
});

fuzz_target!(|bytes: &[u8]| {
    for format in FORMATS.iter().copied() {
        let Ok(imported) = parse(format, bytes, ReadOptions::default()) else {
            continue;
        };
        let (mut vault, mut rng) = (Vault::new(), UnwrapErr(SysRng));
        apply(&imported, &mut vault, format, 1_800_000_000, &mut rng)
            .expect("the parser cleans names, and the clock is valid");
        let again = apply(&imported, &mut vault, format, 1_800_000_100, &mut rng)
            .expect("the first import succeeded");
        assert_eq!(again.changes, 0);
    }
});
