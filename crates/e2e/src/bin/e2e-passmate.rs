//! `passmate` for tests: its vaults have a cheap key derivation, and all else is the real program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use passmate_vault::format::container::Params;

fn main() -> ExitCode {
    match Params::new(4, 1, 1) {
        Ok(cheap) => passmate::main_with(cheap),
        Err(_) => ExitCode::FAILURE,
    }
}
