//! Backups in object stores that speak the protocol of Amazon S3. The rules are:
//!  - an object has its name only when all of it is there, and it is read again before the command
//!    reports success;
//!  - an object that is no backup is neither replaced nor removed;
//!  - the TLS key does not go to a machine of others;
//!  - no text that a person reads holds a credential or an answer of the store.

mod bucket;
mod environment;
mod fault;
mod request;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::{App, Failure};
use super::place::{ObjectUrl, Place};
use super::{
    BackupArgs, check_collapse, copying, is_stamp, note, oldest_first, stamp, surplus,
    tell_of_losses,
};
use crate::backup::{Begin, Staging, prepare, staging_in};
use crate::exit::Code;
use bucket::Bucket;

/// Copies the store, verifies the copy, and uploads it while it is read.
pub(super) fn back_up(
    app: &App,
    args: &BackupArgs,
    url: &ObjectUrl,
    now: i64,
) -> Result<(), Failure> {
    if args.with_key {
        return Err(Failure::new(
            Code::Usage,
            "the TLS key would lie readable on a machine of others, who could impersonate this \
             server",
            "leave out --with-key, and keep a copy of the key elsewhere: `passmate-server backup \
             FILE --with-key`; or encrypt it on the way: `passmate-server backup - --with-key | \
             age -r RECIPIENT | …`",
        ));
    }
    let mut store = app.operator()?;
    let object = match args.keep {
        None => url.clone(),
        Some(_) => url.with_key(format!("{}.{}", url.key, stamp(now))),
    };
    let bucket = Bucket::open(&url.bucket)?;
    // Before the store is copied, this finds out whether the bucket can be used.
    if bucket.begin(&object.key)? == Some(Begin::NoBackup) {
        return Err(Failure::new(
            Code::Exists,
            format_args!("{object} exists and is not a backup"),
            "give another name, or remove this object; nothing was written",
        ));
    }
    let mut lost = Vec::new();
    let mut lose = |what| lost.push(what);
    let folder = app.config.notes_folder();
    let how = copying(args, &mut lose);
    let prepared =
        prepare(store.look(), None, folder, now, how).inspect_err(super::warn_of_damage)?;
    bucket.upload(&object, prepared.content()?)?;
    let header = prepared.header().clone();
    drop(prepared);
    note(
        app,
        &mut *store,
        args,
        &Place::Object(object.clone()),
        &header,
    );
    drop(store);
    let removed = args
        .keep
        .map(|keep| rotate(&bucket, url, &object.key, keep, header.accounts, args.yes))
        .transpose()?
        .unwrap_or_default();
    let mut text = format!(
        "{object} holds {} accounts with {} bytes of btokens\n",
        header.accounts, header.btoken_bytes,
    );
    for removed in &removed {
        text.push_str(&format!("removed {removed}\n"));
    }
    app.answer(
        &text,
        json!({ "file": object.to_string(), "backup": header, "removed": removed, "lost": lost }),
    )?;
    tell_of_losses(&lost)
}

/// Removes all but the newest `keep` backups of a name, by the rules for files. Returns the names
/// of what was removed.
fn rotate(
    bucket: &Bucket,
    url: &ObjectUrl,
    made_now: &String,
    keep: u32,
    accounts: u64,
    is_meant: bool,
) -> Result<Vec<String>, Failure> {
    let mut made = Vec::new();
    let mut unread = None;
    for key in stamped(bucket, url)? {
        if key == *made_now {
            continue;
        }
        match bucket.begin(&key) {
            Ok(Some(Begin::Backup(accounts))) => made.push((key, accounts)),
            Ok(_) => {}
            // Such as one that was moved to an archive. It is not removed, and the others are.
            Err(failure) => unread = unread.or(Some(failure)),
        }
    }
    oldest_first(&mut made, |(key, _)| key, made_now);
    let newest = made.last().and_then(|(_, accounts)| *accounts);
    check_collapse(accounts, newest.unwrap_or_default(), is_meant)?;
    made.truncate(surplus(made.len(), keep));
    let mut removed = Vec::new();
    for (key, _) in made {
        bucket.remove(&key)?;
        removed.push(url.with_key(key).to_string());
    }
    unread.map_or(Ok(removed), Err)
}

/// The keys with the name of a URL and a time.
fn stamped(bucket: &Bucket, url: &ObjectUrl) -> Result<Vec<String>, Failure> {
    let begin = format!("{}.", url.key);
    bucket.list(&begin, |key| key.strip_prefix(&begin).is_some_and(is_stamp))
}

/// Downloads a backup into a temporary folder in `folder`.
pub(super) fn fetch(url: &ObjectUrl, folder: &Path) -> Result<(Staging, PathBuf), Failure> {
    let bucket = Bucket::open(&url.bucket)?;
    let staging = staging_in(folder, ".passmate-received-")?;
    let file = staging.path().join("passmate.backup");
    match bucket.download(url, &file, folder)? {
        bucket::Download::Done => Ok((staging, file)),
        bucket::Download::NoObject => {
            let newest = stamped(&bucket, url)?.into_iter().max();
            Err(Failure::new(
                Code::NotFound,
                format_args!("there is no {url}"),
                match newest {
                    Some(key) => format!("the newest of that name is {}", url.with_key(key)),
                    None => {
                        "there is none of that name with a time either: check the name and the \
                             bucket"
                            .to_owned()
                    }
                },
            ))
        }
    }
}
