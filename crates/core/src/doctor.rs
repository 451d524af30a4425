//! What may harm a vault or keep it from syncing, each with a remedy. Looking changes nothing, and
//! needs no network.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::statvfs;

use crate::adopt::Original;
use crate::api::Standing;
use crate::clock::local_time;
use crate::command::command;
use crate::disk::folder_of;
use crate::disposal::{Kind, Place};
use crate::escape::escape;
use crate::exposure::is_open_to_others;
use crate::problem::Problem;
use crate::recover::{self, CopyKind};
use crate::session::VaultLocation;
use crate::sync_all::shortage;
use crate::sync_status::{SILENT_DAYS, Status, trust_text};
use crate::units::readable;

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkup {
    /// What was looked at: one line each, in order.
    pub facts: Vec<Fact>,
    /// What should be changed.
    pub findings: Vec<Finding>,
}

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What.
    pub name: &'static str,
    /// How it is. Not escaped.
    pub text: String,
}

/// What should be changed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong. Not escaped.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Bytes that a disk should have left for the next saves, beside three times the vault.
const ROOM_MIN: u64 = 16 << 20;
/// A clock may be wrong by so many seconds without harm: changes of two devices in this time have
/// no order that people notice.
const CLOCK_SLACK: i64 = 120;
/// No clock that is right says less: 2026-01-01.
const CLOCK_MIN: i64 = 1_767_225_600;
const DAY: i64 = 24 * 3600;

impl Checkup {
    /// Notes how something is.
    pub fn fact(&mut self, name: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.facts.push(Fact { name, text });
    }

    /// Notes what should be changed, and how.
    pub fn finding(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        self.findings.push(Finding {
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// Notes a problem.
    pub fn problem(&mut self, problem: Problem) {
        self.finding(problem.message, problem.hint);
    }

    /// Looks at the vault's file, at its copies, and at what is around it.
    pub fn look_at_vault(&mut self, location: &VaultLocation) {
        let path = location.path();
        if let Err(problem) = recover::check_whole(location) {
            self.fact("vault", format!("{} does not open", path.display()));
            self.problem(problem);
            return;
        }
        let target = location.resolved();
        let (file, place) = Place::of_file(target.path());
        let metadata = fs::metadata(&file).ok();
        let len = metadata.as_ref().map_or(0, MetadataExt::size);
        let file_system = match place.file_system.as_str() {
            "" => String::new(),
            name => format!(" on {name}"),
        };
        let size = readable(usize::try_from(len).unwrap_or(usize::MAX));
        self.fact("vault", format!("{}, {size}{file_system}", path.display()));
        self.look_at_place(&file, &place);
        self.look_at_rights(&file, metadata.map(|metadata| metadata.uid()));
        self.look_at_room(&file, len);
        self.look_at_copies(location);
    }

    fn look_at_place(&mut self, file: &Path, place: &Place) {
        let (shown, name) = (file.display(), &place.file_system);
        match place.kind() {
            Kind::Memory => self.finding(
                format!("the vault {shown} is in memory ({name}) and gone after a restart"),
                "move it to a disk, and name it with --vault",
            ),
            Kind::Network => self.finding(
                format!("the vault {shown} is on a network file system ({name})"),
                "keep the vault on a disk of this machine, and sync with a server or a shared \
                 folder: a lock on another machine may hold back no one",
            ),
            Kind::InPlace | Kind::CopyOnWrite | Kind::Unknown => {}
        }
        if let Some(program) = place.synced_by {
            self.finding(
                format!("the vault {shown} is in a folder that {program} copies"),
                "keep the vault elsewhere, and let `passmate sync setup --folder DIR` use the \
                 folder: two devices that write one file overwrite each other's changes",
            );
        }
    }

    fn look_at_rights(&mut self, file: &Path, owner: Option<u32>) {
        self.look_at_file(file, "vault");
        if owner.is_some_and(|owner| owner != rustix::process::geteuid().as_raw()) {
            self.finding(
                format!("the vault {} belongs to another user", file.display()),
                format!("let its owner run {}", command(["chown", "YOU"]).arg(file)),
            );
        }
        let folder = folder_of(file);
        const WRITE: u32 = 0o022;
        if fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & WRITE != 0) {
            self.finding(
                format!(
                    "other users can replace files in the vault's folder {}",
                    folder.display()
                ),
                format!("{}", command(["chmod", "go-w"]).arg(folder)),
            );
        }
    }

    /// Looks at a file that nobody else should read or write.
    pub fn look_at_file(&mut self, file: &Path, what: &str) {
        if is_open_to_others(file) {
            self.finding(
                format!(
                    "other users can read or write the {what} {}",
                    file.display()
                ),
                format!("{}", command(["chmod", "600"]).arg(file)),
            );
        }
    }

    /// Looks at a file that others may read, and that makes this program run commands.
    pub fn look_at_settings(&mut self, file: &Path) {
        const WRITE: u32 = 0o022;
        let metadata = fs::metadata(file).ok();
        let is_there = if metadata.is_some() {
            ""
        } else {
            " (there is none)"
        };
        self.fact("settings", format!("{}{is_there}", file.display()));
        if metadata.is_some_and(|metadata| metadata.mode() & WRITE != 0) {
            self.finding(
                format!("other users can change the settings {}", file.display()),
                format!("{}", command(["chmod", "go-w"]).arg(file)),
            );
        }
    }

    fn look_at_room(&mut self, file: &Path, len: u64) {
        let Ok(room) = statvfs(folder_of(file)) else {
            return;
        };
        let left = room.f_bavail.saturating_mul(room.f_frsize);
        let left_shown = readable(usize::try_from(left).unwrap_or(usize::MAX));
        self.fact("disk", format!("{left_shown} left"));
        if left < ROOM_MIN.max(len.saturating_mul(3)) {
            self.finding(
                format!("the disk of the vault has {left_shown} left"),
                "make room: a save needs as much as the vault and its previous copy",
            );
        }
    }

    fn look_at_copies(&mut self, location: &VaultLocation) {
        let copies = recover::find(location);
        let count = |kind| copies.iter().filter(|copy| copy.kind == kind).count();
        let copies_text = [
            (CopyKind::Previous, "previous"),
            (CopyKind::Archive, "with earlier history"),
            (CopyKind::Other, "other"),
        ];
        let shown: Vec<_> = copies_text
            .into_iter()
            .map(|(kind, name)| (count(kind), name))
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}"))
            .collect();
        let shown = match shown.is_empty() {
            true => "none yet".to_owned(),
            false => shown.join(", "),
        };
        self.fact("copies", shown);
        for copy in &copies {
            match copy.kind {
                CopyKind::Vault => {}
                CopyKind::Interrupted => self.finding(
                    format!("a save was interrupted, and left {}", copy.path.display()),
                    "the vault is whole; `passmate recover` says what the file holds, and the next \
                     save replaces it",
                ),
                CopyKind::Previous | CopyKind::Archive | CopyKind::Other => {
                    self.look_at_file(&copy.path, "copy of the vault");
                }
            }
        }
    }

    /// Looks at what the original programs left.
    pub fn look_at_originals(&mut self, originals: &[Original]) {
        for original in originals {
            let path = match original {
                Original::Vault { path, .. } | Original::Folder(path) => path.display(),
            };
            let way = original.command();
            self.fact(
                "original",
                format!("{path} is of an original program; {way} takes it over"),
            );
        }
    }

    /// Looks at how an unlocked vault syncs; `None` if it syncs with nothing.
    pub fn look_at_standing(&mut self, standing: Option<&Standing>, now: i64) {
        let Some(standing) = standing else {
            self.fact("sync", "with nothing; `passmate sync setup` begins");
            return;
        };
        if let Some(folder) = &standing.folder {
            self.fact("folder", folder.path.clone());
            if !Path::new(&folder.path).is_dir() {
                self.finding(
                    format!("the shared folder {} is not there", folder.path),
                    "connect its disk, or name another one with `passmate sync setup --folder DIR`",
                );
            }
        }
        if let Some(status) = &standing.server {
            self.look_at_server(status, now);
        }
        let last = standing.server.as_ref().and_then(|status| status.last_sync);
        let seen = last.map(|last| last.time).max(standing.content.newest);
        self.look_at_clock(now, seen);
    }

    fn look_at_server(&mut self, status: &Status, now: i64) {
        let last = match &status.last_sync {
            Some(last) => format!("last synced {}", local_time(last.time)),
            None => "not synced yet".to_owned(),
        };
        let (host, port) = (&status.host, status.port);
        self.fact("server", format!("{host}:{port}, {last}"));
        self.fact("trust", trust_text(&status.trust));
        let (percent, left) = (status.quota.percent(), readable(status.quota.left()));
        self.fact(
            "room",
            format!("{percent} % used on the server, {left} left"),
        );
        if let Some(notice) = shortage(status.quota) {
            let (message, remedy) = notice.text.split_once(": ").unwrap_or((&notice.text, ""));
            self.finding(message, remedy);
        }
        if status.pending {
            self.finding(
                format!("{host} has not admitted this device yet"),
                "give its operator the code of `passmate sync setup HOST --request`",
            );
        }
        let failed = status.last_try.as_ref().filter(|last| last.error.is_some());
        if let Some(failed) = failed {
            let unsent = match status.unsent {
                Some(1) => "; 1 change is not sent".to_owned(),
                Some(unsent @ 2..) => format!("; {unsent} changes are not sent"),
                _ => String::new(),
            };
            self.finding(
                format!("the last sync failed, {}{unsent}", local_time(failed.time)),
                "`passmate sync` says why",
            );
        } else if let Some(last) = &status.last_sync
            && now.saturating_sub(last.time) > SILENT_DAYS * DAY
        {
            self.finding(
                format!("this device did not sync for more than {SILENT_DAYS} days"),
                "`passmate sync`, or `passmate config set sync.auto true`",
            );
        }
        let is_silent =
            |device: &&crate::sync_status::DeviceStatus| device.is_silent && !device.is_this;
        for device in status.devices.iter().filter(is_silent) {
            self.finding(
                format!(
                    "the device {} did not sync for more than {SILENT_DAYS} days",
                    escape(&device.name)
                ),
                "sync it; if it was lost or stolen, `passmate sync rotate --lost`",
            );
        }
        if status.lost {
            self.finding(
                "a device was lost, and the old account is not replaced yet",
                "`passmate sync` makes a new one",
            );
        }
    }

    /// Compares the clock with the latest time that this device knows to be past.
    pub fn look_at_clock(&mut self, now: i64, seen: Option<i64>) {
        self.fact("clock", local_time(now));
        let is_behind = seen.is_some_and(|seen| now.saturating_add(CLOCK_SLACK) < seen);
        if now < CLOCK_MIN || is_behind {
            let than = match seen.filter(|_| is_behind) {
                Some(seen) => format!(": changes or a sync are stamped {}", local_time(seen)),
                None => String::new(),
            };
            self.finding(
                format!("the clock is behind ({}){than}", local_time(now)),
                "set the clock: of two changes of a field the later one wins, and one-time codes \
                 follow the time",
            );
        }
    }
}

#[cfg(test)]
mod tests;
