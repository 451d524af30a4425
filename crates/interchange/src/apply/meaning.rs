//! Whether two values of a field mean the same.
//!
//! Another program may write a value in another form: the secret of one-time codes as an address,
//! a date with a time, tags in another order. Such a value is no change.

use std::collections::BTreeSet;

use passmate_vault::login::{FieldRole, role_of};
use passmate_vault::otp::OtpAuth;
use serde_json::Value;

use crate::read::item::time_of;

/// Whether two values of the field with this name mean the same.
pub(super) fn means_same(name: &str, one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match role_of(name) {
        Some(FieldRole::Otp) => makes_same_codes(one, other),
        Some(FieldRole::Expires) => both(time_of(one), time_of(other)),
        Some(FieldRole::Tags) => tags(one) == tags(other),
        Some(FieldRole::Passkey) => both(json(one), json(other)),
        _ => false,
    }
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

fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

fn both<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && one == other
}

#[cfg(test)]
mod tests {
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
            ("passkey", r#"{"a": 1, "b": 2}"#, r#"{"b":2,"a":1}"#),
            ("password", "x", "x"),
        ] {
            assert!(means_same(name, one, other), "{name}");
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
            ("password", "a, b", "b,a"),
        ] {
            assert!(!means_same(name, one, other), "{name}");
        }
    }
}
