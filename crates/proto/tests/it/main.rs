//! Holds both machines to `docs/protocol.md`: vectors, every split, every cut, and both sides
//! against each other.
#![cfg(test)]

mod bounds;
mod conversation;
mod cuts;
mod splits;
mod support;
mod vectors;
