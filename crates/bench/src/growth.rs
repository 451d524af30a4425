//! The size of a vault whose records are all edited once a day, for years. A vault keeps its
//! history, so it only grows.

use std::time::Instant;

use passmate_vault::format::btoken::BTOKEN_OVERHEAD;
use passmate_vault::format::{decode_btoken, encode_btoken, encode_btoken_as};
use passmate_vault::{RecordId, RollCall, Shape, Vault};
use zeroize::Zeroizing;

use crate::vault::make_vault;

const DAY: i64 = 24 * 3600;
const YEAR: i64 = 365;
/// The longest btoken that a server accepts by default, in bytes.
const LIMIT: usize = 2 * 1024 * 1024;

/// One row of the table.
struct Row {
    records: usize,
    years: i64,
    changes: usize,
    /// Length of the document as it is before it is packed.
    document_len: usize,
    btoken_len: usize,
    /// Milliseconds to write and pack the plaintext.
    write: f64,
    /// Milliseconds to unpack and decode it.
    read: f64,
    /// Milliseconds to merge the vault with itself, as a sync without new changes does.
    merge: f64,
    /// Length of the btoken with only the last year of history.
    kept_year_len: usize,
}

pub(crate) fn run() -> anyhow::Result<()> {
    println!(
        "| records | years | changes | document | btoken | write | read | merge | btoken with the \
         last year's history |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for records in [10, 100, 300, 1000] {
        for years in [1, 5, 10] {
            let Row {
                records,
                years,
                changes,
                document_len,
                btoken_len,
                write,
                read,
                merge,
                kept_year_len,
            } = measure(records, years)?;
            let (document, btoken) = (mebibytes(document_len), mebibytes(btoken_len));
            let kept = mebibytes(kept_year_len);
            println!(
                "| {records} | {years} | {changes} | {document} | {btoken} | {write:.0} ms | \
                 {read:.0} ms | {merge:.0} ms | {kept} |"
            );
        }
    }
    println!(
        "\n{} such changes fit into {}.",
        changes_within(LIMIT)?,
        mebibytes(LIMIT)
    );
    Ok(())
}

fn mebibytes(len: usize) -> String {
    format!("{:.2} MiB", len as f64 / (1024.0 * 1024.0))
}

fn measure(records: usize, years: i64) -> anyhow::Result<Row> {
    let vault = aged(records, years * YEAR);
    let document_len = encode_btoken(&vault)?.len();
    let begun = Instant::now();
    let plaintext = packed(&vault)?;
    let write = begun.elapsed().as_secs_f64() * 1000.0;
    let begun = Instant::now();
    let read_again = decode_btoken(&plaintext)?.vault;
    let read = begun.elapsed().as_secs_f64() * 1000.0;
    let mut merged = vault.clone();
    let begun = Instant::now();
    merged.merge(&read_again);
    let merge = begun.elapsed().as_secs_f64() * 1000.0;
    let newest = vault
        .records()
        .flat_map(|(_, record)| record.changes())
        .filter_map(|one| one.stamp.deciding_seconds())
        .max();
    let changes = vault.change_count();
    let kept = vault.with_history_since(newest.unwrap_or_default() - YEAR * DAY);
    let (btoken_len, kept_year_len) = (
        plaintext.len() + BTOKEN_OVERHEAD,
        packed(&kept)?.len() + BTOKEN_OVERHEAD,
    );
    Ok(Row {
        records,
        years,
        changes,
        document_len,
        btoken_len,
        write,
        read,
        merge,
        kept_year_len,
    })
}

fn packed(vault: &Vault) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    Ok(encode_btoken_as(Shape::Modern, vault, &RollCall::new())?)
}

/// The vault of [`make_vault`] after this many days.
fn aged(records: usize, days: i64) -> Vault {
    let mut vault = make_vault(records);
    let ids: Vec<RecordId> = vault.records().map(|(id, _)| id.clone()).collect();
    let mut rng = fastrand::Rng::with_seed(1);
    for id in &ids {
        for day in 1..=days {
            // 14 letters and digits, as `passmate gen` makes them; they pack no better than that.
            let value: String = (0..14).map(|_| rng.alphanumeric()).collect();
            vault
                .set(id, "password", value, crate::vault::TIME + day * DAY)
                .expect("the record exists");
        }
    }
    vault
}

fn changes_within(limit: usize) -> anyhow::Result<usize> {
    let vault = aged(100, YEAR);
    let (edited, fresh) = (packed(&vault)?.len(), packed(&make_vault(100))?.len());
    Ok(limit * (vault.change_count() - make_vault(100).change_count()) / (edited - fresh))
}
