//! Both sides of the Passmate client/server protocol as state machines: bytes in; bytes,
//! requests and endings out. No socket, no file, no clock: the crate cannot name them.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
