//! Whole-system tests live in `tests/`. This crate ships nothing.
//!
//! Its two programs are the real ones, but for the cheap key derivation of `e2e-passmate`. They are
//! here because Cargo lets a test find the programs of its own package only.
#![forbid(unsafe_code)]
