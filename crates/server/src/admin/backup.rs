//! `passmate-server backup`, `restore` and `verify`: what was confirmed outlives the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use zeroize::Zeroizing;

use super::{App, Failure};
use crate::backup::{self, Backup, BackupError, PemPair, staging_in};
use crate::clock::{now, utc};
use crate::exit::Code;
use crate::files::{self, folder_of, sync_folder_of, with_suffix};
use crate::store::{StoreError, StoreUrl};
use crate::tls::{OWN_CERTIFICATE, OWN_KEY};

/// The most backups that `--keep` keeps.
const KEEP_MAX: u32 = 10_000;

/// Write all accounts into one file, while the server runs
///
/// The file has what was confirmed when it began, and a checksum over all of it. The TLS key is
/// left out unless --with-key. A file that has the name is replaced if it is a backup, else nothing
/// is done.
#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// The file; with --keep a time is added to its name
    file: PathBuf,
    /// Write FILE.2026-11-24T030500Z, and remove the oldest backups of that name but the newest N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(KEEP_MAX)))]
    keep: Option<u32>,
    /// The certificate and its key too: whoever has the file can then pretend to be this server
    #[arg(long)]
    with_key: bool,
}

/// Put a backup in the place of the store, while no server runs
///
/// The backup is checked first, in full. What was in its place stays beside it as
/// passmate.db.replaced. Devices notice that the server went back, say so, and put there again what
/// they have: nothing that any of them has is lost.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The file
    file: PathBuf,
    /// Also if there is a store, or another TLS key than in the backup
    #[arg(long)]
    force: bool,
}

/// Look at all of the store, or of a backup: structure, every btoken, and whether it can be
/// restored
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// A backup; without it the store, while the server runs
    file: Option<PathBuf>,
}

pub(super) fn back_up(app: &App, args: &BackupArgs) -> Result<(), Failure> {
    let store = app.config.store.operator_without_upgrade()?;
    let now = now();
    if args.file.is_dir() || args.file.file_name().is_none() {
        let hint = "name a file in it, which need not be there yet; nothing was written";
        return Err(Failure::new(
            Code::Usage,
            format_args!("{} is a folder", args.file.display()),
            hint,
        ));
    }
    let file = match args.keep {
        None => args.file.clone(),
        Some(_) => named(&args.file, &stamp(now)),
    };
    if file.symlink_metadata().is_ok() && !backup::is_backup(&file) {
        let hint = "name another file, or remove it; nothing was written";
        return Err(Failure::new(
            Code::Exists,
            format_args!("{} is there and is no backup", file.display()),
            hint,
        ));
    }
    let pair = args.with_key.then(|| read_pair(app)).transpose()?;
    let header = backup::write(&*store, pair.as_ref(), &file, now).inspect_err(|error| {
        if let BackupError::StoreDamaged(findings) = error {
            warn_of_others(findings);
        }
    })?;
    // A backup that cannot be read is none.
    Backup::open(&file)?;
    if let Err(error) = backup::note_last(app.config.notes_folder(), now, args.with_key) {
        eprintln!("passmate-server: warning: `check` will not know of this backup: {error}");
    }
    let removed = args
        .keep
        .map(|keep| rotate(&args.file, &file, keep))
        .transpose()?
        .unwrap_or_default();
    let text = format!(
        "{} has {} accounts with {} bytes of btokens{}\n{}",
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
        json!({ "file": file, "backup": header, "removed": removed }),
    )
}

fn named(file: &Path, stamp: &str) -> PathBuf {
    with_suffix(file, &format!(".{stamp}"))
}

/// A time in a file's name, so that the order of names is that of times.
fn stamp(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H%M%SZ").to_string()
}

/// Removes the oldest backups of a name but `keep`. The one that was made just now stays, also
/// where others are of the future; and so do other files, whatever they are called.
fn rotate(file: &Path, made_now: &Path, keep: u32) -> Result<Vec<PathBuf>, Failure> {
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
    made.sort();
    let surplus = (made.len() + 1).saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    made.truncate(surplus);
    for path in &made {
        fs::remove_file(path).map_err(|error| BackupError::Io {
            doing: "remove",
            path: path.clone(),
            error,
        })?;
    }
    Ok(made)
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

pub(super) fn restore(app: &App, args: &RestoreArgs) -> Result<(), Failure> {
    let mut backup = Backup::open(&args.file)?;
    let folder = app.config.notes_folder();
    make_folder(folder)?;
    // From here on neither a server nor another command looks at the store.
    let closed = app.config.store.take_offline().map_err(|error| match error {
        StoreError::InUse { path } => {
            let message = format_args!("the store is in use by a server or a command, which locks {}", path.display());
            let hint =
                "stop the server (`systemctl stop passmate-server`), or wait for the command; nothing was changed";
            Failure::new(Code::InUse, message, hint)
        }
        error => error.into(),
    })?;
    if closed.exists() && !args.force {
        let message = format_args!("there is a store at {}", app.config.store);
        return Err(Failure::new(
            Code::Exists,
            message,
            "give --force to replace it; it stays beside the new one",
        ));
    }
    let pair = backup.pair()?;
    let has_own = app.config.certificate.is_none();
    if let Some(pair) = pair.as_ref().filter(|_| has_own) {
        check_pair(app, pair, args.force)?;
        make_folder(&app.config.data_dir)?;
    }
    let staging = staging_in(folder, ".passmate-restore-")?;
    let extracted = tried(&mut backup, staging.path())?;
    let replaced = closed.replace(&extracted)?;
    let mut text = format!(
        "restored {} accounts as of {}\n",
        backup.header().accounts,
        utc(backup.header().made_at)
    );
    if let Some(replaced) = &replaced {
        text.push_str(&format!(
            "what was there before is {}; remove it when it is not needed\n",
            replaced.display()
        ));
    }
    match &pair {
        Some(pair) if has_own => {
            let kept = put_pair(app, pair)?;
            text.push_str(
                "the certificate and its key are restored too: devices know the server again\n",
            );
            if kept {
                text.push_str("what was there before is kept beside them: key.pem.replaced, cert.pem.replaced\n");
            }
        }
        Some(_) => text.push_str(
            "the key in the backup is not restored, because the configuration names another file\n",
        ),
        None => {}
    }
    app.answer(&text, json!({ "backup": backup.header(), "replaced": replaced.map(|path| path.display().to_string()) }))
}

/// Extracts the database, brings it up to date and looks at all of it.
fn tried(backup: &mut Backup, folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join("passmate.db");
    backup.extract(&path)?;
    let mut findings = Vec::new();
    let sum = StoreUrl::sqlite(&path)
        .operator()?
        .check(&mut |finding| findings.push(finding))?;
    let header = backup.header();
    if (sum.accounts, sum.btoken_bytes) != (header.accounts, header.btoken_bytes) {
        findings.push("it has other accounts than it says".to_owned());
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
                "take an older backup; nothing was changed",
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

/// Another key would make this a server that no device knows.
fn check_pair(app: &App, pair: &PemPair, force: bool) -> Result<(), Failure> {
    let (_, key) = own_pair(app);
    let is_other = match fs::read(&key).map(Zeroizing::new) {
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
        let message = format_args!(
            "{} is another key than the one in the backup",
            key.display()
        );
        let hint = "give --force to put the backup's in its place, or move this one away; nothing was changed";
        return Err(Failure::new(Code::Exists, message, hint));
    }
    Ok(())
}

/// Puts certificate and key into the data dir; says whether others were there, which are kept
/// beside them. At every moment the server can start with the old key or with the new one.
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
        fs::read(path)
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
    // Where there is a key alone, the server makes a certificate for it.
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

/// Tells of all but the first, which the error tells.
fn warn_of_others(findings: &[String]) {
    for finding in findings.iter().skip(1) {
        eprintln!("passmate-server: warning: {finding}");
    }
}

pub(super) fn verify(app: &App, args: &VerifyArgs) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let sum = match &args.file {
        None => app
            .config
            .store
            .operator_without_upgrade()?
            .check(&mut |finding| findings.push(finding))?,
        Some(file) => {
            let mut backup = Backup::open(file)?;
            // Beside the backup there is room for it, if anywhere.
            let here = staging_in(folder_of(file), ".passmate-verify-");
            let staging = match here {
                Ok(staging) => staging,
                Err(_) => staging_in(&std::env::temp_dir(), ".passmate-verify-")?,
            };
            tried(&mut backup, staging.path())?;
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
        let hint = "restore a backup; devices put back what they have. Look at the disk first";
        return Err(Failure::new(Code::Damaged, message, hint));
    }
    let what = args
        .file
        .as_ref()
        .map_or_else(|| "the store".to_owned(), |file| file.display().to_string());
    let text = format!(
        "{what} is whole: {} accounts with {} bytes of btokens\n",
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
    fn the_order_of_names_is_that_of_times_and_other_names_are_left_alone() {
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
