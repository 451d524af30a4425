//! Whole-system tests live in `tests/`; this crate ships nothing.
//!
//! Its two programs are the real ones. They are here only because a test can find the programs of
//! its own package and no others.
#![forbid(unsafe_code)]
