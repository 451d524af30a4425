//! What deleting a file can and cannot do, where it lies. A file of passwords that was exported for
//! an import should not stay.
//!
//! The advice follows from the kind of file system, and on Linux from the disk below it. Elsewhere
//! it is the general one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::command::command;

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// The name of the file system as the kernel has it; empty if it is not known.
    pub(crate) file_system: String,
    /// Whether the disk is magnetic; `None` if that is not known.
    is_magnetic: Option<bool>,
    /// Whether the disk is encrypted below the file system.
    is_encrypted: bool,
    /// The folder of a program that copies what is in it to other machines.
    pub(crate) synced_by: Option<&'static str>,
}

/// How a file system treats a deleted or overwritten file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is in memory.
    Memory,
    /// Overwriting writes to the same place.
    InPlace,
    /// Overwriting writes elsewhere.
    CopyOnWrite,
    /// It is on another machine.
    Network,
    Unknown,
}

const KINDS: &[(Kind, &[&str])] = &[
    (Kind::Memory, &["tmpfs", "ramfs"]),
    (
        Kind::InPlace,
        &[
            "ext2", "ext3", "ext4", "xfs", "jfs", "vfat", "exfat", "ntfs", "ntfs3",
        ],
    ),
    (
        Kind::CopyOnWrite,
        &[
            "btrfs", "zfs", "bcachefs", "f2fs", "nilfs2", "overlay", "apfs",
        ],
    ),
    (
        Kind::Network,
        &[
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "ceph",
            "9p",
            "virtiofs",
            "afs",
            "fuse.sshfs",
        ],
    ),
];

/// The folders of programs that copy files to other machines.
const SYNCED: &[(&str, &str)] = &[
    ("Dropbox", "Dropbox"),
    ("OneDrive", "OneDrive"),
    ("Google Drive", "Google Drive"),
    ("GoogleDrive", "Google Drive"),
    ("Nextcloud", "Nextcloud"),
    ("ownCloud", "ownCloud"),
    ("Mobile Documents", "iCloud Drive"),
];

/// How to get rid of a file, and what a deletion leaves. One sentence or two in each line.
#[must_use]
pub fn advice(file: &Path) -> Vec<String> {
    if !file.is_file() {
        return vec![
            "there is no file to delete: what was imported was no file of its own".to_owned(),
        ];
    }
    let (file, place) = Place::of_file(file);
    advice_for(&file, &place)
}

impl Place {
    /// Where a file lies, and its path without links.
    pub(crate) fn of_file(file: &Path) -> (PathBuf, Self) {
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let device = fs::metadata(&file).map_or(0, |metadata| metadata.dev());
        let place = Self::of(&file, &mounts, device, Path::new("/sys/dev/block"));
        (file, place)
    }

    fn of(file: &Path, mounts: &str, device: u64, sys: &Path) -> Self {
        let mount = mounts
            .lines()
            .filter_map(Mount::parse)
            .filter(|mount| file.starts_with(&mount.point))
            // The one that is mounted last covers the others.
            .max_by_key(|mount| mount.point.components().count());
        let number = match &mount {
            Some(mount) if !mount.device.starts_with("0:") => mount.device.clone(),
            _ => {
                let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
                format!("{major}:{minor}")
            }
        };
        let block = sys.join(number);
        let read = |name: &str| fs::read_to_string(block.join(name)).ok();
        // A partition has the queue of its disk one level up.
        let rotational = read("queue/rotational").or_else(|| read("../queue/rotational"));
        Self {
            file_system: mount.map(|mount| mount.file_system).unwrap_or_default(),
            is_magnetic: rotational.map(|text| text.trim() == "1"),
            is_encrypted: read("dm/uuid").is_some_and(|uuid| uuid.starts_with("CRYPT-")),
            synced_by: synced_by(file),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        let is_it = |(_, names): &&(Kind, &[&str])| names.contains(&self.file_system.as_str());
        KINDS
            .iter()
            .find(is_it)
            .map_or(Kind::Unknown, |(kind, _)| *kind)
    }
}

fn synced_by(file: &Path) -> Option<&'static str> {
    let is_syncthing = |folder: &Path| folder.join(".stfolder").exists();
    if file.ancestors().skip(1).any(is_syncthing) {
        return Some("Syncthing");
    }
    file.components().find_map(|part| {
        let Component::Normal(name) = part else {
            return None;
        };
        let is_it = |(folder, _): &&(&str, &str)| name == *folder;
        SYNCED.iter().find(is_it).map(|(_, program)| *program)
    })
}

/// One line of `/proc/self/mountinfo`.
struct Mount {
    device: String,
    point: PathBuf,
    file_system: String,
}

impl Mount {
    /// Reads `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG…] - TYPE SOURCE …`.
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let (device, point) = (before.next()?, before.nth(1)?);
        Some(Self {
            device: device.to_owned(),
            // The kernel writes these four characters in octal.
            point: PathBuf::from(
                point
                    .replace("\\040", " ")
                    .replace("\\011", "\t")
                    .replace("\\012", "\n")
                    .replace("\\134", "\\"),
            ),
            file_system: after.split(' ').next()?.to_owned(),
        })
    }
}

fn advice_for(file: &Path, place: &Place) -> Vec<String> {
    let name = &place.file_system;
    let remove = command(["rm"]).arg(file);
    let shred = command(["shred", "--remove"]).arg(file);
    let mut lines = vec![match (place.kind(), place.is_magnetic) {
        (Kind::Memory, _) => format!(
            "{remove} is enough: the file is in memory ({name}), unless the system moved it to \
             its swap space"
        ),
        (Kind::InPlace, Some(true)) => format!(
            "{shred} overwrites the file where it lies ({name} on a magnetic disk, as the \
             system says) and removes it"
        ),
        (Kind::InPlace, Some(false)) => format!(
            "{remove}: a solid-state disk writes to other cells each time, so overwriting leaves \
             the old content there until the disk clears it; `sudo fstrim --all` tells the disk \
             that it may"
        ),
        (Kind::CopyOnWrite, _) => format!(
            "{remove}: {name} never writes over old content, so it stays on the disk until the \
             space is used again, and in every snapshot; delete the snapshots that have the file"
        ),
        (Kind::Network, _) => format!(
            "{remove}: the file is on another machine ({name}), whose snapshots and backups keep \
             it"
        ),
        (Kind::InPlace | Kind::Unknown, _) => format!(
            "{remove}: what the disk does with the old content is not known here; it may stay \
             until the space is used again"
        ),
    }];
    if place.is_encrypted {
        lines.push(
            "the disk is encrypted: whoever gets it without its key reads none of what is left"
                .to_owned(),
        );
    } else if place.kind() != Kind::Memory {
        lines.push(
            "only a disk that is encrypted protects what is left; a file that was made under \
             /dev/shm leaves nothing"
                .to_owned(),
        );
    }
    if let Some(program) = place.synced_by {
        lines.push(format!(
            "{program} copies this folder: delete the file and its earlier versions there too"
        ));
    }
    lines.push(
        "look for copies too: the trash, the folder of downloads, a backup that ran meanwhile"
            .to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
30 22 0:25 / /dev/shm rw - tmpfs tmpfs rw\n\
31 22 0:40 /@home /home rw,relatime shared:2 master:1 - btrfs /dev/mapper/home rw\n\
32 31 0:41 / /home/a/my\\040share rw - cifs //box/a rw\n\
broken line\n";

    fn place(file: &str, device: u64, sys: &Path) -> Place {
        Place::of(Path::new(file), MOUNTS, device, sys)
    }

    #[test]
    fn the_nearest_mount_has_the_file() {
        let none = Path::new("/nonexistent");
        for (file, file_system, kind) in [
            ("/root/x.csv", "ext4", Kind::InPlace),
            ("/homework/x.csv", "ext4", Kind::InPlace),
            ("/dev/shm/x.csv", "tmpfs", Kind::Memory),
            ("/home/a/x.csv", "btrfs", Kind::CopyOnWrite),
            ("/home/a/my share/x.csv", "cifs", Kind::Network),
        ] {
            let place = place(file, 0, none);
            assert_eq!(
                (place.file_system.as_str(), place.kind()),
                (file_system, kind)
            );
        }
        let nowhere = Place::of(Path::new("/x"), "", 0, none);
        assert_eq!(nowhere.kind(), Kind::Unknown);
    }

    #[test]
    fn the_disk_is_found_by_its_number() {
        let sys = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = sys.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("254:0/queue/rotational", "1\n");
        write("253:7/queue/rotational", "0\n");
        write("253:7/dm/uuid", "CRYPT-LUKS2-00\n");
        let found = place("/x", 0, sys.path());
        assert_eq!((found.is_magnetic, found.is_encrypted), (Some(true), false));
        // The mount of btrfs has a number of its own; the file has that of a device here.
        let device = rustix::fs::makedev(253, 7);
        let found = place("/home/x", device, sys.path());
        assert_eq!((found.is_magnetic, found.is_encrypted), (Some(false), true));
        let unknown = place("/dev/shm/x", 0, sys.path());
        assert_eq!((unknown.is_magnetic, unknown.is_encrypted), (None, false));
    }

    #[test]
    fn each_place_has_its_advice() {
        let on = |file_system: &str, is_magnetic, is_encrypted| Place {
            file_system: file_system.to_owned(),
            is_magnetic,
            is_encrypted,
            synced_by: None,
        };
        for (place, first, has) in [
            (
                on("tmpfs", None, false),
                "`rm '/a b'` is enough",
                "the trash",
            ),
            (
                on("ext4", Some(true), false),
                "`shred --remove '/a b'` overwrites",
                "only a disk that is encrypted",
            ),
            (
                on("ext4", Some(false), true),
                "`rm '/a b'`: a solid-state disk",
                "the disk is encrypted",
            ),
            (
                on("btrfs", None, false),
                "`rm '/a b'`: btrfs never",
                "only a disk",
            ),
            (
                on("nfs4", None, false),
                "`rm '/a b'`: the file is on another",
                "only",
            ),
            (
                on("ext4", None, false),
                "`rm '/a b'`: what the disk",
                "only",
            ),
            (on("", None, false), "`rm '/a b'`: what the disk", "only"),
        ] {
            let lines = advice_for(Path::new("/a b"), &place);
            assert!(lines[0].starts_with(first), "{lines:?}");
            assert!(
                lines
                    .iter()
                    .any(|line| line.starts_with(has) || line.contains(has))
            );
        }
        assert_eq!(
            synced_by(Path::new("/home/a/Dropbox/x.csv")),
            Some("Dropbox")
        );
        assert_eq!(synced_by(Path::new("/home/a/x.csv")), None);
    }
}
