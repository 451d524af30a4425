//! Who runs a command.

use std::io::Read;
use std::path::Path;

use crate::clock::now;
use crate::files;
use crate::store::Actor;

/// How much is read of the list of users, in bytes.
const USERS_LEN_MAX: u64 = 4 << 20;
/// The length of the longest name of a user, in characters.
const NAME_LEN_MAX: usize = 64;

/// The user of this process.
pub(super) fn of_process() -> Actor {
    let uid = rustix::process::getuid().as_raw();
    let sudo_uid = std::env::var("SUDO_UID").ok();
    Actor {
        at: now(),
        uid,
        user: name_of(uid),
        sudo_uid: sudo_uid.and_then(|text| text.parse().ok()),
    }
}

/// The name of a user of this machine. Users of a directory service are known by number.
fn name_of(uid: u32) -> Option<String> {
    let mut users = Vec::new();
    files::open(Path::new("/etc/passwd"))
        .ok()?
        .take(USERS_LEN_MAX)
        .read_to_end(&mut users)
        .ok()?;
    name_in(&String::from_utf8_lossy(&users), uid)
}

fn name_in(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.chars().take(NAME_LEN_MAX).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_as_the_machine_names_it() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\n:\npassmate:x:998:998::/:\n";
        assert_eq!(name_in(users, 998).as_deref(), Some("passmate"));
        assert_eq!(name_in(users, 0).as_deref(), Some("root"));
        assert_eq!(name_in(users, 1), None);
    }
}
