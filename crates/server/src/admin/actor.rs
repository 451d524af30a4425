//! Who runs a command.

use super::users::User;
use crate::clock::now;
use crate::store::Actor;

/// The user of this process.
pub(super) fn of_process() -> Actor {
    let User { uid, name, .. } = User::of(rustix::process::getuid().as_raw());
    let sudo_uid = std::env::var("SUDO_UID").ok();
    Actor {
        at: now(),
        uid,
        user: name,
        sudo_uid: sudo_uid.and_then(|text| text.parse().ok()),
    }
}
