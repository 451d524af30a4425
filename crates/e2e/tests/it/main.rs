//! Tests of the whole system: real programs, real sockets, real disks, and injected faults.
#![cfg(test)]

mod backup;
mod day;
mod devices;
mod editors;
mod examples;
mod exports;
mod history;
mod independent_client;
mod install;
mod kill;
mod mistakes;
mod originals;
mod power_cut;
mod registration;
mod rotate;
mod secrets;
mod sources;
mod stores;
mod support;
mod terminal;
mod transcripts;
