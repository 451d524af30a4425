//! Whole-system tests live in `tests/`; this crate ships nothing.
#![forbid(unsafe_code)]
