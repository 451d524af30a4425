//! `vectors/roll_call`: plaintexts with and without devices. And the laws of merging roll calls.

use passmate_vault::format::{
    Btoken, BtokenShape, CodecError, Document, EncodeError, decode_btoken, decode_vault_file,
    encode_btoken, encode_btoken_as, encode_btoken_with, encode_desktop_btoken, encode_v3,
};
use passmate_vault::sync::roll_call::DEVICES_MAX;
use passmate_vault::{
    AnomalyKind, DeviceEntry, DeviceId, DeviceText, RollCall, Secret, Shape, SyncKey, Trust, Vault,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::{members, text, vector, vector_json};

/// An id, of few or of all.
pub(crate) fn device_id() -> impl Strategy<Value = DeviceId> {
    let few = (0..4u8).prop_map(|byte| DeviceId::from_bytes([byte; 16]));
    prop_oneof![3 => few, 1 => any::<[u8; 16]>().prop_map(DeviceId::from_bytes)]
}

pub(crate) fn device_text() -> impl Strategy<Value = DeviceText> {
    let few = prop_oneof![Just("a".to_owned()), Just("b".to_owned())];
    prop_oneof![3 => few, 1 => any::<String>()].prop_map(|text| DeviceText::first_of(&text))
}

/// Up to five devices, often with equal ids and counters.
pub(crate) fn roll_call() -> impl Strategy<Value = RollCall> {
    let entry = (
        prop_oneof![3 => 0..3u64, 1 => any::<u64>()],
        prop_oneof![3 => 0..2i64, 1 => any::<i64>()],
        device_text(),
        device_text(),
        prop_oneof![3 => Just([0; 32]), 1 => any::<[u8; 32]>()],
    );
    let entry = entry.prop_map(|(counter, time, name, version, read)| DeviceEntry {
        counter,
        time,
        name,
        version,
        read,
    });
    prop::collection::vec((device_id(), entry), 0..5).prop_map(|entries| {
        let mut roll_call = RollCall::new();
        for (id, entry) in entries {
            roll_call.set(id, entry);
        }
        roll_call
    })
}

fn merged(a: &RollCall, b: &RollCall) -> RollCall {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(5_000)
    })]

    #[test]
    fn a_merge_of_roll_calls_is_commutative_associative_and_idempotent(
        a in roll_call(), b in roll_call(), c in roll_call(),
    ) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(&merged(&a, &a), &a);
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
    }

    #[test]
    fn a_merge_has_each_device_with_its_highest_counter(a in roll_call(), b in roll_call()) {
        let all = merged(&a, &b);
        for (id, entry) in all.iter() {
            let sources = [a.get(id), b.get(id)];
            prop_assert!(sources.contains(&Some(entry)));
            let highest = sources.iter().flatten().map(|entry| entry.counter).max();
            prop_assert_eq!(Some(entry.counter), highest);
        }
        prop_assert!(a.iter().chain(b.iter()).all(|(id, _)| all.get(id).is_some()));
    }

    #[test]
    fn a_merged_roll_call_shows_only_forks(
        a in roll_call(), b in roll_call(), own in device_id(),
    ) {
        let anomalies = a.check(&merged(&a, &b), own);
        for anomaly in &anomalies {
            prop_assert_eq!(anomaly.kind, AnomalyKind::Forked);
            let counter = |from: &RollCall| from.get(anomaly.device).map(|entry| entry.counter);
            prop_assert_eq!(counter(&a), counter(&b));
        }
        prop_assert_eq!(a.check(&a, own), []);
    }

    #[test]
    fn a_roll_call_is_written_in_a_btoken_and_read(devices in roll_call()) {
        let vault = vault();
        let written = encode_btoken_with(&vault, &devices).unwrap();
        let shape = BtokenShape::Passmate2;
        prop_assert_eq!(decode_btoken(&written), Ok(Btoken { vault, devices, shape }));
    }
}

fn vault() -> Vault {
    let mut vault = Vault::new();
    vault.create_record("A".into(), "a", 100).unwrap();
    vault
}

fn devices_json(devices: &RollCall) -> Json {
    let entries = devices.iter().map(|(id, entry)| {
        let entry = json!({
            "name": entry.name.as_str(),
            "counter": entry.counter,
            "time": entry.time,
            "version": entry.version.as_str(),
            "read": hex(&entry.read),
        });
        (id.to_string(), entry)
    });
    entries.collect::<serde_json::Map<_, _>>().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The devices of a plaintext, this device if it has one, and the plaintext as we write it.
fn read(name: &str, document: &str) -> Result<(RollCall, Json, Vec<u8>), CodecError> {
    let plaintext = vector(&format!("roll_call/{name}.json"));
    if document == "btoken" {
        let btoken = decode_btoken(&plaintext)?;
        assert_eq!(btoken.shape, BtokenShape::Passmate2);
        let written = encode_btoken_with(&btoken.vault, &btoken.devices).unwrap();
        return Ok((btoken.devices, Json::Null, written.to_vec()));
    }
    assert_eq!(document, "vault_file");
    let document = decode_vault_file(&plaintext)?;
    let written = encode_v3(&document).unwrap();
    let account = document.account.unwrap();
    let own = account.device.map(
        |own| json!({"id": own.id.to_string(), "name": own.name.as_str(), "counter": own.counter}),
    );
    Ok((account.devices, own.unwrap_or_default(), written.to_vec()))
}

#[test]
fn every_good_plaintext_has_its_devices() {
    let index = vector_json("roll_call/index.json");
    let good = members(&index).filter(|(name, _)| !name.starts_with("bad_"));
    let mut count = 0;
    for (name, expected) in good {
        let (devices, own, written) = read(name, text(expected, "document")).unwrap();
        assert_eq!(devices_json(&devices), expected["devices"], "{name}");
        assert_eq!(
            Some(&own).filter(|own| !own.is_null()),
            expected.get("device"),
            "{name}"
        );
        if let Some(same) = expected.get("written_as").and_then(Json::as_str) {
            let same = vector(&format!("roll_call/{same}.json"));
            assert_eq!(written.trim_ascii_end(), same, "{name}");
        }
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn every_bad_plaintext_is_refused_with_its_error() {
    let index = vector_json("roll_call/index.json");
    let bad = members(&index).filter(|(name, _)| name.starts_with("bad_"));
    let mut count = 0;
    for (name, expected) in bad {
        let error = read(name, text(expected, "document")).unwrap_err();
        let found = match error {
            CodecError::Newer { .. } => "newer",
            CodecError::DuplicateKey { .. } => "duplicate_key",
            CodecError::MissingKey { .. } => "missing_key",
            CodecError::UnknownKey { .. } => "unknown_key",
            CodecError::WrongShape { .. } => "wrong_shape",
            other => panic!("{name}: {other}"),
        };
        assert_eq!(found, text(expected, "error"), "{name}");
        count += 1;
    }
    assert_eq!(count, 15);
}

fn devices(count: usize) -> RollCall {
    let mut devices = RollCall::new();
    for number in 0..count as u128 {
        let entry = DeviceEntry {
            counter: 1,
            time: 1_700_000_000,
            name: DeviceText::first_of("laptop"),
            version: DeviceText::first_of("1.0.0"),
            read: [0; 32],
        };
        devices.set(DeviceId::from_bytes(number.to_be_bytes()), entry);
    }
    devices
}

#[test]
fn more_than_1000_devices_are_neither_written_nor_read() {
    assert_eq!(DEVICES_MAX, 1000);
    let most = devices(DEVICES_MAX);
    let plaintext = encode_btoken_with(&vault(), &most).unwrap();
    assert_eq!(decode_btoken(&plaintext).unwrap().devices, most);

    let refused = EncodeError::TooMany {
        what: "devices".into(),
        limit: DEVICES_MAX,
    };
    let too_many = devices(DEVICES_MAX + 1);
    assert_eq!(
        encode_btoken_with(&vault(), &too_many),
        Err(refused.clone())
    );
    assert_eq!(encode_v3(&with_devices(too_many)), Err(refused));

    let json = String::from_utf8(plaintext.to_vec()).unwrap();
    let entry = devices_json(&devices(1))[&"0".repeat(32)].to_string();
    let one_more = format!("\"devices\":{{\"{}\":{entry},", "f".repeat(32));
    let json = json.replacen("\"devices\":{", &one_more, 1);
    let refused = CodecError::TooMany {
        what: "devices".into(),
        limit: DEVICES_MAX,
    };
    assert_eq!(decode_btoken(json.as_bytes()), Err(refused));
}

fn with_devices(devices: RollCall) -> Document {
    let key = SyncKey::from_parts([1; 8], Secret::from_bytes([1; 32]));
    let mut document = Document::new(Vault::new());
    document.account = Some(passmate_vault::Account {
        host: "h".to_owned(),
        port: 1,
        key: passmate_vault::AccountKey::Granted(key),
        trust: Trust::System,
        confirmed: true,
        seen: passmate_vault::SeenChanges::new(),
        last: None,
        retired: Vec::new(),
        is_lost: false,
        shape: Shape::Modern,
        device: None,
        devices,
    });
    document
}

#[test]
fn only_our_own_shapes_have_devices() {
    let (vault, devices) = (vault(), devices(3));
    let ours = encode_btoken_with(&vault, &devices).unwrap();
    for shape in [Shape::Modern, Shape::Upgraded] {
        assert_eq!(encode_btoken_as(shape, &vault, &devices).unwrap(), ours);
    }
    assert_eq!(
        encode_btoken_as(Shape::Desktop, &vault, &devices).unwrap(),
        encode_desktop_btoken(&vault).unwrap()
    );
}

#[test]
fn an_empty_roll_call_is_not_written() {
    let without = encode_btoken(&vault()).unwrap();
    assert_eq!(
        encode_btoken_with(&vault(), &RollCall::new()).unwrap(),
        without
    );
    let json = String::from_utf8(without.to_vec()).unwrap();
    assert!(!json.contains("devices"));
    let json = json.replacen("\"records\"", "\"devices\":{},\"records\"", 1);
    assert_eq!(decode_btoken(json.as_bytes()), decode_btoken(&without));

    let document = with_devices(RollCall::new());
    let file = encode_v3(&document).unwrap();
    assert!(!String::from_utf8(file.to_vec()).unwrap().contains("device"));
    assert_eq!(decode_vault_file(&file), Ok(document));
}

#[test]
fn devices_precede_purged_changes_and_the_start_of_the_history() {
    let mut vault = vault();
    let id = passmate_vault::RecordId::from("A");
    vault.set(&id, "pin", "1", 200).unwrap();
    vault.set(&id, "pin", "2", 300).unwrap();
    let is_first = |change: &passmate_vault::record::Change| {
        change.stamp == passmate_vault::record::Stamp::from_seconds(200)
    };
    vault.purge(&id, is_first, 400).unwrap();
    let vault = vault.with_history_since(50);
    let written = encode_btoken_with(&vault, &devices(1)).unwrap();
    let written = String::from_utf8(written.to_vec()).unwrap();
    let places = [
        "\"devices\":",
        "\"purged\":",
        "\"history_since\":",
        "\"records\":",
    ]
    .map(|member| written.find(member).unwrap());
    assert!(places.is_sorted(), "{written}");
}
