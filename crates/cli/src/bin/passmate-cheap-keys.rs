//! `passmate` for its tests: the vaults that it writes have a cheap key derivation, and all else is
//! the real program. Only a build that asks for the feature `cheap-keys` makes it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use passmate_vault::format::container::Params;

fn main() -> ExitCode {
    match Params::new(4, 1, 1) {
        Ok(cheap) => passmate::main_with(cheap),
        Err(_) => ExitCode::FAILURE,
    }
}
