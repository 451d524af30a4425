//! Complete syncs, with devices and a server in memory.
#![cfg(test)]

mod accounts;
mod counting;
mod desktop;
mod faults;
mod gate;
mod guards;
mod hostile;
mod hostile_device;
mod refusals;
mod roll_call;
mod rotation;
mod syncs;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use format::btoken::BtokenError;
use passmate_proto::{AccountNumber, ActionKind, Layout};
use passmate_sync::*;
use passmate_testkit::cloud::{
    Calm, Cloud, Device, Dice, Fault, Way, account_of, agreed, auth_token_of, counts, deciding,
    held_back, is_disk_full, remote_error, two_devices, unreachable,
};
use passmate_testkit::noise::noise;
use passmate_vault::merge::MergeSummary;
use passmate_vault::record::{AHEAD_SECONDS, Change, Domain, FieldKey, PRESENT_MIN, Stamp, Value};
use passmate_vault::{
    Account, Baseline, DeviceText, Pin, RecordId, SyncKey, Text, Trust, Vault, format,
};
use rand_core::Rng;

const LAYOUTS: [Layout; 2] = [Layout::One, Layout::Two];
