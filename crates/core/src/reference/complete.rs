//! How a reference goes on that a person began, for the Tab key of a shell.

use super::{Part, Reference, SCHEME, decode, encoded};
use crate::answer::Reply;
use crate::api::VaultApi;
use crate::escape::escape_path;

/// How a reference goes on that a person began: its path part by part, with a slash behind each,
/// and then the fields of the record. None of their values is read.
///
/// # Errors
/// The vault is locked. What is no begin of a reference goes on with nothing.
pub fn continuations(vault: &mut dyn VaultApi, typed: &str) -> Reply<Vec<String>> {
    let begin = match typed.strip_prefix(SCHEME) {
        Some(begin) => begin,
        None if SCHEME.starts_with(typed) => "",
        None => return Ok(Vec::new()),
    };
    let Ok(path) = decode(begin) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for part in vault.continuations(&path)? {
        let end = if part.ends_with('/') { "" } else { "/" };
        found.push(format!("{SCHEME}{}{end}", encoded(&part)));
    }
    if let Some((record, name)) = begin.rsplit_once('/')
        && let (Ok(record), Ok(name)) = (decode(record), decode(name))
        && let Ok(fields) = vault.fields(&escape_path(&record))
    {
        let fields = fields.into_iter().filter(|field| field.starts_with(&name));
        let fields = fields.map(|field| Reference {
            path: record.clone(),
            field,
            part: Part::Value,
        });
        found.extend(fields.map(|field| field.to_string()));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Consent;
    use crate::edit::Edit;
    use crate::session::Session;
    use crate::session::tests::{location, passphrase};

    #[test]
    fn a_reference_goes_on_by_parts_to_the_fields_of_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::create(location(&dir), passphrase()).unwrap();
        for (path, field) in [
            ("web/shop", "password"),
            ("web/shop", "pin code"),
            ("web/shop/old", "user"),
            ("my bank", "a/b"),
        ] {
            let edit = Edit::Set {
                path: path.to_owned(),
                field: field.to_owned(),
                value: "x".to_owned().into(),
            };
            VaultApi::change(&mut session, &edit, &Consent::none(), &mut |_| {}).unwrap();
        }
        let mut next = |typed: &str| continuations(&mut session, typed).unwrap();
        for typed in ["", "pass", "passmate://"] {
            assert_eq!(next(typed), ["passmate://my%20bank/", "passmate://web/"]);
        }
        assert_eq!(next("passmate://web/s"), ["passmate://web/shop/"]);
        assert_eq!(
            next("passmate://web/shop/"),
            [
                "passmate://web/shop/old/",
                "passmate://web/shop/password",
                "passmate://web/shop/pin%20code"
            ]
        );
        assert_eq!(next("passmate://my b"), ["passmate://my%20bank/"]);
        assert_eq!(
            next("passmate://my%20bank/"),
            ["passmate://my%20bank/a%2Fb"]
        );
        for typed in [
            "web",
            "passmate://x",
            "passmate://web/100%",
            "passmate://web/shop/?",
        ] {
            assert_eq!(next(typed), [""; 0], "{typed}");
        }
    }
}
