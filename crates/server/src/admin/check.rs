//! `passmate-server check`: what needs the operator's attention, and what to do about it. It may
//! run beside a server, and changes nothing.

use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::process::{Resource, geteuid, getrlimit};
use serde_json::json;

use super::users::{Barrier, Need, User};
use super::{App, Failure, running};
use crate::backup::{last_backup, last_with_key};
use crate::clock::{DAY, now};
use crate::config::{Config, ConfigError, ListenHost, Registration, Sources};
use crate::control;
use crate::exit::Code;
use crate::files::disk_of;
use crate::health::{self, Connections, Facts, LastBackup};
use crate::limits::rate::ExemptUse;
use crate::store::StoreError;
use crate::text::printable;
use crate::tls::{
    Chain, Identity, OWN_CERTIFICATE, OWN_KEY, TlsError, Warning, key_changed_at, look_at_chain,
};

/// Find what needs attention: certificate, key, store, disk, limits, clock, registration, backups
///
/// With the options of `serve`, it checks what `serve` would do. Each finding says what to do. The
/// exit code is 31 if there is one.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {}

/// What was found, and what to do about it.
#[derive(Default)]
struct Checked(Vec<(String, &'static str)>);

impl Checked {
    fn add(&mut self, what: impl Into<String>, remedy: &'static str) {
        self.0.push((what.into(), remedy));
    }
}

/// Reports a configuration that cannot be used: everything else depends on it.
pub(super) fn unconfigured(error: &ConfigError, is_json: bool) -> Failure {
    let message = format!("the configuration cannot be used: {error}");
    if is_json {
        let finding = json!({ "what": message, "do": error.hint() });
        let object = json!({ "findings": [finding], "notes": [], "version": 1 });
        // Without a standard output the exit code must be enough.
        let _ = writeln!(io::stdout(), "{object}");
    }
    Failure::new(Code::Findings, message, error.hint())
}

pub(super) fn run(app: &App, sources: &Sources) -> Result<(), Failure> {
    let config = &app.config;
    let mut checked = Checked::default();
    if !config.data_dir.exists() {
        checked.add(
            format!("there is no data dir at {}", config.data_dir.display()),
            "give --data-dir or --config as `serve` gets it; or start the server once, which makes \
             the data dir",
        );
    }
    let is_unreadable = fs::read_dir(&config.data_dir)
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    if is_unreadable {
        checked.add(
            format!(
                "the user that runs this command cannot read the data dir {}",
                config.data_dir.display()
            ),
            "run it as the user of the server, or as root",
        );
        return report(app, &checked, &[]);
    }
    if let Some(servers) = running::elsewhere(config) {
        checked.add(
            format!(
                "no server runs with the data dir {}; one runs with another, {servers}",
                config.data_dir.display()
            ),
            "give --data-dir or --config as that server has it, or set data-dir in \
             /etc/passmate/server.toml, which all commands read",
        );
    }
    let server = server_user(config);
    let identity = certificate(config, &server, &mut checked);
    readable_settings(app, sources, &server, &mut checked)?;
    let newest_change = store(config, &server, &mut checked);
    file_system(config, &mut checked);
    let facts = facts(config, identity.as_ref(), newest_change);
    for finding in health::findings(&facts) {
        checked.add(finding.to_string(), finding.remedy());
    }
    issuing(config, identity.as_ref(), &server, &mut checked);
    registration(config, &mut checked);
    key_backup(config, identity.as_ref(), &mut checked);
    if let Some(address) = config
        .admin_listen
        .as_ref()
        .filter(|address| !address.is_local())
    {
        checked.add(
            format!("--admin-listen is not a loopback address ({address})"),
            "give 127.0.0.1 with a port, or unix:PATH: anyone who reaches it sees how much the \
             server is used",
        );
    }
    report(app, &checked, &notes(config))
}

fn facts(config: &Config, identity: Option<&Identity>, newest_change: Option<i64>) -> Facts {
    // The data dir may not exist yet.
    let folder = config.store.folder();
    let folder = folder.and_then(|folder| folder.ancestors().find(|folder| folder.is_dir()));
    let has_store = config.store.file().is_none_or(Path::exists);
    Facts {
        now: now(),
        certificate_not_after: identity.map(|identity| identity.not_after),
        key_changed_at: identity
            .and_then(|identity| key_changed_at(config.notes_folder(), identity.pin)),
        backup: has_store
            .then(|| {
                let is_elsewhere = config.store.file().is_none();
                LastBackup::known(last_backup(config.notes_folder()), is_elsewhere)
            })
            .flatten(),
        disk: folder.and_then(|folder| disk_of(folder).ok()),
        newest_change,
        connections: Some(Connections {
            configured: config.limits.connections_max as u64,
            descriptors: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
        }),
        exempt: control::limits_in_force(&config.data_dir)
            .ok()
            .map(|limits| ExemptUse {
                creates: limits.exempt_creates,
                refusals: limits.exempt_refusals,
            }),
        ..Facts::default()
    }
}

fn report(app: &App, Checked(findings): &Checked, notes: &[String]) -> Result<(), Failure> {
    let mut text = String::new();
    for (what, remedy) in findings {
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
        .map(|(what, remedy)| json!({ "what": what, "do": remedy }))
        .collect();
    let place = &app.config;
    let object = json!({
        "store": place.store.to_string(),
        "data_dir": place.data_dir.display().to_string(),
        "findings": listed,
        "notes": notes,
    });
    app.answer(&text, object)?;
    match findings.len() {
        0 => Ok(()),
        1 => Err(Failure::new(
            Code::Findings,
            "1 finding",
            "resolve the finding above, then check again",
        )),
        count => Err(Failure::new(
            Code::Findings,
            format_args!("{count} findings"),
            "resolve the findings above, then check again",
        )),
    }
}

/// What cannot be checked from here.
fn notes(config: &Config) -> Vec<String> {
    let mut notes = vec![
        "this cannot be checked from here: nothing between clients and this server may end TLS"
            .to_owned(),
    ];
    if config.store.file().is_none() {
        notes.push(
            "this cannot be checked from here: whether the database is backed up, and whether it \
             has a standby"
                .to_owned(),
        );
    }
    let before = now() - health::UNUSED_DAYS * DAY;
    let unused = config
        .store
        .inspector()
        .and_then(|store| store.unused(before));
    if let Some(sum) = unused
        .ok()
        .map(|unused| unused.sum)
        .filter(|sum| sum.accounts > 0)
    {
        notes.push(format!(
            "{} accounts with {} were never updated after their first day and not used for {days} \
             days: `passmate-server account prune --older-than {days}d` deletes them",
            sum.accounts,
            health::show_bytes(sum.btoken_bytes),
            days = health::UNUSED_DAYS
        ));
    }
    if !config.proxy_from.is_empty() {
        notes.push(
            "--proxy-from: clients must not reach the server from these addresses without \
            going through the proxy"
                .to_owned(),
        );
    }
    notes
}

fn operators_chain(config: &Config) -> Option<Result<Chain, TlsError>> {
    let files = config.certificate.as_ref()?;
    Some(look_at_chain(&files.certificate))
}

/// The user of the server: the owner of the data dir, which the server or its unit makes. None if it
/// is not known, or is this user.
fn server_user(config: &Config) -> Option<User> {
    let folder = fs::metadata(&config.data_dir).ok()?;
    let is_known = geteuid().is_root() && folder.uid() != 0;
    is_known.then(|| User::of(folder.uid()))
}

/// Checks that the server's user can do with a file what it has to.
fn usable(what: &str, path: &Path, need: Need, server: &Option<User>, checked: &mut Checked) {
    let Some(user) = server else { return };
    let Some(Barrier {
        path: at,
        mode,
        owner,
    }) = user.barrier_to(path, need)
    else {
        return;
    };
    let name = |uid| match User::of(uid).name {
        Some(name) => printable(&name),
        None => format!("uid {uid}"),
    };
    let verb = match need {
        Need::Read => "read",
        Need::ReadAndWrite => "read and write",
    };
    checked.add(
        format!(
            "the server's user {} cannot {verb} {what} {}: {} belongs to {} and has mode {mode:o}",
            name(user.uid),
            path.display(),
            at.display(),
            name(owner)
        ),
        "copy the file to where the server's user can read it, as deploy/certificate-hook does, or \
         correct its owner and mode and those of its folders",
    );
}

/// Checks that the server's user can read the files that settings come from.
fn readable_settings(
    app: &App,
    sources: &Sources,
    server: &Option<User>,
    checked: &mut Checked,
) -> Result<(), Failure> {
    if let Some(file) = sources.config_file()? {
        usable("the configuration file", &file, Need::Read, server, checked);
    }
    for setting in app.config.explain(sources)? {
        if setting.name == "banner-file" && setting.origin.is_some() {
            let path = Path::new(&setting.value);
            usable("the banner", path, Need::Read, server, checked);
        }
    }
    Ok(())
}

fn certificate(config: &Config, server: &Option<User>, checked: &mut Checked) -> Option<Identity> {
    let own_key = || config.data_dir.join(OWN_KEY);
    let key = config
        .certificate
        .as_ref()
        .map_or_else(own_key, |files| files.key.clone());
    if config.certificate.is_none() && !key.exists() {
        // The server makes its own key at its first start.
        return None;
    }
    private_file(&key, "the TLS key", config, server, checked);
    usable("the TLS key", &key, Need::Read, server, checked);
    let own_certificate = config.data_dir.join(OWN_CERTIFICATE);
    if config.certificate.is_none() && !own_certificate.exists() {
        checked.add(
            "the certificate in the data dir is missing",
            "start the server, which makes a new one for the same key",
        );
        return None;
    }
    let certificate = config
        .certificate
        .as_ref()
        .map_or(&own_certificate, |files| &files.certificate);
    usable("the certificate", certificate, Need::Read, server, checked);
    let identity = match Identity::load(config.certificate.as_ref(), &config.data_dir) {
        Ok(identity) => identity,
        Err(error) => {
            checked.add(error.to_string(), error.hint());
            return None;
        }
    };
    if let Some(files) = &config.certificate
        && let Some(Ok(Chain::Broken(number))) = operators_chain(config)
    {
        checked.add(
            format!(
                "certificate {number} in {} was not issued by the next one",
                files.certificate.display()
            ),
            "put the server's certificate first, and then its intermediates, each after the one \
             that it issued",
        );
    }
    if let Some(files) = &config.certificate
        && let Some(Ok(Chain::Alone)) = operators_chain(config)
    {
        checked.add(
            format!(
                "{} has no certificate of its issuer: devices that do not know the issuer refuse \
                 the server",
                files.certificate.display()
            ),
            "append the intermediates of the issuer; if devices get the issuer's own certificate \
             (--ca-file), append that one",
        );
    }
    // The expiry is a finding of its own.
    let warnings = identity.warnings.iter();
    for warning in warnings.filter(|warning| **warning != Warning::Expired) {
        checked.add(warning.to_string(), warning.remedy());
    }
    if !identity.is_own && identity.names.is_empty() {
        checked.add(
            "the certificate has no DNS name",
            "make one with subjectAltName: devices without a pin compare it with the host name",
        );
    }
    Some(identity)
}

/// Checks that the authority of `--acme` can issue the certificate, and has done so.
fn issuing(
    config: &Config,
    identity: Option<&Identity>,
    server: &Option<User>,
    checked: &mut Checked,
) {
    let Some(acme) = &config.acme else { return };
    if let Some(identity) = identity {
        let is_missing = |name: &&String| {
            identity.is_own || !identity.names.iter().any(|n| n.eq_ignore_ascii_case(name))
        };
        let missing: Vec<&str> = acme.names.iter().filter(is_missing).map(|n| &**n).collect();
        if !missing.is_empty() {
            checked.add(
                format!("no certificate is issued for {} yet", missing.join(", ")),
                "start the server; the log and the status page say why an order fails",
            );
        }
    }
    if let Some(path) = &acme.ca_file {
        let what = "the certificate of --acme-ca-file";
        present(what, path, |file| file.is_file(), checked);
        usable(what, path, Need::Read, server, checked);
    }
    if let Some(path) = &acme.dns_hook {
        let can_run = |file: &Metadata| file.is_file() && file.mode() & 0o111 != 0;
        present("the program of --acme-dns-hook", path, can_run, checked);
    }
}

/// Checks that a file is there, and is what it has to be.
fn present(what: &str, path: &Path, is_right: impl Fn(&Metadata) -> bool, checked: &mut Checked) {
    let fault = match fs::metadata(path) {
        Ok(file) if is_right(&file) => return,
        Ok(_) => "it is not such a file".to_owned(),
        Err(error) => error.to_string(),
    };
    checked.add(
        format!("{what}, {}, cannot be used: {fault}", path.display()),
        "give the path of the file, with a mode that lets the server's user use it",
    );
}

/// Checks that only its owner can read a file, and that the owner is the server's user or root.
///
/// Its group may read it if that is a group of the server's user.
fn private_file(
    path: &Path,
    what: &str,
    config: &Config,
    server: &Option<User>,
    checked: &mut Checked,
) {
    let Ok(file) = fs::metadata(path) else { return };
    let mode = file.permissions().mode() & 0o777;
    let is_group_known = server
        .as_ref()
        .is_some_and(|user| user.is_in_group(file.gid()));
    let allowed = if is_group_known { 0o740 } else { 0o700 };
    if mode & !allowed != 0 {
        checked.add(
            format!(
                "other users may read {what} {} (mode {mode:o})",
                path.display()
            ),
            "chmod 600; if others have an account on this machine, make a new key",
        );
    }
    // The owner of the data dir is the server's user.
    let server = fs::metadata(&config.data_dir).map_or(file.uid(), |folder| folder.uid());
    if file.uid() != server && file.uid() != 0 {
        checked.add(
            format!("{what} {} belongs to another user", path.display()),
            "chown it to the server's user, or to root",
        );
    }
}

/// Checks the store, and returns the time of its newest change.
fn store(config: &Config, server: &Option<User>, checked: &mut Checked) -> Option<i64> {
    if let Some(file) = config.store.file() {
        private_file(file, "the store", config, server, checked);
        usable("the store", file, Need::ReadAndWrite, server, checked);
    }
    let store = match config.store.inspector() {
        Ok(store) => store,
        Err(error @ StoreError::Missing { .. }) => {
            if config.data_dir.exists() {
                checked.add(error.to_string(), error.hint());
            }
            return None;
        }
        Err(error) => {
            checked.add(format!("the store cannot be used: {error}"), error.hint());
            return None;
        }
    };
    if let Err(error) = store.sum() {
        checked.add(format!("the store cannot be read: {error}"), error.hint());
    }
    let accounts = match store.accounts() {
        Ok(accounts) => accounts,
        Err(error) => {
            checked.add(
                format!("the accounts cannot be listed: {error}"),
                error.hint(),
            );
            return None;
        }
    };
    accounts.iter().map(|account| account.changed_at).max()
}

fn file_system(config: &Config, checked: &mut Checked) {
    #[cfg(target_os = "linux")]
    if let Some(folder) = config.store.folder()
        && let Some(folder) = folder.ancestors().find(|folder| folder.is_dir())
        && let Ok(kind) = rustix::fs::statfs(folder)
        && let Some(name) = network_file_system(u64::try_from(kind.f_type).unwrap_or_default())
    {
        checked.add(
            format!("the store is on a network file system ({name})"),
            "move the data dir to a local disk: confirmed changes depend on its file locks and \
             flushes",
        );
    }
    let Ok(metadata) = fs::metadata(&config.data_dir) else {
        return;
    };
    if metadata.is_dir() && metadata.permissions().mode() & 0o077 != 0 {
        checked.add(
            format!(
                "other users may read the data dir {}",
                config.data_dir.display()
            ),
            "chmod 700: it holds the key, and sizes and times of accounts",
        );
    }
}

/// The name of a network file system, by its number in `statfs(2)`.
#[cfg(target_os = "linux")]
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

fn registration(config: &Config, checked: &mut Checked) {
    let is_public = |host: &ListenHost| match host {
        ListenHost::Ip(IpAddr::V4(ip)) => {
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local())
        }
        ListenHost::Ip(IpAddr::V6(ip)) => {
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
        ListenHost::Name(name) => name != "localhost",
    };
    let mut listeners = config.listen.iter().chain(&config.listen_v2);
    if config.registration == Registration::Open
        && listeners.any(|address| is_public(&address.host))
    {
        checked.add(
            "anyone who reaches the server may make accounts (--registration open, on an address \
             that may be public)",
            "give --registration invite, or let only your own network reach the port",
        );
    }
}

fn key_backup(config: &Config, identity: Option<&Identity>, checked: &mut Checked) {
    let has_store = config.store.file().is_none_or(Path::exists);
    let is_copied = last_with_key(config.notes_folder()).is_some();
    let is_own_key = identity.is_some() && config.certificate.is_none();
    if has_store && is_own_key && !is_copied {
        let key = config.data_dir.join(OWN_KEY);
        checked.add(
            format!("the only copy of the TLS key is {}", key.display()),
            "run `passmate-server backup FILE --with-key` once and keep it in a safe place: if \
             the key is lost, every device needs a new pin",
        );
    }
}
