//! Complete syncs, with devices and a server in memory.
#![cfg(test)]

mod accounts;
mod desktop;
mod faults;
mod hostile;
mod rotation;
mod syncs;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use passmate_proto::{AccountNumber, ActionKind, Layout};
use passmate_sync::*;
use passmate_testkit::cloud::{
    Calm, Cloud, Device, Dice, Fault, Way, account_of, auth_token_of, counts, is_disk_full,
    remote_error, two_devices, unreachable,
};
use passmate_vault::format::btoken::BtokenError;
use passmate_vault::merge::MergeSummary;
use passmate_vault::record::FieldKey;
use passmate_vault::{Account, Pin, SyncKey, Trust, Vault};
use rand_core::Rng;

const LAYOUTS: [Layout; 2] = [Layout::One, Layout::Two];
