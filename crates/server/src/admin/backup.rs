//! `passmate-server backup`, `restore` and `verify`.

mod place;
#[cfg(feature = "s3")]
mod s3;
#[cfg(not(feature = "s3"))]
#[path = "backup/no_s3.rs"]
mod s3;
mod stream;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};
use serde_json::json;
use zeroize::Zeroizing;

use super::{App, Failure, running};
use crate::backup::{self, Backup, BackupError, Copying, Header, PEM_LEN_MAX, PemPair, staging_in};
use crate::clock::{now, utc};
use crate::config::Sources;
use crate::exit::{Code, warn};
use crate::files::{self, folder_of, sync_folder_of, with_suffix};
use crate::health;
use crate::store::{Action, Operator, StoreError, StoreUrl, schema_newest};
use crate::tls::{OWN_CERTIFICATE, OWN_KEY};
use place::Place;
use stream::Source;

/// The largest number for `--keep`.
const KEEP_MAX: u32 = 10_000;

/// What `s3://` is, for the help of all three commands.
#[cfg(feature = "s3")]
const S3_HELP: &str = "\
With s3://BUCKET/NAME, the backup is an object in a store that speaks the protocol of Amazon S3. \
Credentials are read from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN), from a \
web identity (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN), a container or the machine. AWS_REGION \
names the region, AWS_ENDPOINT_URL another provider, AWS_CA_BUNDLE the authority of its \
certificate.";
#[cfg(not(feature = "s3"))]
const S3_HELP: &str = "\
This program was built without support for s3://BUCKET/NAME, which the packages have.";

/// Write all accounts into one file, while the server runs
///
/// The file holds everything that was confirmed when the command began, and a checksum. It does not
/// hold the TLS key, unless --with-key is given. An existing file is replaced only if it is a
/// backup. With `-`, the backup is made beside the store, verified, and written to standard output,
/// for a program that takes it elsewhere. With `s3://`, it is uploaded, read again and compared; an
/// upload that fails or is interrupted leaves no object.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{S3_HELP}\n\n{BACKUP_EXAMPLES}"))]
pub(super) struct BackupArgs {
    /// The file, s3://BUCKET/NAME, or - for standard output; --keep appends the time to its name
    #[arg(value_name = "FILE", value_parser = PathBufValueParser::new().try_map(Place::parse))]
    to: Place,
    /// Write FILE.2026-11-24T030500Z, and remove all but the newest N backups of that name
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(KEEP_MAX)))]
    keep: Option<u32>,
    /// Remove surplus backups although the store has lost most of its accounts since the newest one
    #[arg(long, requires = "keep")]
    yes: bool,
    /// Copy what is whole of a damaged store, account by account, and name what is lost
    #[arg(long, conflicts_with = "keep")]
    salvage: bool,
    /// Include the certificate and its key: the file then lets its holder impersonate this server.
    /// Not with s3://
    #[arg(long)]
    with_key: bool,
}

const BACKUP_EXAMPLES: &str = "\
Examples:
  passmate-server backup /var/backups/passmate.backup --keep 14
  passmate-server backup - | ssh HOST 'cat > passmate.backup'
  passmate-server backup s3://my-backups/passmate --keep 14
  AWS_ENDPOINT_URL=https://minio.example.org passmate-server backup s3://my-backups/passmate";

/// Replace the store by a backup, while no server runs
///
/// The backup is verified first. The earlier store is kept as passmate.db.replaced. The schema of
/// the backup stays until a server starts. Devices notice that the server was restored, tell their
/// users, and upload their vaults again: nothing that a device has is lost.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{S3_HELP}\n\n{RESTORE_EXAMPLES}"))]
pub(super) struct RestoreArgs {
    /// The backup: a file, s3://BUCKET/NAME, or - for standard input
    #[arg(value_name = "FILE", value_parser = PathBufValueParser::new().try_map(Place::parse))]
    from: Place,
    /// Replace an existing store, and a TLS key other than the one in the backup
    #[arg(long)]
    force: bool,
}

const RESTORE_EXAMPLES: &str = "\
Examples:
  passmate-server restore /var/backups/passmate.backup.2026-11-24T030500Z --force
  passmate-server restore s3://my-backups/passmate.2026-11-24T030500Z --data-dir /tmp/drill";

/// Verify the store, or a backup: structure, every btoken, and whether it can be restored
#[derive(Debug, clap::Args)]
#[command(after_long_help = S3_HELP)]
pub(super) struct VerifyArgs {
    /// The backup: a file, s3://BUCKET/NAME, or - for standard input; without it the store, while
    /// the server runs
    #[arg(value_name = "FILE", value_parser = PathBufValueParser::new().try_map(Place::parse))]
    backup: Option<Place>,
}

impl VerifyArgs {
    pub(super) fn is_of_file(&self) -> bool {
        self.backup.is_some()
    }
}

pub(super) fn back_up(app: &App, args: &BackupArgs) -> Result<(), Failure> {
    let now = now();
    match &args.to {
        Place::File(file) => back_up_to_file(app, args, file, now),
        Place::Stream => back_up_to_output(app, args, now),
        Place::Object(url) => s3::back_up(app, args, url, now),
    }
}

fn back_up_to_file(app: &App, args: &BackupArgs, given: &Path, now: i64) -> Result<(), Failure> {
    let mut store = app.operator()?;
    if given.is_dir() || given.file_name().is_none() {
        let hint = "give a file in that folder; nothing was written";
        return Err(Failure::new(
            Code::Usage,
            format_args!("{} is a folder", given.display()),
            hint,
        ));
    }
    let file = match args.keep {
        // What a symbolic link names is replaced, and not the link.
        None => fs::canonicalize(given).unwrap_or_else(|_| given.to_owned()),
        Some(_) => named(given, &stamp(now)),
    };
    if file.symlink_metadata().is_ok() && !backup::is_backup(&file) {
        let hint = "give another file, or remove this one; nothing was written";
        return Err(Failure::new(
            Code::Exists,
            format_args!("{} exists and is not a backup", file.display()),
            hint,
        ));
    }
    let (header, lost) = make(app, &*store, args, &file, now)?;
    note(app, &mut *store, args, &Place::File(file.clone()), &header);
    drop(store);
    let removed = args
        .keep
        .map(|keep| rotate(given, &file, keep, header.accounts, args.yes))
        .transpose()?
        .unwrap_or_default();
    let text = format!(
        "{} holds {} accounts with {} bytes of btokens{}\n{}",
        file.display(),
        header.accounts,
        header.btoken_bytes,
        if header.key_len > 0 {
            ", and the TLS key: keep it secret"
        } else {
            ""
        },
        removed
            .iter()
            .map(|path| format!("removed {}\n", path.display()))
            .collect::<String>()
    );
    let removed: Vec<_> = removed
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let file = file.display().to_string();
    app.answer(
        &text,
        json!({ "file": file, "backup": header, "removed": removed, "lost": lost }),
    )?;
    tell_of_losses(&lost)
}

/// Makes a backup beside the store, and writes it to standard output.
fn back_up_to_output(app: &App, args: &BackupArgs, now: i64) -> Result<(), Failure> {
    let mut store = app.operator()?;
    if args.keep.is_some() {
        return Err(Failure::new(
            Code::Usage,
            "--keep names files, and standard output is none",
            "leave it out, and let the program that takes the backup remove older ones",
        ));
    }
    stream::check_output(app.is_json)?;
    let staging = staging_in(app.config.notes_folder(), ".passmate-backup-")?;
    let file = staging.path().join("passmate.backup");
    let (header, lost) = make(app, &*store, args, &file, now)?;
    stream::send(&file)?;
    note(app, &mut *store, args, &Place::Stream, &header);
    tell_of_losses(&lost)
}

/// Writes a backup and reads it again. Returns what could not be salvaged too.
fn make(
    app: &App,
    store: &dyn Operator,
    args: &BackupArgs,
    file: &Path,
    now: i64,
) -> Result<(Header, Vec<String>), Failure> {
    let pair = args.with_key.then(|| read_pair(app)).transpose()?;
    let mut lost = Vec::new();
    let mut lose = |what| lost.push(what);
    let how = copying(args, &mut lose);
    let header =
        backup::write(store.look(), pair.as_ref(), file, now, how).inspect_err(warn_of_damage)?;
    Backup::open(file)?;
    Ok((header, lost))
}

/// How the store is copied; `lose` is called for what cannot be salvaged.
fn copying<'a>(args: &BackupArgs, lose: &'a mut dyn FnMut(String)) -> Copying<'a> {
    if args.salvage {
        Copying::Salvage(lose)
    } else {
        Copying::Whole
    }
}

/// Prints all findings in a damaged store but the first, which is in the error.
fn warn_of_damage(error: &BackupError) {
    if let BackupError::StoreDamaged(findings) = error {
        warn_of_others(findings);
    }
}

/// Notes a backup where `log` and `check` look for it.
fn note(app: &App, store: &mut dyn Operator, args: &BackupArgs, made: &Place, header: &Header) {
    let action = if args.salvage {
        Action::Salvage
    } else {
        Action::Backup
    };
    if let Err(error) = store.record(action, &made.name("standard output")) {
        warn(&format_args!(
            "`passmate-server log` will not show this backup: {error}"
        ));
    }
    if let Err(error) = backup::note_last(
        app.config.notes_folder(),
        header.made_at,
        header.accounts,
        args.with_key,
    ) {
        warn(&format_args!(
            "`check` will not know about this backup: {error}"
        ));
    }
}

fn tell_of_losses(lost: &[String]) -> Result<(), Failure> {
    lost.iter().for_each(|what| warn(what));
    if lost.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Code::Findings,
        format_args!(
            "not everything could be copied: {} losses, named above",
            lost.len()
        ),
        "keep the damaged store; `restore` makes a sound one of this backup, and devices upload \
         again what they have",
    ))
}

fn named(file: &Path, stamp: &str) -> PathBuf {
    with_suffix(file, &format!(".{stamp}"))
}

/// A time for the name of a file. Names sort by time.
fn stamp(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H%M%SZ").to_string()
}

/// Removes all but the newest `keep` backups of a name. The backup that was just made stays, and so
/// do files that are not backups. Backups with later times count as the oldest: a wrong clock made
/// them.
///
/// # Errors
/// Nothing is removed if the store has lost most of its `accounts` since the newest backup, unless
/// the operator means it: the backups may be all that is left.
fn rotate(
    file: &Path,
    made_now: &Path,
    keep: u32,
    accounts: u64,
    is_meant: bool,
) -> Result<Vec<PathBuf>, Failure> {
    let folder = folder_of(file);
    let failed = |error| {
        Failure::from(BackupError::Io {
            doing: "list",
            path: folder.to_owned(),
            error,
        })
    };
    let begin = named(file.file_name().map_or(Path::new(""), Path::new), "");
    let mut made = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let stamp = name
            .to_str()
            .and_then(|name| name.strip_prefix(begin.to_str()?));
        let is_other = Some(name.as_os_str()) != made_now.file_name();
        if is_other && stamp.is_some_and(is_stamp) && backup::is_backup(&folder.join(&name)) {
            made.push(folder.join(name));
        }
    }
    oldest_first(&mut made, PathBuf::as_path, made_now);
    let newest = made.last().and_then(|path| Backup::open(path).ok());
    let backed_up = newest.map_or(0, |newest| newest.header().accounts);
    check_collapse(accounts, backed_up, is_meant)?;
    made.truncate(surplus(made.len(), keep));
    for path in &made {
        fs::remove_file(path).map_err(|error| BackupError::Io {
            doing: "remove",
            path: path.clone(),
            error,
        })?;
    }
    Ok(made)
}

/// Sorts earlier backups of a name. Those with later times than the one that was just made count as
/// the oldest.
fn oldest_first<T, N: Ord + ?Sized>(made: &mut [T], name: impl Fn(&T) -> &N, made_now: &N) {
    made.sort_by(|one, other| {
        let (one, other) = (name(one), name(other));
        (one < made_now, one).cmp(&(other < made_now, other))
    });
}

/// How many of the earlier backups of a name are removed, beside the one that was just made.
fn surplus(earlier: usize, keep: u32) -> usize {
    (earlier + 1).saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX))
}

/// # Errors
/// The store has lost most of its accounts since the newest earlier backup, and nobody says that
/// this is meant.
fn check_collapse(accounts: u64, backed_up: u64, is_meant: bool) -> Result<(), Failure> {
    if !health::has_collapsed(accounts, backed_up) || is_meant {
        return Ok(());
    }
    Err(Failure::new(
        Code::Findings,
        format_args!(
            "the store has {accounts} accounts, and the newest earlier backup has {backed_up}: \
             no backup was removed"
        ),
        "if the accounts are lost, restore that backup; if they were deleted on purpose, \
         repeat the command with --yes",
    ))
}

/// Whether this is what [`stamp`] writes.
fn is_stamp(text: &str) -> bool {
    let pattern = b"0000-00-00T000000Z";
    let fits = |(byte, wanted): (u8, &u8)| {
        if *wanted == b'0' {
            byte.is_ascii_digit()
        } else {
            byte == *wanted
        }
    };
    text.len() == pattern.len() && text.bytes().zip(pattern).all(fits)
}

/// The pair that the server uses.
fn read_pair(app: &App) -> Result<PemPair, Failure> {
    let (certificate, key) = match &app.config.certificate {
        Some(files) => (files.certificate.clone(), files.key.clone()),
        None => own_pair(app),
    };
    Ok(backup::read_pair(&certificate, &key)?)
}

fn own_pair(app: &App) -> (PathBuf, PathBuf) {
    (
        app.config.data_dir.join(OWN_CERTIFICATE),
        app.config.data_dir.join(OWN_KEY),
    )
}

pub(super) fn restore(app: &App, sources: &Sources, args: &RestoreArgs) -> Result<(), Failure> {
    let servers = running::elsewhere(&app.config);
    if let Some(servers) = &servers
        && !sources.name_the_place()?
    {
        return Err(Failure::new(
            Code::InUse,
            format_args!(
                "nothing says which store is to be restored, and a server runs with the data dir \
                 {servers}"
            ),
            format!(
                "give --data-dir: that one, after you have stopped its server, or {} as it would be \
                 now; nothing was changed",
                app.config.data_dir.display()
            ),
        ));
    }
    let folder = app.config.notes_folder();
    if !matches!(args.from, Place::File(_)) {
        make_folder(folder)?;
    }
    let source = Source::of(&args.from, folder)?;
    let mut backup = source.open()?;
    make_folder(folder)?;
    // From here on neither a server nor another command uses the store.
    let closed = app.config.store.take_offline().map_err(|error| match error {
        StoreError::InUse { path } => {
            let message = format_args!("the store is in use by a server or a command, which locks \
                {}", path.display());
            let hint =
                "stop the server (`systemctl stop passmate-server`), or wait for the command; \
                 nothing was changed";
            Failure::new(Code::InUse, message, hint)
        }
        error => error.into(),
    })?;
    if closed.exists() && !args.force {
        let message = format_args!("there is a store at {}", app.config.store);
        return Err(Failure::new(
            Code::Exists,
            message,
            "give --force to replace it; the earlier store is kept beside the new one",
        ));
    }
    let pair = backup.pair()?;
    let has_own = app.config.certificate.is_none();
    if let Some(pair) = pair.as_ref().filter(|_| has_own) {
        check_pair(app, pair, args.force)?;
        make_folder(&app.config.data_dir)?;
    }
    let staging = staging_in(folder, ".passmate-restore-")?;
    let extracted = extract_verified(&mut backup, staging.path())?;
    record_restore(&extracted, &args.from, backup.header().made_at)?;
    let replaced = closed.replace(&extracted)?;
    if let Some(servers) = servers {
        warn(&format_args!(
            "no server runs with the restored store; one runs with another data dir, {servers}, \
             and has what it had"
        ));
    }
    let mut text = format!(
        "restored {} accounts as of {} in {}\n",
        backup.header().accounts,
        utc(backup.header().made_at),
        app.config.store
    );
    if backup.header().schema < schema_newest() {
        text.push_str(&format!(
            "it has schema {}, which the next start of this version upgrades; until then the older \
             version can use it\n",
            backup.header().schema
        ));
    }
    if let Some(replaced) = &replaced {
        text.push_str(&format!(
            "the earlier store is {}; remove it when you no longer need it\n",
            replaced.display()
        ));
    }
    match &pair {
        Some(pair) if has_own => {
            let kept = put_pair(app, pair)?;
            text.push_str(
                "the certificate and its key are restored too, so devices recognize the server\n",
            );
            if kept {
                text.push_str(
                    "the earlier ones are kept as key.pem.replaced and cert.pem.replaced\n",
                );
            }
        }
        Some(_) => text.push_str(
            "the key in the backup is not restored, because the configuration gives another key\n",
        ),
        None => {}
    }
    let object = json!({
        "store": app.config.store.to_string(),
        "backup": backup.header(),
        "replaced": replaced.map(|path| path.display().to_string()),
    });
    app.answer(&text, object)
}

/// Records the restore in the extracted database, before a server can use it.
fn record_restore(extracted: &Path, from: &Place, made_at: i64) -> Result<(), Failure> {
    let detail = format!("{} of {}", from.name("standard input"), utc(made_at));
    super::operator_of(&StoreUrl::sqlite(extracted))?.record_restore(&detail)?;
    // The database alone is put in place.
    let log = with_suffix(extracted, "-wal");
    if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Err(BackupError::Io {
            doing: "empty",
            path: log,
            error: io::Error::other("the database has not taken it in"),
        }
        .into());
    }
    Ok(())
}

/// Extracts the database and verifies it. Its schema stays as it is, so that the version that made
/// the backup can use it until a newer server has started.
fn extract_verified(backup: &mut Backup, folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join("passmate.db");
    backup.extract(&path)?;
    let mut findings = Vec::new();
    let sum = StoreUrl::sqlite(&path)
        .inspector()?
        .check(&mut |finding| findings.push(finding))?;
    let header = backup.header();
    if (sum.accounts, sum.btoken_bytes) != (header.accounts, header.btoken_bytes) {
        findings.push("its accounts do not match its header".to_owned());
    }
    match findings.first() {
        None => Ok(path),
        Some(first) => {
            warn_of_others(&findings);
            let message = format_args!(
                "the backup holds a damaged store: {first} ({} in all)",
                findings.len()
            );
            Err(Failure::new(
                Code::Damaged,
                message,
                "use an older backup; nothing was changed",
            ))
        }
    }
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    Ok(files::make_folder(folder).map_err(|error| BackupError::Io {
        doing: "make",
        path: folder.to_owned(),
        error,
    })?)
}

/// Refuses to replace another key, because devices that pinned it would refuse the server.
fn check_pair(app: &App, pair: &PemPair, force: bool) -> Result<(), Failure> {
    let (_, key) = own_pair(app);
    let is_other = match files::read(&key, PEM_LEN_MAX).map(Zeroizing::new) {
        Ok(there) => **there != **pair.key,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            return Err(BackupError::Io {
                doing: "read",
                path: key,
                error,
            }
            .into());
        }
    };
    if is_other && !force {
        let message = format_args!("{} is not the key in the backup", key.display());
        let hint = "give --force to replace it, or move it away; nothing was changed";
        return Err(Failure::new(Code::Exists, message, hint));
    }
    Ok(())
}

/// Writes certificate and key into the data dir, and returns whether earlier ones were kept. At
/// every moment the server can start with the old key or with the new one.
fn put_pair(app: &App, pair: &PemPair) -> Result<bool, Failure> {
    let (certificate, key) = own_pair(app);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| {
            Failure::from(BackupError::Io {
                doing: "write",
                path,
                error,
            })
        }
    };
    let is_there = |path: &Path, bytes: &[u8]| {
        files::read(path, PEM_LEN_MAX)
            .map(Zeroizing::new)
            .is_ok_and(|there| there.as_slice() == bytes)
    };
    if is_there(&certificate, &pair.certificate) && is_there(&key, &pair.key) {
        return Ok(false);
    }
    let kept = [&key, &certificate].map(|path| files::keep_as_replaced(path).map_err(failed(path)));
    let kept = kept
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .contains(&true);
    // While there is only a key, the server can make a certificate for it.
    match fs::remove_file(&certificate) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(&certificate)(error));
        }
        _ => sync_folder_of(&certificate).map_err(failed(&certificate))?,
    }
    files::replace(&key, &pair.key).map_err(failed(&key))?;
    files::replace(&certificate, &pair.certificate).map_err(failed(&certificate))?;
    Ok(kept)
}

/// Prints all findings but the first, which is in the error.
fn warn_of_others(findings: &[String]) {
    for finding in findings.iter().skip(1) {
        warn(finding);
    }
}

pub(super) fn verify(app: &App, args: &VerifyArgs) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let sum = match &args.backup {
        None => {
            let store = app.inspector()?;
            let sum = store.check(&mut |finding| findings.push(finding))?;
            store.check_texts(&mut |finding| findings.push(finding))?;
            sum
        }
        Some(place) => {
            let source = Source::of(place, &std::env::temp_dir())?;
            let file = &source.file;
            let mut backup = source.open()?;
            // The disk of the backup most likely has enough space.
            let here = staging_in(folder_of(file), ".passmate-verify-");
            let staging = match here {
                Ok(staging) => staging,
                Err(_) => staging_in(&std::env::temp_dir(), ".passmate-verify-")?,
            };
            extract_verified(&mut backup, staging.path())?;
            crate::store::Sum {
                accounts: backup.header().accounts,
                btoken_bytes: backup.header().btoken_bytes,
            }
        }
    };
    if let Some(first) = findings.first() {
        if app.is_json {
            app.answer(
                "",
                json!({ "accounts": sum.accounts, "size": sum.btoken_bytes, "findings": findings }),
            )?;
        }
        warn_of_others(&findings);
        let message = format_args!("the store is damaged: {first} ({} in all)", findings.len());
        let hint = "check the disk, then restore a backup; devices upload their vaults again";
        return Err(Failure::new(Code::Damaged, message, hint));
    }
    let what = match &args.backup {
        None => "the store".to_owned(),
        Some(Place::File(file)) => file.display().to_string(),
        Some(place) => place.name("the backup"),
    };
    let text = format!(
        "{what} is intact: {} accounts with {} bytes of btokens\n",
        sum.accounts, sum.btoken_bytes
    );
    app.answer(
        &text,
        json!({ "accounts": sum.accounts, "size": sum.btoken_bytes, "findings": [] }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_backups_sort_by_time() {
        assert_eq!(stamp(1_700_000_000), "2023-11-14T221320Z");
        assert!(
            is_stamp(&stamp(0))
                && is_stamp(&stamp(1_900_000_000))
                && stamp(0) < stamp(1_900_000_000)
        );
        for other in [
            "",
            "2023-11-14",
            "2023-11-14T221320Z.gz",
            "2023-11-14T22132xZ",
            "2023-11-14t221320z",
        ] {
            assert!(!is_stamp(other), "{other}");
        }
        assert_eq!(named(Path::new("/a/b.c"), "x"), Path::new("/a/b.c.x"));
    }
}
