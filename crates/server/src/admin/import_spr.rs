//! `passmate-server import-spr`: imports the accounts of an original Passmate server.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use passmate_proto::{AccountNumber, AuthToken};
use serde_json::json;

use super::{App, Failure};
use crate::clock::now;
use crate::exit::{Code, warn};
use crate::files;
use crate::store::ForeignAccount;
use crate::text::printable;

const TOKEN_LEN: usize = 32;
/// The most accounts in one transaction, so that the server waits only a moment.
const BATCH: usize = 256;
/// A transaction ends after this many bytes.
const BATCH_LEN: usize = 8 * 1024 * 1024;
/// Bytes of a sealed vault beside its blocks: IV and HMAC.
const SEAL_LEN: usize = 16 + 32;
/// The content of a sealed vault is a multiple of this, in bytes.
const BLOCK_LEN: usize = 16;

/// Import the accounts of an original Passmate server, while this one runs
///
/// DIR is the folder with files named after account numbers, such as 4E53DF543106BF04.spr. Accounts
/// that exist here already are left as they are, so the command may be repeated. Damaged files and
/// other files are named and skipped.
#[derive(Debug, clap::Args)]
pub(super) struct ImportSprArgs {
    /// The folder
    dir: PathBuf,
}

pub(super) fn run(app: &App, args: &ImportSprArgs) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let message = format!("cannot read the folder {}: {error}", args.dir.display());
        Failure::new(
            Code::File,
            message,
            "give the folder in which the original server stores its .spr files",
        )
    };
    let mut names: Vec<PathBuf> = fs::read_dir(&args.dir)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(failed)?;
    names.sort();
    let mut store = app.operator()?;
    let len_max = app.config.limits.btoken_len_max;
    let (mut taken, mut known, mut skipped) = (0_u64, 0_u64, Vec::new());
    let mut names = names.iter().peekable();
    while names.peek().is_some() {
        let (mut accounts, mut len) = (Vec::new(), 0);
        while let Some(path) = names.next_if(|_| accounts.len() < BATCH && len < BATCH_LEN) {
            match read(path, usize::try_from(len_max).unwrap_or(usize::MAX)) {
                Ok(account) => {
                    len += account.btoken.len();
                    accounts.push(account);
                }
                Err(why) => skipped.push((
                    path.file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned(),
                    why,
                )),
            }
        }
        let is_new = store.import(&accounts)?;
        let new = is_new.iter().filter(|is_new| **is_new).count() as u64;
        taken += new;
        known += is_new.len() as u64 - new;
    }
    for (name, why) in &skipped {
        warn(&format_args!("{} is skipped: {why}", printable(name)));
    }
    let text = format!(
        "{taken} accounts imported, {known} exist already, {} files skipped\n",
        skipped.len()
    );
    let skipped: Vec<_> = skipped
        .into_iter()
        .map(|(name, why)| json!({ "file": name, "why": why }))
        .collect();
    app.answer(
        &text,
        json!({ "taken": taken, "known": known, "skipped": skipped }),
    )
}

/// Reads an account, or says why the file is not one.
fn read(path: &Path, len_max: usize) -> Result<ForeignAccount, String> {
    let number = (path.extension().is_some_and(|suffix| suffix == "spr"))
        .then(|| path.file_stem()?.to_str()?.parse::<AccountNumber>().ok())
        .flatten()
        .ok_or("its name is not 16 hex digits and .spr")?;
    let failed = |error: io::Error| format!("it cannot be read: {error}");
    let file = files::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(len_max.saturating_add(TOKEN_LEN))
        .map_or(u64::MAX, |limit| limit.saturating_add(1));
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    let (token, btoken) = bytes
        .split_first_chunk::<TOKEN_LEN>()
        .ok_or("it is shorter than an auth token")?;
    if btoken.len() > len_max {
        return Err(format!(
            "its btoken is longer than the {len_max} bytes of --btoken-max"
        ));
    }
    // If a cut file were imported, the whole file could not be imported later, because the account
    // would exist already.
    if btoken.len() < SEAL_LEN || !(btoken.len() - SEAL_LEN).is_multiple_of(BLOCK_LEN) {
        return Err(format!(
            "its btoken has {} bytes, which no sealed vault has: the file was cut",
            btoken.len()
        ));
    }
    let changed = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    Ok(ForeignAccount {
        number,
        auth_token: AuthToken::new(*token),
        btoken: btoken.to_vec(),
        // A clock that was wrong makes files of the future.
        at: i64::try_from(changed.as_secs()).unwrap_or(0).min(now()),
    })
}
