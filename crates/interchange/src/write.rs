//! Writes what other programs import: one file for each program.

pub(crate) mod kdbx;
