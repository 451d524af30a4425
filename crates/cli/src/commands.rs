//! One file for each command: its arguments, the call, and how its answer looks.

pub(crate) mod add;
pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod code;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod edit;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod generate;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod passwd;
pub(crate) mod profiles;
pub(crate) mod purge;
pub(crate) mod qr;
pub(crate) mod read;
pub(crate) mod record;
pub(crate) mod recover;
pub(crate) mod restore;
pub(crate) mod show;
pub(crate) mod sync;
pub(crate) mod undo;
