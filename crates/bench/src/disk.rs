//! Writes per second of the bare disk, and of the server's storage on it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use passmate_server::store::{Btoken, Replaced, Revision, Store, StoreUrl};

use crate::accounts::{fill, noise, number};
use crate::load::seal_anew;

/// Length of the file that is overwritten, in bytes: long enough to spread the writes, short enough
/// to fill quickly.
const FILE_LEN: u64 = 64 << 20;

/// Overwrites `len` bytes at a time, each with `fdatasync`. Returns the overwrites per second and
/// their median duration.
pub(crate) fn raw_overwrites(
    dir: &Path,
    len: usize,
    time: Duration,
) -> anyhow::Result<(f64, Duration)> {
    let path = dir.join("raw");
    let bytes = noise(len, 1);
    let file = if path.exists() {
        File::options().write(true).open(&path)?
    } else {
        let file = File::create(&path)?;
        for at in (0..FILE_LEN).step_by(1 << 20) {
            file.write_all_at(&noise(1 << 20, at), at)?;
        }
        file.sync_all()?;
        file
    };
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < time {
        let at = (times.len() as u64 * len as u64) % (FILE_LEN - len as u64);
        let one = Instant::now();
        file.write_all_at(&bytes, at)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    let per_second = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok((
        per_second,
        times.get(times.len() / 2).copied().unwrap_or_default(),
    ))
}

/// Returns the updates per second of the storage without a network. Each writer replaces the btoken
/// of its own account.
pub(crate) fn storage_alone(
    dir: &Path,
    writers: u64,
    len: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let path = dir.join("passmate.db");
    if !path.exists() {
        fill(dir, writers, len)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let store = StoreUrl::sqlite(&path).open(|error| eprintln!("{error}"))?;
        let begun = Instant::now();
        let writers: Vec<_> = (0..writers)
            .map(|index| tokio::spawn(write(store.clone(), index, len, begun + time)))
            .collect();
        let mut done = 0;
        for writer in writers {
            done += writer.await??;
        }
        let per_second = done as f64 / begun.elapsed().as_secs_f64();
        store.close().await;
        Ok(per_second)
    })
}

async fn write(store: Store, index: u64, len: usize, until: Instant) -> anyhow::Result<u64> {
    let account = number(index);
    let Some(stored) = store.read(account, len).await? else {
        bail!("the account does not exist")
    };
    let mut expected = stored.revision;
    let mut btoken = noise(len, index);
    let mut done: u64 = 0;
    while Instant::now() < until {
        seal_anew(&mut btoken);
        let revision = Revision::draw()?;
        let next = Btoken::new(btoken.clone(), revision);
        match store
            .replace_if(account, expected, next, 1_800_000_001)
            .await?
        {
            Replaced::Done(_committed) => expected = revision,
            Replaced::Stale => bail!("the account was changed by another writer"),
        }
        done += 1;
    }
    Ok(done)
}
