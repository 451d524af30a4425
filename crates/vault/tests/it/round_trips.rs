//! Documents are written and read back without loss, and documents beyond the limits are refused.

use passmate_vault::Delta;
use passmate_vault::format::{
    CodecError, Document, RECORDS_MAX, decode_btoken, decode_vault_file, encode_btoken,
    encode_btoken_with, encode_v3,
};
use passmate_vault::history::undo::{Step, StepKind, UndoLog};
use passmate_vault::record::{Change, Domain, FieldKey, Stamp, Value};
use passmate_vault::sync::account::{Account, AccountKey, Pin, Retired, Trust};
use passmate_vault::sync::shared_folder::OwnCopy;
use passmate_vault::{
    Baseline, FolderKey, OwnDevice, Passphrase, RecordId, RollCall, Secret, SeenChanges, Shape,
    SharedFolder, SyncKey, Text, Vault,
};
use proptest::prelude::*;

use crate::roll_call::{device_id, device_text, roll_call};

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        4 => any::<String>().prop_map(|text| Text::from(text.as_str())),
        1 => Just(Text::from("")),
        1 => Just(Text::from("\"\\\u{0}\u{1f}\u{7f}\u{2028}\u{d7ff}\u{e000}🔑\r\n\t")),
        // Only a document can contain a lone surrogate.
        1 => Just(lone_surrogate()),
    ]
}

fn lone_surrogate() -> Text {
    let json = r#"{"version":2,"purpose":"primary","records":{"A":[["user","f","x\ud800y",1]]}}"#;
    let document = decode_vault_file(json.as_bytes()).unwrap();
    let record = document.vault.record(&"A".into()).unwrap();
    match &record.changes()[0].value {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

fn stamp() -> impl Strategy<Value = Stamp> {
    prop_oneof![
        any::<i64>().prop_map(Stamp::from_seconds),
        "-?[1-9][0-9]{0,60}".prop_map(|digits| Stamp::parse(&digits).unwrap()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Absent),
        text().prop_map(Value::Text),
        prop::collection::vec(text(), 2..5).prop_map(Value::List),
    ]
}

fn vault() -> impl Strategy<Value = Vault> {
    let key = (any::<bool>(), text()).prop_map(|(is_user, name)| {
        let domain = if is_user { Domain::User } else { Domain::Meta };
        FieldKey::new(domain, name)
    });
    let change =
        (key, stamp(), value()).prop_map(|(key, stamp, value)| Change { key, stamp, value });
    prop::collection::vec((text(), change), 0..12).prop_map(|changes| {
        let mut vault = Vault::new();
        for (id, change) in changes {
            vault.insert(&RecordId::from(id), change);
        }
        vault
    })
}

fn account() -> impl Strategy<Value = Account> {
    let trust = prop_oneof![
        Just(Trust::System),
        any::<String>().prop_map(Trust::Ca),
        (any::<[u8; 32]>(), any::<Option<[u8; 32]>>()).prop_map(|(current, next)| Trust::Pins {
            current: Pin::from_bytes(current),
            next: next.map(Pin::from_bytes)
        }),
    ];
    let seen = vault().prop_map(|vault| {
        let mut seen = SeenChanges::new();
        seen.note(&vault);
        seen
    });
    let last = (any::<i64>(), vault(), vault()).prop_map(|(time, received, sent)| Delta {
        time,
        received: SeenChanges::of(&received),
        sent: SeenChanges::of(&sent),
    });
    let last = prop::option::of(last);
    let key = || {
        let number = any::<[u8; 8]>().prop_filter("no account is all zero", |it| *it != [0; 8]);
        (number, any::<[u8; 32]>())
            .prop_map(|(account, key)| SyncKey::from_parts(account, Secret::from_bytes(key)))
    };
    let retired = (key(), any::<bool>()).prop_map(|(key, is_lost)| Retired { key, is_lost });
    let retired = prop::collection::vec(retired, 0..3);
    let account_key = prop_oneof![
        any::<[u8; 32]>().prop_map(|key| AccountKey::Requested(Secret::from_bytes(key))),
        key().prop_map(AccountKey::Granted),
    ];
    let shape = prop_oneof![
        Just(Shape::Modern),
        Just(Shape::Desktop),
        Just(Shape::Upgraded)
    ];
    let device = (device_id(), device_text(), any::<u64>())
        .prop_map(|(id, name, counter)| OwnDevice { id, name, counter });
    let devices = (prop::option::of(device), roll_call());
    (
        any::<String>(),
        1..=u16::MAX,
        account_key,
        trust,
        any::<bool>(),
        seen,
        last,
        retired,
        shape,
        devices,
    )
        .prop_map(
            |(host, port, key, trust, confirmed, seen, last, retired, shape, devices)| Account {
                host,
                port,
                key,
                trust,
                confirmed,
                seen,
                last,
                is_lost: retired.len() == 2,
                retired,
                shape,
                device: devices.0,
                devices: devices.1,
            },
        )
}

fn baseline() -> impl Strategy<Value = Baseline> {
    let altered = prop::collection::vec(any::<String>(), 0..3);
    let counts = [0..=1_000_000usize, 0..=3, 0..=3];
    (any::<i64>(), counts, altered).prop_map(|(time, [records, added, hidden], altered)| {
        let mut baseline = Baseline::new(time, records);
        (baseline.added, baseline.hidden) = (added, hidden);
        let altered = altered.iter().map(|id| RecordId::from(id.as_str()));
        baseline.note(&altered.collect::<Vec<_>>());
        baseline
    })
}

fn undo() -> impl Strategy<Value = UndoLog> {
    let kinds = prop_oneof![
        Just(StepKind::Set),
        Just(StepKind::Import),
        any::<String>().prop_map(|place| StepKind::sync(&place)),
    ];
    let step = (kinds, any::<i64>(), vault(), vault());
    prop::collection::vec(step, 0..3).prop_map(|steps| {
        let mut log = UndoLog::default();
        for (kind, time, before, after) in steps {
            if let Some(step) = Step::between(kind, time, &before, &after) {
                log.push(step);
            }
        }
        // A step that was undone is written too.
        let _ = log.undo(&mut Vault::new(), 1);
        log
    })
}

fn folder() -> impl Strategy<Value = SharedFolder> {
    let passphrases = prop::collection::vec(any::<Vec<u8>>(), 0..3);
    let ids = || prop::collection::btree_set(any::<[u8; 16]>(), 0..4);
    let (merged, tried) = (ids(), ids());
    let own = prop::option::of((any::<[u8; 32]>(), any::<[u8; 32]>()));
    let key = prop::option::of((any::<[u8; 8]>(), any::<[u8; 32]>()));
    let names = (any::<String>(), any::<String>());
    (names, key, passphrases, merged, tried, own).prop_map(
        |((path, host_id), key, passphrases, merged, tried, own)| {
            let mut folder = SharedFolder::new(path, host_id);
            folder.key =
                key.map(|(number, key)| FolderKey::from_parts(number, Secret::from_bytes(key)));
            folder.passphrases = passphrases
                .into_iter()
                .map(Passphrase::from_bytes)
                .collect();
            (folder.merged, folder.tried) = (merged, tried);
            folder.own = own.map(|(content, file)| OwnCopy { content, file });
            folder
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(500)
    })]

    #[test]
    fn a_vault_survives_both_formats(
        vault in vault(),
        account in prop::option::of(account()),
        folder in prop::option::of(folder()),
        baseline in prop::option::of(baseline()),
        undo in undo(),
    ) {
        let mut document = Document::new(vault);
        document.account = account;
        document.folder = folder;
        document.baseline = baseline;
        document.undo = undo;
        let written = encode_v3(&document).unwrap();
        prop_assert_eq!(written.len() % 4096, 0);
        let read = decode_vault_file(&written).unwrap();
        prop_assert_eq!(&read, &document);
        prop_assert_eq!(&*encode_v3(&read).unwrap(), &*written, "equal vaults, equal bytes");
        let again = decode_btoken(&encode_btoken(&document.vault).unwrap()).unwrap();
        prop_assert_eq!(again.vault, document.vault);
    }

    #[test]
    fn no_text_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        json in "[\\[\\]{}\",:0-9a-z\\\\ -]{0,200}",
    ) {
        for document in [bytes.as_slice(), json.as_bytes()] {
            let _ = decode_vault_file(document);
            let _ = decode_btoken(document);
        }
    }

    #[test]
    fn a_damaged_document_is_refused_or_round_trips(
        vault in vault(), at in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        let mut written = encode_btoken(&vault).unwrap().to_vec();
        let len = written.trim_ascii_end().len();
        written[at.index(len)] ^= 1 << bit;
        if let Ok(other) = decode_btoken(&written) {
            // A vault that was read can be written and read again.
            let again = encode_btoken_with(&other.vault, &other.devices).unwrap();
            let again = decode_btoken(&again).unwrap();
            prop_assert_eq!(again, other);
        }
    }
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    for open in ["[", "{\"a\":", "{\"version\":3,\"records\":{\"A\":[["] {
        let deep = open.repeat(200_000);
        decode_vault_file(deep.as_bytes()).unwrap_err();
        decode_btoken(deep.as_bytes()).unwrap_err();
    }
}

#[test]
fn too_many_records_are_refused() {
    let mut json = String::from(r#"{"version":2,"purpose":"sync_copy","records":{"#);
    for number in 0..=RECORDS_MAX {
        json.push_str(&format!("\"{number}\":[],"));
    }
    json.push_str("\"end\":[]}}");
    let error = decode_btoken(json.as_bytes()).unwrap_err();
    assert!(
        matches!(
            error,
            CodecError::TooMany {
                ref what,
                limit: RECORDS_MAX
            } if what == "records"
        ),
        "{error}"
    );
}

#[test]
fn a_document_of_a_newer_version_is_recognised() {
    let key = "010203-040506-070809-0A0B0C-0D0E0F-101112-131415-\
               161718-191A1B-1C1D1E-1F2021-222324-252627-280E1A";
    let newer = [
        r#"{"version":4,"purpose":"primary","records":{}}"#.to_owned(),
        r#"{"version":3,"purpose":"primary","records":{},"agenda":[]}"#.to_owned(),
        format!(
            r#"{{"version":3,"purpose":"primary",
                "sync":{{"host":"h","port":1,"key":"{key}","trust":{{"by":"oracle"}},
                "confirmed":true}},
                "records":{{}}}}"#
        ),
    ];
    for document in newer {
        assert!(
            decode_vault_file(document.as_bytes())
                .unwrap_err()
                .is_newer(),
            "{document}"
        );
    }
}

#[test]
fn history_since_is_written_only_where_we_read_it() {
    let mut vault = Vault::new();
    vault.create_record("A".into(), "a", 100).unwrap();
    let cut = vault.with_history_since(1_700_000_000);
    let plaintext = encode_btoken(&cut).unwrap();
    assert!(plaintext.starts_with(
        br#"{"version":2,"purpose":"sync_copy","history_since":1700000000,"records":{"#
    ));
    assert_eq!(decode_btoken(&plaintext).unwrap().vault, cut);
    let document = Document::new(cut.clone());
    assert_eq!(
        decode_vault_file(&encode_v3(&document).unwrap()).unwrap(),
        document
    );

    let in_file = |version: u8, since: &str| {
        let json = format!(
            r#"{{"version":{version},"purpose":"primary","history_since":{since},"records":{{}}}}"#
        );
        decode_vault_file(json.as_bytes()).map(|document| document.vault.history_since())
    };
    assert_eq!(in_file(3, "5"), Ok(Some(5)));
    assert!(
        matches!(in_file(2, "5"), Err(CodecError::UnknownKey { .. })),
        "the original program refuses it too"
    );
    for bad in [
        "0",
        "-1",
        "253402300800",
        "99999999999999999999999",
        "null",
        "\"5\"",
        "5,\"history_since\":5",
    ] {
        assert!(in_file(3, bad).is_err(), "{bad}");
    }
    let as_original =
        passmate_vault::format::encode_passmate2(&cut, passmate_vault::format::Purpose::Primary)
            .unwrap();
    assert!(
        !as_original
            .plaintext
            .windows(7)
            .any(|bytes| bytes == b"history")
    );
}

#[test]
fn a_requested_account_is_written_with_a_number_of_zeros() {
    let key = SyncKey::from_parts([0; 8], Secret::from_bytes([0xA5; 32]));
    let mut document = Document::new(Vault::new());
    document.account = Some(Account {
        host: "h".to_owned(),
        port: 1,
        key: AccountKey::Requested(key.key().clone()),
        trust: Trust::System,
        confirmed: false,
        seen: SeenChanges::new(),
        last: None,
        retired: Vec::new(),
        is_lost: false,
        shape: Shape::Modern,
        device: None,
        devices: RollCall::new(),
    });
    let plaintext = encode_v3(&document).unwrap();
    let expected = format!(
        "{{\"version\":3,\"purpose\":\"primary\",\
         \"sync\":{{\"host\":\"h\",\"port\":1,\"key\":\"{}\",\
         \"trust\":{{\"by\":\"system\"}},\"confirmed\":false}},\"records\":{{}}}}",
        *key.to_text()
    );
    assert_eq!(
        std::str::from_utf8(&plaintext).unwrap().trim_end(),
        expected
    );
    assert_eq!(decode_vault_file(&plaintext).unwrap(), document);
}
