//! One vault on several devices, over whatever reaches a server.

mod transport;

pub use transport::{Answer, Exchanged, Listener, Received, StreamEnd, Transport, Wire, drive};
