//! What needs the operator's attention. This is the only home of the thresholds: the status page
//! and `check` show these findings, a test holds the alert rules in `deploy/` to them, and the
//! service asks here how much disk space a change needs.

use std::fmt;

use crate::clock::{DAY, utc};
use crate::files::Disk;
use crate::limits::rate::ExemptUse;

/// A certificate should be renewed this many days before it expires.
pub(crate) const CERTIFICATE_DAYS_MIN: i64 = 14;
/// Another key of the certificate is shown for this many days. A device that was off for longer
/// still has the old pin, but by then the operator knows.
pub(crate) const KEY_CHANGE_DAYS_MAX: i64 = 14;
/// A store that holds less than this share of the accounts of the newest backup has lost some.
const ACCOUNTS_LEFT_PERCENT_MIN: u64 = 50;
/// A backup is old after this many days.
pub(crate) const BACKUP_DAYS_MAX: i64 = 2;
/// The disk fills up if less than this share of it is free.
pub(crate) const DISK_FREE_PERCENT_MIN: u64 = 10;
/// An account that was never updated after its first day, and not used for this many days, is
/// worth a look.
pub(crate) const UNUSED_DAYS: i64 = 30;
/// An error of the server is shown for this many hours.
const ERROR_HOURS_MAX: i64 = 24;
/// The clock may be this many seconds behind the newest change in the store.
const CLOCK_SLACK: i64 = 300;

/// The free space below which no new accounts are made: the smaller of a fifth of the disk and
/// 2 GiB.
pub(crate) fn free_min_for_creates(disk: Disk) -> u64 {
    (disk.size / 5).min(2 << 30)
}

/// The free space below which btokens may not grow: the smaller of a twentieth of the disk and
/// 512 MiB. It is lower than the limit for creates, because a disk that fills up must refuse
/// newcomers first and existing vaults last.
pub(crate) fn free_min_for_growth(disk: Disk) -> u64 {
    (disk.size / 20).min(512 << 20)
}

/// With fewer file descriptors there is none for a client: the store, its readers, the listeners and
/// the runtime take about forty.
pub(crate) const DESCRIPTORS_MIN: u64 = 64;

/// The connections that so many file descriptors allow: 80 %. The rest is for the store, and for
/// connections that are closing.
pub(crate) fn connections_of_descriptors(descriptors: u64) -> u64 {
    descriptors / 5 * 4
}

/// Whether a store with this many accounts has lost some since a backup with so many.
pub(crate) fn has_collapsed(accounts: u64, backed_up: u64) -> bool {
    u128::from(accounts) * 100 < u128::from(backed_up) * u128::from(ACCOUNTS_LEFT_PERCENT_MIN)
}

/// What is known about a server. A fact that is not known yields no finding.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The time at which this is looked at. All times are in seconds since 1970.
    pub(crate) now: i64,
    pub(crate) certificate_not_after: Option<i64>,
    /// When another key replaced the one that devices have pinned.
    pub(crate) key_changed_at: Option<i64>,
    pub(crate) backup: Option<LastBackup>,
    pub(crate) disk: Option<Disk>,
    /// Btokens that did not match their stored checksum.
    pub(crate) damaged: u64,
    /// When the last error of the server was seen.
    pub(crate) last_error: Option<LastError>,
    /// When the newest change in the store was made.
    pub(crate) newest_change: Option<i64>,
    pub(crate) connections: Option<Connections>,
    /// What exempt sources did since the start of the server.
    pub(crate) exempt: Option<ExemptUse>,
}

/// The last error of the server itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastError {
    pub(crate) at: i64,
    /// The word for it in the log.
    pub(crate) name: &'static str,
    pub(crate) remedy: &'static str,
}

/// The last backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastBackup {
    NoneKnown,
    MadeAt(i64),
}

impl LastBackup {
    /// What is known of the backups of a store. Where it is a database that others may back up, the
    /// absence of our own says nothing.
    pub(crate) fn known(made_at: Option<i64>, is_elsewhere: bool) -> Option<Self> {
        match made_at {
            Some(made_at) => Some(Self::MadeAt(made_at)),
            None => (!is_elsewhere).then_some(Self::NoneKnown),
        }
    }
}

/// Connections that are configured, and file descriptors that the system allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connections {
    pub(crate) configured: u64,
    pub(crate) descriptors: u64,
}

/// Something that needs the operator's attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    CertificateExpired,
    CertificateExpires {
        at: i64,
        left: i64,
    },
    KeyChanged {
        at: i64,
    },
    NoBackup,
    BackupOld {
        made_at: i64,
        age: i64,
    },
    BackupInFuture {
        made_at: i64,
    },
    NoSpaceForCreates {
        free: u64,
        free_min: u64,
    },
    DiskFillsUp {
        free: u64,
    },
    Damage,
    RecentError {
        age: i64,
        error: LastError,
    },
    ClockBehind {
        newest_change: i64,
    },
    FewDescriptors {
        descriptors: u64,
        allowed: u64,
        configured: u64,
    },
    ExemptOver(ExemptUse),
}

/// Everything in these facts that needs the operator's attention.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(at) = facts.certificate_not_after {
        let left = at - facts.now;
        if left < 0 {
            findings.push(Finding::CertificateExpired);
        } else if left < CERTIFICATE_DAYS_MIN * DAY {
            findings.push(Finding::CertificateExpires { at, left });
        }
    }
    if let Some(at) = facts.key_changed_at
        && facts.now - at < KEY_CHANGE_DAYS_MAX * DAY
    {
        findings.push(Finding::KeyChanged { at });
    }
    match facts.backup {
        Some(LastBackup::NoneKnown) => findings.push(Finding::NoBackup),
        Some(LastBackup::MadeAt(made_at)) if facts.now - made_at > BACKUP_DAYS_MAX * DAY => {
            let age = facts.now - made_at;
            findings.push(Finding::BackupOld { made_at, age });
        }
        Some(LastBackup::MadeAt(made_at)) if made_at > facts.now + CLOCK_SLACK => {
            findings.push(Finding::BackupInFuture { made_at });
        }
        Some(LastBackup::MadeAt(_)) | None => {}
    }
    if let Some(disk) = facts.disk {
        let (free, free_min) = (disk.free, free_min_for_creates(disk));
        if free < free_min {
            findings.push(Finding::NoSpaceForCreates { free, free_min });
        } else if u128::from(free) * 100 < u128::from(disk.size) * u128::from(DISK_FREE_PERCENT_MIN)
        {
            findings.push(Finding::DiskFillsUp { free });
        }
    }
    if facts.damaged > 0 {
        findings.push(Finding::Damage);
    }
    if let Some(error) = facts.last_error
        && facts.now - error.at < ERROR_HOURS_MAX * 3600
    {
        let age = facts.now - error.at;
        findings.push(Finding::RecentError { age, error });
    }
    if let Some(newest_change) = facts.newest_change
        && newest_change > facts.now + CLOCK_SLACK
    {
        findings.push(Finding::ClockBehind { newest_change });
    }
    if let Some(Connections {
        configured,
        descriptors,
    }) = facts.connections
    {
        let allowed = connections_of_descriptors(descriptors);
        if allowed < configured {
            findings.push(Finding::FewDescriptors {
                descriptors,
                allowed,
                configured,
            });
        }
    }
    if let Some(exempt) = facts.exempt
        && exempt != ExemptUse::default()
    {
        findings.push(Finding::ExemptOver(exempt));
    }
    findings
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificateExpired => {
                f.write_str("the certificate has expired: only devices with the pin still connect")
            }
            Self::CertificateExpires { at, left } => {
                let (left, at) = (show_duration(*left), utc(*at));
                write!(f, "the certificate expires in {left}, on {at}")
            }
            Self::KeyChanged { at } => write!(
                f,
                "the certificate has another key since {}: devices that pinned the earlier one \
                 refuse this server",
                utc(*at)
            ),
            Self::NoBackup => f.write_str("no backup is known"),
            Self::BackupOld { made_at, age } => {
                let (age, made_at) = (show_duration(*age), utc(*made_at));
                write!(f, "the last backup is {age} old, of {made_at}")
            }
            Self::BackupInFuture { made_at } => {
                write!(
                    f,
                    "the last backup is dated in the future, {}",
                    utc(*made_at)
                )
            }
            Self::NoSpaceForCreates { free, free_min } => {
                let (free, free_min) = (show_bytes(*free), show_bytes(*free_min));
                write!(
                    f,
                    "the disk has {free} left: no new accounts are made below {free_min}"
                )
            }
            Self::DiskFillsUp { free } => write!(f, "the disk has {} left", show_bytes(*free)),
            Self::Damage => f.write_str("a btoken does not match its stored checksum"),
            Self::RecentError { age, error } => {
                let (age, words) = (show_duration(*age), error.name.replace('_', " "));
                write!(f, "the last error was {age} ago: {words}")
            }
            Self::ClockBehind { newest_change } => write!(
                f,
                "the clock is behind the newest change in the store, which was made on {}",
                utc(*newest_change)
            ),
            Self::FewDescriptors {
                descriptors,
                allowed,
                configured,
            } => write!(
                f,
                "{descriptors} file descriptors allow {allowed} connections, but \
                 --connections-max is {configured}"
            ),
            Self::ExemptOver(ExemptUse { creates, refusals }) => write!(
                f,
                "exempt sources made {creates} accounts and were refused {refusals} times beyond \
                 the limits of one source"
            ),
        }
    }
}

impl Finding {
    /// What the operator can do about it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::CertificateExpired | Self::CertificateExpires { .. } => {
                "renew it; with the same key (certbot --reuse-key) pinned devices notice nothing"
            }
            Self::KeyChanged { .. } => {
                "bring the earlier key back, or send the new pin (`passmate-server cert show`) to \
                 your users, who run `passmate sync trust PIN`"
            }
            Self::NoBackup => {
                "run `passmate-server backup FILE --keep 14` every night; see deploy/passmate-server-backup.timer"
            }
            Self::BackupOld { .. } => "check the timer that makes the backups",
            Self::BackupInFuture { .. } => {
                "set the clock (timedatectl) if it is wrong, then make a backup"
            }
            Self::NoSpaceForCreates { .. } | Self::DiskFillsUp { .. } => {
                "free some space, or move the data dir"
            }
            Self::Damage => "run `passmate-server verify`, which names the account",
            Self::RecentError { error, .. } => error.remedy,
            Self::ClockBehind { .. } => {
                "set the clock (timedatectl), and keep it set with NTP; if it is right now, it was \
                 ahead before, and `passmate-server account correct-times` corrects the store"
            }
            Self::FewDescriptors { .. } => {
                "raise LimitNOFILE= in the unit (elsewhere: ulimit -n), or lower --connections-max"
            }
            Self::ExemptOver(_) => {
                "if a forwarder hides clients there, let it send the PROXY protocol and list it \
                 with --proxy-from; else give a narrower --limit-exempt"
            }
        }
    }
}

/// A number of bytes, such as `2.0 KiB`.
pub(crate) fn show_bytes(value: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (value as f64, 0);
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 {
        format!("{value} {name}")
    } else {
        format!("{size:.1} {name}")
    }
}

/// An approximate duration, in the largest unit of which it has at least two.
pub(crate) fn show_duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    for (unit, name) in [(DAY, "days"), (3600, "h"), (60, "min")] {
        if seconds >= 2 * unit {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{seconds} s")
}

#[cfg(test)]
mod tests;
