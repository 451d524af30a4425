//! Any text as a sync key: what is read is written in one form, and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passmate_vault::SyncKey;

fuzz_target!(|text: &str| {
    if let Ok(sync_key) = SyncKey::parse(text) {
        assert_eq!(SyncKey::parse(&sync_key.to_text()), Ok(sync_key));
    }
});
