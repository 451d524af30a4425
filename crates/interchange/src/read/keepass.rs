//! The files of KeePass 1 and 2, KeePassXC and related programs: which format a file has, and the
//! XML of KeePass, which is an export of its own and the content of encrypted files.
//!
//! An entry's history becomes earlier values of its fields. A value counts from the change that
//! brought it.

mod entry;
pub(crate) mod key;
mod otp;
mod references;

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64;
use passmate_vault::login::FieldRole;

use self::entry::Version;
use self::references::References;
use super::item::{Builder, Collector, clean, host_of, seconds_of};
use super::{Imported, ReadOptions, kdb, kdbx};
use crate::error::ImportError;
use crate::loss::Loss;
use crate::syntax::json;
use crate::syntax::kdbx::{SIGNATURE_KDB, YEAR_1};
use crate::syntax::xml::{self, Node};

/// Reads an encrypted file.
pub(crate) fn read(bytes: &[u8], options: ReadOptions<'_>) -> Result<Imported, ImportError> {
    if bytes.starts_with(&SIGNATURE_KDB) {
        kdb::read(bytes, options)
    } else {
        kdbx::read(bytes, options)
    }
}

/// Reads an XML export.
pub(crate) fn read_xml(bytes: &[u8]) -> Result<Imported, ImportError> {
    let file = xml::read(json::text_of(bytes)?, None)?;
    read_tree(&file)
}

/// Reads the tree of an export or a decrypted file.
pub(crate) fn read_tree(file: &Node) -> Result<Imported, ImportError> {
    const EXPECTED: ImportError = ImportError::NotThisFormat {
        expected: "a KeePass file",
    };
    if file.name != "KeePassFile" {
        return Err(EXPECTED);
    }
    let root = file.child("Root").ok_or(EXPECTED)?;
    let meta = file.child("Meta");
    let has_bin = meta.is_some_and(|meta| {
        meta.text_of("RecycleBinEnabled")
            .eq_ignore_ascii_case("true")
    });
    let bin = meta
        .map(|meta| meta.text_of("RecycleBinUUID"))
        .filter(|_| has_bin)
        .unwrap_or_default();
    let mut reader = TreeReader {
        bin,
        references: References::default(),
        collector: Collector::default(),
        noted_groups: 0,
        tagged_groups: 0,
    };
    for group in root.all("Group") {
        reader.add_references(group);
    }
    // The outermost group has the name of the database, which is no folder.
    for group in root.all("Group") {
        reader.read_group(group, &mut Vec::new(), false)?;
    }
    let groups = [
        ("the notes", reader.noted_groups),
        ("the tags", reader.tagged_groups),
    ];
    for (what, count) in groups.into_iter().filter(|(_, count)| *count > 0) {
        let plural = if count == 1 { "" } else { "s" };
        let what = format!("{what} of {count} group{plural}");
        reader.collector.lose(Loss::of_file(what));
    }
    Ok(reader.collector.into_imported())
}

struct TreeReader<'a> {
    bin: &'a str,
    references: References<'a>,
    collector: Collector,
    noted_groups: usize,
    tagged_groups: usize,
}

impl<'a> TreeReader<'a> {
    // The XML reader limits the depth of the tree, so the recursions are bounded.
    fn add_references(&mut self, group: &'a Node) {
        for entry in group.all("Entry") {
            self.references.add(entry);
        }
        for child in group.all("Group") {
            self.add_references(child);
        }
    }

    fn read_group(
        &mut self,
        group: &'a Node,
        folders: &mut Vec<&'a str>,
        in_bin: bool,
    ) -> Result<(), ImportError> {
        let uuid = group.text_of("UUID");
        let in_bin = in_bin || (!uuid.is_empty() && uuid == self.bin);
        if !in_bin {
            self.noted_groups += usize::from(!group.text_of("Notes").trim().is_empty());
            self.tagged_groups += usize::from(!group.text_of("Tags").trim().is_empty());
        }
        for entry in group.all("Entry") {
            self.read_entry(entry, folders, in_bin)?;
        }
        for child in group.all("Group") {
            folders.push(child.text_of("Name"));
            self.read_group(child, folders, in_bin)?;
            folders.pop();
        }
        Ok(())
    }

    fn read_entry(
        &mut self,
        entry: &'a Node,
        folders: &[&'a str],
        in_bin: bool,
    ) -> Result<(), ImportError> {
        let present = Version::read(entry, None, &mut self.references);
        let (user, url) = (
            present.value(FieldRole::User),
            present.value(FieldRole::Url),
        );
        let source_id = match entry.text_of("UUID") {
            "" => [folders.join("/").as_str(), &present.title, user].join("\0"),
            uuid => uuid.to_owned(),
        };
        let name = match present.title.as_str() {
            title if title.trim().is_empty() => host_of(url).unwrap_or(user),
            title => title,
        };
        let mut builder = self
            .collector
            .begin(source_id, folders.iter().copied(), name)?;
        if in_bin {
            return builder.lose_all("it is in the recycle bin");
        }
        builder.set_modified(present.modified);
        for (name, value) in &present.fields {
            builder.add(name, value.as_str())?;
        }
        for loss in &present.losses {
            builder.lose(loss.as_str())?;
        }
        for name in &present.attachments {
            builder.lose(format!("the attachment {}", clean(name)))?;
        }
        let history = entry.all("History").flat_map(|all| all.all("Entry"));
        let mut earlier: Vec<Version<'_>> = Vec::new();
        for version in history {
            // The same secret under another title is no other value.
            let label = Some(present.title.as_str());
            earlier.push(Version::read(version, label, &mut self.references));
        }
        earlier.sort_by_key(|version| version.modified);
        add_history(&mut builder, &earlier, &present)?;
        builder.finish();
        Ok(())
    }
}

/// Adds what the earlier versions had and the present one does not have. They are sorted by time.
fn add_history(
    builder: &mut Builder<'_>,
    earlier: &[Version<'_>],
    present: &Version<'_>,
) -> Result<(), ImportError> {
    // The last value of each field so far, and when the field got it.
    let mut last: BTreeMap<&str, (&str, Option<i64>)> = BTreeMap::new();
    let mut lost: BTreeSet<String> = BTreeSet::new();
    let mut titles: BTreeSet<&str> = BTreeSet::new();
    let mut attachments: BTreeSet<&str> = BTreeSet::new();
    for version in earlier {
        titles.insert(&version.title);
        attachments.extend(&version.attachments);
        lost.extend(version.losses.iter().cloned());
        for (name, value) in &version.fields {
            let since = version.modified;
            match last.get_mut(name.as_str()) {
                Some(known) if known.0 == value.as_str() => {}
                Some(known) => {
                    builder.add_earlier(name, known.0, known.1)?;
                    *known = (value, since);
                }
                None => drop(last.insert(name, (value, since))),
            }
        }
    }
    for (name, value) in &present.fields {
        if last
            .get(name.as_str())
            .is_some_and(|last| last.0 == value.as_str())
        {
            last.remove(name.as_str());
        }
    }
    for (name, (value, since)) in last {
        builder.add_earlier(name, value, since)?;
    }
    titles.remove(present.title.as_str());
    builder.lose_count(titles.len(), "earlier title")?;
    for name in &present.attachments {
        attachments.remove(name);
    }
    for name in attachments {
        builder.lose(format!(
            "the attachment {} of an earlier version",
            clean(name)
        ))?;
    }
    for loss in &present.losses {
        lost.remove(loss);
    }
    for loss in lost {
        builder.lose(format!("in an earlier version: {loss}"))?;
    }
    Ok(())
}

/// Reads a time: in KDBX 4 the seconds since the year 1 in base64, otherwise a text.
pub(super) fn time_of(text: &str) -> Option<i64> {
    let bytes = BASE64
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    bytes.map_or_else(
        || seconds_of(text),
        |bytes| i64::from_le_bytes(bytes).checked_sub(YEAR_1),
    )
}
