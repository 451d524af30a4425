//! Tests both machines against `docs/protocol.md`: with vectors, every split, every cut, and
//! against each other.
#![cfg(test)]

mod bounds;
mod conversation;
mod cuts;
mod splits;
mod support;
mod vectors;
