//! `passmate` as its users type it: a front end on [`passmate_core`] that parses, asks and prints.
#![forbid(unsafe_code)]

mod agent_start;
mod app;
mod args;
mod change;
mod child;
mod clipboard;
mod commands;
mod completing;
mod config;
mod editor;
pub mod examples;
mod exit;
mod held;
mod importing;
mod input;
mod joining;
mod meter;
mod naming;
mod output;
mod picker;
mod program;
mod prompt;
mod report;
mod shell;
mod terminal;
mod tree;
mod tui;
mod typist;
mod unsaved;
mod viewer;
mod wording;

pub use program::{main, main_with};
