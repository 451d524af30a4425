//! Records that a person guards: each use of one is to be agreed to. A record is guarded if `ask` is
//! one of its tags, so that all devices know. What asks, and whom, is up to the program that holds the
//! vault for others.

use passmate_vault::Vault;
use passmate_vault::login::FieldRole;
use passmate_vault::view::ViewRecord;

use crate::edit::Edit;
use crate::records::{RecordContent, get, text};

/// The tag of a guarded record.
pub const TAG: &str = "ask";

/// Which records a call may hand out or change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// None, or nothing of them that is secret.
    Nothing,
    /// Those that are named so, or are in a folder of that name.
    Named(Vec<String>),
    /// All.
    All,
}

impl Touched {
    /// What an edit changes. A record must not lose its guard unnoticed.
    #[must_use]
    pub fn by(edit: &Edit) -> Self {
        match edit {
            Edit::Create { .. } | Edit::Add { .. } => Self::Nothing,
            Edit::Set { path, .. }
            | Edit::SetFields { path, .. }
            | Edit::UseCounter { path, .. }
            | Edit::Unset { path, .. }
            | Edit::Update { path, .. }
            | Edit::RestoreField { path, .. }
            | Edit::RestoreRecord { path, .. }
            | Edit::Undelete { path, .. }
            | Edit::Purge { path, .. } => Self::Named(vec![path.clone()]),
            Edit::Move { from, .. } | Edit::Copy { from, .. } => Self::Named(from.clone()),
            Edit::Delete { paths } => Self::Named(paths.clone()),
            Edit::Undo | Edit::Redo | Edit::Import { .. } => Self::All,
        }
    }
}

/// The paths of the guarded records among those that a call touches.
#[must_use]
pub fn guarded(vault: &Vault, touched: &Touched) -> Vec<String> {
    let view = vault.view();
    let guarded = view.records().iter().filter(|record| has_guard(record));
    match touched {
        Touched::Nothing => Vec::new(),
        Touched::All => guarded.map(|record| text(&record.path)).collect(),
        Touched::Named(names) => {
            let named: Vec<_> = names.iter().filter_map(|name| get(&view, name)).collect();
            let is_meant = |record: &ViewRecord<'_>| {
                let is_named = named.iter().any(|named| named.id == record.id);
                is_named || names.iter().any(|name| is_below(name, &text(&record.path)))
            };
            let meant = guarded.filter(|record| is_meant(record));
            meant.map(|record| text(&record.path)).collect()
        }
    }
}

/// Whether a record that was read is guarded.
#[must_use]
pub fn is_guarded(record: &RecordContent) -> bool {
    let tags = record.with_role(FieldRole::Tags);
    tags.is_some_and(|tags| has_tag(&tags.value))
}

fn has_guard(record: &ViewRecord<'_>) -> bool {
    let tags = FieldRole::Tags.find(record);
    tags.is_some_and(|tags| has_tag(&tags.value.to_string_lossy()))
}

fn has_tag(tags: &str) -> bool {
    tags.split(',')
        .any(|tag| tag.trim().eq_ignore_ascii_case(TAG))
}

fn is_below(folder: &str, path: &str) -> bool {
    let below = path.strip_prefix(folder.trim_end_matches('/'));
    below.is_some_and(|below| below.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Consent;
    use crate::api::VaultApi;
    use crate::session::Session;
    use crate::session::tests::{location, passphrase};

    #[test]
    fn a_record_with_the_tag_is_guarded_by_all_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::create(location(&dir), passphrase()).unwrap();
        for (path, tags) in [
            ("web/bank", "money, Ask"),
            ("web/shop", "asked"),
            ("mail", "ask"),
        ] {
            let (path, field) = (path.to_owned(), "tags".to_owned());
            let edit = Edit::Set {
                path,
                field,
                value: tags.to_owned().into(),
            };
            VaultApi::change(&mut session, &edit, &Consent::none(), &mut |_| {}).unwrap();
        }
        let id = session.record("web/bank").unwrap().id;
        let named = |name: &str| Touched::Named(vec![name.to_owned()]);
        let of = |touched: &Touched| guarded(session.vault(), touched);
        for name in ["web/bank", "web", "web/", &id] {
            assert_eq!(of(&named(name)), ["web/bank"], "{name}");
        }
        for name in ["web/shop", "web/ban", "bank", "", "x"] {
            assert!(of(&named(name)).is_empty(), "{name}");
        }
        assert_eq!(of(&Touched::All).len(), 2);
        assert!(of(&Touched::Nothing).is_empty());
        assert_eq!(Touched::by(&Edit::Undo), Touched::All);
        assert_eq!(
            Touched::by(&Edit::Delete {
                paths: vec!["web".into()]
            }),
            named("web")
        );
    }
}
