//! Users of this machine, and what they may read. Users of a directory service are known by number
//! alone.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files;

/// How much is read of a list of users or groups, in bytes.
const LIST_LEN_MAX: u64 = 4 << 20;
/// The length of the longest name of a user, in characters.
const NAME_LEN_MAX: usize = 64;

/// A user with its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) name: Option<String>,
    gids: BTreeSet<u32>,
}

/// What a process needs of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Read,
    ReadAndWrite,
}

/// What keeps a user from a file: the file itself, or a folder that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Barrier {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) owner: u32,
}

impl User {
    pub(super) fn of(uid: u32) -> Self {
        Self::within(uid, &list("/etc/passwd"), &list("/etc/group"))
    }

    /// The user in these lists of users and groups.
    fn within(uid: u32, users: &str, groups: &str) -> Self {
        let found = users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            match fields.as_slice() {
                [name, _, number, gid, ..] if number.parse() == Ok(uid) => {
                    Some((*name, gid.parse::<u32>().ok()))
                }
                _ => None,
            }
        });
        let (name, gid) = match found {
            Some((name, gid)) => (Some(name), gid),
            None => (None, None),
        };
        let of_name = groups.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (gid, members) = (fields.nth(2)?, fields.next()?);
            let is_member = members.split(',').any(|member| Some(member) == name);
            is_member.then(|| gid.parse().ok())?
        });
        Self {
            uid,
            gids: of_name.chain(gid).collect(),
            name: name.map(|name| name.chars().take(NAME_LEN_MAX).collect()),
        }
    }

    /// What keeps the user from a file, if anything does. Nothing is known about a file with an
    /// access control list, or about one that does not exist.
    pub(super) fn barrier_to(&self, path: &Path, need: Need) -> Option<Barrier> {
        let resolved = path.canonicalize().ok()?;
        // A symbolic link is in one folder, and what it names in another.
        let absolute = std::path::absolute(path).ok()?;
        let folders = absolute.ancestors().chain(resolved.ancestors()).skip(1);
        let folders: BTreeSet<&Path> = folders.filter(|folder| folder.is_dir()).collect();
        let folders = folders.into_iter().map(|folder| (folder, 0o1));
        let bits = match need {
            Need::Read => 0o4,
            Need::ReadAndWrite => 0o6,
        };
        folders
            .chain([(resolved.as_path(), bits)])
            .find_map(|(path, bits)| {
                let found = fs::metadata(path).ok()?;
                (!self.is_allowed(&found, bits) && !has_access_list(path)).then(|| Barrier {
                    path: path.to_owned(),
                    mode: found.mode() & 0o777,
                    owner: found.uid(),
                })
            })
    }

    pub(super) fn is_in_group(&self, gid: u32) -> bool {
        self.gids.contains(&gid)
    }

    fn is_allowed(&self, found: &Metadata, bits: u32) -> bool {
        let shift = match () {
            () if self.uid == 0 => return true,
            () if found.uid() == self.uid => 6,
            () if self.is_in_group(found.gid()) => 3,
            () => 0,
        };
        found.mode() >> shift & bits == bits
    }
}

fn has_access_list(path: &Path) -> bool {
    let mut none: [u8; 0] = [];
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut none[..]).is_ok_and(|len| len > 0)
}

fn list(path: &str) -> String {
    let mut bytes = Vec::new();
    let read = files::open(Path::new(path))
        .and_then(|file| file.take(LIST_LEN_MAX).read_to_end(&mut bytes));
    read.map_or_else(
        |_| String::new(),
        |_| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\n:\npassmate:x:998:997::/:\n";
    const GROUPS: &str = "root:x:0:\nssl-cert:x:105:www,passmate\nwww:x:33:passmat\nbroken:x\n";

    #[test]
    fn a_user_has_the_name_and_groups_of_the_lists() {
        let user = User::within(998, USERS, GROUPS);
        assert_eq!(user.name.as_deref(), Some("passmate"));
        assert_eq!(user.gids, [105, 997].into());
        assert_eq!(User::within(0, USERS, "").name.as_deref(), Some("root"));
        let unknown = User::within(1, USERS, GROUPS);
        assert_eq!((unknown.name, unknown.gids), (None, BTreeSet::new()));
    }

    #[test]
    fn the_folder_or_the_file_that_keeps_a_user_out_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let (folder, link) = (dir.path().join("archive"), dir.path().join("key.pem"));
        fs::create_dir(&folder).unwrap();
        let file = folder.join("key1.pem");
        fs::write(&file, "key").unwrap();
        symlink(&file, &link).unwrap();
        let owner = fs::metadata(&file).unwrap();
        let stranger = |gids: &[u32]| User {
            uid: owner.uid() + 1,
            name: None,
            gids: gids.iter().copied().collect(),
        };
        let barrier = |user: &User, need| user.barrier_to(&link, need).map(|found| found.path);
        mode(dir.path(), 0o755);
        mode(&folder, 0o755);
        mode(&file, 0o644);
        assert_eq!(barrier(&stranger(&[]), Need::Read), None);
        assert_eq!(
            barrier(&stranger(&[]), Need::ReadAndWrite),
            Some(file.clone())
        );
        mode(&file, 0o640);
        assert_eq!(barrier(&stranger(&[]), Need::Read), Some(file.clone()));
        assert_eq!(barrier(&stranger(&[owner.gid()]), Need::Read), None);
        mode(&folder, 0o700);
        assert_eq!(barrier(&stranger(&[owner.gid()]), Need::Read), Some(folder));
        let root = User::within(0, USERS, GROUPS);
        assert_eq!(barrier(&root, Need::ReadAndWrite), None);
        let missing = dir.path().join("missing");
        assert_eq!(stranger(&[]).barrier_to(&missing, Need::Read), None);
    }
}
