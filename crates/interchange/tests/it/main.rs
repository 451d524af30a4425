//! Imports of whole files.
#![cfg(test)]

mod corpus;
mod exports;
mod ids;
mod keepass;
mod lengths;
mod odd;
mod present;
mod same;
mod samples;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use getrandom::SysRng;
use passmate_interchange::{Applied, Format, Imported, ReadOptions, apply, parse};
use passmate_vault::{Passphrase, Vault};
use rand_core::UnwrapErr;

const NOW: i64 = 1_800_000_000;
const PASSWORD: &str = "import sample";

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}

fn read(sample: &str) -> Vec<u8> {
    std::fs::read(vectors().join(sample)).unwrap()
}

fn secret(text: &str) -> Passphrase {
    Passphrase::from(text.to_owned())
}

/// Paths, fields, earlier values and losses.
fn items(imported: &Imported) -> String {
    let mut text = String::new();
    for item in &imported.items {
        let modified = item
            .modified
            .map_or(String::new(), |time| format!(" @{time}"));
        writeln!(text, "{}{modified}", item.path).unwrap();
        for field in &item.fields {
            writeln!(text, "  {}: {:?}", field.name, field.value.as_str()).unwrap();
        }
        for earlier in &item.earlier {
            let since = earlier
                .since
                .map_or(String::new(), |time| format!(" @{time}"));
            let value = earlier.value.as_str();
            writeln!(text, "  earlier {}: {value:?}{since}", earlier.name).unwrap();
        }
    }
    for loss in &imported.losses {
        writeln!(text, "lost: {}: {}", loss.path, loss.what).unwrap();
    }
    text
}

/// The paths and fields that people see.
fn shown(vault: &Vault) -> String {
    let mut text = String::new();
    for record in vault.view().records() {
        writeln!(text, "{}", record.path.to_string_lossy()).unwrap();
        for field in record.fields() {
            writeln!(
                text,
                "  {}: {:?}",
                field.name.to_string_lossy(),
                field.value.to_string_lossy()
            )
            .unwrap();
        }
    }
    text
}

/// The paths of the live records.
fn paths(vault: &Vault) -> Vec<String> {
    let view = vault.view();
    let paths = view.records().iter().map(|record| &record.path);
    paths
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

#[track_caller]
fn import(
    format: Format,
    bytes: &[u8],
    password: Option<&str>,
    vault: &mut Vault,
    now: i64,
) -> Applied {
    let imported = parse(
        format,
        bytes,
        ReadOptions::with_secret(password.map(secret).as_ref()),
    )
    .unwrap();
    put(&imported, vault, format, now)
}

#[track_caller]
fn put(imported: &Imported, vault: &mut Vault, format: Format, now: i64) -> Applied {
    apply(imported, vault, format, now, &mut UnwrapErr(SysRng)).unwrap()
}

const TABLE: &str = "name,url,username,password,note\n";

fn chrome(rows: &str) -> Vec<u8> {
    format!("{TABLE}{rows}").into_bytes()
}

#[track_caller]
fn import_chrome(rows: &str, vault: &mut Vault, now: i64) -> Applied {
    import(Format::ChromeCsv, &chrome(rows), None, vault, now)
}
