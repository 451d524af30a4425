//! The program as a script meets it.
#![cfg(test)]

mod auto_sync;
