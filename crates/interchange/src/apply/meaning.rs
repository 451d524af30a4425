//! Whether two values of a field mean the same.
//!
//! Another program may write a value in another form: the secret of one-time codes as an address,
//! a date with a time, tags in another order. Such a value is no change.

use std::collections::{BTreeMap, BTreeSet};

use super::text_of;
use crate::passkey::Passkey;
use crate::read::item::time_of;
use passmate_vault::login::{FieldRole, role_of};
use passmate_vault::otp::OtpAuth;
use passmate_vault::record::{Domain, Record};

/// Whether two values of the field with this name mean the same.
pub(super) fn means_same(name: &str, one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match role_of(name) {
        Some(FieldRole::Otp) => makes_same_codes(one, other),
        Some(FieldRole::Expires) => both(time_of(one), time_of(other)),
        Some(FieldRole::Tags) => tags(one) == tags(other),
        Some(FieldRole::Passkey) => both(credential(one), credential(other)),
        _ => false,
    }
}

/// Whether notes hold nothing that the record does not have: its notes, and then lines of `name:
/// value` with other fields of it, as tables without columns for them have it.
pub(super) fn is_all_known(notes: &str, record: &Record) -> bool {
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for change in record.changes() {
        let key = &change.key;
        let (name, value) = (key.name.as_str(), text_of(change));
        if let (Domain::User, Some(name), Some(value)) = (key.domain, name, value) {
            values.entry(name).or_default().push(value);
        }
    }
    let is_notes = |name: &str| role_of(name) == Some(FieldRole::Notes);
    let own = values.iter().filter(|(name, _)| is_notes(name));
    let own = own.flat_map(|(_, values)| values.iter().copied());
    own.chain([""]).any(|own| {
        notes
            .strip_prefix(own)
            .is_some_and(|rest| are_fields(rest, own.is_empty(), &values))
    })
}

/// Whether a text is lines of `name: value` with these values, which may have several lines.
fn are_fields(text: &str, is_start: bool, values: &BTreeMap<&str, Vec<&str>>) -> bool {
    let (mut rest, mut is_start) = (text, is_start);
    while !rest.is_empty() {
        let line = if is_start {
            Some(rest)
        } else {
            rest.strip_prefix('\n')
        };
        let field = line.and_then(|line| line.split_once(": "));
        let known = field.and_then(|(name, value)| Some((values.get(name)?, value)));
        let Some((known, value)) = known else {
            return false;
        };
        let ends = known.iter().filter_map(|known| value.strip_prefix(*known));
        let ends = ends.filter(|rest| rest.is_empty() || rest.starts_with('\n'));
        // The longest value, so that the least is left.
        match ends.min_by_key(|rest| rest.len()) {
            Some(end) => rest = end,
            None => return false,
        }
        is_start = false;
    }
    true
}

/// The label and the issuer of an address do not count.
fn makes_same_codes(one: &str, other: &str) -> bool {
    let parts = |text| {
        let OtpAuth {
            kind,
            secret,
            algorithm,
            digits,
            ..
        } = OtpAuth::parse(text).ok()?;
        Some((kind, secret, algorithm, digits))
    };
    both(parts(one), parts(other))
}

fn tags(text: &str) -> BTreeSet<&str> {
    let tags = text.split(',').map(str::trim);
    tags.filter(|tag| !tag.is_empty()).collect()
}

/// What makes a passkey work. Not every program has places for its names and counters.
fn credential(text: &str) -> Option<(String, String, String)> {
    let Passkey {
        credential_id,
        rp_id,
        key,
        ..
    } = Passkey::parse(text)?;
    Some((credential_id, rp_id, key))
}

fn both<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && one == other
}

#[cfg(test)]
mod tests {
    use passmate_vault::{RecordId, Vault};

    use super::*;

    #[test]
    fn a_value_in_another_form_means_the_same() {
        for (name, one, other) in [
            (
                "otp",
                "gezd gnbv",
                "otpauth://totp/a:b?secret=GEZDGNBV&issuer=a",
            ),
            (
                "totp",
                "GEZDGNBV",
                "otpauth://totp/x?secret=GEZDGNBV&digits=6&period=30",
            ),
            ("expires", "2030-01-02", "2030-01-02T00:00:00Z"),
            ("tags", "a, b", "b,a,,"),
            (
                "passkey",
                r#"{"credentialId":"aa","rpId":"x","key":"bb","counter":1,"username":"u"}"#,
                r#"{"rpId":"x","key":"bb","credentialId":"aa"}"#,
            ),
            ("password", "x", "x"),
        ] {
            assert!(means_same(name, one, other), "{name}");
        }
    }

    #[test]
    fn notes_with_other_fields_of_the_record_hold_nothing_new() {
        let mut vault = Vault::new();
        let id = RecordId::from("A");
        vault.create_record(id.clone(), "x", 1).unwrap();
        for (name, value) in [
            ("note", "one\ntwo"),
            ("pin", "1"),
            ("pin", "1\n2"),
            ("key", "a: b"),
        ] {
            vault.set(&id, name, value, 2).unwrap();
        }
        let record = vault.record(&id).unwrap();
        for (notes, is_known) in [
            ("one\ntwo", true),
            ("one\ntwo\npin: 1", true),
            ("one\ntwo\npin: 1\n2\nkey: a: b", true),
            ("key: a: b", true),
            ("", true),
            ("one\ntwo\n", false),
            ("one\ntwo\npin: 3", false),
            ("one\ntwopin: 1", false),
            ("one\npin: 1", false),
            ("other: 1", false),
            ("pin: 12", false),
        ] {
            assert_eq!(is_all_known(notes, record), is_known, "{notes:?}");
        }
    }

    #[test]
    fn what_differs_does_not_mean_the_same() {
        for (name, one, other) in [
            (
                "otp",
                "GEZDGNBV",
                "otpauth://totp/x?secret=GEZDGNBV&digits=8",
            ),
            ("otp", "GEZDGNBV", "otpauth://totp/x?secret=GEZDGNBQ"),
            ("otp", "no secret!", "none, too!"),
            ("expires", "soon", "later"),
            ("tags", "a,b", "a"),
            ("passkey", "{", "}"),
            (
                "passkey",
                r#"{"credentialId":"aa","rpId":"x","key":"bb"}"#,
                r#"{"credentialId":"aa","rpId":"x","key":"cc"}"#,
            ),
            ("password", "a, b", "b,a"),
        ] {
            assert!(!means_same(name, one, other), "{name}");
        }
    }
}
