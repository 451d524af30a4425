//! Records that a person guards: each use of one is to be agreed to. A record is guarded if `ask` is
//! one of its tags, so that all devices know.

use crate::login::{FieldRole, role_of};
use crate::record::{Domain, FieldKey, Record};
use crate::view::ViewRecord;

/// The tag of a record that a person guards.
pub const GUARD_TAG: &str = "ask";

/// Whether these tags guard their record.
pub fn has_guard_tag(tags: &str) -> bool {
    tags.split(',')
        .any(|tag| tag.trim().eq_ignore_ascii_case(GUARD_TAG))
}

/// Whether a record that people see is guarded.
pub fn is_guarded(record: &ViewRecord<'_>) -> bool {
    let tags = FieldRole::Tags.find(record);
    tags.is_some_and(|tags| has_guard_tag(&tags.value.to_string_lossy()))
}

/// Whether a record was guarded at any time. A deleted record keeps its guard so, because its
/// history can still be read.
pub fn was_guarded(record: &Record) -> bool {
    let changes = record.fields().flatten();
    let mut of_tags = changes.filter(|change| has_tags(&change.key));
    of_tags.any(|change| {
        let shown = change.value.shown();
        shown.is_some_and(|tags| has_guard_tag(&tags.to_string_lossy()))
    })
}

/// Whether a field may hold the tags of its record.
pub fn has_tags(key: &FieldKey) -> bool {
    key.domain == Domain::User && role_of(&key.name.to_string_lossy()) == Some(FieldRole::Tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vault;

    #[test]
    fn a_tag_guards_whatever_stands_around_it() {
        for tags in ["ask", "Ask", "money, ask", " ask ,x"] {
            assert!(has_guard_tag(tags), "{tags}");
        }
        for tags in ["", "asked", "ask me", "money"] {
            assert!(!has_guard_tag(tags), "{tags}");
        }
    }

    #[test]
    fn a_guard_that_was_taken_away_is_remembered() {
        let mut vault = Vault::new();
        let id = "1".into();
        vault.create_record("1".into(), "bank", 1).unwrap();
        let guards = |vault: &Vault| {
            let shown = vault
                .lookup()
                .get("bank")
                .is_some_and(|record| is_guarded(&record));
            (shown, was_guarded(vault.record(&id).unwrap()))
        };
        assert_eq!(guards(&vault), (false, false));
        vault.set(&id, "tags", "ask", 2).unwrap();
        assert_eq!(guards(&vault), (true, true));
        vault.set(&id, "tags", "", 3).unwrap();
        assert_eq!(guards(&vault), (false, true));
    }
}
