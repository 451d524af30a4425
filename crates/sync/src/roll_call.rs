//! The entry of this device in the roll call of its account, and what the entries of the others
//! tell. The rules are:
//!  - every upload has the greatest entries that this device knows, and a new one of its own;
//!  - an entry that is a day old is renewed, although nothing else is new;
//!  - an unknown device whose entry is from the future is not taken in;
//!  - an account that is shared with the desktop client has no roll call.

use passmate_vault::record::is_ahead;
use passmate_vault::sync::device_text::DeviceText;
use passmate_vault::sync::roll_call::make_device_id;
use passmate_vault::{Account, DeviceEntry, OwnDevice, RollCall};
use rand_core::CryptoRng;

/// An entry that is older than this many seconds is renewed.
const ENTRY_SECONDS_MAX: i64 = 24 * 3600;
/// How many devices are remembered. A btoken may list more.
const DEVICES_KEPT_MAX: usize = 200;
/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The device of an account, made if it has none yet.
pub(crate) fn device_of(
    account: &Account,
    name: &DeviceText,
    rng: &mut dyn CryptoRng,
) -> OwnDevice {
    account.device.clone().unwrap_or_else(|| OwnDevice {
        id: make_device_id(rng),
        name: name.clone(),
        counter: 0,
    })
}

/// What a device knows of the others, with what a btoken tells. Unknown devices are not taken in if
/// their entries are from the future, or if there are too many.
pub(crate) fn united(known: &RollCall, found: &RollCall, now: i64) -> RollCall {
    let mut united = known.clone();
    let mut new = RollCall::new();
    for (id, entry) in found.iter() {
        match known.get(id) {
            Some(known) if known < entry => drop(united.set(id, entry.clone())),
            None if !is_ahead(entry.time, now) => drop(new.set(id, entry.clone())),
            Some(_) | None => {}
        }
    }
    if united.len() + new.len() <= DEVICES_KEPT_MAX {
        united.merge(&new);
    }
    united
}

/// Whether the roll call of a btoken lacks something that this device would write.
pub(crate) fn is_due(
    device: &OwnDevice,
    known: &RollCall,
    found: &RollCall,
    name: &DeviceText,
    now: i64,
) -> bool {
    let is_current = |entry: &DeviceEntry| {
        let age = now.saturating_sub(entry.time);
        entry.name == *name
            && entry.version.as_str() == VERSION
            && (0..ENTRY_SECONDS_MAX).contains(&age)
    };
    !found.get(device.id).is_some_and(is_current) || united(known, found, now) != *found
}

/// The roll call of the next btoken, and this device with the counter of its new entry.
pub(crate) fn with_own_entry(
    device: &OwnDevice,
    known: &RollCall,
    name: &DeviceText,
    now: i64,
    read: [u8; 32],
    rng: &mut dyn CryptoRng,
) -> (RollCall, OwnDevice) {
    let mut roll_call = known.clone();
    let last = roll_call.get(device.id).map_or(0, |entry| entry.counter);
    let (id, counter) = match device.counter.max(last).checked_add(1) {
        Some(counter) => (device.id, counter),
        // Somebody used up the counters of this device.
        None => {
            roll_call.remove(device.id);
            (make_device_id(rng), 1)
        }
    };
    if roll_call.len() >= DEVICES_KEPT_MAX && roll_call.get(id).is_none() {
        forget_oldest(&mut roll_call);
    }
    let entry = DeviceEntry {
        counter,
        time: now,
        name: name.clone(),
        version: DeviceText::first_of(VERSION),
        read,
    };
    roll_call.set(id, entry);
    let device = OwnDevice {
        id,
        name: name.clone(),
        counter,
    };
    (roll_call, device)
}

fn forget_oldest(roll_call: &mut RollCall) {
    let oldest = roll_call.iter().min_by_key(|(_, entry)| entry.time);
    if let Some(id) = oldest.map(|(id, _)| id) {
        roll_call.remove(id);
    }
}
