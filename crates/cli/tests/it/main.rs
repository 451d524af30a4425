//! The program as a script meets it.
#![cfg(test)]

mod arguments;
mod auto_sync;
mod hostile_text;
