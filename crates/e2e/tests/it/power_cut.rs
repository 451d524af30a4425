//! A power cut right after a confirmation. The file system is shut down without a flush of its
//! journal. When it is mounted again, it contains only what an fsync has written to the disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use passmate_proto::Outcome;

use crate::support::Server;
use crate::support::exchange::{create, fetch, update};

/// Power cuts, unless PASSMATE_POWER_CUTS sets another number.
const CUTS: u32 = 100;
const DISK_LEN: u64 = 64 << 20;

#[test]
fn confirmed_data_survive_a_power_cut() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: needs root");
        return;
    }
    let cuts = std::env::var("PASSMATE_POWER_CUTS").map_or(CUTS, |number| number.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::make(dir.path()) else {
        return;
    };
    let data_dir = disk.mounted.join("data");
    let server = Server::start(&data_dir);
    let account = create(&server, b"");
    disk.cut_power();
    server.kill();
    disk.mount_again();
    let mut expected = Vec::new();
    let mut created = Vec::new();
    for cut in 0..cuts {
        let server = Server::start(&data_dir);
        assert_eq!(
            fetch(&server, account).unwrap(),
            expected,
            "confirmed before cut {cut}"
        );
        expected = [
            &cut.to_be_bytes(),
            vec![0xA5; (cut as usize * 977) % 20_000].as_slice(),
        ]
        .concat();
        assert!(matches!(
            update(&server, account, |_| expected.clone()),
            Outcome::Confirmed(_)
        ));
        if cut % 10 == 9 {
            created.push((create(&server, &cut.to_be_bytes()), cut));
        }
        disk.cut_power();
        server.kill();
        disk.mount_again();
    }
    let server = Server::start(&data_dir);
    assert_eq!(fetch(&server, account).unwrap(), expected);
    for (account, cut) in created {
        assert_eq!(fetch(&server, account).unwrap(), cut.to_be_bytes());
    }
    server.kill();
    println!("{cuts} confirmed commits survived {cuts} power cuts");
}

/// An ext4 file system in a file.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    /// Returns `None` if the system cannot mount a file, as in most containers. In CI that is an
    /// error.
    fn make(dir: &Path) -> Option<Self> {
        let disk = Self {
            image: dir.join("disk.img"),
            mounted: dir.join("mounted"),
        };
        File::create(&disk.image)
            .unwrap()
            .set_len(DISK_LEN)
            .unwrap();
        std::fs::create_dir(&disk.mounted).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&disk.image)).unwrap();
        if let Err(complaint) = disk.mount() {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI must be able to mount a file: {complaint}"
            );
            eprintln!("not run: this system cannot mount a file ({complaint})");
            return None;
        }
        Some(disk)
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&self.image)
            .arg(&self.mounted))
    }

    /// After this, nothing reaches the disk, not even the part of the journal that is in memory.
    fn cut_power(&self) {
        // FS_IOC_SHUTDOWN with FSOP_GOING_FLAGS_NOLOGFLUSH. It is a line of Python because Rust
        // would need `unsafe` for it.
        let program = "import fcntl, os, struct, sys; \
                       fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
        run(Command::new("python3")
            .args(["-c", program])
            .arg(&self.mounted))
        .unwrap();
    }

    fn mount_again(&self) {
        run(Command::new("umount").arg(&self.mounted)).unwrap();
        self.mount().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.mounted));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
