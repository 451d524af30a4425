//! What a vault remembers of the places that it syncs with: its account on a server, its shared
//! folder, the changes that it has seen there, the devices of the account, and the records that
//! others altered.

pub mod account;
pub(crate) mod baseline;
pub(crate) mod delta;
pub mod device_text;
pub mod roll_call;
pub(crate) mod seen;
pub(crate) mod shape;
pub mod shared_folder;
