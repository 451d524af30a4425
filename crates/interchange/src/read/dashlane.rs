//! Dashlane's export: a ZIP archive of tables, one for each kind of item, or one of these tables.

use std::collections::BTreeSet;

use super::Imported;
use super::item::Collector;
use super::tables::{DASHLANE, read_as};
use crate::error::ImportError;
use crate::loss::Loss;
use crate::syntax::zip::Archive;

/// The tables of an export. Others in the archive are read after these.
const TABLES: &[&str] = &[
    "credentials.csv",
    "securenotes.csv",
    "payments.csv",
    "ids.csv",
    "personalInfo.csv",
    "wifi.csv",
];
/// The most tables of an archive, so that a small archive does not ask for much work.
const TABLES_MAX: usize = 20;

/// Reads one table.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    let mut collector = Collector::default();
    read_as(DASHLANE, bytes, &mut collector)?;
    Ok(collector.into_imported())
}

/// Reads all tables of an export.
pub(crate) fn read_archive(archive: &mut Archive<'_>) -> Result<Imported, ImportError> {
    let mut collector = Collector::default();
    let base = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let is_known = |name: &String| TABLES.contains(&name.as_str());
    let is_table = |name: &&String| name.to_lowercase().ends_with(".csv");
    let names: BTreeSet<String> = archive.names().map(base).collect();
    let known = TABLES.iter().map(|name| (*name).to_owned());
    let known = known.filter(|name| names.contains(name));
    let further = names.iter().filter(is_table).filter(|name| !is_known(name));
    let tables: Vec<String> = known.chain(further.cloned()).collect();
    if tables.is_empty() {
        return Err(ImportError::NotThisFormat {
            expected: "an export of Dashlane",
        });
    }
    if tables.len() > TABLES_MAX {
        return Err(ImportError::TooMany {
            what: "tables",
            limit: TABLES_MAX,
        });
    }
    for name in &tables {
        let Some(table) = archive.read(name)? else {
            continue;
        };
        match read_as(DASHLANE, &table, &mut collector) {
            Err(ImportError::MissingColumn { .. }) => {
                collector.lose(Loss::of_file(format!(
                    "the table {name}, which is not known"
                )));
            }
            read => read?,
        }
    }
    for name in names.iter().filter(|name| !is_table(name)) {
        collector.lose(Loss::of_file(format!("the file {name}")));
    }
    Ok(collector.into_imported())
}
