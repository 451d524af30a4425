//! Devices beside the original programs come to rest: after a few rounds of syncs nothing changes
//! any more, on any device, in a shared folder, or in an account of the desktop client.

use std::collections::BTreeMap;
use std::fmt;

use passmate_vault::compat::Original;
use passmate_vault::format::{
    decode_btoken, decode_vault_file, encode_desktop_btoken, encode_sync_copy,
};
use passmate_vault::record::{Change, FieldKey, Stamp, TIME_MAX, Value};
use passmate_vault::{RecordId, Shape, Text, Vault};
use proptest::prelude::*;

use crate::laws::config;

/// After so many rounds nothing changes any more, however many devices there are. Two rounds bring
/// everything to everybody. A resolution may come with the second one, and meet another.
const ROUNDS_MAX: usize = 4;

/// A case has many syncs.
fn fewer_cases() -> ProptestConfig {
    let config = config();
    ProptestConfig {
        cases: config.cases.div_ceil(4),
        ..config
    }
}

/// The values of these laws: few, so that changes collide, and several that show the same text.
fn value() -> impl Strategy<Value = Value> {
    let list = |lines: &[&str]| Value::List(lines.iter().map(|line| Text::from(*line)).collect());
    prop_oneof![
        Just(Value::Absent),
        Just(Value::Text("".into())),
        Just(Value::Text("a".into())),
        Just(Value::Text("a\nb".into())),
        Just(list(&["a", "b"])),
        Just(Value::Text("a\nb\nc".into())),
        Just(list(&["a", "b", "c"])),
        Just(list(&["a\nb", "c"])),
        Just(list(&["a", "b\nc"])),
        Just(list(&["", ""])),
        Just(Value::Text("\n".into())),
    ]
}

/// A change that one device has.
#[derive(Clone)]
struct Made {
    device: usize,
    record: u8,
    change: Change,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { key, stamp, value } = &self.change;
        let text = value
            .shown()
            .map(|text| text.to_string_lossy().into_owned());
        let (device, record, name) = (self.device, self.record, key.name.to_string_lossy());
        let kind = if matches!(value, Value::List(_)) {
            "list "
        } else {
            ""
        };
        write!(
            f,
            "device {device}: R{record} {name} = {kind}{text:?} at {stamp}"
        )
    }
}

fn made() -> impl Strategy<Value = Made> {
    let user = || (0..2u8).prop_map(|name| FieldKey::user(format!("f{name}")));
    let place = prop_oneof![
        2 => (Just(FieldKey::path()), 100..106i64),
        4 => (user(), 100..106i64),
        // Ties at these times have no resolution.
        1 => (user(), prop_oneof![Just(TIME_MAX), Just(0)]),
    ];
    (0..3usize, 0..3u8, place, value()).prop_map(|(device, record, (key, seconds), value)| {
        let stamp = Stamp::from_seconds(seconds);
        let change = Change { key, stamp, value };
        Made {
            device,
            record,
            change,
        }
    })
}

fn insert(vault: &mut Vault, made: &Made) {
    let id = RecordId::from(format!("R{}", made.record).as_str());
    vault.insert(&id, made.change.clone());
}

/// What all devices share: the copies of a folder, and the desktop client's account.
#[derive(Clone, Default, PartialEq)]
struct Shared {
    copies: BTreeMap<usize, Vec<u8>>,
    account: Vec<u8>,
}

/// One of our devices.
#[derive(Clone, PartialEq)]
struct Device {
    number: usize,
    vault: Vault,
    in_account: bool,
}

impl Device {
    fn resolve(&mut self) {
        let resolution = self.vault.resolution();
        self.vault.merge(&resolution);
    }

    /// One sync; returns the number of conflicts in it.
    fn sync(&mut self, shared: &mut Shared) -> usize {
        let mut conflicts = 0;
        for (_, copy) in shared.copies.iter().filter(|(own, _)| **own != self.number) {
            let copy = decode_vault_file(copy).expect("a device wrote it");
            conflicts += self.vault.merge(&copy.vault).conflicts_resolved;
        }
        self.resolve();
        if self.in_account {
            let remote = decode_btoken(&shared.account).expect("a program wrote it");
            conflicts += self.vault.merge(&remote.vault).conflicts_resolved;
            self.resolve();
            if Shape::Desktop.count_missing(&self.vault, &remote.vault) > 0 {
                let part = self.vault.part_beside(Original::Desktop, &remote.vault);
                shared.account = encode_desktop_btoken(&part).expect("it is small").to_vec();
            }
        }
        let copy = encode_sync_copy(&self.vault).expect("it is small");
        shared.copies.insert(self.number, copy.to_vec());
        conflicts
    }
}

/// The desktop client. Its merge is a union that refuses two values of one field with the same
/// time, and two records with the same path.
#[derive(Clone, PartialEq)]
struct Desktop(Vault);

impl Desktop {
    /// False if it refuses to merge.
    fn sync(&mut self, shared: &mut Shared) -> bool {
        let there = decode_btoken(&shared.account).expect("a program wrote it");
        let holds_other = self.0.records().any(|(id, record)| {
            let theirs = there.vault.record(id).into_iter();
            let theirs = theirs.flat_map(|record| record.changes());
            record.changes().iter().any(|our| {
                theirs.clone().any(|their| {
                    their.key == our.key && their.stamp == our.stamp && their.value != our.value
                })
            })
        });
        let mut merged = self.0.clone();
        merged.merge(&there.vault);
        let has_clash = merged
            .view()
            .records()
            .iter()
            .any(|one| one.clash.is_some());
        if holds_other || has_clash {
            return false;
        }
        if merged != there.vault {
            shared.account = encode_desktop_btoken(&merged)
                .expect("it is small")
                .to_vec();
        }
        self.0 = merged;
        true
    }
}

/// The number of rounds until nothing changes any more.
fn rounds_to_silence(
    devices: &mut [Device],
    shared: &mut Shared,
    mut desktop: Option<Desktop>,
) -> Result<usize, TestCaseError> {
    for round in 0..50 {
        let before = (devices.to_vec(), shared.clone(), desktop.clone());
        let mut conflicts = 0;
        for device in &mut *devices {
            conflicts += device.sync(shared);
            if let Some(desktop) = &mut desktop {
                prop_assert!(desktop.sync(shared), "the desktop client is locked out");
            }
        }
        if (devices.to_vec(), shared.clone(), desktop.clone()) == before {
            prop_assert_eq!(conflicts, 0, "a silent round has no conflict");
            return Ok(round);
        }
    }
    Err(TestCaseError::fail("it never comes to rest"))
}

fn shows_the_same(devices: &[Device]) -> Result<(), TestCaseError> {
    let shown = |device: &Device| {
        let part = device.vault.part_for(Original::Passmate2);
        let view = part.view();
        let lines = view.records().iter().map(|record| {
            let fields = record.fields();
            let fields = fields.map(|field| (field.name.clone(), field.value.into_owned()));
            (
                record.id.clone(),
                record.path.as_ref().clone(),
                fields.collect::<Vec<_>>(),
            )
        });
        lines.collect::<Vec<_>>()
    };
    for pair in devices.windows(2) {
        prop_assert!(shown(&pair[0]) == shown(&pair[1]), "{:?}", pair[0].vault);
    }
    Ok(())
}

proptest! {
    #![proptest_config(fewer_cases())]

    #[test]
    fn devices_in_a_shared_folder_come_to_rest(
        count in 2..=3usize, all in prop::collection::vec(made(), 0..16),
    ) {
        let mut devices = Vec::new();
        for number in 0..count {
            let mut vault = Vault::new();
            all.iter().filter(|made| made.device % count == number)
                .for_each(|made| insert(&mut vault, made));
            devices.push(Device { number, vault, in_account: false });
        }
        let rounds = rounds_to_silence(&mut devices, &mut Shared::default(), None)?;
        prop_assert!(rounds <= ROUNDS_MAX, "{} rounds", rounds);
        shows_the_same(&devices)?;
    }

    #[test]
    fn devices_that_share_an_account_and_a_folder_come_to_rest(
        in_account in prop::collection::vec(any::<bool>(), 2..=3),
        there in prop::collection::vec(made(), 0..8),
        all in prop::collection::vec(made(), 0..12),
    ) {
        let mut first = Vault::new();
        there.iter().for_each(|made| insert(&mut first, made));
        let first = encode_desktop_btoken(&with_resolution(first)).expect("it is small").to_vec();
        let mut shared = Shared { account: first, ..Shared::default() };
        let mut desktop = Desktop(Vault::new());
        prop_assert!(desktop.sync(&mut shared));
        let count = in_account.len();
        let mut devices = Vec::new();
        for (number, in_account) in in_account.into_iter().enumerate() {
            let mut device = Device { number, vault: Vault::new(), in_account };
            device.sync(&mut shared);
            all.iter().filter(|made| made.device % count == number)
                .for_each(|made| insert(&mut device.vault, made));
            devices.push(device);
        }
        let rounds = rounds_to_silence(&mut devices, &mut shared, Some(desktop))?;
        prop_assert!(rounds <= ROUNDS_MAX, "{} rounds", rounds);
        shows_the_same(&devices)?;
    }
}

fn with_resolution(mut vault: Vault) -> Vault {
    let resolution = vault.resolution();
    vault.merge(&resolution);
    vault
}
