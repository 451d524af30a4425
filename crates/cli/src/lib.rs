//! `passmate` as its users type it: a front end on [`passmate_core`].
#![forbid(unsafe_code)]

mod cli;

pub use cli::main;
