//! Holds both machines to `docs/protocol.md`: vectors, every split, every cut, and both sides
//! against each other.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod bounds;
mod conversation;
mod cuts;
mod splits;
mod support;
mod vectors;
