//! Records that a person guards: each use of one is to be agreed to. A record is guarded if `ask` is
//! one of its tags, so that all devices know. What asks, and whom, is up to the program that holds the
//! vault for others.

use std::collections::BTreeSet;

use passmate_vault::guard::{has_guard_tag, is_guarded, was_guarded};
use passmate_vault::login::FieldRole;
use passmate_vault::view::View;
use passmate_vault::{RecordId, Vault};

use crate::edit::Edit;
use crate::edit::select::meant;
use crate::records::{RecordContent, text};

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

/// A guarded record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// Its id. What was agreed to is for this record, whatever its path becomes.
    pub id: String,
    /// Its path.
    pub path: String,
}

/// The guarded records among those that a call touches. A deleted record keeps the
/// guard that it had at any time, because its history can still be read.
#[must_use]
pub fn guarded(vault: &Vault, touched: &Touched) -> Vec<Guarded> {
    if *touched == Touched::Nothing {
        return Vec::new();
    }
    let view = vault.view();
    let meant = meant_by(&view, touched);
    let is_meant = |id: &RecordId| meant.as_ref().is_none_or(|meant| meant.contains(id));
    let live = view.records().iter();
    let live = live.filter(|record| is_meant(record.id) && is_guarded(record));
    let live = live.map(|record| (record.id, text(&record.path)));
    let deleted = view.deleted().iter();
    let deleted = deleted.filter(|record| is_meant(record.id) && was_guarded(record.record));
    let deleted = deleted.map(|record| (record.id, text(&record.path)));
    let guarded = live.chain(deleted).map(|(id, path)| Guarded {
        id: text(id.as_text()),
        path,
    });
    guarded.collect()
}

/// The records that are meant; `None` if all are.
fn meant_by(view: &View<'_>, touched: &Touched) -> Option<BTreeSet<RecordId>> {
    match touched {
        Touched::All => None,
        Touched::Nothing => Some(BTreeSet::new()),
        Touched::Named(names) => {
            let meant = names.iter().flat_map(|name| meant(view, name));
            Some(meant.collect())
        }
    }
}

/// The paths of the records that a call names, guarded or not; none if it touches all.
#[must_use]
pub fn named(vault: &Vault, touched: &Touched) -> Vec<String> {
    if !matches!(touched, Touched::Named(_)) {
        return Vec::new();
    }
    let view = vault.view();
    let meant = meant_by(&view, touched).unwrap_or_default();
    let live = view.records().iter();
    let live = live.map(|record| (record.id, &record.path));
    let deleted = view.deleted().iter();
    let deleted = deleted.map(|record| (record.id, &record.path));
    let all = live.chain(deleted).filter(|(id, _)| meant.contains(*id));
    all.map(|(_, path)| text(path)).collect()
}

/// A record that was read, if it is guarded.
#[must_use]
pub fn guarded_one(record: &RecordContent) -> Option<Guarded> {
    let tags = record.with_role(FieldRole::Tags)?;
    has_guard_tag(&tags.value).then(|| Guarded {
        id: record.id.clone(),
        path: record.path.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Consent;
    use crate::api::VaultApi;
    use crate::session::Session;
    use crate::session::tests::{location, passphrase};

    fn paths(vault: &Vault, touched: &Touched) -> Vec<String> {
        let guarded = guarded(vault, touched).into_iter();
        guarded.map(|guarded| guarded.path).collect()
    }

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
        let of = |touched: &Touched| paths(session.vault(), touched);
        for name in ["web/bank", "web", "web/", &id] {
            assert_eq!(of(&named(name)), ["web/bank"], "{name}");
        }
        for name in ["web/shop", "web/ban", "bank", "", "x"] {
            assert!(of(&named(name)).is_empty(), "{name}");
        }
        // What a command takes for a name, the guard does too.
        for name in ["w\\u{65}b", "w\\u{65}b/bank", "web//"] {
            assert_eq!(of(&named(name)), ["web/bank"], "{name}");
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

    #[test]
    fn a_deleted_record_keeps_its_guard() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::create(location(&dir), passphrase()).unwrap();
        let mut change = |edit: &Edit| {
            VaultApi::change(&mut session, edit, &Consent::to_everything(), &mut |_| {}).unwrap();
        };
        let (path, field) = ("web/bank".to_owned(), "tags".to_owned());
        let value = "ask".to_owned().into();
        change(&Edit::Set { path, field, value });
        change(&Edit::Delete {
            paths: vec!["web/".to_owned()],
        });
        let touched = Touched::Named(vec!["web/bank".to_owned()]);
        assert_eq!(paths(session.vault(), &touched), ["web/bank"]);
        assert_eq!(paths(session.vault(), &Touched::All), ["web/bank"]);
    }
}
