//! The devices of an account, as each of them last stored a btoken.
//!
//! Each device writes an entry about itself into every btoken that it stores. An entry has a
//! counter, which its device increments with each btoken. A device remembers the entries that it
//! has seen, and compares them with those of the next btoken that it fetches. So it notices when a
//! server returns an older btoken, or different btokens to different devices, even if no change of
//! a record is missing.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::HEXLOWER;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::device_text::DeviceText;
use crate::crypto::sha256;

/// The most entries that a roll call may have in a document.
pub const DEVICES_MAX: usize = 1000;

/// Identifies a device within an account: 16 random bytes.
///
/// As text: 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceId([u8; 16]);

/// Makes the id of a new device.
pub fn make_device_id(rng: &mut (impl CryptoRng + ?Sized)) -> DeviceId {
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    DeviceId(id)
}

impl DeviceId {
    /// The id that has these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the text form; `None` for anything but 32 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// This device, as it takes part in its account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnDevice {
    /// Its id.
    pub id: DeviceId,
    /// The name that a person gave it.
    pub name: DeviceText,
    /// The counter of the last btoken that it stored; 0 before the first one.
    pub counter: u64,
}

/// What a device wrote about itself when it last stored a btoken.
///
/// Entries are ordered by their counters, then by the other members from top to bottom.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DeviceEntry {
    /// Grows by one with each btoken that the device stores.
    pub counter: u64,
    /// The time of the sync that stored the btoken, in seconds since 1970, by the device's clock.
    pub time: i64,
    /// The name that a person gave the device.
    pub name: DeviceText,
    /// The version of the device's program.
    pub version: DeviceText,
    /// The [hash](derive_read_hash) of the btoken that the device had read before it stored this
    /// one.
    pub read: [u8; 32],
}

/// The value of [`DeviceEntry::read`]: the SHA-256 of the sealed btoken that a device has read, or
/// 32 zero bytes if it has read none.
pub fn derive_read_hash(sealed: Option<&[u8]>) -> [u8; 32] {
    sealed.map_or([0; 32], sha256)
}

/// The devices of an account, by their ids.
///
/// A document may have at most [`DEVICES_MAX`] entries. A roll call in memory may have more, and is
/// then refused when it is written.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RollCall(BTreeMap<DeviceId, DeviceEntry>);

impl RollCall {
    /// A roll call without devices.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The number of devices.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if it has no devices.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry of a device.
    pub fn get(&self, id: DeviceId) -> Option<&DeviceEntry> {
        self.0.get(&id)
    }

    /// All devices with their entries, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, &DeviceEntry)> {
        self.0.iter().map(|(id, entry)| (*id, entry))
    }

    /// Sets the entry of a device, whatever its counter is. Returns the previous entry.
    pub fn set(&mut self, id: DeviceId, entry: DeviceEntry) -> Option<DeviceEntry> {
        self.0.insert(id, entry)
    }

    /// Removes a device and returns its entry. A [`merge`](Self::merge) with a roll call that still
    /// has the device adds it again.
    pub fn remove(&mut self, id: DeviceId) -> Option<DeviceEntry> {
        self.0.remove(&id)
    }

    /// Merges another roll call into this one: each device has the greater of its two entries, which
    /// is the one with the higher counter.
    ///
    /// A merge is commutative, associative and idempotent.
    pub fn merge(&mut self, other: &Self) {
        for (id, theirs) in &other.0 {
            let ours = self.0.entry(*id).or_insert_with(|| theirs.clone());
            if *ours < *theirs {
                ours.clone_from(theirs);
            }
        }
    }

    /// Compares what this device knows (`self`) with the roll call of a btoken that it fetched.
    ///
    /// Returns one anomaly for each known device whose entry in `found` is missing, is older, or
    /// contradicts the known one: that of this device (`own`) first, then the others in the order
    /// of their ids. A device that is unknown here, or has a higher counter in `found`, is no
    /// anomaly.
    ///
    /// A btoken in the desktop client's shape has no roll call, so do not compare with it.
    pub fn check(&self, found: &Self, own: DeviceId) -> Vec<Anomaly> {
        let first = self.0.get_key_value(&own).into_iter();
        let others = self.0.iter().filter(|(id, _)| **id != own);
        let anomalies = first.chain(others).filter_map(|(id, known)| {
            let kind = match found.get(*id) {
                None => AnomalyKind::Missing,
                Some(entry) if entry.counter < known.counter => AnomalyKind::WentBack {
                    from: known.counter,
                    to: entry.counter,
                },
                Some(entry) if entry.counter == known.counter && entry != known => {
                    AnomalyKind::Forked
                }
                Some(_) => return None,
            };
            let (device, name) = (*id, known.name.clone());
            Some(Anomaly { device, name, kind })
        });
        anomalies.collect()
    }
}

/// A contradiction between a fetched roll call and what this device knows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Anomaly {
    /// The device whose entry it is about.
    pub device: DeviceId,
    /// The name of that device, as far as this device knows it.
    pub name: DeviceText,
    /// What is wrong with the entry.
    pub kind: AnomalyKind,
}

/// The kinds of an [`Anomaly`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AnomalyKind {
    /// The counter is lower than a known one: the server returned an older btoken, or one of
    /// another history.
    WentBack {
        /// The known counter.
        from: u64,
        /// The counter in the fetched btoken.
        to: u64,
    },
    /// The counter is the known one, but the entry is different: the device stored two btokens with
    /// one counter, so there are two histories.
    Forked,
    /// There is no entry for the device: the btoken is older than the device, or the device was
    /// removed.
    Missing,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: DeviceId = DeviceId::from_bytes([5; 16]);

    fn id(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 16])
    }

    fn entry(name: &str, counter: u64) -> DeviceEntry {
        DeviceEntry {
            counter,
            time: 1_700_000_000,
            name: DeviceText::new(name).unwrap(),
            version: DeviceText::new("1.0.0").unwrap(),
            read: [0; 32],
        }
    }

    fn roll_call(entries: &[(u8, u64)]) -> RollCall {
        let mut roll_call = RollCall::new();
        for (byte, counter) in entries {
            roll_call.set(id(*byte), entry(&format!("device {byte}"), *counter));
        }
        roll_call
    }

    #[track_caller]
    fn check(known: &RollCall, found: &RollCall, expected: &[(u8, AnomalyKind)]) {
        let anomalies = known.check(found, OWN);
        let kinds: Vec<_> = anomalies.iter().map(|one| (one.device, one.kind)).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(byte, kind)| (id(*byte), *kind))
            .collect();
        assert_eq!(kinds, expected);
        for anomaly in anomalies {
            assert_eq!(
                Some(&anomaly.name),
                known.get(anomaly.device).map(|known| &known.name)
            );
        }
    }

    #[test]
    fn a_later_btoken_has_no_anomaly() {
        let known = roll_call(&[(1, 3), (5, 7)]);
        check(&RollCall::new(), &known, &[]);
        check(&known, &known, &[]);
        check(&known, &roll_call(&[(1, 4), (2, 1), (5, 7)]), &[]);
        check(&known, &roll_call(&[(1, 3), (5, 8)]), &[]);
    }

    #[test]
    fn a_lower_counter_went_back() {
        let went_back = AnomalyKind::WentBack { from: 3, to: 2 };
        check(
            &roll_call(&[(1, 3)]),
            &roll_call(&[(1, 2)]),
            &[(1, went_back)],
        );
    }

    #[test]
    fn a_known_device_without_an_entry_is_missing() {
        let known = roll_call(&[(1, 3), (2, 0)]);
        let found = roll_call(&[(3, 9)]);
        check(
            &known,
            &found,
            &[(1, AnomalyKind::Missing), (2, AnomalyKind::Missing)],
        );
    }

    #[test]
    fn any_difference_at_one_counter_is_a_fork() {
        let known = roll_call(&[(1, 3)]);
        let same = entry("device 1", 3);
        for other in [
            DeviceEntry {
                time: 1,
                ..same.clone()
            },
            DeviceEntry {
                name: DeviceText::new("x").unwrap(),
                ..same.clone()
            },
            DeviceEntry {
                version: DeviceText::new("x").unwrap(),
                ..same.clone()
            },
            DeviceEntry {
                read: [1; 32],
                ..same.clone()
            },
        ] {
            let mut found = RollCall::new();
            found.set(id(1), other);
            check(&known, &found, &[(1, AnomalyKind::Forked)]);
        }
    }

    #[test]
    fn anomalies_begin_with_this_device_and_follow_the_ids() {
        let known = roll_call(&[(9, 2), (1, 2), (5, 2), (4, 2)]);
        let found = roll_call(&[(5, 1), (4, 3), (9, 1)]);
        let went_back = AnomalyKind::WentBack { from: 2, to: 1 };
        check(
            &known,
            &found,
            &[(5, went_back), (1, AnomalyKind::Missing), (9, went_back)],
        );
    }

    #[test]
    fn with_equal_counters_the_time_decides_then_the_other_members() {
        let text = |text: &str| DeviceText::new(text).unwrap();
        let lowest = DeviceEntry {
            time: 1,
            name: text("a"),
            version: text("a"),
            ..entry("", 3)
        };
        let read = DeviceEntry {
            read: [1; 32],
            ..lowest.clone()
        };
        let version = DeviceEntry {
            version: text("b"),
            ..lowest.clone()
        };
        let name = DeviceEntry {
            name: text("b"),
            ..lowest.clone()
        };
        let time = DeviceEntry {
            time: 2,
            ..lowest.clone()
        };
        let counter = DeviceEntry {
            counter: 4,
            ..lowest.clone()
        };
        let ascending = [lowest, read, version, name, time, counter];
        for pair in ascending.windows(2) {
            let [low, high] = [0, 1].map(|at| {
                let mut roll_call = RollCall::new();
                roll_call.set(id(1), pair[at].clone());
                roll_call
            });
            let mut merged = low.clone();
            merged.merge(&high);
            assert_eq!(merged, high);
            merged.merge(&low);
            assert_eq!(merged, high);
        }
    }

    #[test]
    fn a_removed_device_returns_with_a_merge() {
        let mut roll_call = roll_call(&[(1, 3), (2, 1)]);
        let before = roll_call.clone();
        assert_eq!(roll_call.remove(id(1)), Some(entry("device 1", 3)));
        assert_eq!((roll_call.len(), roll_call.get(id(1))), (1, None));
        roll_call.merge(&before);
        assert_eq!(roll_call, before);
    }

    #[test]
    fn an_id_has_one_text() {
        let id = DeviceId::from_bytes(std::array::from_fn(|at| 0xF0 + u8::try_from(at).unwrap()));
        let text = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
        assert_eq!(id.to_string(), text);
        assert_eq!(DeviceId::parse(text), Some(id));
        let upper = text.to_uppercase();
        for bad in [
            "",
            "f0",
            &upper,
            &text[1..],
            &format!("{text}f0"),
            &text.replace('0', "g"),
        ] {
            assert_eq!(DeviceId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_new_id_is_random() {
        let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
        assert_ne!(make_device_id(&mut rng), make_device_id(&mut rng));
    }

    #[test]
    fn without_a_btoken_the_read_hash_is_zero() {
        assert_eq!(derive_read_hash(None), [0; 32]);
        assert_eq!(derive_read_hash(Some(b"")), sha256(b""));
    }
}
