//! Imports of whole files.
#![cfg(test)]

mod samples;
