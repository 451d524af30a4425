//! `passmate-server check`: what is not as it should be, and what to do about it. It may run beside
//! a server and changes nothing.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde_json::json;

use super::{App, Failure};
use crate::backup::{last_backup, last_with_key};
use crate::clock::{DAY, now, utc};
use crate::config::{Config, ConfigError, ListenHost, Registration, Sources};
use crate::exit::Code;
use crate::files::{Disk, disk_of};
use crate::store::StoreError;
use crate::tls::{Chain, Identity, OWN_CERTIFICATE, OWN_KEY, look_at_chain};

/// Look for what is not as it should be: certificate, key, store, disk, limits, clock,
/// registration, backups
///
/// With the options of `serve`, it looks at what that would do. Each finding says what to do. The
/// exit code is 31 if there is one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Days before its end at which a certificate should have been renewed.
const CERTIFICATE_DAYS: i64 = 14;
/// Days after which a backup is old.
const BACKUP_DAYS: i64 = 2;
/// A clock may be as much behind the newest change.
const CLOCK_SLACK: i64 = 300;

/// Something that is not as it should be.
struct Finding {
    what: String,
    remedy: &'static str,
}

#[derive(Default)]
struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, what: impl Into<String>, remedy: &'static str) {
        self.0.push(Finding {
            what: what.into(),
            remedy,
        });
    }
}

/// A configuration that cannot be used is the first thing to mend.
pub(super) fn unconfigured(error: &ConfigError, is_json: bool) -> Failure {
    let message = format!("the configuration cannot be used: {error}");
    if is_json {
        let finding = json!({ "what": message, "do": error.hint() });
        println!(
            "{}",
            json!({ "findings": [finding], "notes": [], "version": 1 })
        );
    }
    Failure::new(Code::Findings, message, error.hint())
}

pub(super) fn run(app: &App, _: &Sources) -> Result<(), Failure> {
    let config = &app.config;
    let mut found = Found::default();
    let unreadable = fs::read_dir(&config.data_dir)
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    if unreadable {
        let what = format!(
            "the data dir {} cannot be read by the user that runs this",
            config.data_dir.display()
        );
        found.add(
            what,
            "run it as the user that the server runs as, or as root",
        );
        return tell(app, &found, &[]);
    }
    let identity = certificate(config, &mut found);
    store(config, &mut found);
    place(config, &mut found);
    descriptors(config, &mut found);
    registration(config, &mut found);
    backups(config, identity.as_ref(), &mut found);
    let mut notes = vec![
        "nothing may end TLS between clients and this server, and that cannot be seen from here",
    ];
    if config
        .certificate
        .as_ref()
        .is_some_and(|files| matches!(look_at_chain(&files.certificate), Ok(Chain::Alone)))
    {
        notes.push("the certificate stands alone in its file: right if devices trust its issuer, else put its intermediates behind it");
    }
    if !config.proxy_from.is_empty() {
        notes.push("--proxy-from: clients must not reach the server from these addresses in another way than through the proxy");
    }
    if let Some(address) = config
        .admin_listen
        .as_ref()
        .filter(|address| !address.is_local())
    {
        found.add(
            format!("--admin-listen is no loopback address ({address})"),
            "give 127.0.0.1 with a port, or unix:PATH: whoever reaches it sees how much the server is used",
        );
    }
    tell(app, &found, &notes)
}

fn tell(app: &App, Found(findings): &Found, notes: &[&str]) -> Result<(), Failure> {
    let mut text = String::new();
    for Finding { what, remedy } in findings {
        text.push_str(&format!("finding: {what}\n     do: {remedy}\n"));
    }
    for note in notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if findings.is_empty() {
        text.push_str("nothing to do\n");
    }
    let listed: Vec<_> = findings
        .iter()
        .map(|one| json!({ "what": one.what, "do": one.remedy }))
        .collect();
    app.answer(&text, json!({ "findings": listed, "notes": notes }))?;
    match findings.len() {
        0 => Ok(()),
        1 => Err(Failure::new(
            Code::Findings,
            "1 finding",
            "see above; when it is mended, check again",
        )),
        count => Err(Failure::new(
            Code::Findings,
            format_args!("{count} findings"),
            "see above; when they are mended, check again",
        )),
    }
}

fn certificate(config: &Config, found: &mut Found) -> Option<Identity> {
    let key = config
        .certificate
        .as_ref()
        .map_or_else(|| config.data_dir.join(OWN_KEY), |files| files.key.clone());
    if config.certificate.is_none() && !key.exists() {
        // A server makes its own at its first start, and this makes none.
        return None;
    }
    private(&key, "the TLS key", config, found);
    if config.certificate.is_none() && !config.data_dir.join(OWN_CERTIFICATE).exists() {
        found.add(
            "the certificate in the data dir is gone",
            "start the server: it makes a new one for the same key",
        );
        return None;
    }
    let identity = match Identity::load(config.certificate.as_ref(), &config.data_dir) {
        Ok(identity) => identity,
        Err(error) => {
            found.add(error.to_string(), error.hint());
            return None;
        }
    };
    if let Some(files) = &config.certificate
        && let Ok(Chain::Broken(number)) = look_at_chain(&files.certificate)
    {
        found.add(
            format!("certificate {number} in {} was not issued by the one behind it", files.certificate.display()),
            "put the server's certificate first and then its intermediates, each behind the one that it issued",
        );
    }
    for warning in &identity.warnings {
        found.add(
            warning.to_string(),
            "renew the certificate, or make one that is a server's; SIGHUP takes it in",
        );
    }
    let left = identity.not_after - now();
    if (0..CERTIFICATE_DAYS * DAY).contains(&left) {
        found.add(
            format!("the certificate expires on {}", utc(identity.not_after)),
            "renew it; with the same key (certbot --reuse-key) pinned devices notice nothing",
        );
    }
    if !identity.is_own && identity.names.is_empty() {
        found.add(
            "the certificate names no DNS name",
            "make one with subjectAltName: devices without a pin compare the host's name with it",
        );
    }
    Some(identity)
}

/// Whether others than its owner may read a file, or it is somebody's who is neither the server's
/// user nor root.
fn private(path: &Path, what: &str, config: &Config, found: &mut Found) {
    let Ok(file) = fs::metadata(path) else { return };
    if file.permissions().mode() & 0o077 != 0 {
        found.add(
            format!(
                "{what} {} may be read by others (mode {:o})",
                path.display(),
                file.permissions().mode() & 0o777
            ),
            "chmod 600; if others have an account on this machine, make a new key",
        );
    }
    // The server's user is the one whose data dir it is.
    let servers = fs::metadata(&config.data_dir).map_or(file.uid(), |folder| folder.uid());
    if file.uid() != servers && file.uid() != 0 {
        found.add(
            format!("{what} {} belongs to another user", path.display()),
            "chown it to the user that the server runs as, or to root",
        );
    }
}

fn store(config: &Config, found: &mut Found) {
    if let Some(file) = config.store.file() {
        private(file, "the store", config, found);
    }
    let mut store = match config.store.operator_without_upgrade() {
        Ok(store) => store,
        // The first start makes it.
        Err(StoreError::Missing { .. }) => return,
        Err(error) => {
            let remedy = "`passmate-server verify` looks closer; restore a backup if it is damaged";
            found.add(format!("the store cannot be used: {error}"), remedy);
            return;
        }
    };
    if let Err(error) = store.sum() {
        found.add(
            format!("the store cannot be read: {error}"),
            "`passmate-server verify` looks closer; restore a backup",
        );
    }
    let newest = store
        .accounts()
        .ok()
        .and_then(|accounts| accounts.iter().map(|account| account.changed_at).max());
    if let Some(newest) = newest.filter(|newest| *newest > now() + CLOCK_SLACK) {
        found.add(
            format!(
                "the clock is behind the newest change in the store, which is of {}",
                utc(newest)
            ),
            "set the clock (timedatectl), and let NTP keep it",
        );
    }
}

fn place(config: &Config, found: &mut Found) {
    let Some(folder) = config.store.folder() else {
        return;
    };
    let Some(there) = folder.ancestors().find(|folder| folder.is_dir()) else {
        return;
    };
    #[cfg(target_os = "linux")]
    if let Ok(kind) = rustix::fs::statfs(there)
        && let Some(name) = network_file_system(u64::try_from(kind.f_type).unwrap_or_default())
    {
        found.add(
            format!("the store is on a network file system ({name})"),
            "move the data dir to a local disk: file locks and flushes are what 'confirmed means kept' rests on",
        );
    }
    if let Ok(Disk { free, size }) = disk_of(there) {
        let least = (size / 5).min(2 << 30);
        if free < least {
            found.add(
                format!(
                    "the disk has {} MiB left: no new accounts are made below {} MiB",
                    free >> 20,
                    least >> 20
                ),
                "make room, or move the data dir",
            );
        }
    }
    if config.data_dir.is_dir() {
        private_folder(&config.data_dir, found);
    }
}

fn private_folder(folder: &Path, found: &mut Found) {
    let Ok(metadata) = fs::metadata(folder) else {
        return;
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        found.add(
            format!("others may look into the data dir {}", folder.display()),
            "chmod 700: the key, sizes and times are in there",
        );
    }
}

#[cfg(target_os = "linux")]
/// The name of a file system that other machines share, by its number in `statfs(2)`.
fn network_file_system(kind: u64) -> Option<&'static str> {
    match kind & 0xFFFF_FFFF {
        0x6969 => Some("NFS"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
        0x0102_1997 => Some("9P"),
        0x00C3_6400 => Some("Ceph"),
        0x6573_5546 => Some("FUSE"),
        0x0BD0_0BD0 => Some("Lustre"),
        0x5346_414F => Some("AFS"),
        _ => None,
    }
}

fn descriptors(config: &Config, found: &mut Found) {
    let may = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let wanted = config.limits.connections_max as u64;
    if may / 5 * 4 < wanted {
        found.add(
            format!(
                "{may} file descriptors are allowed here: that is {} connections, and --connections-max is {wanted}",
                may / 5 * 4
            ),
            "raise LimitNOFILE= in the unit (ulimit -n elsewhere), or lower --connections-max",
        );
    }
}

fn registration(config: &Config, found: &mut Found) {
    let is_public = |host: &ListenHost| match host {
        ListenHost::Ip(IpAddr::V4(ip)) => {
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local())
        }
        ListenHost::Ip(IpAddr::V6(ip)) => {
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
        ListenHost::Name(name) => name != "localhost",
    };
    let listeners = || config.listen.iter().chain(&config.listen_v2);
    if config.registration == Registration::Open
        && listeners().any(|address| is_public(&address.host))
    {
        found.add(
            "whoever reaches the server may make accounts (--registration open, on an address that may be public)",
            "--registration invite lets in whom you have let in; or let only your own network reach the port",
        );
    }
}

fn backups(config: &Config, identity: Option<&Identity>, found: &mut Found) {
    if config.store.file().is_some_and(|file| !file.exists()) {
        return;
    }
    match last_backup(config.notes_folder()) {
        None => found.add(
            "no backup is known",
            "`passmate-server backup FILE --keep 14`, every night; see deploy/passmate-server-backup.timer",
        ),
        Some(last) if now() - last > BACKUP_DAYS * DAY => {
            found.add(format!("the last backup is of {}", utc(last)), "look at the timer that makes them");
        }
        Some(_) => {}
    }
    let key_kept = last_with_key(config.notes_folder()).is_some();
    if identity.is_some_and(|identity| identity.is_own) && !key_kept {
        found.add(
            format!("the only copy of the TLS key is {}", config.data_dir.join(OWN_KEY).display()),
            "`passmate-server backup FILE --with-key` once, kept in a safe place: with a lost key every device needs a new pin",
        );
    }
}
