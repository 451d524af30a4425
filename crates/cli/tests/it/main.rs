//! The program as a script meets it.
#![cfg(test)]

mod add;
mod agent;
mod arguments;
mod auto_sync;
mod clipboard;
mod completing;
mod credentials;
mod hostile_text;
mod inject;
mod interrupted;
mod memory;
mod naming;
mod online;
mod run;
mod scan;
mod screen;
mod scripts;
mod shell;
mod support;
mod typed;
mod typing;
mod unsaved;
mod viewing;
