//! Logins for the programs that ask a helper for them.
//!
//! | room | whom it answers |
//! | --- | --- |
//! | [`git`] | git, see gitcredentials(7) |
//! | [`docker`] | docker and other container programs |
//! | [`site`] | compares the address of a record with that of a site |
//!
//! The rules are:
//!  - a login is given to exactly the host that its record names, never to one that is like it;
//!  - a helper writes only below a folder of its own, so that no login of a person is changed by
//!    what another program says;
//!  - what a program rejects stays in the history.

pub mod docker;
pub mod git;
pub mod site;

use passmate_vault::login::FieldRole;
use zeroize::Zeroizing;

use crate::answer::Reply;
use crate::api::VaultApi;
use crate::escape::escape_path;
use crate::records::{FieldContent, RecordContent, is_address};

/// How often a name is tried with another number behind it.
const NUMBER_MAX: usize = 99;

/// The fields of a record that hold addresses.
fn addresses(record: &RecordContent) -> impl Iterator<Item = &FieldContent> {
    let fields = record.fields.iter();
    fields.filter(|field| is_address(&field.name))
}

fn user(record: &RecordContent) -> Option<&str> {
    let user = record.with_role(FieldRole::User)?.value.as_str();
    Some(user).filter(|user| !user.is_empty())
}

fn password(record: &RecordContent) -> Option<&Zeroizing<String>> {
    let password = &record.with_role(FieldRole::Password)?.value;
    Some(password).filter(|password| !password.is_empty())
}

/// A path that no record has: a folder, and names that may hold anything.
fn free_path(vault: &mut dyn VaultApi, folder: &str, names: &[&str]) -> Reply<String> {
    let mut path = folder.to_owned();
    for name in names.iter().filter(|name| !name.is_empty()) {
        path.push('/');
        path.extend(name.chars().map(|c| match c {
            '/' | '\\' => '_',
            c if c.is_control() => '_',
            c => c,
        }));
    }
    let mut free = path.clone();
    for number in 2..NUMBER_MAX {
        if vault.record(&escape_path(&free)).is_err() {
            break;
        }
        free = format!("{path} ({number})");
    }
    Ok(free)
}
