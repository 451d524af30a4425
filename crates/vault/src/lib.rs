//! What a Passmate vault is: records with their whole history, the merge, the formats and their
//! cryptography. No I/O; time and randomness are passed in.
#![forbid(unsafe_code)]

pub mod merge;
pub mod record;
pub mod view;
