//! Vectors made by other programs, and laws that hold for any history.
#![cfg(test)]

mod btokens;
mod containers;
mod folder_copies;
mod laws;
mod merges;
mod packed;
mod pmdb;
mod purged;
mod rest;
mod roll_call;
mod round_trips;
mod sync_keys;
mod undo;

use std::path::PathBuf;

use serde_json::Value;

/// The content of a file in `vectors/`.
fn vector(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn vector_json(name: &str) -> Value {
    serde_json::from_slice(&vector(name)).unwrap()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().unwrap().iter()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

fn from_hex<const N: usize>(text: &str) -> [u8; N] {
    let bytes: Vec<u8> = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}
