//! The XML of KeePass: its XML export, and the content of its encrypted files.

use data_encoding::BASE64;
use passmate_vault::login::FieldRole;

use super::Imported;
use super::item::{Collector, seconds_of};
use crate::error::ImportError;
use crate::syntax::json;
use crate::syntax::kdbx::YEAR_1;
use crate::syntax::xml::{self, Node};

/// Reads an XML export.
pub(crate) fn read_xml(bytes: &[u8]) -> Result<Imported, ImportError> {
    let file = xml::read(json::text_of(bytes)?, &mut |_| {})?;
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
        collector: Collector::default(),
    };
    // The outermost group has the name of the database, which is no folder.
    for group in root.all("Group") {
        reader.read_group(group, &mut Vec::new(), false)?;
    }
    Ok(reader.collector.into_imported())
}

struct TreeReader<'a> {
    bin: &'a str,
    collector: Collector,
}

impl<'a> TreeReader<'a> {
    // The XML reader limits the depth of the tree, so this recursion is bounded.
    fn read_group(
        &mut self,
        group: &'a Node,
        folders: &mut Vec<&'a str>,
        in_bin: bool,
    ) -> Result<(), ImportError> {
        let uuid = group.text_of("UUID");
        let in_bin = in_bin || (!uuid.is_empty() && uuid == self.bin);
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
        let strings = || {
            entry
                .all("String")
                .map(|string| (string.text_of("Key"), string.text_of("Value")))
        };
        let value = |wanted: &str| {
            strings()
                .find(|(key, _)| *key == wanted)
                .map_or("", |(_, value)| value)
        };
        let title = value("Title");
        let source_id = match entry.text_of("UUID") {
            "" => [folders.join("/").as_str(), title, value("UserName")].join("\0"),
            uuid => uuid.to_owned(),
        };
        let mut builder = self
            .collector
            .begin(source_id, folders.iter().copied(), title)?;
        if in_bin {
            return builder.lose_all("it is in the recycle bin");
        }
        builder.set_modified(
            entry
                .child("Times")
                .and_then(|times| time_of(times.text_of("LastModificationTime"))),
        );
        // The standard strings come first, so that a custom field with the same name gets a number.
        for (key, role) in [
            ("UserName", FieldRole::User),
            ("Password", FieldRole::Password),
            ("URL", FieldRole::Url),
            ("Notes", FieldRole::Notes),
        ] {
            builder.add(role.name(), value(key))?;
        }
        for (key, value) in strings() {
            if !matches!(key, "Title" | "UserName" | "Password" | "URL" | "Notes") {
                builder.add(key, value)?;
            }
        }
        builder.add("tags", entry.text_of("Tags"))?;
        builder.lose_count(entry.all("Binary").count(), "attachment")?;
        builder.lose_count(
            entry
                .all("History")
                .flat_map(|history| history.all("Entry"))
                .count(),
            "earlier version",
        )?;
        builder.finish();
        Ok(())
    }
}

/// Reads a time: in KDBX 4 the seconds since the year 1 in base64, otherwise a text.
fn time_of(text: &str) -> Option<i64> {
    let bytes = BASE64
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    bytes.map_or_else(
        || seconds_of(text),
        |bytes| i64::from_le_bytes(bytes).checked_sub(YEAR_1),
    )
}
