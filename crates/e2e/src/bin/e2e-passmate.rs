//! `passmate` for tests: its vaults have a cheap key derivation, and all else is the real program.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use passmate_core::session::VaultLocation;
use passmate_vault::format::container::Params;

fn main() -> ExitCode {
    passmate::main_with(located)
}

fn located(path: PathBuf) -> VaultLocation {
    let location = VaultLocation::new(path);
    match Params::new(4, 1, 1) {
        Ok(cheap) => location.with_params(cheap),
        Err(_) => location,
    }
}
