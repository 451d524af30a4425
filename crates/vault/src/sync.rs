//! What a vault remembers of the places that it syncs with: its account on a server, its shared
//! folder, and the changes that it has seen there.

pub mod account;
pub(crate) mod seen;
pub mod shared_folder;
