//! Any text as a sync key: a parsed key is written in one form, which parses to the same key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passmate_vault::SyncKey;

fuzz_target!(|text: &str| {
    if let Ok(sync_key) = SyncKey::parse(text) {
        assert_eq!(SyncKey::parse(&sync_key.to_text()), Ok(sync_key));
    }
});
